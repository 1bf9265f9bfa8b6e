//! What things cost, measured on two shared cores (docs/performance.md, "Everything, in the slow hour", and the second table
//! of docs/scaling.md, which `scaling check` gives).

use crate::clock::{MS, Nanos, US};

/// Which script is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Script {
    OrderPlace,
    QuotaAsk,
    QuotaGive,
    QuotaRead,
    QuotaSettle,
    QuotaTake,
    QuotaGifts,
    EventsRead,
    OrderEnd,
}

pub const SCRIPTS: usize = 9;

pub const SCRIPT_NAMES: [&str; SCRIPTS] = [
    "order_place",
    "quota_ask",
    "quota_give",
    "quota_read",
    "quota_settle",
    "quota_take",
    "quota_gifts",
    "events_read",
    "order_end",
];

#[derive(Debug, Clone)]
pub struct Costs {
    /// A purchase in Redis, its share of `appendfsync always` included: "order script, pipelined by 16, appendfsync always".
    pub order: Nanos,
    /// The others, as parts of a purchase (`scaling check --units`): one that is refused, …
    pub refused: Nanos,
    pub read: Nanos,
    pub ask: Nanos,
    pub give: Nanos,
    /// … a gift for which too few units are here, …
    pub give_nothing: Nanos,
    pub take: Nanos,
    pub settle: Nanos,
    /// … and reading the log for MySQL: each time, alone on its connection, and each event.
    pub log_read: Nanos,
    pub log_event: Nanos,
    /// The API node's part of an order ("burst, one hot product": api), of each further script ("handler with one EVALSHA"
    /// less "handler without Redis"), and of an answer from memory ("claims after sold out").
    pub api_order: Nanos,
    pub api_script: Nanos,
    pub api_memory: Nanos,
    /// There and back between an API node and Redis, in one data centre.
    pub round_trip: Nanos,
    /// MySQL's core: each event ("MySQL rows, 1,000 orders a transaction"), each transaction (a hundred events cost half as
    /// much again, each, as a thousand do: src/worker/persist.rs), and each reading of `cells`.
    pub mysql_event: Nanos,
    pub mysql_commit: Nanos,
    pub mysql_look: Nanos,
    pub mysql_look_cell: Nanos,
    /// A commit's wait for the disk, which takes no core: the middle one, and how wide they spread (of the logarithm).
    pub commit_wait: Nanos,
    pub commit_wait_spread: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            order: 20_200,
            refused: 6 * US,
            read: 3_500,
            ask: 12 * US,
            give: 18 * US,
            give_nothing: 6 * US,
            take: 16 * US,
            settle: 9 * US,
            log_read: 15 * US,
            log_event: 1_500,
            api_order: 21_500,
            api_script: 5_400,
            api_memory: 13_100,
            round_trip: 200 * US,
            mysql_event: 26 * US,
            mysql_commit: 1_500 * US,
            mysql_look: 60 * US,
            mysql_look_cell: 400,
            commit_wait: 2 * MS,
            commit_wait_spread: 0.5,
        }
    }
}

impl Costs {
    /// What a script takes of Redis's core, but for a purchase and for reading the log.
    pub fn of(&self, script: Script) -> Nanos {
        match script {
            Script::OrderPlace | Script::OrderEnd => self.order,
            Script::QuotaAsk => self.ask,
            Script::QuotaGive => self.give,
            Script::QuotaRead | Script::QuotaGifts => self.read,
            Script::QuotaSettle => self.settle,
            Script::QuotaTake => self.take,
            Script::EventsRead => self.log_read,
        }
    }
}
