//! How many requests one caller may send. Each node counts for itself, and forgets whom it need not remember.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, Request, header};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

use super::address::sender;
use super::problem::{Problem, ProblemKind};
use crate::config::{List, Network, Settings};
use crate::ids::UserId;

/// How often those are forgotten who have sent nothing lately. Memory is bounded by who sends something in this
/// time: some 100 bytes each.
const SWEEP: Duration = Duration::from_secs(10);

/// The limits of the settings; one that is off costs a look.
pub struct Limits {
    users: Option<Limit<UserId>>,
    addresses: Option<Limit<IpAddr>>,
    trusted_proxies: List<Network>,
}

impl Limits {
    pub fn new(settings: &Settings) -> Self {
        metrics::describe_counter!(
            "firstcome_http_rate_limited_requests_total",
            "Requests answered 429 `rate_limited`"
        );
        let burst_seconds = settings.rate_limit_burst_seconds;
        Self {
            users: Limit::new("user", settings.rate_limit_user_per_second, burst_seconds),
            addresses: Limit::new("address", settings.rate_limit_address_per_second, burst_seconds),
            trusted_proxies: settings.trusted_proxies.clone(),
        }
    }

    /// Counts a request for the address it comes from.
    pub fn count_address<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let Some(limit) = &self.addresses else { return Ok(()) };
        match sender(request.extensions(), request.headers(), &self.trusted_proxies) {
            Some(address) => limit.count(address),
            None => Ok(()),
        }
    }

    /// Counts a request for the user who sent it.
    pub fn count_user(&self, user: UserId) -> Result<(), Problem> {
        self.users.as_ref().map_or(Ok(()), |it| it.count(user))
    }
}

/// One limit for each of many callers.
struct Limit<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    limiter: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    since: Instant,
    /// When callers are to be forgotten again, in milliseconds from `since`.
    next_sweep_ms: AtomicU64,
    refused: metrics::Counter,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(by: &'static str, per_second: u32, burst_seconds: u32) -> Option<Self> {
        Self::with_clock(by, per_second, burst_seconds, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limit<K, C> {
    /// `None`: there is no limit.
    fn with_clock(by: &'static str, per_second: u32, burst_seconds: u32, clock: C) -> Option<Self> {
        let refused = metrics::counter!("firstcome_http_rate_limited_requests_total", "by" => by);
        refused.increment(0);
        let per_second = NonZeroU32::new(per_second)?;
        let burst = NonZeroU32::new(burst_seconds).map_or(per_second, |it| per_second.saturating_mul(it));
        Some(Self {
            limiter: RateLimiter::dashmap_with_clock(
                Quota::per_second(per_second).allow_burst(burst),
                clock.clone(),
            ),
            clock,
            since: Instant::now(),
            next_sweep_ms: AtomicU64::new(SWEEP.as_millis() as u64),
            refused,
        })
    }

    fn count(&self, caller: K) -> Result<(), Problem> {
        self.sweep(self.since.elapsed());
        self.limiter.check_key(&caller).map_err(|until: NotUntil<C::Instant>| {
            self.refused.increment(1);
            let wait = until.wait_time_from(self.clock.now());
            // Whole seconds, never too few.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = HeaderValue::from(seconds.max(1));
            Problem::new(ProblemKind::RateLimited).with_header((header::RETRY_AFTER, seconds))
        })
    }

    /// Forgets callers who could send their whole burst again, when it is time to.
    fn sweep(&self, elapsed: Duration) {
        let (now_ms, due_ms) = (elapsed.as_millis() as u64, self.next_sweep_ms.load(Ordering::Relaxed));
        let next_ms = now_ms + SWEEP.as_millis() as u64;
        // Of those that find it due, the one that sets the next time does it.
        let claim = || {
            self.next_sweep_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now_ms >= due_ms && claim() {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn retry_after(refused: Result<(), Problem>) -> u64 {
        let problem = refused.expect_err("a refusal");
        assert_eq!(problem.kind(), ProblemKind::RateLimited);
        let (name, value) = problem.header().expect("a header");
        assert_eq!(name, header::RETRY_AFTER);
        value.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_the_rest_is_told_when_to_come_back() {
        let clock = FakeRelativeClock::default();
        let limit = Limit::with_clock("user", 1, 3, clock.clone()).unwrap();
        for _ in 0..3 {
            assert!(limit.count(7).is_ok());
        }
        assert_eq!(retry_after(limit.count(7)), 1);
        assert!(limit.count(8).is_ok(), "another caller");
        clock.advance(Duration::from_millis(400));
        assert_eq!(retry_after(limit.count(7)), 1);
        clock.advance(Duration::from_millis(600));
        assert!(limit.count(7).is_ok(), "the time that was told is over");
        assert_eq!(retry_after(limit.count(7)), 1);
        assert!(Limit::<u64>::new("user", 0, 3).is_none());
    }

    #[test]
    fn callers_who_are_gone_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let limit = Limit::with_clock("user", 10, 2, clock.clone()).unwrap();
        for caller in 0..10_000 {
            assert!(limit.count(caller).is_ok());
        }
        limit.sweep(SWEEP);
        assert_eq!(limit.limiter.len(), 10_000, "all of them are remembered as long as it matters");
        clock.advance(Duration::from_secs(3));
        limit.sweep(SWEEP);
        assert_eq!(limit.limiter.len(), 10_000, "not due yet");
        assert!(limit.count(0).is_ok());
        limit.sweep(2 * SWEEP);
        assert_eq!(limit.limiter.len(), 1);
    }
}
