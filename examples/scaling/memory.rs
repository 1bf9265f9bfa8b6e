//! A node's sold-out memory: `src/http/sold_out.rs`, of one pool.

use crate::clock::Nanos;

/// Callers who must be refused, and were not alone, before it begins.
const RUSH: u32 = 16;

pub struct Memory {
    lasts: Nanos,
    last_heard: Option<Nanos>,
    since: Option<Nanos>,
    count: u32,
    known: Option<Known>,
    forgotten: Option<Nanos>,
}

struct Known {
    until: Nanos,
    probe_from: Nanos,
    is_probed: bool,
}

impl Memory {
    pub fn new(lasts: Nanos) -> Self {
        Self { lasts, last_heard: None, since: None, count: 0, known: None, forgotten: None }
    }

    /// Whether whoever asks now is told at once.
    pub fn knows(&mut self, now: Nanos) -> bool {
        let Some(known) = self.known.as_mut().filter(|it| now < it.until) else { return false };
        let holds = now < known.probe_from || std::mem::replace(&mut known.is_probed, true);
        if holds {
            self.last_heard = Some(now);
        }
        holds
    }

    /// Somebody who asked at `asking` has heard it.
    pub fn told(&mut self, asking: Nanos, now: Nanos) {
        if self.forgotten.is_some_and(|it| asking <= it) {
            return;
        }
        let was_alone = self.last_heard.is_none_or(|it| asking >= it);
        self.last_heard = Some(now);
        if was_alone {
            return;
        }
        if self.since.is_none_or(|it| asking > it + self.lasts) {
            (self.since, self.count) = (Some(asking), 0);
        }
        self.count += 1;
        let until = asking + self.lasts;
        let goes_on = self.known.as_ref().is_some_and(|it| asking < it.until);
        if (goes_on || self.count >= RUSH) && self.known.as_ref().is_none_or(|it| it.until < until) {
            self.known = Some(Known { until, probe_from: asking + self.lasts / 2, is_probed: false });
        }
    }

    pub fn forget(&mut self, now: Nanos) {
        self.forgotten = Some(now);
        (self.since, self.count, self.known) = (None, 0, None);
    }
}
