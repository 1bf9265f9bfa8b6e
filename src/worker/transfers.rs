//! Transfers that nobody takes to their end: a node that gave units on a buyer's behalf may have died.

use std::collections::HashSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Trouble, Worker};
use crate::across::transfer::hold_ms;
use crate::cell::{CellId, Position};
use crate::mysql::cells;
use crate::pool::Pool;
use crate::scripts::ScriptError;
use crate::scripts::quota_gifts::quota_gifts;
use crate::scripts::quota_give::Transfer;
use crate::scripts::quota_settle::quota_settle;
use crate::scripts::quota_take::{QuotaTake, quota_take};
use crate::watermark::has_told;

/// How often a cell's transfers are looked at. Whoever waits for units takes them within some milliseconds, so that only
/// those are touched which were there the last time too.
const PAUSE: Duration = Duration::from_millis(500);

/// Transfers looked at in one go, any of them.
const BATCH: usize = 500;

/// Which transfer it is.
type Name = (Pool, CellId, u64);

#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
}

/// Takes transfers out of one cell to their end, until `stop`.
pub(super) async fn run(worker: Worker, from: CellId, stop: CancellationToken) {
    let (mut seen, mut trouble) = (HashSet::new(), Trouble::default());
    while !stop.is_cancelled() {
        match look(&worker, from, &mut seen).await {
            Ok(()) => trouble.is_over(),
            // The persisting loop opens it again.
            Err(TransferError::Script(ScriptError::CellClosed(_))) => {}
            Err(error) if trouble.begins() => {
                tracing::warn!(%from, %error, "units stay on their way between cells for now");
            }
            Err(_) => {}
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn look(worker: &Worker, from: CellId, seen: &mut HashSet<Name>) -> Result<(), TransferError> {
    let gifts = quota_gifts(&worker.scripts, from, BATCH).await?;
    let before = std::mem::take(seen);
    for transfer in gifts {
        let name = (transfer.pool, transfer.to, transfer.number);
        seen.insert(name);
        if before.contains(&name) {
            step(worker, transfer).await?;
        }
    }
    Ok(())
}

/// Does the next step of a transfer whose time has come; the one behind it is for the next look.
async fn step(worker: &Worker, transfer: Transfer) -> Result<(), TransferError> {
    if !has(worker, transfer.from, transfer.given).await? {
        return Ok(());
    }
    match quota_take(&worker.scripts, &transfer, hold_ms(&worker.scripts, &transfer)).await? {
        QuotaTake::Already(arrived) if has(worker, transfer.to, arrived).await? => {
            quota_settle(&worker.scripts, &transfer).await?;
        }
        QuotaTake::Taken(_) => {
            tracing::info!(pool = %transfer.pool, from = %transfer.from, to = %transfer.to, units = transfer.units,
                "units that were on their way have arrived");
        }
        // A copy of what is listed is missing, or the pool is over: both end by themselves.
        QuotaTake::Already(_) | QuotaTake::Unknown | QuotaTake::Void | QuotaTake::OutOfTurn => {}
    }
    Ok(())
}

/// Whether MySQL has an event that a cell told of.
async fn has(worker: &Worker, cell: CellId, told: Position) -> Result<bool, sqlx::Error> {
    Ok(has_told(&cells::read(&worker.mysql, cell).await?.view, told))
}
