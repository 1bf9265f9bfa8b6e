//! What a run prints, and writes to `target/bench/latest.json`.

use std::path::{Path, PathBuf};
use std::process::Command;

use comfy_table::{Cell, CellAlignment, Table, presets};
use firstcome::dev::ServerBinaries;
use serde::Serialize;

use crate::row::Row;
use crate::settings::BenchSettings;

/// The columns of processor time, in this order.
const PROCESSES: [&str; 6] = ["redis", "mysql", "rabbitmq", "api", "worker", "generator"];

#[derive(Serialize)]
struct Written<'a> {
    at: String,
    machine: &'a str,
    settings: &'a BenchSettings,
    clean: bool,
    rows: &'a [Row],
}

/// Cores, kernel and servers, in one line.
pub fn machine(binaries: &ServerBinaries) -> String {
    let words = |program: &Path, arguments: &[&str], count: usize| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
        text.split_whitespace().filter(|it| !it.contains('/')).take(count).collect::<Vec<_>>().join(" ")
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let kernel = words(Path::new("uname"), &["-sr"], 2);
    let redis = words(&binaries.redis_server, &["--version"], 3);
    // Its first word is the path, where it was found.
    let mysql =
        words(&binaries.mysqld, &["--no-defaults", "--version"], 2).replace("Ver ", "MySQL or MariaDB ");
    format!("{cores} cores, {kernel}, {redis}, {mysql}; load {load} before the run")
}

pub fn print(rows: &[Row]) {
    let mut table = Table::new();
    // It can be put into a document as it is.
    table.load_style(presets::ASCII_MARKDOWN);
    let mut header = vec!["", "per s", "p50 ms", "p99", "p99.9"];
    header.extend(PROCESSES);
    header.push("note");
    table.set_header(header);
    let mut section = "";
    // Of one section together, in the order in which the sections began.
    let mut sections: Vec<&str> = Vec::new();
    for row in rows {
        if !sections.contains(&row.section) {
            sections.push(row.section);
        }
    }
    let of_sections = sections.iter().flat_map(|it| rows.iter().filter(move |row| row.section == *it));
    for row in of_sections {
        if row.section != section {
            section = row.section;
            table.add_row([Cell::new(format!("**{section}**"))]);
        }
        let figure = match (row.ratio, row.per_second) {
            _ if !row.counts => "does not count".to_owned(),
            (Some(ratio), _) => format!("{ratio:.2}"),
            (None, Some(per_second)) => thousands(per_second),
            (None, None) => String::new(),
        };
        let ms = |pick: fn(&crate::generator::Latency) -> f64| {
            row.latency_ms.as_ref().map_or(String::new(), |it| format!("{:.1}", pick(it)))
        };
        let mut cells = vec![format!("{}{}", if row.marked { "! " } else { "" }, row.name), figure];
        cells.extend([ms(|it| it.p50), ms(|it| it.p99), ms(|it| it.p999)]);
        cells.extend(PROCESSES.map(|name| {
            // The handler of a yardstick stands where the API node does.
            let used = row.cpu_us.iter().find(|it| it.0 == name || (name == "api" && it.0 == "handler"));
            used.map_or(String::new(), |it| format!("{:.1}", it.1))
        }));
        cells.push(row.note.clone());
        let cells = cells.into_iter().enumerate().map(|(column, text)| {
            let right = (1..=4 + PROCESSES.len()).contains(&column);
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        });
        table.add_row(cells);
    }
    println!("{table}");
    println!("Columns redis to generator: microseconds of the processor for each request or order.");
}

/// Writes what was printed; returns where.
pub fn write(rows: &[Row], machine: &str, settings: &BenchSettings) -> anyhow::Result<PathBuf> {
    // CARGO_TARGET_TMPDIR is the target folder's `tmp`.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("latest.json");
    let clean = rows.iter().all(|it| it.counts);
    let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let written = Written { at, machine, settings, clean, rows };
    std::fs::write(&path, serde_json::to_vec_pretty(&written)?)?;
    Ok(path)
}

/// 12,345
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
