//! Typed binding of `lua/fence.lua`; the header of that file is the contract.

use super::load::{NO_ARGS, ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;

/// Whether a cell sells: its gate is open in the epoch this node works in, and the server is the one
/// that was checked.
pub async fn fence_check(scripts: &Scripts, cell: CellId) -> Result<(), ScriptError> {
    let reply = scripts.call(Script::Fence, cell, &[], NO_ARGS).await?;
    match reply.outcome {
        "PRESENT" => Ok(()),
        _ => Err(reply.unexpected()),
    }
}
