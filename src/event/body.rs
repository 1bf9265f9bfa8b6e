//! Bodies, word by word. `docs/events.md` lists them.

use super::{
    CouponIssuedEvent, Direction, Event, Left, OrderEndedEvent, OrderPaidEvent, OrderSettledEvent, PaidLine,
    ProductSetEvent, QuotaMovedEvent, SkuSet, StoredKey,
};
use crate::cell::CellId;
use crate::coupon::{CouponDescription, Discount, IssueId};
use crate::idempotency::Fingerprint;
use crate::ids::{CouponId, OptionId};
use crate::order::{FACTS_WORDS, OrderFacts, OrderStatus};
use crate::pool::Pool;
use crate::product::SkuId;
use crate::scripts::product_set::CopyOf;

/// Reads the body of a kind. The outer `None`: no release's worker knows the kind; the inner: it is malformed.
pub(super) fn parse(kind: &str, body: &str) -> Option<Option<Event>> {
    let words = &mut Words(body);
    Some(match kind {
        "opener:1" => opener(words),
        "user_created:1" => user_created(words),
        "charged:1" => charged(words),
        "product_set:1" => product_set(words, None),
        "product_set:2" => copy_of(words).and_then(|it| product_set(words, it)),
        "restocked:1" => restocked(words, 1),
        "restocked:2" => restocked(words, 2),
        "product_deleted:1" => product_deleted(words, 1),
        "product_deleted:2" => product_deleted(words, 2),
        "coupon_set:1" => coupon_set(words, None, 0),
        "coupon_set:2" => copy_of(words).and_then(|it| {
            let moved = words.next()?;
            coupon_set(words, it, moved)
        }),
        "quota_given:1" => quota_moved(words, Direction::Given),
        "quota_taken:1" => quota_moved(words, Direction::Taken),
        "coupon_issued:1" => coupon_issued(words),
        "coupon_forgotten:1" => coupon_forgotten(words),
        "order_paid:1" => order_paid(words),
        "order_placed:1" => order_placed(words),
        "order_settled:1" => order_settled(words),
        "order_cancelled:1" => order_ended(words, OrderStatus::Cancelled),
        "order_expired:1" => order_ended(words, OrderStatus::Expired),
        "order_refunded:1" => order_ended(words, OrderStatus::Refunded),
        "coupon_released:1" => coupon_released(words),
        "key_noted:1" => key_noted(words),
        _ => return None,
    })
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

    fn facts(&mut self) -> Option<OrderFacts> {
        let words: Vec<&str> = (0..FACTS_WORDS).map(|_| self.word()).collect::<Option<_>>()?;
        OrderFacts::parse(words.into_iter())
    }

    /// 0 is none.
    fn coupon(&mut self) -> Option<Option<CouponId>> {
        match self.next::<u64>()? {
            0 => Some(None),
            id => CouponId::new(id).ok().map(Some),
        }
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

/// The outer `None`: malformed; the inner: of a home cell.
fn copy_of(words: &mut Words) -> Option<Option<CopyOf>> {
    match (words.next_or_dash()?, words.next_or_dash()?) {
        (Some(version), Some(life)) => Some(Some(CopyOf { version, life })),
        (None, None) => Some(None),
        _ => None,
    }
}

fn product_set(words: &mut Words, copy_of: Option<CopyOf>) -> Option<Event> {
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
        copy_of,
        product,
        name,
        starts_at_ms,
        ends_at_ms,
        limit_per_user,
        skus,
    }))
}

fn restocked(words: &mut Words, version: u8) -> Option<Event> {
    let at_ms = words.next()?;
    let sku = SkuId { product: words.next()?, option: words.option()? };
    let (delta, remaining) = (words.next()?, words.next()?);
    // One cell has all units.
    let total = if version == 1 { remaining } else { words.next()? };
    let (caller, key) = (words.next()?, words.key()?);
    Some(Event::Restocked { at_ms, sku, delta, remaining, total, caller, key })
}

fn product_deleted(words: &mut Words, version: u8) -> Option<Event> {
    let (at_ms, product) = (words.next()?, words.next()?);
    let left = |text: &str| {
        let mut parts = text.split(':');
        let option = OptionId::new(parts.next()?.parse().ok()?).ok()?;
        let remaining = parts.next()?.parse().ok()?;
        let moved = if version == 1 { 0 } else { parts.next()?.parse().ok()? };
        Some(Left { sku: SkuId { product, option }, remaining, moved })
    };
    let left = words.word()?.split(',').map(left).collect::<Option<_>>()?;
    Some(Event::ProductDeleted { at_ms, product, left })
}

fn quota_moved(words: &mut Words, direction: Direction) -> Option<Event> {
    let at_ms = words.next()?;
    let (kind, item, option) = (words.word()?, words.word()?, words.option()?);
    let pool = match kind {
        "s" => Pool::Stock(SkuId { product: item.parse().ok()?, option }),
        "c" => Pool::Coupon(item.parse().ok()?),
        _ => return None,
    };
    Some(Event::QuotaMoved(QuotaMovedEvent {
        at_ms,
        pool,
        direction,
        peer: CellId(words.next()?),
        life: words.next()?,
        number: words.next()?,
        units: words.next()?,
        remaining: words.next()?,
        moved: words.next()?,
    }))
}

fn coupon_set(words: &mut Words, copy_of: Option<CopyOf>, moved: i64) -> Option<Event> {
    let (at_ms, id) = (words.next()?, words.next()?);
    let (kind, value, max_amount) = (words.word()?, words.next()?, words.next_or_dash()?);
    let min_order_amount = words.next_or_dash()?;
    let (quantity, remaining) = (words.next()?, words.next()?);
    let coupon = CouponDescription {
        id,
        discount: Discount::from_parts(kind, value, max_amount)?,
        min_order_amount,
        quantity,
        starts_at_ms: words.next()?,
        ends_at_ms: words.next()?,
        expires_at_ms: words.next()?,
        name: words.0.to_owned(),
    };
    Some(Event::CouponSet { at_ms, coupon, remaining, moved, copy_of })
}

fn coupon_issued(words: &mut Words) -> Option<Event> {
    let at_ms = words.next()?;
    let issue = IssueId { coupon: words.next()?, user: words.next()? };
    let (remaining, created_user) = (words.next()?, words.next::<u8>()? == 1);
    let (kind, value, max_amount) = (words.word()?, words.next()?, words.next_or_dash()?);
    Some(Event::CouponIssued(CouponIssuedEvent {
        at_ms,
        issue,
        remaining,
        created_user,
        discount: Discount::from_parts(kind, value, max_amount)?,
        expires_at_ms: words.next()?,
        key: words.key()?,
    }))
}

fn coupon_forgotten(words: &mut Words) -> Option<Event> {
    Some(Event::CouponForgotten { at_ms: words.next()?, coupon: words.next()? })
}

fn order_paid(words: &mut Words) -> Option<Event> {
    let (at_ms, user) = (words.next()?, words.next()?);
    let (total, discount, balance) = (words.next()?, words.next()?, words.next()?);
    let coupon = words.coupon()?;
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

fn order_placed(words: &mut Words) -> Option<Event> {
    let (at_ms, facts) = (words.next()?, words.facts()?);
    let remaining: Vec<i64> = words.word()?.split(',').map(|it| it.parse().ok()).collect::<Option<_>>()?;
    let complete = remaining.len() == facts.lines.len();
    let key = words.key()?;
    complete.then_some(Event::OrderPlaced { at_ms, facts, remaining, key })
}

fn order_settled(words: &mut Words) -> Option<Event> {
    Some(Event::OrderSettled(OrderSettledEvent {
        at_ms: words.next()?,
        order: words.next()?,
        facts: words.facts()?,
        balance: words.next()?,
        freed: words.coupon()?,
        key: words.key()?,
    }))
}

fn order_ended(words: &mut Words, end: OrderStatus) -> Option<Event> {
    let (at_ms, order, facts) = (words.next()?, words.next()?, words.facts()?);
    let balance = words.next_or_dash()?;
    let left = |text: &str| if text == "-" { Some(None) } else { text.parse().ok().map(Some) };
    let remaining: Vec<Option<i64>> = words.word()?.split(',').map(left).collect::<Option<_>>()?;
    let complete = remaining.len() == facts.lines.len();
    let (freed, paid_seq, key) = (words.coupon()?, words.next()?, words.key()?);
    let event = OrderEndedEvent { at_ms, order, end, facts, balance, remaining, freed, paid_seq, key };
    complete.then_some(Event::OrderEnded(event))
}

fn coupon_released(words: &mut Words) -> Option<Event> {
    Some(Event::CouponReleased {
        at_ms: words.next()?,
        order: words.next()?,
        facts: words.facts()?,
        coupon: words.next()?,
        key: words.key()?,
    })
}

fn key_noted(words: &mut Words) -> Option<Event> {
    let (at_ms, scope) = (words.next()?, words.next()?);
    let count: usize = words.next()?;
    let answer: Vec<&str> = (0..count).map(|_| words.word()).collect::<Option<_>>()?;
    Some(Event::KeyNoted { at_ms, scope, answer: answer.join(" "), key: words.key()?? })
}
