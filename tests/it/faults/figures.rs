//! What the suite counts, as a table and as `target/faults/latest.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// Counts and times of all runs.
#[derive(Default)]
pub struct Figures {
    counts: BTreeMap<&'static str, u64>,
    /// From a loss (or the return of what holds the rest) until a client is told of a success, by kind.
    opened: BTreeMap<&'static str, Vec<Duration>>,
    /// What the engine counted as lost until then, by kind.
    lost: BTreeMap<&'static str, u64>,
    pub broken: Vec<String>,
}

impl Figures {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    pub fn opened_again(&mut self, kind: &'static str, after: Duration, lost: u64) {
        self.opened.entry(kind).or_default().push(after);
        *self.lost.entry(kind).or_default() += lost;
    }

    /// `{counts, openedAgainMs: {kind: {losses, median, max}}, lostEvents: {kind: number}, broken}` and whatever else
    /// is told.
    fn as_json(&self, about: &Value) -> Value {
        let mut all: Vec<Duration> = self.opened.values().flatten().copied().collect();
        let mut times: BTreeMap<&str, Value> =
            self.opened.iter().map(|(kind, times)| (*kind, summary(&mut times.clone()))).collect();
        if !all.is_empty() {
            times.insert("all", summary(&mut all));
        }
        json!({"about": about, "counts": self.counts, "openedAgainMs": times, "lostEvents": self.lost, "broken": self.broken})
    }

    /// Prints the tables, and writes the file.
    pub fn report(&self, about: &Value) {
        let told = self.as_json(about);
        println!("\n| what | number |\n|---|---:|");
        for (what, number) in &self.counts {
            println!("| {what} | {number} |");
        }
        println!(
            "\n| from a Redis loss to open again | losses | median, ms | max, ms | events lost |\n|---|---:|---:|---:|---:|"
        );
        for (kind, times) in told["openedAgainMs"].as_object().unwrap() {
            let lost = self.lost.get(kind.as_str()).copied().unwrap_or_else(|| self.lost.values().sum());
            println!("| {kind} | {} | {} | {} | {lost} |", times["losses"], times["median"], times["max"]);
        }
        println!("\n{about}");
        println!("written to {}", self.write(about).display());
    }

    /// Writes the file.
    pub fn write(&self, about: &Value) -> PathBuf {
        let file = target_folder().join("faults/latest.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, serde_json::to_string_pretty(&self.as_json(about)).unwrap() + "\n").unwrap();
        file
    }
}

fn summary(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    let ms = |it: Duration| it.as_millis() as u64;
    json!({"losses": times.len(), "median": ms(times[times.len() / 2]), "max": ms(times[times.len() - 1])})
}

/// The folder that Cargo builds in.
fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in the target folder").to_owned()
}
