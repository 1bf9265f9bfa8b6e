//! Messages to the data platform: CloudEvents 1.0, structured JSON.

use serde::Serialize;

use crate::cell::{CellId, Seq};
use crate::order::Order;
use crate::time;

/// What a message tells; also its routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    OrderPaid,
    OrderRefunded,
}

impl MessageKind {
    pub fn routing_key(self) -> &'static str {
        match self {
            Self::OrderPaid => "order.paid",
            Self::OrderRefunded => "order.refunded",
        }
    }

    /// As stored in the outbox; `None` is a kind of a newer release.
    pub fn from_routing_key(key: &str) -> Option<Self> {
        [Self::OrderPaid, Self::OrderRefunded].into_iter().find(|it| it.routing_key() == key)
    }
}

/// `<cell>-<seq>`: the consumer's key against duplicates.
pub fn message_id(cell: CellId, seq: Seq) -> String {
    format!("{cell}-{seq}")
}

/// The body of one message.
pub fn cloud_event(kind: MessageKind, cell: CellId, seq: Seq, order: &Order) -> String {
    #[derive(Serialize)]
    struct CloudEvent<'a> {
        specversion: &'static str,
        id: String,
        source: String,
        #[serde(rename = "type")]
        kind: String,
        time: String,
        datacontenttype: &'static str,
        data: &'a Order,
    }

    let event = CloudEvent {
        specversion: "1.0",
        id: message_id(cell, seq),
        source: format!("/firstcome/cells/{cell}"),
        kind: format!("com.firstcome.{}", kind.routing_key()),
        time: time::rfc3339(order.refunded_at.or(order.paid_at).unwrap_or(order.placed_at)),
        datacontenttype: "application/json",
        data: order,
    };
    serde_json::to_string(&event).expect("an order is plain JSON")
}
