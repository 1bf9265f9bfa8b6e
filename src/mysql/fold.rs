//! A batch of events, folded to the rows that it means.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::catalogue::{CatalogueChange, Turn};
use super::datetime;
use super::moves::Moves;
use super::order_rows::OrderRows;
use super::tables::{
    COUPON_ISSUES, COUPON_STATES, COUPONS, DEAD_EVENTS, IDEMPOTENCY, LEDGER, OUTBOX, RESTOCKED_SKUS, SKUS,
    WALLETS,
};
use crate::cell::{CellId, Position, Seq, order_id};
use crate::coupon::{IssueId, IssueState};
use crate::event::{
    CouponIssuedEvent, Entry, Event, Holding, OrderEndedEvent, OrderPaidEvent, OrderSettledEvent, StoredKey,
};
use crate::ids::{CouponId, OrderId, UserId};
use crate::message::{MessageKind, cloud_event};
use crate::money::Amount;
use crate::order::{Order, OrderFacts, OrderStatus};
use crate::product::SkuId;
use crate::time::Millis;

/// The rows of a batch. Absolute values are folded to the last one.
#[derive(Default)]
pub(super) struct Fold {
    cell: u16,
    wallets: BTreeMap<UserId, (Amount, Seq)>,
    skus: BTreeMap<SkuId, (i64, Seq)>,
    coupons: BTreeMap<CouponId, (i64, Seq)>,
    moves: Moves,
    issues: BTreeMap<IssueId, IssueRow>,
    ledger: Vec<LedgerRow>,
    orders: OrderRows,
    /// In order.
    pub catalogue: Vec<CatalogueChange>,
    /// Units put in, or taken away.
    restocked: BTreeMap<SkuId, i64>,
    idempotency: Vec<IdempotencyRow>,
    outbox: Vec<OutboxRow>,
    pub dead: Vec<Dead>,
}

struct IssueRow {
    state: IssueState,
    seq: Seq,
    /// Number and time of the event that issued it, where that is in the batch.
    issued: Option<(Seq, NaiveDateTime)>,
}

struct LedgerRow {
    seq: Seq,
    user: UserId,
    kind: &'static str,
    amount: Amount,
    balance: Amount,
    order: Option<OrderId>,
    at: NaiveDateTime,
}

struct OutboxRow {
    seq: Seq,
    kind: MessageKind,
    payload: String,
    /// The event whose message must be confirmed first.
    after: Option<Seq>,
}

struct IdempotencyRow {
    scope: u64,
    key: StoredKey,
    seq: Seq,
    /// What Redis's record holds behind the fingerprint.
    answer: String,
    at: NaiveDateTime,
}

pub(super) struct Dead {
    position: Position,
    kind: String,
    body: String,
    error: String,
}

impl Dead {
    pub fn new(entry: &Entry, error: &str) -> Self {
        let Entry { position, kind, body } = entry.clone();
        Self {
            position,
            kind: kind.chars().take(64).collect(),
            body,
            error: error.chars().take(1_024).collect(),
        }
    }
}

impl Fold {
    pub fn new(cell: CellId) -> Self {
        Self { cell: cell.0, ..Self::default() }
    }

    pub fn add_absolute_values(&mut self, position: Position, event: &Event) {
        let seq = position.seq;
        event.absolute_values(CellId(self.cell), position, |holding, value| match holding {
            Holding::Wallet(user) => {
                self.wallets.insert(user, (value.unwrap_or(0), seq));
            }
            Holding::Sku(sku) => {
                self.skus.insert(sku, (value.unwrap_or(0), seq));
            }
            Holding::Coupon(coupon) => {
                // A forgotten one keeps what it had left.
                if let Some(remaining) = value {
                    self.coupons.insert(coupon, (remaining, seq));
                }
            }
            Holding::Moved(pool) => self.moves.hold(pool, value, seq),
            Holding::Issue(issue) => {
                if let Some(state) = value.and_then(IssueState::from_number) {
                    let issued = match event {
                        Event::CouponIssued(_) => Some((seq, datetime(event.at_ms()))),
                        _ => self.issues.get(&issue).and_then(|it| it.issued),
                    };
                    self.issues.insert(issue, IssueRow { state, seq, issued });
                }
            }
        });
    }

    pub fn add(&mut self, entry: &Entry, event: Event) {
        let position = entry.position;
        let seq = position.seq;
        self.add_absolute_values(position, &event);
        self.catalogue.extend(CatalogueChange::new(entry, &event));
        match event {
            Event::Opener { .. }
            | Event::UserCreated { .. }
            | Event::ProductSet(_)
            | Event::ProductDeleted { .. }
            | Event::CouponSet { .. }
            | Event::CouponForgotten { .. } => {}
            Event::Charged { at_ms, user, amount, balance, key } => {
                let at = datetime(at_ms);
                self.ledger.push(LedgerRow { seq, user, kind: "charge", amount, balance, order: None, at });
                self.add_key(user.get(), key, seq, at_ms, || format!("{balance}"));
            }
            Event::Restocked { at_ms, sku, delta, total, caller, key, .. } => {
                *self.restocked.entry(sku).or_default() += delta;
                self.add_key(caller, key, seq, at_ms, || format!("{total}"));
            }
            Event::QuotaMoved(moved) => self.moves.add(position, moved),
            Event::CouponIssued(issued) => self.add_issue(seq, issued),
            Event::KeyNoted { at_ms, scope, answer, key } => {
                let at = datetime(at_ms);
                self.idempotency.push(IdempotencyRow { scope, key, seq, answer, at });
            }
            Event::OrderPaid(paid) => self.add_paid(position, paid),
            Event::OrderPlaced { at_ms, facts, key, .. } => self.add_placed(seq, at_ms, facts, key),
            Event::OrderSettled(settled) => self.add_settled(seq, settled),
            Event::OrderEnded(ended) => self.add_ended(seq, ended),
            Event::CouponReleased { at_ms, order, facts, key, .. } => {
                self.add_key(facts.user.get(), key, seq, at_ms, String::new);
                self.orders.change(order, OrderStatus::Pending, facts, None);
            }
        }
    }

    fn add_issue(&mut self, seq: Seq, event: CouponIssuedEvent) {
        let CouponIssuedEvent { at_ms, issue, discount, expires_at_ms, key, .. } = event;
        self.add_key(issue.user.get(), key, seq, at_ms, || {
            let max_amount = discount.max_amount().map_or("-".to_owned(), |it| it.to_string());
            format!("{} {} {max_amount} {expires_at_ms}", discount.kind(), discount.value())
        });
    }

    fn add_paid(&mut self, position: Position, mut paid: OrderPaidEvent) {
        let (seq, at_ms, facts) = (position.seq, paid.at_ms, paid.facts());
        let Some(id) = order_id(CellId(self.cell), seq) else { return };
        let key = paid.key.take();
        self.add_key(facts.user.get(), key, seq, at_ms, || {
            format!(
                "{} {} {} {} {}",
                facts.total,
                facts.discount,
                paid.balance,
                coupon(&facts),
                prices(&facts)
            )
        });
        self.add_payment(id, seq, at_ms, &facts, paid.balance);
        self.orders.place(id, OrderStatus::Paid, facts);
    }

    fn add_placed(&mut self, seq: Seq, at_ms: Millis, facts: OrderFacts, key: Option<StoredKey>) {
        let Some(id) = order_id(CellId(self.cell), seq) else { return };
        self.add_key(facts.user.get(), key, seq, at_ms, || {
            let expires_at_ms = facts.expires_at_ms.unwrap_or_default();
            let (coupon, prices) = (coupon(&facts), prices(&facts));
            format!("{} {} - {coupon} {prices} {expires_at_ms}", facts.total, facts.discount)
        });
        self.orders.place(id, OrderStatus::Pending, facts);
    }

    fn add_settled(&mut self, seq: Seq, event: OrderSettledEvent) {
        let OrderSettledEvent { at_ms, order, facts, balance, key, .. } = event;
        self.add_payment(order, seq, at_ms, &facts, balance);
        self.add_key(facts.user.get(), key, seq, at_ms, || format!("{balance} {facts}"));
        self.orders.change(order, OrderStatus::Paid, facts, None);
    }

    fn add_ended(&mut self, seq: Seq, event: OrderEndedEvent) {
        let OrderEndedEvent { at_ms, order: id, end, facts, balance, remaining, paid_seq, key, .. } = event;
        for (line, left) in facts.lines.iter().zip(remaining) {
            // Units of a SKU that went with its product are nowhere any more.
            if left.is_none() {
                *self.restocked.entry(line.sku).or_default() -= i64::from(line.quantity);
            }
        }
        if let Some(balance) = balance {
            let amount = facts.total - facts.discount;
            self.add_ledger(seq, "refund", amount, balance, id, at_ms, facts.user);
            let order = facts.order(id, end, Some(at_ms));
            self.add_message(seq, MessageKind::OrderRefunded, &order, Some(paid_seq));
        }
        self.add_key(facts.user.get(), key, seq, at_ms, || {
            let balance = balance.map_or("-".to_owned(), |it| it.to_string());
            format!("{balance} {facts}")
        });
        self.orders.change(id, end, facts, Some(at_ms));
    }

    fn add_payment(&mut self, id: OrderId, seq: Seq, at_ms: Millis, facts: &OrderFacts, balance: Amount) {
        self.add_ledger(seq, "payment", facts.discount - facts.total, balance, id, at_ms, facts.user);
        self.add_message(seq, MessageKind::OrderPaid, &facts.order(id, OrderStatus::Paid, None), None);
        self.orders.pay(id, seq, facts, at_ms);
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    fn add_ledger(
        &mut self,
        seq: Seq,
        kind: &'static str,
        amount: Amount,
        balance: Amount,
        order: OrderId,
        at_ms: Millis,
        user: UserId,
    ) {
        let (order, at) = (Some(order), datetime(at_ms));
        self.ledger.push(LedgerRow { seq, user, kind, amount, balance, order, at });
    }

    fn add_message(&mut self, seq: Seq, kind: MessageKind, order: &Order, after: Option<Seq>) {
        let payload = cloud_event(kind, CellId(self.cell), seq, order);
        self.outbox.push(OutboxRow { seq, kind, payload, after });
    }

    fn add_key(
        &mut self,
        scope: u64,
        key: Option<StoredKey>,
        seq: Seq,
        at_ms: Millis,
        fields: impl FnOnce() -> String,
    ) {
        if let Some(key) = key {
            let answer = format!("{seq} {at_ms} {}", fields()).trim_end().to_owned();
            self.idempotency.push(IdempotencyRow { scope, key, seq, answer, at: datetime(at_ms) });
        }
    }

    /// Writes all rows, inside a transaction that holds the cell's row.
    pub async fn write(&self, turn: Turn, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        for change in &self.catalogue {
            change.write(CellId(self.cell), turn, connection).await?;
        }
        self.write_absolute_values(connection).await?;
        self.write_issues(connection).await?;
        self.orders.write(CellId(self.cell), turn, connection).await?;
        self.write_ledger(connection).await?;
        let row = |to: &mut MySqlArguments, it: &IdempotencyRow| {
            to.add(it.scope)?;
            to.add(&it.key.key)?;
            to.add(it.key.fingerprint.as_str())?;
            to.add(self.cell)?;
            to.add(it.seq)?;
            to.add(&it.answer)?;
            to.add(it.at)
        };
        IDEMPOTENCY.execute(connection, &self.idempotency, row).await?;
        let row = |to: &mut MySqlArguments, it: &OutboxRow| {
            to.add(self.cell)?;
            to.add(it.seq)?;
            to.add(it.kind.routing_key())?;
            to.add(&it.payload)?;
            // Number 0 is no event's: it says that this row came behind later ones, see `outbox::confirm`.
            to.add(it.after.or((turn == Turn::Late).then_some(0)))
        };
        OUTBOX.execute(connection, &self.outbox, row).await?;
        let row = |to: &mut MySqlArguments, it: &Dead| {
            to.add(self.cell)?;
            to.add(it.position.seq)?;
            to.add(it.position.epoch)?;
            to.add(&it.kind)?;
            to.add(&it.body)?;
            to.add(&it.error)
        };
        DEAD_EVENTS.execute(connection, &self.dead, row).await
    }

    async fn write_absolute_values(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let wallets: Vec<_> = self.wallets.iter().collect();
        let row = |to: &mut MySqlArguments, (user, (balance, seq)): &(&UserId, &(Amount, Seq))| {
            to.add(user.get())?;
            to.add(self.cell)?;
            to.add(balance)?;
            to.add(seq)
        };
        WALLETS.execute(connection, &wallets, row).await?;
        let skus: Vec<_> = self.skus.iter().collect();
        let row = |to: &mut MySqlArguments, (sku, (remaining, seq)): &(&SkuId, &(i64, Seq))| {
            to.add(sku.product.get())?;
            to.add(sku.option.get())?;
            to.add(self.cell)?;
            to.add(remaining)?;
            to.add(seq)
        };
        SKUS.execute(connection, &skus, row).await?;
        let restocked: Vec<_> = self.restocked.iter().collect();
        let row = |to: &mut MySqlArguments, (sku, delta): &(&SkuId, &i64)| {
            to.add(sku.product.get())?;
            to.add(sku.option.get())?;
            to.add(self.cell)?;
            to.add(delta)
        };
        RESTOCKED_SKUS.execute(connection, &restocked, row).await?;
        let coupons: Vec<_> = self.coupons.iter().collect();
        let row = |to: &mut MySqlArguments, (coupon, (remaining, seq)): &(&CouponId, &(i64, Seq))| {
            to.add(coupon.get())?;
            to.add(self.cell)?;
            to.add(remaining)?;
            to.add(seq)
        };
        COUPONS.execute(connection, &coupons, row).await?;
        self.moves.write(CellId(self.cell), connection).await
    }

    async fn write_issues(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let state = |to: &mut MySqlArguments, (id, it): &(&IssueId, &IssueRow)| {
            to.add(id.coupon.get())?;
            to.add(id.user.get())?;
            to.add(self.cell)?;
            to.add(it.state.as_str())?;
            to.add(it.state.order().map(|it| it.get()))
        };
        let (issued, changed): (Vec<_>, Vec<_>) = self.issues.iter().partition(|(_, it)| it.issued.is_some());
        let row = |to: &mut MySqlArguments, row: &(&IssueId, &IssueRow)| {
            state(to, row)?;
            to.add(row.1.issued.map(|it| it.1))?;
            to.add(row.1.issued.map(|it| it.0))?;
            to.add(row.1.seq)
        };
        COUPON_ISSUES.execute(connection, &issued, row).await?;
        let row = |to: &mut MySqlArguments, row: &(&IssueId, &IssueRow)| {
            state(to, row)?;
            to.add(row.1.seq)?;
            to.add(row.1.seq)
        };
        COUPON_STATES.execute(connection, &changed, row).await
    }

    async fn write_ledger(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let row = |to: &mut MySqlArguments, it: &LedgerRow| {
            to.add(self.cell)?;
            to.add(it.seq)?;
            to.add(it.user.get())?;
            to.add(it.kind)?;
            to.add(it.amount)?;
            to.add(it.balance)?;
            to.add(it.order.map(|it| it.get()))?;
            to.add(it.at)
        };
        LEDGER.execute(connection, &self.ledger, row).await
    }
}

fn coupon(facts: &OrderFacts) -> u64 {
    facts.coupon.map_or(0, CouponId::get)
}

fn prices(facts: &OrderFacts) -> String {
    let prices: Vec<String> = facts.lines.iter().map(|it| it.unit_price.to_string()).collect();
    prices.join(",")
}
