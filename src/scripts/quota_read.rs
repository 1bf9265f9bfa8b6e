//! Typed binding of `lua/quota_read.lua`; the header of that file is the contract.

use super::keys;
use super::load::{NO_ARGS, ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Epoch, Seq};
use crate::pool::Pool;

/// Most pools of one call.
pub const POOLS_MAX: usize = 1_000;

/// What a cell has of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Units that it can sell.
    pub remaining: i64,
    /// Units that came from other cells, less those that went there.
    pub moved: i64,
    /// How often units came back, or were put in.
    pub increases: u64,
    /// Of the pool: its first event in its home; 0 where it is not here, or there is one cell only.
    pub life: Seq,
}

impl Quota {
    /// What the cell adds to the sum of all cells. No transfer changes it, so the sum counts units that are on their way,
    /// and no reading of several cells counts any of them twice.
    pub fn share(self) -> i64 {
        self.remaining - self.moved
    }
}

/// Reads up to [`POOLS_MAX`] pools of a cell, and the epoch in which that was; a pool that is not there has nothing.
pub async fn quota_read(
    scripts: &Scripts,
    cell: CellId,
    pools: &[Pool],
) -> Result<(Vec<Quota>, Epoch), ScriptError> {
    let keys: Vec<String> = pools.iter().map(|it| keys::pool(cell, *it)).collect();
    let mut reply = scripts.call(Script::QuotaRead, cell, &keys, NO_ARGS).await?;
    match reply.outcome {
        "READ" => {
            let values: Vec<String> = reply.take(1)?;
            if values.len() != 4 * pools.len() {
                return Err(reply.unexpected());
            }
            let quotas = values.chunks_exact(4).map(parse).collect::<Option<_>>();
            Ok((quotas.ok_or_else(|| reply.unexpected())?, reply.epoch))
        }
        _ => Err(reply.unexpected()),
    }
}

fn parse(values: &[String]) -> Option<Quota> {
    let number = |text: &String| if text.is_empty() { Some(0) } else { text.parse().ok() };
    let [remaining, moved, increases, life] = values else { return None };
    Some(Quota {
        remaining: number(remaining)?,
        moved: number(moved)?,
        increases: u64::try_from(number(increases)?).ok()?,
        life: Seq::try_from(number(life)?).ok()?,
    })
}
