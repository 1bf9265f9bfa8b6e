//! The rules of the shop in plain Rust: what the contract and the headers in `lua/` promise, without Redis. Each rule
//! gives the outcome's word and the whole answer, and where something changed the event that tells of it.

use std::collections::{BTreeMap, BTreeSet};

use firstcome::cell::{Position, Seq};
use firstcome::coupon::{Discount, IssueId, IssueState};
use firstcome::event::{Event, StoredKey};
use firstcome::idempotency::{Fingerprint, Idempotency, Seen};
use firstcome::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use firstcome::money::Amount;
use firstcome::order::{Order, OrderFacts, OrderStatus};
use firstcome::product::SkuId;
use firstcome::ranking::Hour;
use firstcome::scripts::balance_charge::{BalanceCharge, Charge, ChargeRequest};
use firstcome::scripts::coupon_issue::IssuedCoupon;
use firstcome::scripts::idempotency_read::IdempotencyRead;
use firstcome::scripts::key_note::KeyNote;
use firstcome::scripts::settled::SettledOrder;
use firstcome::scripts::user_create::UserCreate;
use firstcome::time::Millis;

/// The epoch in which the test's cell is open.
pub const EPOCH: u64 = 1;

/// Number of the first entry of a sequence's log.
pub const OPENER: Seq = 100;

/// How long a key is remembered: short, so that sequences see it forgotten.
pub const KEY_TTL_MS: u64 = 2 * 3_600_000;

/// How long a pending order can be paid.
pub const PAY_WITHIN_MS: u64 = 600_000;

/// Most a wallet may hold after a charge.
pub const WALLET_LIMIT: Amount = 2_000;

/// An outcome of a script's header, and what the binding makes of it.
pub type Told<T> = (&'static str, T);

/// A shop: everything that one cell holds.
#[derive(Debug, Clone)]
pub struct Model {
    pub now_ms: Millis,
    /// Number of the oldest entry in the log, and of the newest.
    pub oldest: Seq,
    pub newest: Seq,
    /// What happened since it was last compared with the log.
    pub events: Vec<(Seq, Event)>,
    pub wallets: BTreeMap<UserId, Amount>,
    pub products: BTreeMap<ProductId, Listed>,
    /// Those no longer sold too, while their product is listed.
    pub skus: BTreeMap<SkuId, Sku>,
    pub bought: BTreeMap<(ProductId, UserId), i64>,
    pub campaigns: BTreeMap<CouponId, Campaign>,
    pub issues: BTreeMap<IssueId, Issue>,
    /// Every order that there ever was.
    pub orders: BTreeMap<OrderId, OrderRecord>,
    /// Units by hour and product, of the hours that have not left the ranking.
    pub sold: BTreeMap<(Hour, ProductId), i64>,
    pub rolled_to: Option<Hour>,
    /// By user (0: an administrator) and key.
    pub records: BTreeMap<(u64, String), Record>,
}

#[derive(Debug, Clone)]
pub struct Listed {
    pub name: String,
    /// In the order shown.
    pub options: Vec<OptionId>,
    /// Options of its life that are left out now.
    pub unlisted: BTreeSet<OptionId>,
    pub terms: Terms,
    pub set_at_ms: Millis,
    /// Number of the event that listed it first.
    pub born: Seq,
}

/// When it is on sale, and how many one user may buy.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Terms {
    pub starts_at_ms: Option<Millis>,
    pub ends_at_ms: Option<Millis>,
    pub limit: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Sku {
    pub name: String,
    /// `None`: no longer sold.
    pub price: Option<Amount>,
    pub remaining: i64,
    pub initial: i64,
    pub terms: Terms,
}

#[derive(Debug, Clone)]
pub struct Campaign {
    pub name: String,
    pub discount: Discount,
    pub min_order: Option<Amount>,
    pub quantity: i64,
    pub remaining: i64,
    pub starts_at_ms: Millis,
    pub ends_at_ms: Millis,
    pub expires_at_ms: Millis,
    pub set_at_ms: Millis,
}

#[derive(Debug, Clone, Copy)]
pub struct Issue {
    pub at_ms: Millis,
    pub state: IssueState,
}

#[derive(Debug, Clone)]
pub struct OrderRecord {
    pub status: OrderStatus,
    pub facts: OrderFacts,
    pub placed: Seq,
    /// Event and balance of the payment.
    pub paid: Option<(Seq, Amount)>,
    /// What the caller was told, of one that was paid later; only its hash knows that.
    pub payment: Option<SettledOrder>,
    pub ended_at_ms: Option<Millis>,
    /// Number of its last event.
    pub last: Seq,
    /// Whether Redis holds it: not if it was paid at once, and not once its last event was trimmed.
    pub is_held: bool,
}

/// What an idempotency key remembers.
#[derive(Debug, Clone)]
pub struct Record {
    pub fingerprint: Fingerprint,
    /// As the script writes it.
    pub text: String,
    pub first: FirstAnswer,
    pub until_ms: Millis,
}

#[derive(Debug, Clone)]
pub enum FirstAnswer {
    Charged(Charge),
    Restocked { seq: Seq, remaining: i64 },
    Issued(IssuedCoupon),
    Placed(Order, Option<Amount>),
    Settled(SettledOrder),
    Released,
}

/// How a request's key meets what is remembered.
pub enum Met {
    Free,
    Reused,
    Replayed(FirstAnswer),
}

impl Model {
    /// An empty shop; its log has the opener.
    pub fn new(now_ms: Millis) -> Self {
        Self {
            now_ms,
            oldest: OPENER,
            newest: OPENER,
            events: Vec::new(),
            wallets: BTreeMap::new(),
            products: BTreeMap::new(),
            skus: BTreeMap::new(),
            bought: BTreeMap::new(),
            campaigns: BTreeMap::new(),
            issues: BTreeMap::new(),
            orders: BTreeMap::new(),
            sold: BTreeMap::new(),
            rolled_to: None,
            records: BTreeMap::new(),
        }
    }

    pub fn user_create(&mut self, user: UserId) -> Told<UserCreate> {
        if let Some(balance) = self.wallets.get(&user) {
            return ("EXISTS", UserCreate::Exists { balance: *balance });
        }
        self.wallets.insert(user, 0);
        let seq = self.happened(Event::UserCreated { at_ms: self.now_ms, user });
        ("CREATED", UserCreate::Created { seq })
    }

    pub fn balance_get(&self, user: UserId) -> Told<Option<Amount>> {
        let balance = self.wallets.get(&user).copied();
        (if balance.is_some() { "FOUND" } else { "NOT_FOUND" }, balance)
    }

    pub fn balance_charge(&mut self, request: &ChargeRequest<'_>) -> Told<BalanceCharge> {
        let ChargeRequest { user, amount, .. } = *request;
        match self.met(user.get(), request.idempotency) {
            Met::Free => {}
            Met::Replayed(FirstAnswer::Charged(charge)) => {
                return ("REPLAYED", BalanceCharge::Charged { charge, seen: Seen::Replayed });
            }
            Met::Reused | Met::Replayed(_) => return ("KEY_REUSED", BalanceCharge::KeyReused),
        }
        let held = match self.wallets.get(&user) {
            None if !request.create => return ("USER_NOT_FOUND", BalanceCharge::UserNotFound),
            held => held.copied().unwrap_or(0),
        };
        let balance = held + amount;
        if balance > request.wallet_limit {
            return ("LIMIT_EXCEEDED", BalanceCharge::LimitExceeded { balance: held });
        }
        self.wallets.insert(user, balance);
        let (at_ms, key) = (self.now_ms, stored(request.idempotency));
        let seq = self.happened(Event::Charged { at_ms, user, amount, balance, key });
        let charge = Charge { seq, at_ms, balance };
        let text = format!("{seq} {at_ms} {balance}");
        self.remember(user.get(), request.idempotency, text, FirstAnswer::Charged(charge.clone()));
        ("CHARGED", BalanceCharge::Charged { charge, seen: Seen::New })
    }

    pub fn idempotency_read(&self, user: UserId, asked: &Idempotency) -> Told<IdempotencyRead> {
        match self.record(user.get(), asked) {
            None => ("UNUSED", IdempotencyRead::Unused),
            Some(it) if it.fingerprint != asked.fingerprint => ("KEY_REUSED", IdempotencyRead::KeyReused),
            Some(it) => ("REPLAYED", IdempotencyRead::Replayed { answer: it.text.clone() }),
        }
    }

    /// What was told of the payment of an order, wherever it is.
    pub fn payment(&self, order: OrderId) -> Option<SettledOrder> {
        let OrderRecord { facts, paid, .. } = self.orders.get(&order)?;
        let (seq, balance) = (*paid)?;
        let at_ms = facts.paid_at_ms.expect("it was paid");
        Some(SettledOrder { seq, at_ms, balance: Some(balance), facts: facts.clone() })
    }

    pub fn key_note(&mut self, user: UserId, asked: &Idempotency, paid: &SettledOrder) -> Told<KeyNote> {
        let (word, told) = match self.idempotency_read(user, asked) {
            (_, IdempotencyRead::KeyReused) => ("KEY_REUSED", KeyNote::KeyReused),
            (_, IdempotencyRead::Replayed { answer }) => ("REPLAYED", KeyNote::Replayed { answer }),
            (_, IdempotencyRead::Unused) => ("NOTED", KeyNote::Noted),
        };
        if told == KeyNote::Noted {
            let (at_ms, answer) = (self.now_ms, paid.to_string());
            let key = stored(Some(asked)).expect("a key");
            self.happened(Event::KeyNoted { at_ms, scope: user.get(), answer: answer.clone(), key });
            self.remember(user.get(), Some(asked), answer, FirstAnswer::Settled(paid.clone()));
        }
        (word, told)
    }

    fn record(&self, scope: u64, asked: &Idempotency) -> Option<&Record> {
        let record = self.records.get(&(scope, asked.key.as_str().to_owned()));
        record.filter(|it| it.until_ms >= self.now_ms)
    }

    pub fn met(&self, scope: u64, asked: Option<&Idempotency>) -> Met {
        let Some(asked) = asked else { return Met::Free };
        match self.record(scope, asked) {
            None => Met::Free,
            Some(it) if it.fingerprint != asked.fingerprint => Met::Reused,
            Some(it) => Met::Replayed(it.first.clone()),
        }
    }

    pub fn remember(&mut self, scope: u64, asked: Option<&Idempotency>, text: String, first: FirstAnswer) {
        let Some(Idempotency { key, fingerprint }) = asked else { return };
        let until_ms = self.now_ms + KEY_TTL_MS as i64;
        let record = Record { fingerprint: fingerprint.clone(), text, first, until_ms };
        self.records.insert((scope, key.as_str().to_owned()), record);
    }

    /// Appends an event; its number.
    pub fn happened(&mut self, event: Event) -> Seq {
        self.newest += 1;
        self.events.push((self.newest, event));
        self.newest
    }

    /// MySQL has all but the newest `behind` events: all but the newest `keep` of these go. How many.
    pub fn events_trim(&mut self, keep: u64, behind: u64) -> Told<u64> {
        let length = self.newest - self.oldest + 1;
        let dropped = length.saturating_sub(behind + keep);
        self.oldest += dropped;
        if dropped > 0 {
            for order in self.orders.values_mut() {
                order.is_held &= order.status == OrderStatus::Pending || order.last >= self.oldest;
                order.payment.take_if(|_| !order.is_held);
            }
        }
        ("TRIMMED", dropped)
    }

    pub fn position(seq: Seq) -> Position {
        Position { epoch: EPOCH, seq }
    }

    /// Times to come at which something begins or ends, the next one first.
    pub fn edges(&self) -> Vec<Millis> {
        let pending = self.orders.values().filter(|it| it.status == OrderStatus::Pending);
        let deadlines = pending.filter_map(|it| it.facts.expires_at_ms);
        let sales =
            self.products.values().flat_map(|it| [it.terms.starts_at_ms, it.terms.ends_at_ms]).flatten();
        let campaigns =
            self.campaigns.values().flat_map(|it| [it.starts_at_ms, it.ends_at_ms, it.expires_at_ms]);
        let records = self.records.values().map(|it| it.until_ms);
        let hours = self.sold.keys().flat_map(|(hour, _)| [hour + 1, hour + 72]).map(|it| it * 3_600_000);
        let mut edges: Vec<Millis> = deadlines
            .chain(sales)
            .chain(campaigns)
            .chain(records)
            .chain(hours)
            .filter(|it| *it > self.now_ms)
            .collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// The key as an event holds it.
pub fn stored(asked: Option<&Idempotency>) -> Option<StoredKey> {
    asked.map(|it| StoredKey { fingerprint: it.fingerprint.clone(), key: it.key.as_str().to_owned() })
}
