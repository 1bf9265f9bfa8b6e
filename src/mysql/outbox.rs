//! The outbox: messages that RabbitMQ has not cleanly confirmed yet.

use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::cell::{CellId, Seq};

/// One message that waits.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutboxRow {
    pub seq: Seq,
    /// The routing key.
    pub kind: String,
    pub payload: String,
}

/// The oldest messages of a cell behind `after`, by number.
pub async fn waiting(
    pool: &MySqlPool,
    cell: CellId,
    after: Seq,
    limit: usize,
) -> Result<Vec<OutboxRow>, sqlx::Error> {
    sqlx::query_as("SELECT seq, kind, payload FROM outbox WHERE cell = ? AND seq > ? ORDER BY seq LIMIT ?")
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
pub async fn confirm(pool: &MySqlPool, cell: CellId, confirmed: &[Seq]) -> Result<(), sqlx::Error> {
    let (Some(first), Some(last)) = (confirmed.first(), confirmed.last()) else { return Ok(()) };
    let mut transaction = pool.begin().await?;
    // A range is one statement that never changes. It is exact only if it holds nothing but the
    // confirmed rows, which its count tells.
    let deleted = sqlx::query("DELETE FROM outbox WHERE cell = ? AND seq BETWEEN ? AND ?")
        .bind(cell.0)
        .bind(first)
        .bind(last)
        .execute(&mut *transaction)
        .await?;
    let mut count = deleted.rows_affected();
    if count > confirmed.len() as u64 {
        transaction.rollback().await?;
        transaction = pool.begin().await?;
        let marks = vec!["?"; confirmed.len()].join(",");
        // Only question marks are put in.
        let text = AssertSqlSafe(format!("DELETE FROM outbox WHERE cell = ? AND seq IN ({marks})"));
        let delete = confirmed.iter().fold(sqlx::query(text).bind(cell.0), |query, seq| query.bind(seq));
        count = delete.persistent(false).execute(&mut *transaction).await?.rows_affected();
    }
    sqlx::query("UPDATE publishing SET published = published + ? WHERE cell = ?")
        .bind(count)
        .bind(cell.0)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// A named lock that lives as long as its connection, and that connection as long as its holder talks
/// to it every few seconds. It saves work (two publishers would send
/// everything twice) and is never needed for correctness.
pub struct NamedLock {
    connection: MySqlConnection,
}

impl NamedLock {
    /// Takes the lock if nobody has it, on a connection of its own.
    pub async fn try_take(
        pool: &MySqlPool,
        purpose: &str,
        cell: CellId,
    ) -> Result<Option<Self>, sqlx::Error> {
        let mut connection = MySqlConnection::connect_with(&pool.connect_options()).await?;
        // A holder that sleeps loses the lock; one that works proves it with `is_held`.
        super::prepare_session(&mut connection).await?;
        let (taken,): (Option<i64>,) = sqlx::query_as(
            "SELECT GET_LOCK(CONCAT('firstcome.', ?, '.', ?, '.', LEFT(SHA2(DATABASE(), 256), 16)), 0)",
        )
        .bind(purpose)
        .bind(cell.0)
        .fetch_one(&mut connection)
        .await?;
        Ok((taken == Some(1)).then_some(Self { connection }))
    }

    /// Whether the lock's connection still lives, and so the lock.
    pub async fn is_held(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }
}
