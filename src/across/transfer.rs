//! Units of a pool from one cell to another, so that no failure on the way loses or doubles any.
//!
//! Two events and three steps: the giver gives (`quota_give`), the taker takes once MySQL has that (`quota_take`), the giver
//! forgets once MySQL has the arrival (`quota_settle`) and can give the next one. Each step may be done again, by anybody,
//! whenever: what is not persisted of either side is done again after its recovery, and what was numbered is taken once.

use std::time::Duration;

use super::catalogue;
use crate::cell::Position;
use crate::pool::Pool;
use crate::scripts::quota_give::Transfer;
use crate::scripts::quota_settle::quota_settle;
use crate::scripts::quota_take::{QuotaTake, quota_take};
use crate::scripts::{ScriptError, Scripts};
use crate::watermark::{Reached, Watermark};

/// Longest wait for MySQL, which has an event within some milliseconds while it keeps up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long units that came for those who wait are not recalled. Orders follow within milliseconds; where the buyers have
/// gone, the units are free after that.
const HOLD_MS: u64 = 250;

/// How long what arrives stays where it is, whoever brings it there: what a home gives is waited for, as far as anybody knows
/// but the one who asked.
pub fn hold_ms(scripts: &Scripts, transfer: &Transfer) -> u64 {
    match transfer.from == transfer.pool.home(scripts.cells()) {
        true => HOLD_MS,
        false => 0,
    }
}

/// How units that were given come to their new cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// They came with this call.
    Arrived,
    /// They had come before, and the giver may give again.
    Before,
    /// Ask the giver again: it was recovered meanwhile, or the pool began a new life.
    Gone,
}

/// Takes a transfer to its end. What comes is not recalled for `hold_ms`.
///
/// # Errors
/// [`ScriptError::Refused`] where MySQL is away or far behind: the units stay on their way.
pub async fn deliver(
    scripts: &Scripts,
    watermark: &Watermark,
    transfer: Transfer,
    hold_ms: u64,
) -> Result<Delivery, ScriptError> {
    if !persisted(watermark, transfer.from, transfer.given).await? {
        return Ok(Delivery::Gone);
    }
    let mut may_copy = true;
    loop {
        match quota_take(scripts, &transfer, hold_ms).await? {
            QuotaTake::Taken(arrived) => {
                metrics::counter!("firstcome_quota_transfers_total", "kind" => kind(transfer.pool))
                    .increment(1);
                let (scripts, watermark) = (scripts.clone(), watermark.clone());
                // Nobody waits for this. Where it fails, whoever needs the next transfer does it.
                tokio::spawn(async move { settle(&scripts, &watermark, transfer, arrived).await });
                return Ok(Delivery::Arrived);
            }
            QuotaTake::Already(arrived) => {
                settle(scripts, watermark, transfer, arrived).await?;
                return Ok(Delivery::Before);
            }
            QuotaTake::Unknown if may_copy && transfer.from == transfer.pool.home(scripts.cells()) => {
                may_copy = false;
                if !catalogue::bring(scripts, watermark, transfer.pool, transfer.to).await? {
                    return Ok(Delivery::Gone);
                }
            }
            QuotaTake::Unknown | QuotaTake::Void | QuotaTake::OutOfTurn => return Ok(Delivery::Gone),
        }
    }
}

/// Tells the giver, once MySQL has the arrival.
async fn settle(
    scripts: &Scripts,
    watermark: &Watermark,
    transfer: Transfer,
    arrived: Position,
) -> Result<(), ScriptError> {
    if persisted(watermark, transfer.to, arrived).await? {
        quota_settle(scripts, &transfer).await?;
    }
    Ok(())
}

/// Whether MySQL has an event that a cell told of; false: the cell was recovered since, and may not have it any more.
async fn persisted(
    watermark: &Watermark,
    cell: crate::cell::CellId,
    told: Position,
) -> Result<bool, ScriptError> {
    match watermark.reach_told(cell, told, PATIENCE).await {
        Reached::Persisted => Ok(true),
        Reached::Unknown => Ok(false),
        Reached::TimedOut => {
            Err(ScriptError::Refused(format!("mysql does not have event {told} of cell {cell} yet")))
        }
    }
}

/// The pool's kind, as a metric label.
pub fn kind(pool: Pool) -> &'static str {
    match pool {
        Pool::Stock(_) => "stock",
        Pool::Coupon(_) => "coupon",
    }
}
