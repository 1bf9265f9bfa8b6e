//! Orders as read from MySQL.

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlPool;
use sqlx::{FromRow, Row};

use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::order::{Order, OrderLine, OrderStatus};

/// One order with its lines; `None`: MySQL does not have it.
pub async fn order_by_id(pool: &MySqlPool, id: OrderId) -> Result<Option<Order>, sqlx::Error> {
    let order: Option<OrderWithoutLines> =
        sqlx::query_as("SELECT * FROM orders WHERE id = ?").bind(id.get()).fetch_optional(pool).await?;
    let Some(OrderWithoutLines(mut order)) = order else { return Ok(None) };
    let lines: Vec<Line> = sqlx::query_as("SELECT * FROM order_lines WHERE order_id = ? ORDER BY line_no")
        .bind(id.get())
        .fetch_all(pool)
        .await?;
    order.items = lines.into_iter().map(|it| it.0).collect();
    Ok(Some(order))
}

struct OrderWithoutLines(Order);

impl FromRow<'_, sqlx::mysql::MySqlRow> for OrderWithoutLines {
    fn from_row(row: &sqlx::mysql::MySqlRow) -> Result<Self, sqlx::Error> {
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

struct Line(OrderLine);

impl FromRow<'_, sqlx::mysql::MySqlRow> for Line {
    fn from_row(row: &sqlx::mysql::MySqlRow) -> Result<Self, sqlx::Error> {
        Ok(Self(OrderLine {
            product_id: ProductId::new(row.try_get("product_id")?).map_err(decode)?,
            option_id: OptionId::new(row.try_get("option_id")?).map_err(decode)?.shown(),
            quantity: row.try_get("quantity")?,
            unit_price: row.try_get("unit_price")?,
        }))
    }
}

fn decode(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
