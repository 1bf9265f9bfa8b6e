//! Reads of MySQL for clients: never for long, and behind what this node told them.

use std::time::Duration;

use super::AppState;
use super::caller::Caller;
use super::problem::{Problem, ProblemKind};
use crate::cell::{CellId, Position};
use crate::ids::UserId;
use crate::scripts::balance_get::balance_get;

/// How long MySQL may take for one answer: reads must not hold the places of purchases.
const MYSQL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a list waits for MySQL to have what this node acknowledged. By the contract a list may lag 100 ms,
/// and usually it waits some 10; more only bridges a slow commit. A MySQL that is further behind shall not
/// make lists hold the places of purchases.
const CATCH_UP: Duration = Duration::from_millis(500);

/// What a read gives, or that MySQL did not give it in time.
pub async fn in_time<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within(MYSQL_TIMEOUT, read).await
}

/// The same for a read that may take another time.
pub async fn within<T>(
    patience: Duration,
    read: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, read).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Lets a caller read a list of a user's out of MySQL: where there is such a user and the caller may act for
/// them, and once MySQL has caught up, so that whoever just bought here finds it.
pub async fn list_of_user(app: &AppState, caller: Caller, user: UserId) -> Result<(), Problem> {
    caller.acting_for(user)?;
    balance_get(&app.scripts, user).await?.ok_or(ProblemKind::UserNotFound)?;
    catch_up(app, app.scripts.cells().of_user(user)).await;
    Ok(())
}

/// Waits until MySQL has the newest event of a cell that this node vouches for. It does not wait for long: then
/// the list says what MySQL has.
pub async fn catch_up(app: &AppState, cell: CellId) {
    // The number first: where the epoch is newer than its own, the wait is for the opener, which is behind it.
    let seq = app.scripts.vouched(cell).highest;
    if let Some(fence) = app.scripts.fence(cell) {
        app.watermark.reach(cell, Position { epoch: fence.epoch, seq }, CATCH_UP).await;
    }
}
