//! Typed binding of `lua/order_get.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position, Seq};
use crate::event::Event;
use crate::order::Order;

/// Finds an order of the running epoch in the event log; `None`: in MySQL, or nowhere.
pub async fn order_get(scripts: &Scripts, cell: CellId, seq: Seq) -> Result<Option<Order>, ScriptError> {
    let reply = scripts.call(Script::OrderGet, cell, &[], &[&seq.to_string()]).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(None),
        "FOUND" => {
            let event = Event::parse(reply.text(1)?, reply.text(2)?).map_err(|error| {
                ScriptError::Failed { script: Script::OrderGet.stem(), reason: error.to_string() }
            })?;
            Ok(event.order(cell, Position { epoch: reply.epoch, seq }))
        }
        _ => Err(reply.unexpected()),
    }
}
