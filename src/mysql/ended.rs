//! What ended long ago, and may leave.

use sqlx::mysql::MySqlPool;

use super::datetime;
use crate::cell::CellId;
use crate::time::Millis;

/// Rows deleted in one statement, so that none holds locks for long.
const PURGE_ROWS: u64 = 1_000;

/// Listed products that are at home in a cell and whose sale ended, and which were last set, before a time.
pub async fn products(pool: &MySqlPool, cell: CellId, before_ms: Millis) -> Result<Vec<u64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT product_id FROM products WHERE cell = ? AND home = 1 AND deleted = 0 AND sale_ends_at < ? AND set_at < ?",
    )
    .bind(cell.0)
    .bind(datetime(before_ms))
    .bind(datetime(before_ms))
    .fetch_all(pool)
    .await
}

/// Campaigns that are at home in a cell and whose issuing and use ended, and which were last set, before a time.
pub async fn coupons(pool: &MySqlPool, cell: CellId, before_ms: Millis) -> Result<Vec<u64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT coupon_id FROM coupons WHERE cell = ? AND home = 1 AND forgotten = 0 AND ends_at < ? AND expires_at < ? \
         AND set_at < ?",
    )
    .bind(cell.0)
    .bind(datetime(before_ms))
    .bind(datetime(before_ms))
    .bind(datetime(before_ms))
    .fetch_all(pool)
    .await
}

/// Deletes a cell's idempotency rows from before a time; returns how many.
pub async fn purge_idempotency(
    pool: &MySqlPool,
    cell: CellId,
    before_ms: Millis,
) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    loop {
        let done = sqlx::query("DELETE FROM idempotency WHERE at < ? AND cell = ? ORDER BY at LIMIT ?")
            .bind(datetime(before_ms))
            .bind(cell.0)
            .bind(PURGE_ROWS)
            .execute(pool)
            .await?;
        purged += done.rows_affected();
        if done.rows_affected() < PURGE_ROWS {
            return Ok(purged);
        }
    }
}
