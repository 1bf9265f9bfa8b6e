//! Whether what waits behind Redis grows while orders come in.

use std::time::Instant;

use crate::shop::Progress;
use crate::table::thousands;

/// Growth below this share of the offered rate is noise.
const NOISE: f64 = 0.02;

/// Readings of one load.
pub struct Backlog {
    rate: f64,
    began: Instant,
    readings: Vec<Reading>,
}

struct Reading {
    at_seconds: f64,
    /// Orders that RabbitMQ has not confirmed.
    waiting: f64,
    published: u64,
}

impl Backlog {
    pub fn new(rate: f64) -> Self {
        Self { rate, began: Instant::now(), readings: Vec::new() }
    }

    /// `start`: when nothing waited.
    pub fn note(&mut self, start: Progress, now: Progress) {
        let waiting = (now.appended - start.appended) as f64 - (now.published - start.published) as f64;
        let at_seconds = self.began.elapsed().as_secs_f64();
        self.readings.push(Reading { at_seconds, waiting: waiting.max(0.0), published: now.published });
    }

    /// The line through the readings, the first fifth apart: what it rises by in a second.
    fn slope(&self) -> f64 {
        let late = &self.readings[self.readings.len() / 5..];
        let count = late.len().max(1) as f64;
        let mean = |pick: fn(&Reading) -> f64| late.iter().map(pick).sum::<f64>() / count;
        let (at, waiting) = (mean(|it| it.at_seconds), mean(|it| it.waiting));
        let above: f64 = late.iter().map(|it| (it.at_seconds - at) * (it.waiting - waiting)).sum();
        let below: f64 = late.iter().map(|it| (it.at_seconds - at).powi(2)).sum();
        if below > 0.0 { above / below } else { 0.0 }
    }

    pub fn grew(&self) -> bool {
        self.slope() > NOISE * self.rate
    }

    /// Between the first and the last reading.
    pub fn published_per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.readings.first(), self.readings.last()) else { return 0.0 };
        let seconds = last.at_seconds - first.at_seconds;
        if seconds > 0.0 { (last.published - first.published) as f64 / seconds } else { 0.0 }
    }

    pub fn told(&self) -> String {
        let most = self.readings.iter().map(|it| it.waiting).fold(0.0, f64::max);
        let last = self.readings.last().map_or(0.0, |it| it.waiting);
        let grew = if self.grew() { "grew" } else { "did not grow" };
        format!(
            "the backlog {grew} ({:+.0}/s; at most {}, {} at the end)",
            self.slope(),
            thousands(most),
            thousands(last)
        )
    }
}
