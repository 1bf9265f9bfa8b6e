//! Events to rows: one transaction per batch, behind the compare-and-set of the position.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::{MySqlArguments, MySqlPool};
use sqlx::{Arguments, MySqlConnection};

use super::rows::Insert;
use crate::cell::{CellId, Epoch, Position, Seq};
use crate::event::{Entry, Event, Holding, OrderPaidEvent, ProductSetEvent, StoredKey};
use crate::ids::{OrderId, UserId};
use crate::message::{MessageKind, cloud_event};
use crate::money::Amount;
use crate::product::SkuId;
use crate::time::{Millis, from_millis};

/// Entries of one cell to persist, in order.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub cell: CellId,
    /// The epoch in which the writer may write: the gate's value when the entries were read.
    pub writer: Epoch,
    /// The position before the first entry.
    pub from: Position,
    /// At least one; contiguous.
    pub entries: &'a [Entry],
}

/// A batch was not committed, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The position or the epoch is another one: somebody else writes this cell now.
    #[error("not the writer of cell {0} any more")]
    NotTheWriter(CellId),
    /// The server refuses the data itself. Bisect, until the one bad event is alone.
    #[error("mysql refuses the data: {0}")]
    BadData(sqlx::Error),
    /// Try again, after reading the position: a lost connection at COMMIT tells nothing.
    #[error("mysql: {0}")]
    Mysql(sqlx::Error),
}

impl From<sqlx::Error> for PersistError {
    fn from(error: sqlx::Error) -> Self {
        if super::is_about_data(&error) { Self::BadData(error) } else { Self::Mysql(error) }
    }
}

/// Writes a batch's rows and moves the position, in one transaction.
pub async fn persist(pool: &MySqlPool, batch: Batch<'_>) -> Result<Position, PersistError> {
    let mut fold = Fold::new(batch.cell);
    for entry in batch.entries {
        match entry.event() {
            Ok(event) => fold.add(entry.position, event),
            Err(error) => fold.dead.push(Dead::new(entry, &error.to_string())),
        }
    }
    write(pool, batch, &fold).await
}

/// Parks the one event of a batch whose rows the server refuses. The absolute values that it carries
/// (balances, units left) are written all the same, so that only its own rows are missing.
pub async fn bury(pool: &MySqlPool, batch: Batch<'_>, error: &str) -> Result<Position, PersistError> {
    let mut fold = Fold::new(batch.cell);
    for entry in batch.entries {
        if let Ok(event) = entry.event() {
            fold.add_absolute_values(entry.position.seq, &event);
        }
        fold.dead.push(Dead::new(entry, error));
    }
    write(pool, batch, &fold).await
}

async fn write(pool: &MySqlPool, batch: Batch<'_>, fold: &Fold) -> Result<Position, PersistError> {
    let Some(last) = batch.entries.last() else { return Ok(batch.from) };
    let to = last.position;
    let mut transaction = pool.begin().await?;
    let moved = sqlx::query(
        "UPDATE cells SET persisted_epoch = ?, persisted_seq = ? \
         WHERE cell = ? AND epoch = ? AND persisted_epoch = ? AND persisted_seq = ?",
    )
    .bind(to.epoch)
    .bind(to.seq)
    .bind(batch.cell.0)
    .bind(batch.writer)
    .bind(batch.from.epoch)
    .bind(batch.from.seq)
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() != 1 {
        return Err(PersistError::NotTheWriter(batch.cell));
    }
    fold.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(to)
}

/// The rows of a batch. Absolute values are folded to the last one.
#[derive(Default)]
struct Fold {
    cell: u16,
    wallets: BTreeMap<UserId, (Amount, Seq)>,
    skus: BTreeMap<SkuId, (i64, Seq)>,
    ledger: Vec<LedgerRow>,
    orders: Vec<OrderRow>,
    restocks: Vec<(SkuId, i64)>,
    products: Vec<(Seq, ProductSetEvent)>,
    idempotency: Vec<IdempotencyRow>,
    outbox: Vec<(Seq, MessageKind, String)>,
    dead: Vec<Dead>,
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

struct Dead {
    position: Position,
    kind: String,
    body: String,
    error: String,
}

impl Dead {
    fn new(entry: &Entry, error: &str) -> Self {
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
    fn new(cell: CellId) -> Self {
        Self { cell: cell.0, ..Self::default() }
    }

    fn add_absolute_values(&mut self, seq: Seq, event: &Event) {
        event.absolute_values(|holding, value| match holding {
            Holding::Wallet(user) => {
                self.wallets.insert(user, (value, seq));
            }
            Holding::Sku(sku) => {
                self.skus.insert(sku, (value, seq));
            }
        });
    }

    fn add(&mut self, position: Position, event: Event) {
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

    async fn write(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
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

/// Absolute values are guarded by the number of the event that made them.
const WALLETS: Insert = Insert {
    table: "wallets",
    columns: "user_id, cell, balance, seq",
    row: "(?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE balance = IF(VALUES(seq) > seq, VALUES(balance), balance), \
                   seq = GREATEST(seq, VALUES(seq))",
};

const SKUS: Insert = Insert {
    table: "skus",
    columns: "product_id, option_id, cell, name, price, listed, initial_stock, remaining, seq",
    row: "(?,?,?,'',0,0,0,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE remaining = IF(VALUES(seq) > seq, VALUES(remaining), remaining), \
                   seq = GREATEST(seq, VALUES(seq))",
};

const LEDGER: Insert = Insert {
    table: "ledger",
    columns: "cell, seq, user_id, kind, amount, balance, order_id, at",
    row: "(?,?,?,?,?,?,?,?)",
    on_duplicate: "",
};

const ORDERS: Insert = Insert {
    table: "orders",
    columns: "id, cell, seq, user_id, status, total, discount, paid, coupon_id, placed_at, paid_at",
    row: "(?,?,?,?,'paid',?,?,?,?,?,?)",
    on_duplicate: "",
};

const ORDER_LINES: Insert = Insert {
    table: "order_lines",
    columns: "order_id, line_no, product_id, option_id, quantity, unit_price, limited",
    row: "(?,?,?,?,?,?,?)",
    on_duplicate: "",
};

const PAYMENTS: Insert = Insert {
    table: "payments",
    columns: "order_id, cell, seq, user_id, amount, at",
    row: "(?,?,?,?,?,?)",
    on_duplicate: "",
};

/// A key comes back when its time is over in Redis; the newer use replaces the older.
const IDEMPOTENCY: Insert = Insert {
    table: "idempotency",
    columns: "user_id, idem_key, fingerprint, cell, seq, answer, at",
    row: "(?,?,?,?,?,?,?)",
    on_duplicate: "ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint), cell = VALUES(cell), \
                   seq = VALUES(seq), answer = VALUES(answer), at = VALUES(at)",
};

const OUTBOX: Insert =
    Insert { table: "outbox", columns: "cell, seq, kind, payload", row: "(?,?,?,?)", on_duplicate: "" };

const DEAD_EVENTS: Insert = Insert {
    table: "dead_events",
    columns: "cell, seq, epoch, kind, body, error, at",
    row: "(?,?,?,?,?,?,UTC_TIMESTAMP(3))",
    on_duplicate: "",
};
