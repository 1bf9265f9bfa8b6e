//! Typed binding of `lua/order_end.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::settled::SettledOrder;
use super::text::Script;
use super::{idempotency_args, keys};
use crate::cell::{CellId, Position, Seq};
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{OrderId, UserId};
use crate::order::{OrderFacts, OrderStatus};

/// How an order can come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderEnding {
    Cancelled,
    Expired,
    Refunded,
}

impl OrderEnding {
    pub fn status(self) -> OrderStatus {
        match self {
            Self::Cancelled => OrderStatus::Cancelled,
            Self::Expired => OrderStatus::Expired,
            Self::Refunded => OrderStatus::Refunded,
        }
    }
}

/// What can happen when an order is to end, in the order the script tests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEnd {
    /// Not here, or not the caller's.
    NotFound,
    KeyReused,
    /// What was read of the order may be old: read again.
    Stale,
    /// It can still be paid.
    NotDue,
    /// It is in a state from which it cannot come to this end.
    NotNow,
    Ended {
        ended: SettledOrder,
        seen: Seen,
    },
}

/// What the log or MySQL says of an order that was paid at once.
#[derive(Debug, Clone)]
pub struct ReadOrder {
    pub facts: OrderFacts,
    /// The event that paid it.
    pub paid_seq: Seq,
    /// Up to this event whoever read it knew all that happened to it.
    pub known_to: Position,
}

/// Which order is to end, and how.
#[derive(Debug, Clone, Copy)]
pub struct EndRequest<'a> {
    pub order: OrderId,
    pub ending: OrderEnding,
    /// Whose order it must be; `None`: anybody's.
    pub caller: Option<UserId>,
    pub idempotency: Option<&'a Idempotency>,
    pub idempotency_ttl_ms: u64,
    /// For a refund of an order that the cell has no hash of.
    pub read: Option<&'a ReadOrder>,
}

/// Cancels, expires or refunds an order of `cell`, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may have ended; a retry is safe with a key, and else told `NotNow`.
pub async fn order_end(
    scripts: &Scripts,
    cell: CellId,
    request: EndRequest<'_>,
) -> Result<OrderEnd, ScriptError> {
    let extra_keys =
        [keys::order(cell, request.order), keys::due(cell), keys::settled(cell), keys::rolling_sales(cell)];
    let [fingerprint, key] = idempotency_args(request.idempotency);
    let (order, ttl) = (request.order.to_string(), request.idempotency_ttl_ms.to_string());
    let caller = request.caller.map(|it| it.to_string()).unwrap_or_default();
    let mut args = vec![order, request.ending.status().as_str().to_owned(), caller, fingerprint.to_owned()];
    args.extend([key.to_owned(), ttl]);
    match request.read {
        Some(ReadOrder { facts, paid_seq, known_to }) => args.extend([
            known_to.epoch.to_string(),
            known_to.seq.to_string(),
            facts.to_string(),
            paid_seq.to_string(),
        ]),
        None => args.extend([const { String::new() }; 4]),
    }
    let reply = scripts.call(Script::OrderEnd, cell, &extra_keys, &args).await?;
    let ended = |seen| {
        let ended = SettledOrder::parse(reply.text(1)?).ok_or_else(|| reply.unexpected())?;
        scripts.acknowledge(cell, reply.epoch, ended.seq)?;
        Ok(OrderEnd::Ended { ended, seen })
    };
    match reply.outcome {
        "NOT_FOUND" => Ok(OrderEnd::NotFound),
        "KEY_REUSED" => Ok(OrderEnd::KeyReused),
        "REPLAYED" => ended(Seen::Replayed),
        "STALE" => Ok(OrderEnd::Stale),
        "NOT_DUE" => Ok(OrderEnd::NotDue),
        "NOT_NOW" => Ok(OrderEnd::NotNow),
        "ENDED" => ended(Seen::New),
        _ => Err(reply.unexpected()),
    }
}
