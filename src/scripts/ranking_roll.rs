//! Typed binding of `lua/ranking_roll.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::ranking::WINDOW_HOURS;

/// Products that one call takes out: about a millisecond of Redis.
const CHUNK: u32 = 500;

/// Moves the ranking's window up to the running hour. Whoever calls, and however many at once, each unit
/// leaves the window once.
pub async fn ranking_roll(scripts: &Scripts, cell: CellId) -> Result<(), ScriptError> {
    let extra_keys = [keys::sales(cell), keys::rolling_sales(cell)];
    let args = [WINDOW_HOURS.to_string(), CHUNK.to_string()];
    loop {
        let reply = scripts.call(Script::RankingRoll, cell, &extra_keys, &args).await?;
        match reply.outcome {
            "CURRENT" => return Ok(()),
            "ROLLED" => {}
            _ => return Err(reply.unexpected()),
        }
    }
}
