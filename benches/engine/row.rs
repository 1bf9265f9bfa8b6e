//! One line of the table.

use serde::Serialize;

use crate::generator::Latency;
use crate::load::Load;
use crate::table::thousands;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    pub section: &'static str,
    pub name: String,
    pub per_second: Option<f64>,
    /// Where `per_second` is a ratio, without a unit.
    pub ratio: Option<f64>,
    pub latency_ms: Option<Latency>,
    /// Microseconds of the processor for each request or order, by process.
    pub cpu_us: Vec<(&'static str, f64)>,
    /// False: an answer, a count or the audit was wrong, and the figure is none.
    pub counts: bool,
    /// Worth a second look.
    pub marked: bool,
    pub note: String,
}

/// The table as it grows. Each line is told when it comes, so that a run that is ended early has said what it found.
#[derive(Default)]
pub struct Rows(Vec<Row>);

impl Rows {
    pub fn push(&mut self, row: Row) {
        row.tell();
        self.0.push(row);
    }

    pub fn all(&self) -> &[Row] {
        &self.0
    }
}

impl Extend<Row> for Rows {
    fn extend<T: IntoIterator<Item = Row>>(&mut self, rows: T) {
        rows.into_iter().for_each(|it| self.push(it));
    }
}

impl Row {
    pub fn new(section: &'static str, name: impl Into<String>) -> Self {
        Self { section, name: name.into(), counts: true, ..Self::default() }
    }

    pub fn of_load(section: &'static str, name: impl Into<String>, load: &Load) -> Self {
        let mut row = Self::new(section, name);
        row.per_second = Some(load.per_second());
        row.latency_ms = Some(load.report.latency_ms);
        row.cpu_us = load.cpu_us.clone();
        if let Some(complaint) = load.complaint() {
            row.refuse(complaint);
        }
        row
    }

    /// One line on standard error.
    fn tell(&self) {
        let figure = match (self.counts, self.ratio, self.per_second) {
            (false, ..) => "does not count".to_owned(),
            (_, Some(ratio), _) => format!("{ratio:.2}"),
            (_, None, Some(per_second)) => format!("{}/s", thousands(per_second)),
            (_, None, None) => String::new(),
        };
        let cpu: Vec<String> = self.cpu_us.iter().map(|(name, us)| format!("{name} {us:.1}")).collect();
        eprintln!("  {} | {figure} | {} | {}", self.name, cpu.join(", "), self.note);
    }

    /// The figure does not count.
    pub fn refuse(&mut self, why: impl AsRef<str>) {
        self.counts = false;
        self.remark(why);
    }

    pub fn remark(&mut self, note: impl AsRef<str>) {
        if !self.note.is_empty() {
            self.note += "; ";
        }
        self.note += note.as_ref();
    }
}
