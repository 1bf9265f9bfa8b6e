//! Events to rows: one transaction per batch, behind the compare-and-set of the position.

use sqlx::MySqlConnection;
use sqlx::mysql::MySqlPool;

use super::catalogue::Turn;
use super::fold::{Dead, Fold};
use super::{dead_events, replay};
use crate::cell::{CellId, Epoch, Position};
use crate::event::Entry;

/// Entries of one cell to persist, in order.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub cell: CellId,
    /// The epoch in which the writer may write: the gate's value when the entries were read.
    pub writer: Epoch,
    /// The position before the first entry.
    pub from: Position,
    /// At least one; contiguous.
    pub entries: &'a [Entry],
}

/// A batch was not committed, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The position or the epoch is another one: somebody else writes this cell now.
    #[error("not the writer of cell {0} any more")]
    NotTheWriter(CellId),
    /// The server refuses the data itself. Bisect, until the one bad event is alone.
    #[error("mysql refuses the data: {0}")]
    BadData(sqlx::Error),
    /// Try again, after reading the position: a lost connection at COMMIT tells nothing.
    #[error("mysql: {0}")]
    Mysql(sqlx::Error),
}

impl From<sqlx::Error> for PersistError {
    fn from(error: sqlx::Error) -> Self {
        if super::is_about_data(&error) { Self::BadData(error) } else { Self::Mysql(error) }
    }
}

/// Writes a batch's rows and moves the position, in one transaction.
pub async fn persist(pool: &MySqlPool, batch: Batch<'_>) -> Result<Position, PersistError> {
    let mut fold = Fold::new(batch.cell);
    for entry in batch.entries {
        match entry.event() {
            Ok(event) => fold.add(entry, event),
            Err(error) => fold.dead.push(Dead::new(entry, &error.to_string())),
        }
    }
    write(pool, batch, &fold).await
}

/// Parks the one event of a batch whose rows the server refuses. The absolute values that it carries
/// (balances, units left) are written all the same, so that only its own rows are missing; unless it is those
/// that are refused.
pub async fn bury(pool: &MySqlPool, batch: Batch<'_>, error: &str) -> Result<Position, PersistError> {
    let mut bare = Fold::new(batch.cell);
    let mut fold = Fold::new(batch.cell);
    for entry in batch.entries {
        if let Ok(event) = entry.event() {
            fold.add_absolute_values(entry.position, &event);
        }
        fold.dead.push(Dead::new(entry, error));
        bare.dead.push(Dead::new(entry, error));
    }
    match write(pool, batch, &fold).await {
        Err(PersistError::BadData(_)) => write(pool, batch, &bare).await,
        done => done,
    }
}

async fn write(pool: &MySqlPool, batch: Batch<'_>, fold: &Fold) -> Result<Position, PersistError> {
    let Some(last) = batch.entries.last() else { return Ok(batch.from) };
    let to = last.position;
    let mut transaction = pool.begin().await?;
    let moved = sqlx::query(
        "UPDATE cells SET persisted_epoch = ?, persisted_seq = ? \
         WHERE cell = ? AND epoch = ? AND persisted_epoch = ? AND persisted_seq = ?",
    )
    .bind(to.epoch)
    .bind(to.seq)
    .bind(batch.cell.0)
    .bind(batch.writer)
    .bind(batch.from.epoch)
    .bind(batch.from.seq)
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() != 1 {
        return Err(PersistError::NotTheWriter(batch.cell));
    }
    let turn = turn(batch.cell, fold, &mut transaction).await?;
    fold.write(turn, &mut transaction).await?;
    transaction.commit().await?;
    Ok(to)
}

/// Whether changes of the catalogue must be kept for dead events that may come late.
async fn turn(cell: CellId, fold: &Fold, connection: &mut MySqlConnection) -> Result<Turn, sqlx::Error> {
    if fold.catalogue.is_empty() {
        return Ok(Turn::InOrder);
    }
    if !fold.dead.is_empty() || dead_events::any(cell, connection).await? {
        return Ok(Turn::BesideDead);
    }
    // Somebody may have deleted rows of `dead_events` by hand.
    replay::clear(cell, connection).await?;
    Ok(Turn::InOrder)
}
