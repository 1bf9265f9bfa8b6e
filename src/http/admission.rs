//! Admission: a bounded number of requests is worked on at once; the rest is told so immediately,
//! so that throughput at ten times the load stays at the peak.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests in flight.
pub struct Admission {
    in_flight: AtomicUsize,
    most: usize,
    shed: metrics::Counter,
    told: metrics::Gauge,
}

/// A request that was let in; its place is free again when this is dropped.
pub struct InFlight<'a>(&'a Admission);

impl Admission {
    pub fn new(most: usize) -> Self {
        metrics::describe_counter!(
            "firstcome_http_shed_requests_total",
            "Requests answered 503 `overloaded` because too many were in flight"
        );
        let shed = metrics::counter!("firstcome_http_shed_requests_total");
        shed.increment(0);
        metrics::describe_gauge!("firstcome_http_requests_in_flight", "Requests that are worked on");
        let told = metrics::gauge!("firstcome_http_requests_in_flight");
        Self { in_flight: AtomicUsize::new(0), most, shed, told }
    }

    /// Lets a request in, or counts it as shed.
    pub fn enter(&self) -> Option<InFlight<'_>> {
        // Counted first and given back when over, so that two cannot take the last place.
        if self.in_flight.fetch_add(1, Ordering::Relaxed) < self.most {
            self.told.increment(1);
            return Some(InFlight(self));
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shed.increment(1);
        None
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.told.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_ends() {
        let admission = Admission::new(2);
        let first = admission.enter();
        let second = admission.enter();
        assert!(first.is_some() && second.is_some());
        assert!(admission.enter().is_none());
        drop(first);
        assert!(admission.enter().is_some());
    }
}
