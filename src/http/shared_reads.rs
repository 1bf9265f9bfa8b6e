//! Lists and rankings, of which thousands ask at once: in a rush one read at a time for each query, whose answer is
//! rendered once and serves everybody who asked less than `list_staleness_ms` after it began. docs/decisions/0022 says why.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::problem::Problem;
use super::query::Query;

/// How many must ask for one thing within the time of an answer, before it is shared: who asks one by one, and buys in between,
/// sees what they bought.
const RUSH: u32 = 16;

/// Answers of one kind that are kept at once, and bytes of the largest one: at most 48 MiB in all.
const ENTRIES_MAX: usize = 64;
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shared {
    Products,
    Ranking,
    Coupons,
}

/// An answer as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    body: Bytes,
    link: Option<HeaderValue>,
    /// Strong, and the same on all nodes: of body and link.
    etag: HeaderValue,
}

impl Rendered {
    /// `link` leads to the next page.
    pub fn new(entries: &impl Serialize, link: Option<HeaderValue>) -> Self {
        let body = serde_json::to_vec(entries).expect("answers are JSON");
        let mut hash = Sha256::new_with_prefix(&body);
        // JSON holds no NUL, so a body cannot end in what another one's link begins with.
        hash.update([0]);
        hash.update(link.as_ref().map_or(&[][..], HeaderValue::as_bytes));
        let tag = u128::from_be_bytes(hash.finalize()[..16].try_into().expect("16 of 32 bytes"));
        let etag = HeaderValue::try_from(format!("\"{tag:032x}\"")).expect("hexadecimal digits");
        Self { body: body.into(), link, etag }
    }

    /// The answer for who may have it already.
    pub fn answer(self, held: &IfNoneMatch) -> Response {
        let Self { body, link, etag } = self;
        // A browser asks each time; nobody else keeps what was asked for with a token (RFC 9111 §3.5).
        let cache = (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if held.names(&etag) {
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), cache]).into_response();
        }
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = ([json, (header::ETAG, etag), cache], body).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// The answers that a client has, by `If-None-Match`.
pub struct IfNoneMatch(Vec<HeaderValue>);

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()))
    }
}

impl IfNoneMatch {
    /// By the weak comparison (RFC 9110 §13.1.2). Our tags have no commas.
    fn names(&self, etag: &HeaderValue) -> bool {
        let tags = self.0.iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
        tags.map(<[u8]>::trim_ascii).any(|it| it == b"*" || it.strip_prefix(b"W/").unwrap_or(it) == etag)
    }
}

/// A read that is on its way, or its outcome.
struct Flight {
    began: Instant,
    outcome: OnceCell<Result<Rendered, Problem>>,
}

/// Who asks for one thing.
struct Asked {
    /// The first one that is counted, and the number of those.
    since: Instant,
    count: u32,
    newest: Option<Arc<Flight>>,
}

/// What is asked for of one kind, by query.
type Flights = HashMap<Query, Asked>;

/// The reads of one node.
pub struct SharedReads {
    lasts: Duration,
    rush: u32,
    flights: Mutex<[Flights; 3]>,
}

impl SharedReads {
    pub fn new(staleness_ms: u64) -> Self {
        Self { lasts: Duration::from_millis(staleness_ms), rush: RUSH, flights: Mutex::default() }
    }

    /// What `read` gives, now or less than the stated time before. Who waits for a read that fails is told of that;
    /// who comes later reads anew.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn get<F>(&self, what: Shared, query: &Query, read: impl Fn() -> F) -> Result<Rendered, Problem>
    where
        F: Future<Output = Result<Rendered, Problem>>,
    {
        if self.lasts.is_zero() {
            return read().await;
        }
        let asked = Instant::now();
        loop {
            let Some(flight) = self.flight(what, query, asked) else { return read().await };
            let rendered = flight.outcome.get_or_init(&read).await.clone()?;
            if rendered.body.len() > KEPT_BYTES_MAX {
                self.drop_flight(what, query, &flight);
            }
            // One that took long may have begun too early for who joined it late. They share the next one.
            if self.serves(&flight, asked) {
                return Ok(rendered);
            }
        }
    }

    /// Ends what is kept, and lets nobody join what is on its way: an administrator has changed something, and sees it.
    pub fn forget(&self) {
        self.flights.lock().expect("no panic while held").iter_mut().for_each(HashMap::clear);
    }

    /// The read to share, begun now if need be; `None`: few ask for this, or for too many other things.
    fn flight(&self, what: Shared, query: &Query, now: Instant) -> Option<Arc<Flight>> {
        let mut flights = self.flights.lock().expect("no panic while held");
        let flights = &mut flights[what as usize];
        if !flights.contains_key(query) {
            if flights.len() >= ENTRIES_MAX {
                flights.retain(|_, it| now < it.since + self.lasts);
            }
            if flights.len() >= ENTRIES_MAX {
                return None;
            }
            flights.insert(query.clone(), Asked { since: now, count: 0, newest: None });
        }
        let asked = flights.get_mut(query)?;
        if now >= asked.since + self.lasts {
            // A rush that goes on shares from its first request.
            let goes_on = asked.count > self.rush && now < asked.since + 2 * self.lasts;
            (asked.since, asked.count) = (now, if goes_on { self.rush } else { 0 });
        }
        asked.count += 1;
        if asked.count <= self.rush {
            return None;
        }
        let of_use = asked.newest.take().filter(|it| match it.outcome.get() {
            // Also where it began too early: one read at a time.
            None => true,
            Some(Ok(_)) => self.serves(it, now),
            Some(Err(_)) => false,
        });
        Some(asked.newest.insert(of_use.unwrap_or_else(|| Arc::new(Flight::begun()))).clone())
    }

    fn serves(&self, flight: &Flight, asked: Instant) -> bool {
        asked < flight.began + self.lasts
    }

    fn drop_flight(&self, what: Shared, query: &Query, flight: &Arc<Flight>) {
        let mut flights = self.flights.lock().expect("no panic while held");
        let flights = &mut flights[what as usize];
        if let Some(asked) = flights.get_mut(query) {
            asked.newest.take_if(|it| Arc::ptr_eq(it, flight));
        }
    }
}

impl Flight {
    fn begun() -> Self {
        Self { began: Instant::now(), outcome: OnceCell::new() }
    }
}

#[cfg(test)]
mod tests;
