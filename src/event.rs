//! Events: one fact each, appended by the script that made it true.
//!
//! An entry of the log has one field: its name is the kind and its version (`order_paid:1`), its
//! value the body: words separated by spaces, the only free text last. A worker reads this release's
//! versions and the previous release's. `docs/events.md` lists the bodies.

mod body;
mod holding;
mod quota;

use crate::cell::{CellId, NotAPosition, Position, Seq, order_id};
use crate::coupon::{CouponDescription, Discount, IssueId};
use crate::idempotency::Fingerprint;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::Amount;
use crate::order::{FactLine, Order, OrderFacts, OrderStatus};
use crate::product::SkuId;
use crate::scripts::product_set::CopyOf;
use crate::time::Millis;

pub use holding::Holding;
pub use quota::{Direction, QuotaMovedEvent};

/// One fact, with the absolute values after it, so that MySQL's rows and a rebuild need nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first entry of an epoch, and the last event before it that MySQL has.
    Opener {
        at_ms: Millis,
        kept: Position,
    },
    UserCreated {
        at_ms: Millis,
        user: UserId,
    },
    Charged {
        at_ms: Millis,
        user: UserId,
        amount: Amount,
        balance: Amount,
        key: Option<StoredKey>,
    },
    ProductSet(ProductSetEvent),
    Restocked {
        at_ms: Millis,
        sku: SkuId,
        delta: i64,
        remaining: i64,
        /// What the caller was told: units of all cells.
        total: i64,
        caller: u64,
        key: Option<StoredKey>,
    },
    /// With what was left of each of its SKUs.
    ProductDeleted {
        at_ms: Millis,
        product: ProductId,
        left: Vec<Left>,
    },
    CouponSet {
        at_ms: Millis,
        coupon: CouponDescription,
        remaining: i64,
        /// Units that came from other cells, less those that went there.
        moved: i64,
        /// `None`: this is its home cell.
        copy_of: Option<CopyOf>,
    },
    QuotaMoved(QuotaMovedEvent),
    CouponIssued(CouponIssuedEvent),
    CouponForgotten {
        at_ms: Millis,
        coupon: CouponId,
    },
    /// A request that changed nothing is remembered for its key.
    KeyNoted {
        at_ms: Millis,
        /// The user it belongs to; 0: an administrator's.
        scope: u64,
        /// As Redis's record holds it behind the fingerprint.
        answer: String,
        key: StoredKey,
    },
    OrderPaid(OrderPaidEvent),
    /// For later payment; its id is the event's.
    OrderPlaced {
        at_ms: Millis,
        facts: OrderFacts,
        /// Units left of each line's SKU afterwards.
        remaining: Vec<i64>,
        key: Option<StoredKey>,
    },
    OrderSettled(OrderSettledEvent),
    OrderEnded(OrderEndedEvent),
    /// A pending order let go of it.
    CouponReleased {
        at_ms: Millis,
        order: OrderId,
        /// Without discount and coupon.
        facts: OrderFacts,
        coupon: CouponId,
        key: Option<StoredKey>,
    },
}

/// The idempotency key under which an event was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    pub fingerprint: Fingerprint,
    pub key: String,
}

/// What was left of a SKU when its product went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub sku: SkuId,
    pub remaining: i64,
    /// Units that had come from other cells, less those that went there.
    pub moved: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductSetEvent {
    pub at_ms: Millis,
    /// `None`: this is its home cell.
    pub copy_of: Option<CopyOf>,
    pub product: ProductId,
    pub name: String,
    pub starts_at_ms: Option<Millis>,
    pub ends_at_ms: Option<Millis>,
    pub limit_per_user: Option<u32>,
    /// In the order shown; options of the product that are not here are no longer sold.
    pub skus: Vec<SkuSet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuSet {
    pub option: OptionId,
    pub name: String,
    pub price: Amount,
    pub initial: i64,
    pub remaining: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponIssuedEvent {
    pub at_ms: Millis,
    pub issue: IssueId,
    /// Units left afterwards.
    pub remaining: i64,
    /// Whether the user was missing, and was made with it.
    pub created_user: bool,
    pub discount: Discount,
    pub expires_at_ms: Millis,
    pub key: Option<StoredKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPaidEvent {
    pub at_ms: Millis,
    pub user: UserId,
    pub total: Amount,
    pub discount: Amount,
    /// What the wallet held afterwards.
    pub balance: Amount,
    pub coupon: Option<CouponId>,
    pub lines: Vec<PaidLine>,
    pub key: Option<StoredKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidLine {
    pub sku: SkuId,
    pub quantity: u32,
    pub unit_price: Amount,
    /// Units left of the SKU afterwards.
    pub remaining: i64,
    /// Whether the units count against the product's limit per user.
    pub limited: bool,
}

/// A pending order was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSettledEvent {
    pub at_ms: Millis,
    pub order: OrderId,
    pub facts: OrderFacts,
    /// What the wallet held afterwards.
    pub balance: Amount,
    /// The coupon that it held until then and did not use.
    pub freed: Option<CouponId>,
    pub key: Option<StoredKey>,
}

/// An order was cancelled, expired or refunded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEndedEvent {
    pub at_ms: Millis,
    pub order: OrderId,
    /// Cancelled, expired or refunded.
    pub end: OrderStatus,
    pub facts: OrderFacts,
    /// What the wallet held after a refund.
    pub balance: Option<Amount>,
    /// Units left of each line's SKU afterwards; `None`: it went with its product.
    pub remaining: Vec<Option<i64>>,
    /// The coupon that its user has again.
    pub freed: Option<CouponId>,
    /// The event that paid a refunded order.
    pub paid_seq: Seq,
    pub key: Option<StoredKey>,
}

/// An entry that no release's worker can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("unknown event {0:?}")]
    UnknownKind(String),
    #[error("malformed {kind} event: {body:?}")]
    Malformed { kind: String, body: String },
}

/// One entry as Redis gives it: its id, then names and values in turn.
pub type RawEntry = (String, Vec<Vec<u8>>);

/// One entry of the event log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub position: Position,
    /// `order_paid:1`
    pub kind: String,
    pub body: String,
}

impl Entry {
    /// Takes anything that stands under an event id. What is not one field of text becomes an entry of an
    /// unknown kind, so that it is parked like any other event that nobody can read.
    pub fn from_raw((id, fields): RawEntry) -> Result<Self, NotAPosition> {
        let position = id.parse()?;
        let texts: Option<Vec<&str>> = fields.iter().map(|it| std::str::from_utf8(it).ok()).collect();
        Ok(match texts.as_deref() {
            Some([kind, body]) => Self { position, kind: (*kind).to_owned(), body: (*body).to_owned() },
            _ => {
                let body = fields.iter().map(|it| String::from_utf8_lossy(it)).collect::<Vec<_>>().join(" ");
                Self { position, kind: "unreadable".to_owned(), body }
            }
        })
    }

    /// Whether this is the very next entry after a position. Each number is the one before plus one; the
    /// only legal gap is an epoch's opener, which names the event it follows.
    pub fn follows(&self, after: Position) -> bool {
        if self.position.epoch == after.epoch {
            return self.position.seq == after.seq + 1;
        }
        self.position > after && matches!(self.event(), Ok(Event::Opener { kept, .. }) if kept == after)
    }

    /// When it happened: each body begins with that.
    pub fn at_ms(&self) -> Option<Millis> {
        self.body.split(' ').next()?.parse().ok()
    }

    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.kind, &self.body)
    }
}

impl Event {
    /// Reads an entry of the log.
    pub fn parse(kind: &str, body: &str) -> Result<Self, EventError> {
        let event = body::parse(kind, body).ok_or_else(|| EventError::UnknownKind(kind.to_owned()))?;
        event.ok_or_else(|| EventError::Malformed { kind: kind.to_owned(), body: body.to_owned() })
    }

    /// When it happened, by the cell's clock.
    pub fn at_ms(&self) -> Millis {
        match self {
            Self::Opener { at_ms, .. }
            | Self::UserCreated { at_ms, .. }
            | Self::Charged { at_ms, .. }
            | Self::Restocked { at_ms, .. }
            | Self::ProductDeleted { at_ms, .. }
            | Self::CouponSet { at_ms, .. }
            | Self::CouponForgotten { at_ms, .. }
            | Self::OrderPlaced { at_ms, .. }
            | Self::KeyNoted { at_ms, .. }
            | Self::CouponReleased { at_ms, .. } => *at_ms,
            Self::QuotaMoved(moved) => moved.at_ms,
            Self::ProductSet(set) => set.at_ms,
            Self::CouponIssued(issued) => issued.at_ms,
            Self::OrderPaid(paid) => paid.at_ms,
            Self::OrderSettled(settled) => settled.at_ms,
            Self::OrderEnded(ended) => ended.at_ms,
        }
    }
}

impl OrderPaidEvent {
    /// What the order is about.
    pub fn facts(&self) -> OrderFacts {
        let lines = self.lines.iter().map(|it| FactLine {
            sku: it.sku,
            quantity: it.quantity,
            unit_price: it.unit_price,
            limited: it.limited,
        });
        OrderFacts {
            user: self.user,
            total: self.total,
            discount: self.discount,
            coupon: self.coupon,
            placed_at_ms: self.at_ms,
            expires_at_ms: None,
            paid_at_ms: Some(self.at_ms),
            lines: lines.collect(),
        }
    }

    /// The order, which has the event's number in its id.
    pub fn order(&self, cell: CellId, position: Position) -> Option<Order> {
        Some(self.facts().order(order_id(cell, position.seq)?, OrderStatus::Paid, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paid_order_is_read_with_its_key() {
        let body = "1763640000123 7 3000 0 7000 0 1:0:2:1000:8:0,2:5:1:1000:0:1 \
                    00112233445566778899aabbccddeeff my key 1";
        let Event::OrderPaid(paid) = Event::parse("order_paid:1", body).unwrap() else {
            panic!("another kind")
        };
        assert_eq!((paid.total, paid.balance, paid.coupon, paid.lines.len()), (3000, 7000, None, 2));
        assert_eq!((paid.lines[1].sku.option.get(), paid.lines[1].limited), (5, true));
        let order = paid.order(CellId(0), Position { epoch: 1, seq: 9 });
        assert_eq!(paid.key.unwrap().key, "my key 1");
        assert_eq!(order.unwrap().order_id.get(), 9 * 1024);
    }

    #[test]
    fn a_product_is_read_with_its_names() {
        let body = r#"5 7 - 9 2 1:500:10:4,2:600:0:0 ["two words","S \"x\"","L"]"#;
        let Event::ProductSet(set) = Event::parse("product_set:1", body).unwrap() else {
            panic!("another kind")
        };
        assert_eq!((set.starts_at_ms, set.ends_at_ms, set.limit_per_user), (None, Some(9), Some(2)));
        assert_eq!(
            (set.name.as_str(), set.skus[0].name.as_str(), set.skus[1].price),
            ("two words", "S \"x\"", 600)
        );
    }

    #[test]
    fn a_campaign_and_its_issues_are_read() {
        let body = "5 7 percent 10 500 - 100 99 1 2 3 two words";
        let Event::CouponSet { coupon, remaining: 99, .. } = Event::parse("coupon_set:1", body).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(coupon.discount, Discount::Percent { value: 10, max_amount: Some(500) });
        assert_eq!((coupon.min_order_amount, coupon.quantity), (None, 100));
        assert_eq!((coupon.name.as_str(), coupon.expires_at_ms), ("two words", 3));
        let body = "5 7 9 98 1 fixed 1000 - 3 -";
        let Event::CouponIssued(issued) = Event::parse("coupon_issued:1", body).unwrap() else {
            panic!("another kind")
        };
        assert_eq!((issued.created_user, issued.discount, issued.key), (true, Discount::Fixed(1000), None));
        let deleted = Event::parse("product_deleted:1", "5 7 0:3,2:0").unwrap();
        let mut gone = Vec::new();
        deleted
            .absolute_values(CellId(0), Position::default(), |it, value| gone.push((it.to_string(), value)));
        // Each with what moved of it between cells.
        let gone: Vec<_> = gone.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(gone, [("7:0", None), ("s:7:0", None), ("7:2", None), ("s:7:2", None)]);
    }

    #[test]
    fn garbage_is_an_error() {
        assert_eq!(Event::parse("order_paid:9", ""), Err(EventError::UnknownKind("order_paid:9".to_owned())));
        for (kind, body) in [("order_paid:1", "1 2"), ("charged:1", "a b c d -"), ("opener:1", "")] {
            assert!(matches!(Event::parse(kind, body), Err(EventError::Malformed { .. })), "{kind} {body}");
        }
    }
}
