//! A batch of events, folded to the rows that it means.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::tables::{DEAD_EVENTS, IDEMPOTENCY, LEDGER, ORDER_LINES, ORDERS, OUTBOX, PAYMENTS, SKUS, WALLETS};
use crate::cell::{CellId, Position, Seq};
use crate::event::{Entry, Event, Holding, OrderPaidEvent, ProductSetEvent, StoredKey};
use crate::ids::{OrderId, UserId};
use crate::message::{MessageKind, cloud_event};
use crate::money::Amount;
use crate::product::SkuId;
use crate::time::{Millis, from_millis};

/// The rows of a batch. Absolute values are folded to the last one.
#[derive(Default)]
pub(super) struct Fold {
    cell: u16,
    wallets: BTreeMap<UserId, (Amount, Seq)>,
    skus: BTreeMap<SkuId, (i64, Seq)>,
    ledger: Vec<LedgerRow>,
    orders: Vec<OrderRow>,
    restocks: Vec<(SkuId, i64)>,
    products: Vec<(Seq, ProductSetEvent)>,
    idempotency: Vec<IdempotencyRow>,
    outbox: Vec<(Seq, MessageKind, String)>,
    pub dead: Vec<Dead>,
}

struct LedgerRow {
    seq: Seq,
    user: UserId,
    kind: &'static str,
    amount: Amount,
    balance: Amount,
    order: Option<OrderId>,
    at: DateTime<Utc>,
}

struct OrderRow {
    id: OrderId,
    seq: Seq,
    at: DateTime<Utc>,
    paid: OrderPaidEvent,
}

struct IdempotencyRow {
    scope: u64,
    key: StoredKey,
    seq: Seq,
    /// What Redis's record holds behind the fingerprint.
    answer: String,
    at: DateTime<Utc>,
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

    pub fn add_absolute_values(&mut self, seq: Seq, event: &Event) {
        event.absolute_values(|holding, value| match holding {
            Holding::Wallet(user) => {
                self.wallets.insert(user, (value, seq));
            }
            Holding::Sku(sku) => {
                self.skus.insert(sku, (value, seq));
            }
        });
    }

    pub fn add(&mut self, position: Position, event: Event) {
        let seq = position.seq;
        self.add_absolute_values(seq, &event);
        match event {
            Event::Opener { .. } | Event::UserCreated { .. } => {}
            Event::Charged { at_ms, user, amount, balance, key } => {
                let at = from_millis(at_ms);
                self.ledger.push(LedgerRow { seq, user, kind: "charge", amount, balance, order: None, at });
                self.add_key(user.get(), key, seq, at_ms, || format!("{balance}"));
            }
            Event::ProductSet(set) => self.products.push((seq, set)),
            Event::Restocked { at_ms, sku, delta, remaining, caller, key } => {
                self.restocks.push((sku, delta));
                self.add_key(caller, key, seq, at_ms, || format!("{remaining}"));
            }
            Event::OrderPaid(paid) => self.add_order(position, paid),
        }
    }

    fn add_order(&mut self, position: Position, mut paid: OrderPaidEvent) {
        let (seq, at) = (position.seq, from_millis(paid.at_ms));
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
            self.idempotency.push(IdempotencyRow { scope, key, seq, answer, at: from_millis(at_ms) });
        }
    }

    pub async fn write(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        for (seq, product) in &self.products {
            self.write_product(connection, *seq, product).await?;
        }
        for (sku, delta) in &self.restocks {
            sqlx::query("UPDATE skus SET restocked = restocked + ? WHERE product_id = ? AND option_id = ?")
                .bind(delta)
                .bind(sku.product.get())
                .bind(sku.option.get())
                .execute(&mut *connection)
                .await?;
        }
        self.write_absolute_values(connection).await?;
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
        SKUS.execute(connection, &skus, row).await
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

    /// Everything a product says but the units left, which are folded with those of its orders.
    async fn write_product(
        &self,
        connection: &mut MySqlConnection,
        seq: Seq,
        set: &ProductSetEvent,
    ) -> Result<(), sqlx::Error> {
        let options: Vec<String> = set.skus.iter().map(|it| it.option.to_string()).collect();
        sqlx::query(
            "INSERT INTO products (product_id, cell, name, options, sale_starts_at, sale_ends_at, limit_per_user, seq) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name), options = VALUES(options), \
             sale_starts_at = VALUES(sale_starts_at), sale_ends_at = VALUES(sale_ends_at), \
             limit_per_user = VALUES(limit_per_user), seq = VALUES(seq)",
        )
        .bind(set.product.get())
        .bind(self.cell)
        .bind(&set.name)
        .bind(options.join(","))
        .bind(set.starts_at_ms.map(from_millis))
        .bind(set.ends_at_ms.map(from_millis))
        .bind(set.limit_per_user)
        .bind(seq)
        .execute(&mut *connection)
        .await?;
        sqlx::query("UPDATE skus SET listed = 0 WHERE product_id = ?")
            .bind(set.product.get())
            .execute(&mut *connection)
            .await?;
        for sku in &set.skus {
            sqlx::query(
                "INSERT INTO skus (product_id, option_id, cell, name, price, listed, initial_stock, remaining, seq) \
                 VALUES (?, ?, ?, ?, ?, 1, ?, 0, 0) ON DUPLICATE KEY UPDATE name = VALUES(name), \
                 price = VALUES(price), listed = 1, initial_stock = VALUES(initial_stock)",
            )
            .bind(set.product.get())
            .bind(sku.option.get())
            .bind(self.cell)
            .bind(&sku.name)
            .bind(sku.price)
            .bind(sku.initial)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}
