//! Typed binding of `lua/copies_made.lua`; the header of that file is the contract.

use super::copies_due::Change;
use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;

/// What can happen when a change is everywhere, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiesMade {
    /// It changed again since.
    Changed,
    Made,
}

/// Forgets a change of a home cell: MySQL has all its copies.
pub async fn copies_made(scripts: &Scripts, home: CellId, change: Change) -> Result<CopiesMade, ScriptError> {
    let (name, seq) = match change {
        Change::Product(id, seq) => (format!("p:{id}"), seq),
        Change::Coupon(id, seq) => (format!("c:{id}"), seq),
    };
    let args = [name, seq.to_string()];
    let reply = scripts.call(Script::CopiesMade, home, &[keys::uncopied(home)], &args).await?;
    match reply.outcome {
        "CHANGED" => Ok(CopiesMade::Changed),
        "MADE" => Ok(CopiesMade::Made),
        _ => Err(reply.unexpected()),
    }
}
