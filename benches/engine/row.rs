//! One line of the table.

use serde::Serialize;

use crate::generator::Latency;
use crate::load::Load;

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
