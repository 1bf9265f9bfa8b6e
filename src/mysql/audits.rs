//! What audits found: a row for each of the latest.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::mysql::MySqlPool;

/// Rows that are kept.
const KEPT: u64 = 1_000;

/// An audit that finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAudit {
    pub finished_at: DateTime<Utc>,
    pub took_ms: u64,
    pub checked_rows: u64,
    pub differences: u64,
}

/// Adds an audit; the oldest leave.
pub async fn record(pool: &MySqlPool, audit: &PastAudit) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO audits (finished_at, took_ms, checked_rows, differences) VALUES (?, ?, ?, ?)";
    let done = sqlx::query(insert)
        .bind(audit.finished_at.naive_utc())
        .bind(audit.took_ms)
        .bind(audit.checked_rows)
        .bind(audit.differences)
        .execute(pool)
        .await?;
    let oldest = done.last_insert_id().saturating_sub(KEPT);
    sqlx::query("DELETE FROM audits WHERE id <= ?").bind(oldest).execute(pool).await.map(|_| ())
}

/// The last audit that finished, if any did.
pub async fn last(pool: &MySqlPool) -> Result<Option<PastAudit>, sqlx::Error> {
    let newest: Option<(NaiveDateTime, u64, u64, u64)> = sqlx::query_as(
        "SELECT finished_at, took_ms, checked_rows, differences FROM audits ORDER BY id DESC LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(newest.map(|(finished_at, took_ms, checked_rows, differences)| PastAudit {
        finished_at: finished_at.and_utc(),
        took_ms,
        checked_rows,
        differences,
    }))
}
