//! Typed binding of `lua/quota_ask.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::pool::Pool;

/// What can happen when a cell waits for units, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaAsk {
    NotFound,
    /// It is the cell's turn, and so many are in the pool's home.
    Ready,
    /// It waits no more.
    Gone,
    Waiting,
}

/// Has `cell` wait for at least `least` units of a pool, for `ask_ms`; one that waits already keeps its place, and for 0 ms
/// leaves it.
pub async fn quota_ask(
    scripts: &Scripts,
    pool: Pool,
    cell: CellId,
    least: i64,
    ask_ms: u64,
) -> Result<QuotaAsk, ScriptError> {
    let home = pool.home(scripts.cells());
    let extra_keys = [keys::pool(home, pool), keys::quota(home, pool), keys::asks(home, pool)];
    let args = [cell.to_string(), least.to_string(), ask_ms.to_string()];
    let reply = scripts.call(Script::QuotaAsk, home, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(QuotaAsk::NotFound),
        "READY" => Ok(QuotaAsk::Ready),
        "GONE" => Ok(QuotaAsk::Gone),
        "WAITING" => Ok(QuotaAsk::Waiting),
        _ => Err(reply.unexpected()),
    }
}
