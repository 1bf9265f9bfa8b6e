//! Locks of MySQL by name. They save work (two publishers would send everything twice, two recoveries
//! would send each other back to the start) and are never needed for correctness.

use std::time::Duration;

use sqlx::mysql::MySqlPool;
use sqlx::{Connection, MySqlConnection};
use tokio::task::AbortHandle;

use crate::cell::CellId;

/// How often a lock is kept alive; the server ends a connection that is silent for 15 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// A lock that lives as long as its connection, and that connection as long as its holder talks to it
/// every few seconds: a holder that sleeps loses it.
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

/// Keeps a lock alive beside other work; gives it back when dropped.
pub struct KeptLock(AbortHandle);

impl NamedLock {
    pub fn keep(mut self) -> KeptLock {
        let task = tokio::spawn(async move {
            while self.is_held().await {
                tokio::time::sleep(KEEP_ALIVE).await;
            }
        });
        KeptLock(task.abort_handle())
    }
}

impl Drop for KeptLock {
    fn drop(&mut self) {
        self.0.abort();
    }
}
