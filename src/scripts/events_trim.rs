//! Typed binding of `lua/events_trim.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Epoch, Seq};

/// Most entries dropped in one call: keeps a call well under a millisecond.
const CHUNK: u64 = 1_000;

/// Drops up to 1,000 of the oldest persisted entries beyond the newest `keep`. `persisted` is the
/// newest persisted event of `epoch`. Returns how many went; a cell that has moved past `epoch` loses none.
pub async fn events_trim(
    scripts: &Scripts,
    cell: CellId,
    epoch: Epoch,
    persisted: Seq,
    keep: u64,
) -> Result<u64, ScriptError> {
    if scripts.fence(cell).is_none_or(|it| it.epoch != epoch) {
        return Ok(0);
    }
    let args = [persisted.to_string(), keep.to_string(), CHUNK.to_string()];
    let reply = scripts.call(Script::EventsTrim, cell, &[keys::settled(cell)], &args).await?;
    match reply.outcome {
        "TRIMMED" => Ok(reply.int(1)? as u64),
        _ => Err(reply.unexpected()),
    }
}
