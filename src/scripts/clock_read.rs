//! Typed binding of `lua/clock_read.lua`; the header of that file is the contract.

use super::load::{NO_ARGS, ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::time::Millis;

/// The cell's own clock, in milliseconds since 1970.
pub async fn clock_read(scripts: &Scripts, cell: CellId) -> Result<Millis, ScriptError> {
    let reply = scripts.call(Script::ClockRead, cell, &[], NO_ARGS).await?;
    match reply.outcome {
        "NOW" => reply.int(1),
        _ => Err(reply.unexpected()),
    }
}
