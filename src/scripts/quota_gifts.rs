//! Typed binding of `lua/quota_gifts.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::quota_give::Transfer;
use super::text::Script;
use crate::cell::{CellId, Epoch, Position};

/// Some of the transfers out of a cell whose arrival MySQL does not have yet.
pub async fn quota_gifts(
    scripts: &Scripts,
    from: CellId,
    limit: usize,
) -> Result<Vec<Transfer>, ScriptError> {
    let args = [limit.to_string()];
    let mut reply = scripts.call(Script::QuotaGifts, from, &[keys::gifts(from)], &args).await?;
    match reply.outcome {
        "READ" => {
            let words: Vec<String> = reply.take(1)?;
            let gifts = words.chunks(6).map(|it| parse(from, reply.epoch, it)).collect::<Option<_>>();
            gifts.ok_or_else(|| reply.unexpected())
        }
        _ => Err(reply.unexpected()),
    }
}

fn parse(from: CellId, told_in: Epoch, words: &[String]) -> Option<Transfer> {
    let [pool, to, number, units, given, life] = words else { return None };
    let given: Position = given.parse().ok()?;
    Some(Transfer {
        pool: pool.parse().ok()?,
        from,
        to: CellId(to.parse().ok()?),
        number: number.parse().ok()?,
        units: units.parse().ok()?,
        given: Position { epoch: told_in, seq: given.seq },
        life: life.parse().ok()?,
    })
}
