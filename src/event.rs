//! Events: one fact each, appended by the script that made it true.
//!
//! An entry of the log has one field: its name is the kind and its version (`order_paid:1`), its
//! value the body: words separated by spaces, the only free text last. A worker reads this release's
//! versions and the previous release's. `docs/events.md` lists the bodies.

mod body;

use std::fmt;

use crate::cell::{CellId, NotAPosition, Position, order_id};
use crate::coupon::{CouponDescription, Discount, IssueId, IssueState};
use crate::idempotency::Fingerprint;
use crate::ids::{CouponId, OptionId, ProductId, UserId};
use crate::money::Amount;
use crate::order::{Order, OrderLine, OrderStatus};
use crate::product::SkuId;
use crate::time::{self, Millis};

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
        caller: u64,
        key: Option<StoredKey>,
    },
    /// With what remained of each of its SKUs.
    ProductDeleted {
        at_ms: Millis,
        product: ProductId,
        remaining: Vec<(SkuId, i64)>,
    },
    CouponSet {
        at_ms: Millis,
        coupon: CouponDescription,
        remaining: i64,
    },
    CouponIssued(CouponIssuedEvent),
    CouponForgotten {
        at_ms: Millis,
        coupon: CouponId,
    },
    OrderPaid(OrderPaidEvent),
}

/// What holds a number that events change: a wallet its balance, a SKU and a coupon the units left, and one
/// user's unit of a coupon its state (see [`IssueState::number`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    Wallet(UserId),
    Sku(SkuId),
    Coupon(CouponId),
    Issue(IssueId),
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(user) => user.fmt(f),
            Self::Sku(SkuId { product, option }) => write!(f, "{product}:{option}"),
            Self::Coupon(coupon) => coupon.fmt(f),
            Self::Issue(IssueId { coupon, user }) => write!(f, "{coupon}:{user}"),
        }
    }
}

/// The idempotency key under which an event was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    pub fingerprint: Fingerprint,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductSetEvent {
    pub at_ms: Millis,
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
            | Self::CouponForgotten { at_ms, .. } => *at_ms,
            Self::ProductSet(set) => set.at_ms,
            Self::CouponIssued(issued) => issued.at_ms,
            Self::OrderPaid(paid) => paid.at_ms,
        }
    }

    /// Hands over each absolute value that the event at `position` carries: what something holds after it;
    /// `None`: it is gone. The issues of a forgotten coupon are gone with it, unnamed.
    pub fn absolute_values(
        &self,
        cell: CellId,
        position: Position,
        mut each: impl FnMut(Holding, Option<i64>),
    ) {
        match self {
            Self::Opener { .. } => {}
            Self::UserCreated { user, .. } => each(Holding::Wallet(*user), Some(0)),
            Self::Charged { user, balance, .. } => each(Holding::Wallet(*user), Some(*balance)),
            Self::ProductSet(set) => {
                for sku in &set.skus {
                    let id = SkuId { product: set.product, option: sku.option };
                    each(Holding::Sku(id), Some(sku.remaining));
                }
            }
            Self::Restocked { sku, remaining, .. } => each(Holding::Sku(*sku), Some(*remaining)),
            Self::ProductDeleted { remaining, .. } => {
                remaining.iter().for_each(|(sku, _)| each(Holding::Sku(*sku), None));
            }
            Self::CouponSet { coupon, remaining, .. } => each(Holding::Coupon(coupon.id), Some(*remaining)),
            Self::CouponIssued(issued) => {
                if issued.created_user {
                    each(Holding::Wallet(issued.issue.user), Some(0));
                }
                each(Holding::Coupon(issued.issue.coupon), Some(issued.remaining));
                each(Holding::Issue(issued.issue), Some(IssueState::Issued.number()));
            }
            Self::CouponForgotten { coupon, .. } => each(Holding::Coupon(*coupon), None),
            Self::OrderPaid(paid) => {
                each(Holding::Wallet(paid.user), Some(paid.balance));
                paid.lines.iter().for_each(|it| each(Holding::Sku(it.sku), Some(it.remaining)));
                if let (Some(coupon), Some(order)) = (paid.coupon, order_id(cell, position.seq)) {
                    let issue = IssueId { coupon, user: paid.user };
                    each(Holding::Issue(issue), Some(IssueState::Used(order).number()));
                }
            }
        }
    }

    /// The order that the event placed, as it stood right after it.
    pub fn order(&self, cell: CellId, position: Position) -> Option<Order> {
        match self {
            Self::OrderPaid(paid) => paid.order(cell, position),
            Self::Opener { .. }
            | Self::UserCreated { .. }
            | Self::Charged { .. }
            | Self::ProductSet(_)
            | Self::Restocked { .. }
            | Self::ProductDeleted { .. }
            | Self::CouponSet { .. }
            | Self::CouponIssued(_)
            | Self::CouponForgotten { .. } => None,
        }
    }
}

impl OrderPaidEvent {
    pub fn order(&self, cell: CellId, position: Position) -> Option<Order> {
        let at = time::from_millis(self.at_ms);
        let lines = self.lines.iter().map(|it| OrderLine {
            product_id: it.sku.product,
            option_id: it.sku.option.shown(),
            quantity: it.quantity,
            unit_price: it.unit_price,
        });
        Some(Order {
            order_id: order_id(cell, position.seq)?,
            user_id: self.user,
            status: OrderStatus::Paid,
            items: lines.collect(),
            total: self.total,
            discount: self.discount,
            paid: self.total - self.discount,
            coupon_id: self.coupon,
            placed_at: at,
            expires_at: None,
            paid_at: Some(at),
            cancelled_at: None,
            refunded_at: None,
        })
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
        assert_eq!(paid.key.unwrap().key, "my key 1");
        let order =
            Event::parse("order_paid:1", body).unwrap().order(CellId(0), Position { epoch: 1, seq: 9 });
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
        assert_eq!(gone, [("7:0".to_owned(), None), ("7:2".to_owned(), None)]);
    }

    #[test]
    fn garbage_is_an_error() {
        assert_eq!(Event::parse("order_paid:9", ""), Err(EventError::UnknownKind("order_paid:9".to_owned())));
        for (kind, body) in [("order_paid:1", "1 2"), ("charged:1", "a b c d -"), ("opener:1", "")] {
            assert!(matches!(Event::parse(kind, body), Err(EventError::Malformed { .. })), "{kind} {body}");
        }
    }
}
