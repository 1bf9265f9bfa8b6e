//! A batch of events, folded to the rows that it means.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::catalogue::CatalogueChange;
use super::datetime;
use super::tables::{
    COUPON_ISSUES, COUPON_STATES, COUPONS, DEAD_EVENTS, IDEMPOTENCY, LEDGER, ORDER_LINES, ORDERS, OUTBOX,
    PAYMENTS, SKUS, WALLETS,
};
use crate::cell::{CellId, Position, Seq};
use crate::coupon::{IssueId, IssueState};
use crate::event::{CouponIssuedEvent, Entry, Event, Holding, OrderPaidEvent, StoredKey};
use crate::ids::{CouponId, OrderId, UserId};
use crate::message::{MessageKind, cloud_event};
use crate::money::Amount;
use crate::product::SkuId;
use crate::time::Millis;

/// The rows of a batch. Absolute values are folded to the last one.
#[derive(Default)]
pub(super) struct Fold {
    cell: u16,
    wallets: BTreeMap<UserId, (Amount, Seq)>,
    skus: BTreeMap<SkuId, (i64, Seq)>,
    coupons: BTreeMap<CouponId, (i64, Seq)>,
    issues: BTreeMap<IssueId, IssueRow>,
    ledger: Vec<LedgerRow>,
    orders: Vec<OrderRow>,
    /// In order.
    catalogue: Vec<CatalogueChange>,
    idempotency: Vec<IdempotencyRow>,
    outbox: Vec<(Seq, MessageKind, String)>,
    pub dead: Vec<Dead>,
}

struct IssueRow {
    state: IssueState,
    seq: Seq,
    at: NaiveDateTime,
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

struct OrderRow {
    id: OrderId,
    seq: Seq,
    at: NaiveDateTime,
    paid: OrderPaidEvent,
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
            Holding::Issue(issue) => {
                if let Some(state) = value.and_then(IssueState::from_number) {
                    let at = datetime(event.at_ms());
                    let issued = self.issues.get(&issue).and_then(|it| it.issued);
                    self.issues.insert(issue, IssueRow { state, seq, at, issued });
                }
            }
        });
    }

    pub fn add(&mut self, position: Position, event: Event) {
        let seq = position.seq;
        self.add_absolute_values(position, &event);
        match event {
            Event::Opener { .. } | Event::UserCreated { .. } => {}
            Event::Charged { at_ms, user, amount, balance, key } => {
                let at = datetime(at_ms);
                self.ledger.push(LedgerRow { seq, user, kind: "charge", amount, balance, order: None, at });
                self.add_key(user.get(), key, seq, at_ms, || format!("{balance}"));
            }
            Event::ProductSet(set) => self.catalogue.push(CatalogueChange::Product(seq, set)),
            Event::Restocked { at_ms, sku, delta, remaining, caller, key } => {
                self.catalogue.push(CatalogueChange::Restocked(sku, delta));
                self.add_key(caller, key, seq, at_ms, || format!("{remaining}"));
            }
            Event::ProductDeleted { product, remaining, .. } => {
                self.catalogue.push(CatalogueChange::ProductDeleted(product, remaining));
            }
            Event::CouponSet { at_ms, coupon, .. } => {
                self.catalogue.push(CatalogueChange::Coupon(seq, at_ms, coupon));
            }
            Event::CouponIssued(issued) => self.add_issue(seq, issued),
            Event::CouponForgotten { coupon, .. } => {
                self.catalogue.push(CatalogueChange::CouponForgotten(coupon));
            }
            Event::OrderPaid(paid) => self.add_order(position, paid),
        }
    }

    fn add_issue(&mut self, seq: Seq, event: CouponIssuedEvent) {
        let CouponIssuedEvent { at_ms, issue, discount, expires_at_ms, key, .. } = event;
        if let Some(row) = self.issues.get_mut(&issue) {
            row.issued = Some((seq, datetime(at_ms)));
        }
        self.add_key(issue.user.get(), key, seq, at_ms, || {
            let max_amount = discount.max_amount().map_or("-".to_owned(), |it| it.to_string());
            format!("{} {} {max_amount} {expires_at_ms}", discount.kind(), discount.value())
        });
    }

    fn add_order(&mut self, position: Position, mut paid: OrderPaidEvent) {
        let (seq, at) = (position.seq, datetime(paid.at_ms));
        let Some(order) = paid.order(CellId(self.cell), position) else { return };
        let id = order.order_id;
        let message = cloud_event(MessageKind::OrderPaid, CellId(self.cell), seq, &order);
        self.outbox.push((seq, MessageKind::OrderPaid, message));
        self.ledger.push(LedgerRow {
            seq,
            user: paid.user,
            kind: "payment",
            amount: -order.paid,
            balance: paid.balance,
            order: Some(id),
            at,
        });
        let key = paid.key.take();
        self.add_key(paid.user.get(), key, seq, paid.at_ms, || {
            let coupon = paid.coupon.map_or(0, |it| it.get());
            let prices: Vec<String> = paid.lines.iter().map(|it| it.unit_price.to_string()).collect();
            format!("{} {} {} {coupon} {}", paid.total, paid.discount, paid.balance, prices.join(","))
        });
        self.orders.push(OrderRow { id, seq, at, paid });
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
            let answer = format!("{seq} {at_ms} {}", fields());
            self.idempotency.push(IdempotencyRow { scope, key, seq, answer, at: datetime(at_ms) });
        }
    }

    pub async fn write(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        for change in &self.catalogue {
            change.write(CellId(self.cell), connection).await?;
        }
        self.write_absolute_values(connection).await?;
        self.write_issues(connection).await?;
        self.write_orders(connection).await?;
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
        let row = |to: &mut MySqlArguments, (seq, kind, payload): &(Seq, MessageKind, String)| {
            to.add(self.cell)?;
            to.add(seq)?;
            to.add(kind.routing_key())?;
            to.add(payload)
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
        let coupons: Vec<_> = self.coupons.iter().collect();
        let row = |to: &mut MySqlArguments, (coupon, (remaining, seq)): &(&CouponId, &(i64, Seq))| {
            to.add(coupon.get())?;
            to.add(self.cell)?;
            to.add(remaining)?;
            to.add(seq)
        };
        COUPONS.execute(connection, &coupons, row).await
    }

    async fn write_issues(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let row = |to: &mut MySqlArguments, (id, it): &(&IssueId, &IssueRow)| {
            let (issued_seq, issued_at) = it.issued.unwrap_or((it.seq, it.at));
            to.add(id.coupon.get())?;
            to.add(id.user.get())?;
            to.add(self.cell)?;
            to.add(it.state.as_str())?;
            to.add(it.state.order().map(|it| it.get()))?;
            to.add(issued_at)?;
            to.add(issued_seq)?;
            to.add(it.seq)
        };
        let (issued, changed): (Vec<_>, Vec<_>) = self.issues.iter().partition(|(_, it)| it.issued.is_some());
        COUPON_ISSUES.execute(connection, &issued, row).await?;
        COUPON_STATES.execute(connection, &changed, row).await
    }

    async fn write_orders(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let row = |to: &mut MySqlArguments, OrderRow { id, seq, at, paid }: &OrderRow| {
            to.add(id.get())?;
            to.add(self.cell)?;
            to.add(seq)?;
            to.add(paid.user.get())?;
            to.add(paid.total)?;
            to.add(paid.discount)?;
            to.add(paid.total - paid.discount)?;
            to.add(paid.coupon.map(|it| it.get()))?;
            to.add(at)?;
            to.add(at)
        };
        ORDERS.execute(connection, &self.orders, row).await?;
        let lines: Vec<_> = self
            .orders
            .iter()
            .flat_map(|order| {
                order.paid.lines.iter().enumerate().map(|(line_no, line)| (order.id, line_no, line))
            })
            .collect();
        let row = |to: &mut MySqlArguments,
                   (id, line_no, line): &(OrderId, usize, &crate::event::PaidLine)| {
            to.add(id.get())?;
            to.add(*line_no as u8)?;
            to.add(line.sku.product.get())?;
            to.add(line.sku.option.get())?;
            to.add(line.quantity)?;
            to.add(line.unit_price)?;
            to.add(line.limited)
        };
        ORDER_LINES.execute(connection, &lines, row).await?;
        let row = |to: &mut MySqlArguments, OrderRow { id, seq, at, paid }: &OrderRow| {
            to.add(id.get())?;
            to.add(self.cell)?;
            to.add(seq)?;
            to.add(paid.user.get())?;
            to.add(paid.total - paid.discount)?;
            to.add(at)
        };
        PAYMENTS.execute(connection, &self.orders, row).await
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
