//! Typed binding of `lua/copies_due.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Seq};
use crate::ids::{CouponId, ProductId};

/// What changed in its home cell, and the number of the event that last did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Product(ProductId, Seq),
    Coupon(CouponId, Seq),
}

/// Changes of a home cell that may not be everywhere yet, the oldest first.
pub async fn copies_due(scripts: &Scripts, home: CellId, limit: usize) -> Result<Vec<Change>, ScriptError> {
    let args = [limit.to_string()];
    let mut reply = scripts.call(Script::CopiesDue, home, &[keys::uncopied(home)], &args).await?;
    match reply.outcome {
        "READ" => {
            let words: Vec<String> = reply.take(1)?;
            let changes = words.chunks(2).map(parse).collect::<Option<_>>();
            changes.ok_or_else(|| reply.unexpected())
        }
        _ => Err(reply.unexpected()),
    }
}

fn parse(words: &[String]) -> Option<Change> {
    let [name, seq] = words else { return None };
    let seq = seq.parse().ok()?;
    match name.split_once(':')? {
        ("p", id) => Some(Change::Product(id.parse().ok()?, seq)),
        ("c", id) => Some(Change::Coupon(id.parse().ok()?, seq)),
        _ => None,
    }
}
