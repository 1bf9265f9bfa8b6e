//! Typed binding of `lua/quota_give.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::reply::Reply;
use super::text::Script;
use crate::cell::{CellId, Position, Seq};
use crate::pool::Pool;

/// Units on their way from one cell to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    pub pool: Pool,
    pub from: CellId,
    pub to: CellId,
    /// Among those of this pool between these two cells, in this direction.
    pub number: u64,
    pub units: i64,
    /// Number of the event that gave them, and the epoch in which its cell told of it (it may be of an earlier one).
    pub given: Position,
    /// Of the pool: its first event in its home cell.
    pub life: Seq,
}

/// What is asked of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Units of the home cell: at least `least`, those that are `wanted`, and the `share`th part where nobody else waits.
    Home { least: i64, wanted: i64, share: u64 },
    /// Half of what another cell has not sold, or what is `wanted` of it.
    Recall { wanted: i64 },
}

/// What can happen when units are asked for, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaGive {
    NotFound,
    /// The one before is under way.
    Outstanding(Transfer),
    Held,
    Wait,
    /// `scarce`: it is no more than what is waited for, or other cells wait, too.
    Given {
        transfer: Transfer,
        scarce: bool,
    },
}

/// Takes units out of a cell for another one, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] they may be on their way; calling again is safe.
pub async fn quota_give(
    scripts: &Scripts,
    pool: Pool,
    from: CellId,
    to: CellId,
    ask: Ask,
) -> Result<QuotaGive, ScriptError> {
    let extra_keys =
        [keys::pool(from, pool), keys::quota(from, pool), keys::gifts(from), keys::asks(from, pool)];
    let (least, wanted, share) = match ask {
        Ask::Home { least, wanted, share } => (least, wanted, share),
        Ask::Recall { wanted } => (1, wanted, 0),
    };
    let args = [pool.to_string(), to.to_string(), least.to_string(), wanted.to_string(), share.to_string()];
    let reply = scripts.call(Script::QuotaGive, from, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(QuotaGive::NotFound),
        "OUTSTANDING" => Ok(QuotaGive::Outstanding(transfer(&reply, pool, from, to)?)),
        "HELD" => Ok(QuotaGive::Held),
        "WAIT" => Ok(QuotaGive::Wait),
        "GIVEN" => {
            let transfer = transfer(&reply, pool, from, to)?;
            scripts.acknowledge(from, reply.epoch, transfer.given.seq)?;
            Ok(QuotaGive::Given { transfer, scarce: reply.int(5)? == 1 })
        }
        _ => Err(reply.unexpected()),
    }
}

fn transfer(reply: &Reply, pool: Pool, from: CellId, to: CellId) -> Result<Transfer, ScriptError> {
    let made: Position = reply.text(3)?.parse().map_err(|_| reply.unexpected())?;
    let given = Position { epoch: reply.epoch, seq: made.seq };
    let (number, units, life) = (reply.int(1)? as u64, reply.int(2)?, reply.int(4)? as Seq);
    Ok(Transfer { pool, from, to, number, units, given, life })
}
