//! Which worker works on which cells: locks of MySQL by name, all of one worker on one connection.
//!
//! They save work and are never needed for correctness: whoever writes a cell is decided by its row in `cells`.

use std::collections::BTreeSet;

use sqlx::mysql::MySqlPool;
use sqlx::{Connection, MySqlConnection};

use crate::cell::CellId;

/// The name of a cell's lock; each database has locks of its own.
const LOCK: &str = "CONCAT('firstcome.work.', ?, '.', LEFT(SHA2(DATABASE(), 256), 16))";

/// The connection that has a worker's locks: one by its own name, and one for each of its cells. They end with it, and it ends
/// when the worker dies or sleeps; so nobody has cells who is not counted, nor the other way round.
pub struct Shares {
    connection: MySqlConnection,
}

impl Shares {
    pub async fn connect(pool: &MySqlPool, worker: &str) -> Result<Self, sqlx::Error> {
        let mut connection = MySqlConnection::connect_with(&pool.connect_options()).await?;
        super::prepare_session(&mut connection).await?;
        // Its last connection may not have ended yet.
        sqlx::query("DO GET_LOCK(CONCAT('firstcome.worker.', ?), 5)")
            .bind(worker)
            .execute(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    /// Tells that a worker lives, and how many live.
    pub async fn count_workers(&mut self, worker: &str) -> Result<u64, sqlx::Error> {
        sqlx::query("INSERT INTO workers (worker, seen_at) VALUES (?, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE seen_at = VALUES(seen_at)")
            .bind(worker)
            .execute(&mut self.connection)
            .await?;
        sqlx::query("DELETE FROM workers WHERE seen_at < UTC_TIMESTAMP(3) - INTERVAL 60 SECOND")
            .execute(&mut self.connection)
            .await?;
        let (live,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM workers WHERE IS_USED_LOCK(CONCAT('firstcome.worker.', worker)) IS NOT NULL",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(live.max(1) as u64)
    }

    /// Tells that a worker is leaving.
    pub async fn leave(&mut self, worker: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM workers WHERE worker = ?")
            .bind(worker)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
    }

    /// Cells that no worker has.
    pub async fn free_cells(&mut self) -> Result<BTreeSet<CellId>, sqlx::Error> {
        let cells: Vec<u16> = sqlx::query_scalar(
            "SELECT cell FROM cells WHERE \
             IS_USED_LOCK(CONCAT('firstcome.work.', cell, '.', LEFT(SHA2(DATABASE(), 256), 16))) IS NULL",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(cells.into_iter().map(CellId).collect())
    }

    /// Takes a cell that nobody has; one's own stays. False: somebody else has it.
    pub async fn try_take(&mut self, cell: CellId) -> Result<bool, sqlx::Error> {
        let (taken,): (Option<i64>,) =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT GET_LOCK({LOCK}, 0)")))
                .bind(cell.0)
                .fetch_one(&mut self.connection)
                .await?;
        Ok(taken == Some(1))
    }

    pub async fn release(&mut self, cell: CellId) -> Result<(), sqlx::Error> {
        sqlx::query(sqlx::AssertSqlSafe(format!("DO RELEASE_LOCK({LOCK})")))
            .bind(cell.0)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
    }
}
