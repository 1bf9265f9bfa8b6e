//! Typed binding of `lua/quota_take.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::quota_give::Transfer;
use super::text::Script;
use crate::cell::Position;

/// What can happen when units arrive, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaTake {
    /// The pool is not in this cell (yet), or is of an earlier life.
    Unknown,
    /// The pool is of a later life: units of the earlier one went with it.
    Void,
    /// The one before it has not arrived.
    OutOfTurn,
    /// Number of the event that took them, and the epoch in which the cell told of it (it may be of an earlier one).
    Already(Position),
    Taken(Position),
}

/// Adds units that another cell gave, once. Only to be called once MySQL has the event that gave them. For `hold_ms` they
/// are not recalled.
///
/// # Errors
/// After [`ScriptError::Unknown`] they may have arrived; calling again is safe.
pub async fn quota_take(
    scripts: &Scripts,
    transfer: &Transfer,
    hold_ms: u64,
) -> Result<QuotaTake, ScriptError> {
    let Transfer { pool, from, to, number, units, life, .. } = *transfer;
    let extra_keys = [keys::pool(to, pool), keys::quota(to, pool)];
    let args = [
        pool.to_string(),
        from.to_string(),
        life.to_string(),
        number.to_string(),
        units.to_string(),
        hold_ms.to_string(),
    ];
    let reply = scripts.call(Script::QuotaTake, to, &extra_keys, &args).await?;
    let arrived = || {
        let made: Position = reply.text(1)?.parse().map_err(|_| reply.unexpected())?;
        Ok::<_, ScriptError>(Position { epoch: reply.epoch, seq: made.seq })
    };
    match reply.outcome {
        "UNKNOWN" => Ok(QuotaTake::Unknown),
        "VOID" => Ok(QuotaTake::Void),
        "OUT_OF_TURN" => Ok(QuotaTake::OutOfTurn),
        "ALREADY" => Ok(QuotaTake::Already(arrived()?)),
        "TAKEN" => {
            let arrived = arrived()?;
            scripts.acknowledge(to, reply.epoch, arrived.seq)?;
            Ok(QuotaTake::Taken(arrived))
        }
        _ => Err(reply.unexpected()),
    }
}
