//! What each client asked for and what it was told: the only thing that the checks believe.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::Value;

/// What a client wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Charge {
        amount: i64,
    },
    /// Placed and paid in one step.
    Buy,
    /// Placed for later payment.
    Place,
    Pay {
        order: u64,
    },
    Cancel {
        order: u64,
    },
    Refund {
        order: u64,
    },
    Claim {
        coupon: u64,
    },
}

/// A request and its final answer.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub user: u64,
    pub deed: Deed,
    /// When its first try was sent, and when the final answer was read.
    pub sent_at: Instant,
    pub told_at: Instant,
    pub status: u16,
    pub body: Value,
    /// Told that MySQL has it.
    pub persisted: bool,
    /// Which node answered, and in which of its lives.
    pub told_by: (usize, u32),
}

impl Entry {
    pub fn succeeded(&self) -> bool {
        self.status < 300
    }

    /// The order that a success is about.
    pub fn order(&self) -> Option<u64> {
        self.body["orderId"].as_u64()
    }

    /// The number of its event, where the answer names it.
    pub fn seq(&self) -> Option<u64> {
        matches!(self.deed, Deed::Buy | Deed::Place).then(|| self.order().map(|it| it / 1024)).flatten()
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// One node that serves the API.
pub struct Door {
    pub url: String,
    /// How often its process was started.
    pub life: AtomicU32,
}

/// Everything that clients were told in one run.
#[derive(Default)]
pub struct Ledger {
    pub entries: Mutex<Vec<Entry>>,
    /// Successes so far.
    acknowledged: AtomicU64,
    /// Tries of all requests so far.
    pub tries: AtomicU64,
    /// Answers that no engine should give: when, and what.
    pub odd: Mutex<Vec<(Instant, String)>>,
    /// Which lives of which nodes ended by a kill, and when.
    pub deaths: Mutex<Vec<((usize, u32), Instant)>>,
}

impl Ledger {
    pub fn note(&self, entry: Entry) {
        let succeeded = entry.succeeded();
        self.entries.lock().unwrap().push(entry);
        if succeeded {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}
