//! What an order is about, as scripts, events and answers hold it: one text.

use std::fmt;

use super::{Order, OrderLine, OrderStatus};
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::Amount;
use crate::product::SkuId;
use crate::time::{Millis, from_millis};

/// `<user> <total> <discount> <coupon or 0> <placed_at_ms> <expires_at_ms or -> <paid_at_ms or -> <lines>`, a line
/// being `product:option:quantity:unit_price:limited`. `lua/order_place.lua` and `order_pay.lua` write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFacts {
    pub user: UserId,
    /// Before the discount.
    pub total: Amount,
    pub discount: Amount,
    pub coupon: Option<CouponId>,
    pub placed_at_ms: Millis,
    /// Of an order that was placed for later payment.
    pub expires_at_ms: Option<Millis>,
    pub paid_at_ms: Option<Millis>,
    pub lines: Vec<FactLine>,
}

/// One line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactLine {
    pub sku: SkuId,
    pub quantity: u32,
    pub unit_price: Amount,
    /// Whether the units count against the product's limit per user.
    pub limited: bool,
}

/// Words in the text.
pub const WORDS: usize = 8;

impl OrderFacts {
    /// Reads the text; the words behind it are left alone.
    pub fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut word = || words.next();
        Some(Self {
            user: word()?.parse().ok()?,
            total: word()?.parse().ok()?,
            discount: word()?.parse().ok()?,
            coupon: match word()? {
                "0" => None,
                id => Some(id.parse().ok()?),
            },
            placed_at_ms: word()?.parse().ok()?,
            expires_at_ms: or_dash(word()?)?,
            paid_at_ms: or_dash(word()?)?,
            lines: word()?.split(',').map(FactLine::parse).collect::<Option<_>>()?,
        })
    }

    /// The order in a state, which it came to at `ended_at_ms` where it came to an end.
    pub fn order(&self, order_id: OrderId, status: OrderStatus, ended_at_ms: Option<Millis>) -> Order {
        let ended = |at: OrderStatus| ended_at_ms.filter(|_| status == at).map(from_millis);
        let paid = self.paid_at_ms.is_some();
        let lines = self.lines.iter().map(|it| OrderLine {
            product_id: it.sku.product,
            option_id: it.sku.option.shown(),
            quantity: it.quantity,
            unit_price: it.unit_price,
        });
        Order {
            order_id,
            user_id: self.user,
            status,
            items: lines.collect(),
            total: self.total,
            discount: self.discount,
            paid: if paid { self.total - self.discount } else { 0 },
            coupon_id: self.coupon,
            placed_at: from_millis(self.placed_at_ms),
            expires_at: self.expires_at_ms.map(from_millis),
            paid_at: self.paid_at_ms.map(from_millis),
            cancelled_at: ended(OrderStatus::Cancelled),
            refunded_at: ended(OrderStatus::Refunded),
        }
    }
}

fn or_dash(word: &str) -> Option<Option<Millis>> {
    if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
}

impl FactLine {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut part = || parts.next();
        let product = part()?.parse::<ProductId>().ok()?;
        Some(Self {
            sku: SkuId { product, option: OptionId::new(part()?.parse().ok()?).ok()? },
            quantity: part()?.parse().ok()?,
            unit_price: part()?.parse().ok()?,
            limited: part()? == "1",
        })
    }
}

impl fmt::Display for OrderFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, total, discount, coupon, placed_at_ms, expires_at_ms, paid_at_ms, lines } = self;
        write!(f, "{user} {total} {discount} {} {placed_at_ms}", coupon.map_or(0, CouponId::get))?;
        for at_ms in [expires_at_ms, paid_at_ms] {
            match at_ms {
                Some(at_ms) => write!(f, " {at_ms}")?,
                None => f.write_str(" -")?,
            }
        }
        for (index, FactLine { sku, quantity, unit_price, limited }) in lines.iter().enumerate() {
            let (before, limited) = (if index == 0 { ' ' } else { ',' }, u8::from(*limited));
            write!(f, "{before}{}:{}:{quantity}:{unit_price}:{limited}", sku.product, sku.option)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_written_as_they_are_read() {
        for text in [
            "7 3000 100 5 1763640000123 1763640600123 - 1:0:2:1000:0,2:5:1:1000:1",
            "7 0 0 0 1763640000123 - 1763640000123 1:0:1:0:0",
        ] {
            let facts = OrderFacts::parse(text.split(' ')).unwrap();
            assert_eq!(facts.to_string(), text);
            assert_eq!(text.split(' ').count(), WORDS);
        }
        for text in
            ["", "7 1 0 0 1 - -", "7 1 0 0 1 - - 1:0:2", "0 1 0 0 1 - - 1:0:1:1:0", "7 1 0 x 1 - - 1:0:1:1:0"]
        {
            assert_eq!(OrderFacts::parse(text.split(' ')), None, "{text}");
        }
    }

    #[test]
    fn only_a_paid_order_shows_what_was_paid() {
        let of = |text: &str| OrderFacts::parse(text.split(' ')).unwrap();
        let id = OrderId::new(1_024).unwrap();
        let pending = of("7 30 10 5 1000 2000 - 1:0:1:30:0").order(id, OrderStatus::Pending, None);
        assert_eq!((pending.paid, pending.paid_at, pending.expires_at.is_some()), (0, None, true));
        let refunded =
            of("7 30 10 5 1000 2000 1500 1:0:1:30:0").order(id, OrderStatus::Refunded, Some(9_000));
        assert_eq!((refunded.paid, refunded.cancelled_at), (20, None));
        assert_eq!(refunded.refunded_at, Some(from_millis(9_000)));
    }
}
