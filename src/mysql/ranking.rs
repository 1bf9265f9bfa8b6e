//! What sells, computed from the order rows.

use sqlx::mysql::MySqlPool;

use super::{datetime, decode};
use crate::ids::ProductId;
use crate::ranking::{HOUR_MS, Hour};

/// The `limit` listed products of which most units were paid for since the beginning of an hour and have not
/// been refunded, best first, ties by lower id.
pub async fn most_sold(
    pool: &MySqlPool,
    since: Hour,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, sqlx::Error> {
    let rows: Vec<(u64, i64)> = sqlx::query_as(
        "SELECT l.product_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
         FROM orders o JOIN order_lines l ON l.order_id = o.id \
         JOIN products p ON p.product_id = l.product_id AND p.home = 1 AND p.deleted = 0 \
         WHERE o.status = 'paid' AND o.paid_at >= ? \
         GROUP BY l.product_id ORDER BY units DESC, l.product_id LIMIT ?",
    )
    .bind(datetime(since * HOUR_MS))
    .bind(limit as u64)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|(id, units)| Ok((ProductId::new(id).map_err(decode)?, units))).collect()
}
