//! The outbox: messages that RabbitMQ has not cleanly confirmed yet.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlPool;

use crate::cell::{CellId, Seq};

/// One message that waits.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutboxRow {
    pub seq: Seq,
    /// The routing key.
    pub kind: String,
    pub payload: String,
    /// The event whose message had to be confirmed first, and was; 0: none, but the row came behind later ones.
    pub after_seq: Option<Seq>,
}

impl OutboxRow {
    /// How long ago its order was what it tells; zero where that cannot be read.
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        #[derive(serde::Deserialize)]
        struct Dated {
            time: DateTime<Utc>,
        }
        let dated: Option<Dated> = serde_json::from_str(&self.payload).ok();
        dated.map_or(TimeDelta::zero(), |it| (now - it.time).max(TimeDelta::zero()))
    }
}

/// The oldest messages of a cell behind `after` that may be sent, by number. A refund waits for its payment's message,
/// also while the payment is a dead event.
pub async fn waiting(
    pool: &MySqlPool,
    cell: CellId,
    after: Seq,
    limit: usize,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT seq, kind, payload, after_seq FROM outbox o WHERE cell = ? AND seq > ? AND (after_seq IS NULL OR \
         (NOT EXISTS (SELECT 1 FROM outbox f WHERE f.cell = o.cell AND f.seq = o.after_seq) AND \
          NOT EXISTS (SELECT 1 FROM dead_events d WHERE d.cell = o.cell AND d.seq = o.after_seq))) \
         ORDER BY seq LIMIT ?",
    )
    .bind(cell.0)
    .bind(after)
    .bind(limit as u64)
    .fetch_all(pool)
    .await
}

/// How many messages of a cell wait.
pub async fn depth(pool: &MySqlPool, cell: CellId) -> Result<u64, sqlx::Error> {
    let (depth,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM outbox WHERE cell = ?").bind(cell.0).fetch_one(pool).await?;
    Ok(depth as u64)
}

/// Deletes exactly the confirmed messages (ascending numbers) and counts them, in one transaction.
///
/// `whole_batch`: all that [`waiting`] gave were confirmed, and none of them has an `after_seq`. Only then is a
/// range exact: it holds nothing else that was not confirmed, whoever else deletes rows of it. A dead event that is
/// retried puts a row in between, but one with an `after_seq`.
pub async fn confirm(
    pool: &MySqlPool,
    cell: CellId,
    confirmed: &[Seq],
    whole_batch: bool,
) -> Result<(), sqlx::Error> {
    let (Some(first), Some(last)) = (confirmed.first(), confirmed.last()) else { return Ok(()) };
    let mut transaction = pool.begin().await?;
    let deleted = if whole_batch {
        let delete =
            sqlx::query("DELETE FROM outbox WHERE cell = ? AND seq BETWEEN ? AND ? AND after_seq IS NULL");
        delete.bind(cell.0).bind(first).bind(last).execute(&mut *transaction).await?
    } else {
        let marks = vec!["?"; confirmed.len()].join(",");
        // Only question marks are put in.
        let text = AssertSqlSafe(format!("DELETE FROM outbox WHERE cell = ? AND seq IN ({marks})"));
        let delete = confirmed.iter().fold(sqlx::query(text).bind(cell.0), |query, seq| query.bind(seq));
        delete.persistent(false).execute(&mut *transaction).await?
    };
    sqlx::query("UPDATE publishing SET published = published + ? WHERE cell = ?")
        .bind(deleted.rows_affected())
        .bind(cell.0)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
