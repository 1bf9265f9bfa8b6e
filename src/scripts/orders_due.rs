//! Typed binding of `lua/orders_due.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::ids::OrderId;

/// Up to `limit` pending orders whose time is over, the longest overdue first.
pub async fn orders_due(scripts: &Scripts, cell: CellId, limit: usize) -> Result<Vec<OrderId>, ScriptError> {
    let mut reply = scripts.call(Script::OrdersDue, cell, &[keys::due(cell)], &[limit.to_string()]).await?;
    match reply.outcome {
        "READ" => {
            let ids: Vec<String> = reply.take(1)?;
            ids.iter().map(|it| it.parse().map_err(|_| reply.unexpected())).collect()
        }
        _ => Err(reply.unexpected()),
    }
}
