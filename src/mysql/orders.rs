//! Orders as read from MySQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{FromRow, QueryBuilder, Row};

use super::decode;
use crate::cell::Seq;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::Amount;
use crate::order::{FactLine, Order, OrderFacts, OrderStatus};
use crate::product::SkuId;

/// An order as it stands, and what scripts need to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    pub order: Order,
    pub facts: OrderFacts,
}

/// The payment of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Payment {
    /// The event that paid it.
    pub seq: Seq,
    /// What the wallet held afterwards.
    pub balance: Amount,
}

/// One order with its lines; `None`: MySQL does not have it.
pub async fn order_by_id(pool: &MySqlPool, id: OrderId) -> Result<Option<StoredOrder>, sqlx::Error> {
    Ok(stored_orders(pool, &[id.get()]).await?.pop())
}

/// The payment of an order that was paid.
pub async fn payment_of(pool: &MySqlPool, id: OrderId) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as(
        "SELECT p.seq, g.balance FROM payments p JOIN ledger g ON g.cell = p.cell AND g.seq = p.seq \
         WHERE p.order_id = ?",
    )
    .bind(id.get())
    .fetch_optional(pool)
    .await
}

/// The newest `limit` orders of a user whose id is below `before`, newest first, each with its lines; of one
/// status, or of any. A user's order ids are of one cell, so they tell the order.
pub async fn orders_of_user(
    pool: &MySqlPool,
    user: UserId,
    status: Option<OrderStatus>,
    before: u64,
    limit: usize,
) -> Result<Vec<Order>, sqlx::Error> {
    let status = status.map(OrderStatus::as_str);
    let orders = sqlx::query_as(
        "SELECT * FROM orders WHERE user_id = ? AND id < ? AND (? IS NULL OR status = ?) ORDER BY id DESC LIMIT ?",
    )
    .bind(user.get())
    .bind(before)
    .bind(status)
    .bind(status)
    .bind(limit as u64)
    .fetch_all(pool)
    .await?;
    Ok(with_lines(pool, orders).await?.into_iter().map(|it| it.order).collect())
}

/// Those of some orders that MySQL has, by id.
pub(super) async fn stored_orders(pool: &MySqlPool, ids: &[u64]) -> Result<Vec<StoredOrder>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = select_in("SELECT * FROM orders WHERE id IN (", ids);
    select.push(" ORDER BY id");
    let orders = select.build_query_as().persistent(ids.len() == 1).fetch_all(pool).await?;
    with_lines(pool, orders).await
}

/// Reads the lines of all orders at once. They were written with their order, and never change.
async fn with_lines(pool: &MySqlPool, orders: Vec<OrderRow>) -> Result<Vec<StoredOrder>, sqlx::Error> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = orders.iter().map(|it| it.id.get()).collect();
    let mut select = select_in("SELECT * FROM order_lines WHERE order_id IN (", &ids);
    select.push(" ORDER BY order_id, line_no");
    // Kept for one order only: each number of them is another text, and would push out those of hot paths.
    let lines = select.build_query_as().persistent(ids.len() == 1).fetch_all(pool).await?;
    let mut lines_of: HashMap<u64, Vec<FactLine>> = HashMap::with_capacity(ids.len());
    for Line { order, line } in lines {
        lines_of.entry(order).or_default().push(line);
    }
    let whole = |OrderRow { id, status, ended_at, mut facts }: OrderRow| {
        facts.lines = lines_of.remove(&id.get()).unwrap_or_default();
        StoredOrder { order: facts.order(id, status, ended_at.map(|it| it.timestamp_millis())), facts }
    };
    Ok(orders.into_iter().map(whole).collect())
}

fn select_in(text: &str, ids: &[u64]) -> QueryBuilder<sqlx::MySql> {
    let mut select = QueryBuilder::new(text);
    let mut marks = select.separated(", ");
    for id in ids {
        marks.push_bind(*id);
    }
    select.push(")");
    select
}

/// An order without its lines.
struct OrderRow {
    id: OrderId,
    status: OrderStatus,
    ended_at: Option<DateTime<Utc>>,
    facts: OrderFacts,
}

impl FromRow<'_, MySqlRow> for OrderRow {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let time = |name: &str| row.try_get::<Option<DateTime<Utc>>, _>(name);
        let millis = |name: &str| Ok::<_, sqlx::Error>(time(name)?.map(|it| it.timestamp_millis()));
        let status: String = row.try_get("status")?;
        let coupon: Option<u64> = row.try_get("coupon_id")?;
        let placed_at: DateTime<Utc> = row.try_get("placed_at")?;
        Ok(Self {
            id: OrderId::new(row.try_get("id")?).map_err(decode)?,
            status: OrderStatus::parse(&status).ok_or_else(|| decode(format!("order status {status:?}")))?,
            ended_at: time("cancelled_at")?.or(time("refunded_at")?),
            facts: OrderFacts {
                user: UserId::new(row.try_get("user_id")?).map_err(decode)?,
                total: row.try_get("total")?,
                discount: row.try_get("discount")?,
                coupon: coupon.map(CouponId::new).transpose().map_err(decode)?,
                placed_at_ms: placed_at.timestamp_millis(),
                expires_at_ms: millis("expires_at")?,
                paid_at_ms: millis("paid_at")?,
                lines: Vec::new(),
            },
        })
    }
}

struct Line {
    order: u64,
    line: FactLine,
}

impl FromRow<'_, MySqlRow> for Line {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let product = ProductId::new(row.try_get("product_id")?).map_err(decode)?;
        let option = OptionId::new(row.try_get("option_id")?).map_err(decode)?;
        let line = FactLine {
            sku: SkuId { product, option },
            quantity: row.try_get("quantity")?,
            unit_price: row.try_get("unit_price")?,
            limited: row.try_get("limited")?,
        };
        Ok(Self { order: row.try_get("order_id")?, line })
    }
}
