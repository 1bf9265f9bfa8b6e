//! Typed binding of `lua/order_get.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position, order_seq};
use crate::event::{Event, OrderPaidEvent};
use crate::ids::OrderId;
use crate::order::{Order, OrderFacts, OrderStatus};

/// Where Redis has an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderGet {
    /// In MySQL, or nowhere.
    NotFound,
    /// In its own hash, as it stands.
    Held(Order),
    /// In the log: it was paid at once, and nothing has happened to it since.
    Logged { position: Position, paid: OrderPaidEvent },
}

/// Looks an order up in Redis.
pub async fn order_get(scripts: &Scripts, cell: CellId, order: OrderId) -> Result<OrderGet, ScriptError> {
    let seq = order_seq(order);
    let extra_keys = [keys::order(cell, order)];
    let reply = scripts.call(Script::OrderGet, cell, &extra_keys, &[&seq.to_string()]).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(OrderGet::NotFound),
        "HELD" => {
            let status = OrderStatus::parse(reply.text(1)?);
            let facts = OrderFacts::parse(reply.text(2)?.split(' '));
            let (Some(status), Some(facts)) = (status, facts) else { return Err(reply.unexpected()) };
            Ok(OrderGet::Held(facts.order(order, status, reply.text(3)?.parse().ok())))
        }
        "LOGGED" => match Event::parse(reply.text(1)?, reply.text(2)?) {
            Ok(Event::OrderPaid(paid)) => {
                Ok(OrderGet::Logged { position: Position { epoch: reply.epoch, seq }, paid })
            }
            // The id is of another event: there is no such order.
            Ok(_) => Ok(OrderGet::NotFound),
            Err(error) => {
                let script = Script::OrderGet.stem();
                Err(ScriptError::Failed { script, reason: error.to_string() })
            }
        },
        _ => Err(reply.unexpected()),
    }
}
