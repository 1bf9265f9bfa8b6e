//! `make bench`: what each part costs alone, what the engine does, how close that is to the bound that the parts set,
//! and what the usual way does; all in one run, so that the machine's mood is the same for all. docs/performance.md
//! says what is measured and how.
//!
//! The same program is the load generator (`generate`) and the responders (`respond PART`), each a process of its own.

mod alternative;
mod bound;
mod cases;
mod child;
mod generator;
mod guard;
mod load;
mod order_script;
mod process;
mod responder;
mod row;
mod servers;
mod settings;
mod shop;
mod table;
mod traffic;
mod unit_costs;

use std::process::ExitCode;

use cases::{Cases, Found};
use row::{Row, Rows};
use servers::Servers;
use settings::BenchSettings;
use shop::Shop;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("generate") => generator::run().map(|()| ExitCode::SUCCESS),
        Some("respond") => {
            let part = arguments.next().unwrap_or_default();
            responder::run(&part, arguments).map(|()| ExitCode::SUCCESS)
        }
        // What `cargo bench` passes; `cargo test --benches` passes nothing.
        Some("--bench") => bench(),
        _ => {
            println!("this is for `make bench`");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn bench() -> anyhow::Result<ExitCode> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed another one");
    let settings = BenchSettings::from_environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows = Rows::default();
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(&settings, &mut rows) => ended.map(Some),
            // What was started ends with the values that are dropped here.
            stopped = tokio::signal::ctrl_c() => stopped.map(|()| None).map_err(Into::into),
        }
    });
    let rows = rows.all();
    table::print(rows);
    let Some(machine) = ended? else {
        eprintln!("stopped: the table has what was measured until then");
        return Ok(ExitCode::from(130));
    };
    let path = table::write(rows, &machine, &settings)?;
    println!("{}", path.display());
    let refused = rows.iter().filter(|it| !it.counts).count();
    let dearer: Vec<&Row> = rows.iter().filter(|it| it.marked && it.section.starts_with("guard")).collect();
    for row in &dearer {
        println!("{}", row.note);
    }
    if refused > 0 {
        println!("{refused} figures do not count: an answer, a count or the audit was wrong");
    }
    Ok(if refused > 0 || !dearer.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures what is wanted; returns the machine in one line.
async fn run(settings: &BenchSettings, rows: &mut Rows) -> anyhow::Result<String> {
    eprintln!("starting private servers");
    let servers = Servers::start().await?;
    let machine = table::machine(&servers.binaries);
    println!("{machine}");
    let mut units = Vec::new();
    if settings.wants("unit") {
        eprintln!("unit costs");
        units = unit_costs::measure(&servers, settings).await?;
        rows.extend(bound::unit_rows(&units));
    }
    let mut found = Found::default();
    if cases::PARTS.iter().any(|it| settings.wants(it)) {
        let shop = Shop::open(&servers, settings.threads).await?;
        found = Cases::prepare(shop, settings, rows).await?.run().await?;
    }
    let mut usual = None;
    if settings.wants("alternative") {
        usual = Some(alternative::measure(&servers, settings, rows).await?);
    }
    rows.extend(bound::rows(&units, &found, usual.as_ref()));
    rows.extend(guard::rows(&units, &found, settings.record)?);
    Ok(machine)
}
