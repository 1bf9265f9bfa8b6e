//! Events: one fact each, appended by the script that made it true.
//!
//! An entry of the log has one field: its name is the kind and its version (`order_paid:1`), its
//! value the body: words separated by spaces, the only free text last. A worker reads this release's
//! versions and the previous release's. `docs/events.md` lists the bodies.

use std::fmt;

use crate::cell::{CellId, NotAPosition, Position, order_id};
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
    OrderPaid(OrderPaidEvent),
}

/// What holds an amount that events change: a wallet its balance, a SKU the units left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    Wallet(UserId),
    Sku(SkuId),
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(user) => user.fmt(f),
            Self::Sku(SkuId { product, option }) => write!(f, "{product}:{option}"),
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
        let mut words = Words(body);
        let event = match kind {
            "opener:1" => opener(&mut words),
            "user_created:1" => user_created(&mut words),
            "charged:1" => charged(&mut words),
            "product_set:1" => product_set(&mut words),
            "restocked:1" => restocked(&mut words),
            "order_paid:1" => order_paid(&mut words),
            _ => return Err(EventError::UnknownKind(kind.to_owned())),
        };
        event.ok_or_else(|| EventError::Malformed { kind: kind.to_owned(), body: body.to_owned() })
    }

    /// Hands over each absolute value that the event carries: what a wallet or a SKU holds after it.
    pub fn absolute_values(&self, mut each: impl FnMut(Holding, i64)) {
        match self {
            Self::Opener { .. } => {}
            Self::UserCreated { user, .. } => each(Holding::Wallet(*user), 0),
            Self::Charged { user, balance, .. } => each(Holding::Wallet(*user), *balance),
            Self::ProductSet(set) => {
                for sku in &set.skus {
                    let id = SkuId { product: set.product, option: sku.option };
                    each(Holding::Sku(id), sku.remaining);
                }
            }
            Self::Restocked { sku, remaining, .. } => each(Holding::Sku(*sku), *remaining),
            Self::OrderPaid(paid) => {
                each(Holding::Wallet(paid.user), paid.balance);
                paid.lines.iter().for_each(|it| each(Holding::Sku(it.sku), it.remaining));
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
            | Self::Restocked { .. } => None,
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

/// Takes a body apart, word by word.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn next<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    /// `-` is an absent value.
    fn next_or_dash<T: std::str::FromStr>(&mut self) -> Option<Option<T>> {
        match self.word()? {
            "-" => Some(None),
            word => word.parse().ok().map(Some),
        }
    }

    fn option(&mut self) -> Option<OptionId> {
        OptionId::new(self.next()?).ok()
    }

    /// Fingerprint or `-`, then the key: all that is left.
    fn key(&mut self) -> Option<Option<StoredKey>> {
        match self.word()? {
            "-" => Some(None),
            word => {
                Some(Some(StoredKey { fingerprint: Fingerprint::from_stored(word)?, key: self.0.to_owned() }))
            }
        }
    }
}

fn opener(words: &mut Words) -> Option<Event> {
    Some(Event::Opener { at_ms: words.next()?, kept: words.next()? })
}

fn user_created(words: &mut Words) -> Option<Event> {
    Some(Event::UserCreated { at_ms: words.next()?, user: words.next()? })
}

fn charged(words: &mut Words) -> Option<Event> {
    Some(Event::Charged {
        at_ms: words.next()?,
        user: words.next()?,
        amount: words.next()?,
        balance: words.next()?,
        key: words.key()?,
    })
}

fn product_set(words: &mut Words) -> Option<Event> {
    let (at_ms, product) = (words.next()?, words.next()?);
    let (starts_at_ms, ends_at_ms) = (words.next_or_dash()?, words.next_or_dash()?);
    let limit_per_user = words.next_or_dash()?;
    let skus = words.word()?;
    let mut names: std::vec::IntoIter<String> =
        serde_json::from_str::<Vec<String>>(words.0).ok()?.into_iter();
    let name = names.next()?;
    let sku = |text: &str| {
        let mut parts = text.split(':');
        Some(SkuSet {
            option: OptionId::new(parts.next()?.parse().ok()?).ok()?,
            price: parts.next()?.parse().ok()?,
            initial: parts.next()?.parse().ok()?,
            remaining: parts.next()?.parse().ok()?,
            name: names.next()?,
        })
    };
    let skus = skus.split(',').map(sku).collect::<Option<_>>()?;
    Some(Event::ProductSet(ProductSetEvent {
        at_ms,
        product,
        name,
        starts_at_ms,
        ends_at_ms,
        limit_per_user,
        skus,
    }))
}

fn restocked(words: &mut Words) -> Option<Event> {
    Some(Event::Restocked {
        at_ms: words.next()?,
        sku: SkuId { product: words.next()?, option: words.option()? },
        delta: words.next()?,
        remaining: words.next()?,
        caller: words.next()?,
        key: words.key()?,
    })
}

fn order_paid(words: &mut Words) -> Option<Event> {
    let (at_ms, user) = (words.next()?, words.next()?);
    let (total, discount, balance) = (words.next()?, words.next()?, words.next()?);
    let coupon = match words.next::<u64>()? {
        0 => None,
        id => Some(CouponId::new(id).ok()?),
    };
    let line = |text: &str| {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        Some(PaidLine {
            sku: SkuId { product: next()?.parse().ok()?, option: OptionId::new(next()?.parse().ok()?).ok()? },
            quantity: next()?.parse().ok()?,
            unit_price: next()?.parse().ok()?,
            remaining: next()?.parse().ok()?,
            limited: next()? == "1",
        })
    };
    let lines = words.word()?.split(',').map(line).collect::<Option<_>>()?;
    let key = words.key()?;
    Some(Event::OrderPaid(OrderPaidEvent { at_ms, user, total, discount, balance, coupon, lines, key }))
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
    fn garbage_is_an_error() {
        assert_eq!(Event::parse("order_paid:9", ""), Err(EventError::UnknownKind("order_paid:9".to_owned())));
        for (kind, body) in [("order_paid:1", "1 2"), ("charged:1", "a b c d -"), ("opener:1", "")] {
            assert!(matches!(Event::parse(kind, body), Err(EventError::Malformed { .. })), "{kind} {body}");
        }
    }
}
