//! After a run: what clients were told, against what MySQL has and RabbitMQ was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::effects::Effects;
use super::figures::Figures;
use super::ledger::{Deed, Entry};
use super::shop;
use super::stage::Stage;

/// A note is written every second; a node that dies takes what it told since its last one. More, where MySQL hung.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// Refusals that shoppers meet on an engine that works.
const REFUSALS: [&str; 9] = [
    "insufficient_balance",
    "out_of_stock",
    "invalid_coupon",
    "balance_limit_exceeded",
    "coupon_sold_out",
    "coupon_already_issued",
    "order_not_payable",
    "order_not_cancellable",
    "order_not_refundable",
];

/// What a run's checks found.
#[derive(Default)]
pub struct Findings {
    /// Broken promises, one line each.
    pub broken: Vec<String>,
    acknowledged: u64,
    persisted: u64,
    refused: u64,
    /// Acknowledged, gone, and inside a range that was reported.
    lost: u64,
    /// Acknowledged, gone, not reported, and every node that told it died before its note.
    excused: u64,
    /// Events that the engine counts as lost: those too that were acknowledged to a client that did not listen.
    reported: u64,
    /// Acknowledged, gone, and not reported: must be none.
    undetected: u64,
    /// Told as persisted and gone: must be none.
    unkept: u64,
    /// Effects beyond what clients asked for: must be none.
    doubled: u64,
    recoveries: u64,
    messages: u64,
}

impl Findings {
    pub fn broken(&mut self, what: String) {
        self.broken.push(what);
    }

    pub async fn check(&mut self, stage: &mut Stage<'_>) {
        stage.remember_losses().await;
        let entries = stage.ledger.entries.lock().unwrap().clone();
        let (told, refused): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::succeeded);
        let effects = Effects::read(stage).await;
        self.recoveries = stage.lost.len() as u64;
        self.reported = stage.lost_events;
        (self.acknowledged, self.refused) = (told.len() as u64, refused.len() as u64);
        self.persisted = told.iter().filter(|it| it.persisted).count() as u64;

        self.odd_answers(stage, &refused, &effects);
        let missing = self.keys_and_effects(&told, &refused, &effects);
        self.losses(stage, &told, &missing);
        effects.values(&told, &missing, &mut self.broken);
        self.doubled += effects.totals(&told, &missing, &mut self.broken);
        self.messages(&effects, &stage.messages);
        if self.reported > 0 && !stage.lossy {
            self.broken(format!("{} events are reported lost, but nothing could be", self.reported));
        }
        for (name, number) in [
            ("dead events", stage.number("SELECT COUNT(*) FROM dead_events").await),
            ("messages in the outbox", stage.number("SELECT COUNT(*) FROM outbox").await),
        ] {
            if number != 0 {
                self.broken(format!("{number} {name}"));
            }
        }
    }

    /// Refusals that no shopper should meet, and 500 where nothing was made to fail.
    fn odd_answers(&mut self, stage: &Stage<'_>, refused: &[Entry], effects: &Effects) {
        for entry in refused.iter().filter(|it| !REFUSALS.contains(&it.code())) {
            // An order that was lost does not exist.
            let unknown = match entry.deed {
                Deed::Pay { order } | Deed::Cancel { order } | Deed::Refund { order } => {
                    !effects.orders.contains_key(&order)
                }
                Deed::Charge { .. } | Deed::Buy | Deed::Place | Deed::Claim { .. } => false,
            };
            if !(entry.code() == "order_not_found" && unknown) {
                self.broken.push(format!("{} {:?} was answered {}", entry.key, entry.deed, entry.body));
            }
        }
        for (at, what) in stage.ledger.odd.lock().unwrap().iter() {
            if !stage.broken_scripts.iter().any(|(from, to)| (from..=to).contains(&at)) {
                self.broken.push(format!("500 though nothing was made to fail: {what}"));
            }
        }
    }

    /// Keys and effects are one to one. Returns the keys that were acknowledged and have no effect.
    fn keys_and_effects(&mut self, told: &[Entry], refused: &[Entry], effects: &Effects) -> BTreeSet<String> {
        let by_key: BTreeMap<&str, &Entry> = told.iter().map(|it| (it.key.as_str(), it)).collect();
        for entry in refused.iter().filter(|it| effects.keys.contains_key(&it.key)) {
            self.broken.push(format!("{} was refused ({}) and has an effect", entry.key, entry.code()));
        }
        let mut numbers = BTreeSet::new();
        for (key, stored) in &effects.keys {
            if !numbers.insert(stored.seq) {
                self.broken.push(format!("event {} has two keys", stored.seq));
            }
            match by_key.get(key.as_str()) {
                None => self.broken.push(format!("{key} has an effect that nobody was told of")),
                Some(entry) if entry.user != stored.user => {
                    self.broken.push(format!("{key} is stored for user {}, not {}", stored.user, entry.user));
                }
                Some(_) => {}
            }
        }
        let mut orders = BTreeMap::new();
        for entry in told.iter().filter(|it| it.seq().is_some()) {
            if let Some(other) = orders.insert(entry.seq(), &entry.key) {
                self.doubled += 1;
                self.broken.push(format!("{} and {other} were told of the same order", entry.key));
            }
        }
        let missing: BTreeSet<String> =
            told.iter().map(|it| &it.key).filter(|it| !effects.keys.contains_key(*it)).cloned().collect();
        for entry in told.iter().filter(|it| missing.contains(&it.key)) {
            if matches!(entry.deed, Deed::Buy | Deed::Place)
                && entry.order().is_some_and(|it| effects.orders.contains_key(&it))
            {
                self.broken.push(format!("order {:?} of {} is another's", entry.order(), entry.key));
            }
        }
        missing
    }

    /// What was acknowledged and is gone must have been reported, and never have been told as persisted.
    fn losses(&mut self, stage: &Stage<'_>, told: &[Entry], missing: &BTreeSet<String>) {
        let deaths = stage.ledger.deaths.lock().unwrap().clone();
        for entry in told.iter().filter(|it| missing.contains(&it.key)) {
            if entry.persisted {
                self.unkept += 1;
                self.broken.push(format!("{} was told as persisted and is gone: {}", entry.key, entry.body));
                continue;
            }
            // An answer that does not name its event: what was told before and after bounds it.
            let seqs = |passes: &dyn Fn(&Entry) -> bool| {
                told.iter().filter(|it| passes(it)).filter_map(Entry::seq).collect::<Vec<u64>>()
            };
            let (from, to) = match entry.seq() {
                Some(seq) => (seq, seq),
                None => (
                    seqs(&|it| it.told_at < entry.sent_at).into_iter().max().unwrap_or(0) + 1,
                    seqs(&|it| it.sent_at > entry.told_at).into_iter().min().unwrap_or(u64::MAX) - 1,
                ),
            };
            let reported = stage.lost.values().any(|(kept, lost_to)| from <= *lost_to && to > *kept);
            let died = deaths
                .iter()
                .find(|(life, _)| *life == entry.told_by)
                .is_some_and(|(_, at)| *at < entry.told_at + NOTE_EVERY + stage.longest_silence);
            // Where only a range is known, it may touch one that was reported before, though the node that told it died.
            if reported && (entry.seq().is_some() || !died) {
                self.lost += 1;
            } else if died {
                self.excused += 1;
            } else {
                self.undetected += 1;
                let reports = &stage.lost;
                self.broken.push(format!("{} ({from} to {to}) is gone, unreported: {reports:?}", entry.key));
            }
        }
        if self.lost > self.reported {
            self.broken.push(format!("{} events are gone, {} were reported", self.lost, self.reported));
        }
        // Numbers that were never handed out must not be counted.
        if self.reported > stage.ledger.tries.load(Ordering::Relaxed) {
            self.broken.push(format!("{} events are reported lost, more than ever were", self.reported));
        }
    }

    /// Each paid order was published under one message id, each refund too, and nothing else was.
    fn messages(&mut self, effects: &Effects, messages: &[Value]) {
        self.messages = messages.len() as u64;
        let mut published: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
        for message in messages {
            let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            let order = message["data"]["orderId"].as_u64().unwrap_or_default();
            published.entry((text("type"), order)).or_default().insert(text("id"));
        }
        let mut expected = BTreeSet::new();
        for (id, order) in &effects.orders {
            if matches!(order.status.as_str(), "paid" | "refunded") {
                expected.insert(("com.firstcome.order.paid".to_owned(), *id));
            }
            if order.status == "refunded" {
                expected.insert(("com.firstcome.order.refunded".to_owned(), *id));
            }
        }
        for what in &expected {
            match published.get(what).map(BTreeSet::len) {
                Some(1) => {}
                None => self.broken.push(format!("{what:?} was never published")),
                Some(ids) => self.broken.push(format!("{what:?} was published under {ids} ids")),
            }
        }
        for what in published.keys().filter(|it| !expected.contains(*it)) {
            self.broken.push(format!("{what:?} was published and is not so"));
        }
    }

    pub fn count(&self, figures: &mut Figures, tries: u64) {
        for (what, number) in [
            ("requests sent, retries included", tries),
            ("acknowledged", self.acknowledged),
            ("acknowledged as persisted", self.persisted),
            ("refused", self.refused),
            ("recoveries, first openings included", self.recoveries),
            ("acknowledged events lost and reported", self.lost),
            ("acknowledged events lost with every node that told them", self.excused),
            ("events counted as lost by the engine", self.reported),
            ("messages published", self.messages),
            ("acknowledged events lost without a report", self.undetected),
            ("acknowledged as persisted and lost", self.unkept),
            ("effects that happened twice", self.doubled),
            ("promises broken", self.broken.len() as u64),
        ] {
            figures.add(what, number);
        }
        debug_assert!(self.acknowledged >= shop::USERS);
    }
}
