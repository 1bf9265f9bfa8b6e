//! Orders as read from MySQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{FromRow, QueryBuilder, Row};

use super::decode;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::order::{Order, OrderLine, OrderStatus};

/// One order with its lines; `None`: MySQL does not have it.
pub async fn order_by_id(pool: &MySqlPool, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    let order =
        sqlx::query_as("SELECT * FROM orders WHERE id = ?").bind(id.get()).fetch_optional(pool).await?;
    Ok(with_lines(pool, order.into_iter().collect()).await?.pop())
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
    with_lines(pool, orders).await
}

/// Reads the lines of all orders at once. They were written with their order, and never change.
async fn with_lines(pool: &MySqlPool, orders: Vec<OrderWithoutLines>) -> Result<Vec<Order>, sqlx::Error> {
    let mut orders: Vec<Order> = orders.into_iter().map(|it| it.0).collect();
    if orders.is_empty() {
        return Ok(orders);
    }
    let mut select = QueryBuilder::new("SELECT * FROM order_lines WHERE order_id IN (");
    let mut ids = select.separated(", ");
    for order in &orders {
        ids.push_bind(order.order_id.get());
    }
    select.push(") ORDER BY order_id, line_no");
    // Kept for one order only: each number of them is another text, and would push out those of hot paths.
    let lines = select.build_query_as().persistent(orders.len() == 1).fetch_all(pool).await?;
    let mut lines_of: HashMap<u64, Vec<OrderLine>> = HashMap::with_capacity(orders.len());
    for Line { order, line } in lines {
        lines_of.entry(order).or_default().push(line);
    }
    for order in &mut orders {
        order.items = lines_of.remove(&order.order_id.get()).unwrap_or_default();
    }
    Ok(orders)
}

struct OrderWithoutLines(Order);

impl FromRow<'_, MySqlRow> for OrderWithoutLines {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let id = |name: &str| row.try_get::<u64, _>(name);
        let time = |name: &str| row.try_get::<Option<DateTime<Utc>>, _>(name);
        let status: String = row.try_get("status")?;
        let coupon: Option<u64> = row.try_get("coupon_id")?;
        Ok(Self(Order {
            order_id: OrderId::new(id("id")?).map_err(decode)?,
            user_id: UserId::new(id("user_id")?).map_err(decode)?,
            status: OrderStatus::parse(&status).ok_or_else(|| decode(format!("order status {status:?}")))?,
            items: Vec::new(),
            total: row.try_get("total")?,
            discount: row.try_get("discount")?,
            paid: row.try_get("paid")?,
            coupon_id: coupon.map(CouponId::new).transpose().map_err(decode)?,
            placed_at: row.try_get("placed_at")?,
            expires_at: time("expires_at")?,
            paid_at: time("paid_at")?,
            cancelled_at: time("cancelled_at")?,
            refunded_at: time("refunded_at")?,
        }))
    }
}

struct Line {
    order: u64,
    line: OrderLine,
}

impl FromRow<'_, MySqlRow> for Line {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let line = OrderLine {
            product_id: ProductId::new(row.try_get("product_id")?).map_err(decode)?,
            option_id: OptionId::new(row.try_get("option_id")?).map_err(decode)?.shown(),
            quantity: row.try_get("quantity")?,
            unit_price: row.try_get("unit_price")?,
        };
        Ok(Self { order: row.try_get("order_id")?, line })
    }
}
