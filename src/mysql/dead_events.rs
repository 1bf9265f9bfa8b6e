//! Dead events: those whose rows could not be written. They wait for somebody to apply or to drop them.
//!
//! Later events have been written meanwhile, so applying one comes late. Each row it writes is guarded so that it
//! ends as it would have if all events had come in order:
//!
//! - Balances, units left and states of coupons are absolute and carry the number of the event that made them.
//! - An order goes up only: pending, then paid, cancelled or expired, then refunded. Each change carries all facts, so it
//!   made the row where that was missing, and a placing that comes late leaves it.
//! - Units put in or taken away add up in any order.
//! - Products and campaigns are replayed (`replay.rs`).
//! - Entries of the ledger, payments and messages are one row for each event; a key keeps its newest use.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use sqlx::MySqlConnection;
use sqlx::mysql::{MySqlDatabaseError, MySqlPool};

use super::catalogue::Turn;
use super::fold::Fold;
use super::replay;
use crate::cell::{CellId, Epoch, EventId, Position, Seq};
use crate::event::{Entry, Event, EventError};
use crate::ids::OrderId;

/// One of them.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeadEvent {
    pub cell: u16,
    pub seq: Seq,
    pub epoch: Epoch,
    pub kind: String,
    pub body: String,
    /// Why it was parked, or why it could not be applied since.
    pub error: String,
    /// When it was parked.
    pub at: DateTime<Utc>,
}

impl DeadEvent {
    pub fn id(&self) -> EventId {
        EventId { cell: CellId(self.cell), seq: self.seq }
    }

    fn entry(&self) -> Entry {
        let position = Position { epoch: self.epoch, seq: self.seq };
        Entry { position, kind: self.kind.clone(), body: self.body.clone() }
    }

    /// What it means.
    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.kind, &self.body)
    }
}

/// What became of one that was to be applied or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    Done,
    /// It is not dead: it was never parked, or somebody else was faster.
    NotDead,
}

/// It stays dead.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    #[error("this release cannot read it: {0}")]
    Unreadable(#[from] EventError),
    /// As before.
    #[error("mysql refuses the data: {0}")]
    Refused(sqlx::Error),
    /// Trying again may help. After a lost connection it may have been applied: then it is no longer dead.
    #[error("mysql: {0}")]
    Mysql(sqlx::Error),
}

impl From<sqlx::Error> for RetryError {
    fn from(error: sqlx::Error) -> Self {
        if super::is_about_data(&error) { Self::Refused(error) } else { Self::Mysql(error) }
    }
}

/// Those of one cell, or of all, by cell and number.
pub async fn list(pool: &MySqlPool, cell: Option<CellId>) -> Result<Vec<DeadEvent>, sqlx::Error> {
    sqlx::query_as(
        "SELECT cell, seq, epoch, kind, body, error, at FROM dead_events WHERE cell = COALESCE(?, cell) \
         ORDER BY cell, seq",
    )
    .bind(cell.map(|it| it.0))
    .fetch_all(pool)
    .await
}

/// One of them; `None`: it is not dead.
pub async fn read(pool: &MySqlPool, id: EventId) -> Result<Option<DeadEvent>, sqlx::Error> {
    select(
        id,
        "SELECT cell, seq, epoch, kind, body, error, at FROM dead_events WHERE cell = ? AND seq = ?",
        pool,
    )
    .await
}

async fn select<'c>(
    id: EventId,
    text: &'static str,
    executor: impl sqlx::MySqlExecutor<'c>,
) -> Result<Option<DeadEvent>, sqlx::Error> {
    sqlx::query_as(text).bind(id.cell.0).bind(id.seq).fetch_optional(executor).await
}

/// Whether a cell has any.
pub(super) async fn any(cell: CellId, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let found: Option<Seq> = sqlx::query_scalar("SELECT seq FROM dead_events WHERE cell = ? LIMIT 1")
        .bind(cell.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Applies one, in one transaction with the removal of its row. Any number of processes may do it at once: one
/// applies it.
///
/// # Errors
/// What still stands against it; then it stays, with that as its error.
pub async fn retry(pool: &MySqlPool, id: EventId) -> Result<Resolved, RetryError> {
    let result = (|| try_retry(pool, id)).retry(patience()).when(loses_to_others).await;
    if let Err(error @ (RetryError::Unreadable(_) | RetryError::Refused(_))) = &result {
        let text: String = error.to_string().chars().take(1_024).collect();
        sqlx::query("UPDATE dead_events SET error = ? WHERE cell = ? AND seq = ?")
            .bind(text)
            .bind(id.cell.0)
            .bind(id.seq)
            .execute(pool)
            .await
            .map_err(RetryError::Mysql)?;
    }
    result
}

async fn try_retry(pool: &MySqlPool, id: EventId) -> Result<Resolved, RetryError> {
    let mut transaction = pool.begin().await?;
    let Some(dead) = hold(id, &mut transaction).await? else { return Ok(Resolved::NotDead) };
    let mut fold = Fold::new(id.cell);
    fold.add(&dead.entry(), dead.event()?);
    fold.write(Turn::Late, &mut transaction).await?;
    remove(id, &mut transaction).await?;
    transaction.commit().await?;
    Ok(Resolved::Done)
}

/// Drops one for good: its rows will never be written.
pub async fn drop(pool: &MySqlPool, id: EventId) -> Result<Resolved, RetryError> {
    (|| try_drop(pool, id)).retry(patience()).when(loses_to_others).await
}

async fn try_drop(pool: &MySqlPool, id: EventId) -> Result<Resolved, RetryError> {
    let mut transaction = pool.begin().await?;
    if hold(id, &mut transaction).await?.is_none() {
        return Ok(Resolved::NotDead);
    }
    remove(id, &mut transaction).await?;
    transaction.commit().await?;
    Ok(Resolved::Done)
}

/// Locks the row that a worker's batch changes first, so that no batch and no other retry is written at the same time;
/// then the dead event. `None`: it is not dead.
async fn hold(id: EventId, connection: &mut MySqlConnection) -> Result<Option<DeadEvent>, sqlx::Error> {
    sqlx::query("SELECT cell FROM cells WHERE cell = ? FOR UPDATE")
        .bind(id.cell.0)
        .execute(&mut *connection)
        .await?;
    let text = "SELECT cell, seq, epoch, kind, body, error, at FROM dead_events WHERE cell = ? AND seq = ? FOR UPDATE";
    select(id, text, connection).await
}

async fn remove(id: EventId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM dead_events WHERE cell = ? AND seq = ?")
        .bind(id.cell.0)
        .bind(id.seq)
        .execute(&mut *connection)
        .await?;
    if any(id.cell, connection).await? {
        return Ok(());
    }
    replay::clear(id.cell, connection).await
}

fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(10)
        .with_jitter()
}

/// Whether MySQL chose this transaction to end a deadlock, or its wait for a lock was too long.
fn loses_to_others(error: &RetryError) -> bool {
    const LOCK_WAIT: u16 = 1205;
    const DEADLOCK: u16 = 1213;
    let RetryError::Mysql(sqlx::Error::Database(error)) = error else { return false };
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .is_some_and(|it| [LOCK_WAIT, DEADLOCK].contains(&it.number()))
}

/// Whether a refund of an order is, or may be, among a cell's dead events: then its row still says that it is paid.
pub async fn may_hold_refund(pool: &MySqlPool, cell: CellId, order: OrderId) -> Result<bool, sqlx::Error> {
    // Bodies of other releases are looked at, too: the order is one of their words.
    let found: Option<Seq> = sqlx::query_scalar(
        "SELECT seq FROM dead_events WHERE cell = ? AND kind LIKE 'order_refunded%' \
         AND body LIKE CONCAT('% ', ?, ' %') LIMIT 1",
    )
    .bind(cell.0)
    .bind(order.get())
    .fetch_optional(pool)
    .await?;
    Ok(found.is_some())
}
