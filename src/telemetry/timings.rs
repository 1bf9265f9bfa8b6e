//! Histograms of one name whose labels are learnt as they occur.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

use metrics::Histogram;

/// Each histogram is asked of the recorder once: asking allocates and hashes the labels, and that on every request.
pub struct Timings<Rest> {
    make: fn(&str, Rest) -> Histogram,
    known: RwLock<HashMap<String, Vec<(Rest, Histogram)>>>,
}

impl<Rest: Copy + PartialEq> Timings<Rest> {
    /// `make` names a histogram by its first label and the rest of them.
    pub fn new(make: fn(&str, Rest) -> Histogram) -> Self {
        Self { make, known: RwLock::default() }
    }

    pub fn record(&self, first: &str, rest: Rest, elapsed: Duration) {
        if let Some(histogram) = find(&self.known.read().expect("no panic while held"), first, rest) {
            return histogram.record(elapsed);
        }
        // Two who find none at the same time make the same one.
        let histogram = (self.make)(first, rest);
        histogram.record(elapsed);
        let mut known = self.known.write().expect("no panic while held");
        known.entry(first.to_owned()).or_default().push((rest, histogram));
    }
}

fn find<'a, Rest: PartialEq>(
    known: &'a HashMap<String, Vec<(Rest, Histogram)>>,
    first: &str,
    rest: Rest,
) -> Option<&'a Histogram> {
    known.get(first)?.iter().find(|it| it.0 == rest).map(|it| &it.1)
}
