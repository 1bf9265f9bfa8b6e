//! What a coupon is: a limited pool of discounts, and one user's unit of it.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::cell::Seq;
use crate::ids::{CouponId, OrderId, UserId};
use crate::money::Amount;
use crate::time::{self, Millis};

/// What a coupon takes off the total of an order; never more than the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discount {
    /// Minor units.
    Fixed(Amount),
    /// Whole percent of the total, 1 to 100, rounded down, at most `max_amount`.
    Percent { value: i64, max_amount: Option<Amount> },
}

impl Discount {
    /// From the three values that scripts, events and rows hold.
    pub fn from_parts(kind: &str, value: i64, max_amount: Option<Amount>) -> Option<Self> {
        match kind {
            "fixed" => Some(Self::Fixed(value)),
            "percent" => Some(Self::Percent { value, max_amount }),
            _ => None,
        }
    }

    /// What it takes off a total.
    pub fn amount(self, total: Amount) -> Amount {
        let amount = match self {
            Self::Fixed(amount) => amount,
            Self::Percent { value, max_amount } => {
                let share = total * value / 100;
                max_amount.map_or(share, |it| share.min(it))
            }
        };
        amount.min(total)
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Fixed(_) => "fixed",
            Self::Percent { .. } => "percent",
        }
    }

    pub fn value(self) -> i64 {
        match self {
            Self::Fixed(value) | Self::Percent { value, .. } => value,
        }
    }

    pub fn max_amount(self) -> Option<Amount> {
        match self {
            Self::Fixed(_) => None,
            Self::Percent { max_amount, .. } => max_amount,
        }
    }
}

/// `{kind, value, maxAmount?}`
impl Serialize for Discount {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown {
            kind: &'static str,
            value: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_amount: Option<Amount>,
        }
        Shown { kind: self.kind(), value: self.value(), max_amount: self.max_amount() }.serialize(to)
    }
}

/// A campaign as an administrator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponDescription {
    pub id: CouponId,
    pub name: String,
    pub discount: Discount,
    /// Least total of an order that may use it.
    pub min_order_amount: Option<Amount>,
    /// Units, those already issued included.
    pub quantity: i64,
    pub starts_at_ms: Millis,
    pub ends_at_ms: Millis,
    pub expires_at_ms: Millis,
}

/// A campaign as the contract shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coupon {
    pub coupon_id: CouponId,
    pub name: String,
    pub discount: Discount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_order_amount: Option<Amount>,
    pub quantity: i64,
    /// Units that nobody has.
    pub remaining: i64,
    #[serde(serialize_with = "time::serialize")]
    pub starts_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize")]
    pub ends_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize")]
    pub expires_at: DateTime<Utc>,
}

/// One user's unit of a coupon. Whoever may take one at most once may have one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssueId {
    pub coupon: CouponId,
    pub user: UserId,
}

/// Where a unit is between being issued and being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueState {
    Issued,
    /// By a pending order.
    Held(OrderId),
    Used(OrderId),
}

impl IssueState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Held(_) => "held",
            Self::Used(_) => "used",
        }
    }

    pub fn order(self) -> Option<OrderId> {
        match self {
            Self::Issued => None,
            Self::Held(order) | Self::Used(order) => Some(order),
        }
    }

    /// The state as one number, for comparing: 0 while issued, the order's id while used, its negative while held.
    pub fn number(self) -> i64 {
        match self {
            Self::Issued => 0,
            Self::Held(order) => -(order.get() as i64),
            Self::Used(order) => order.get() as i64,
        }
    }

    /// What [`Self::number`] made.
    pub fn from_number(number: i64) -> Option<Self> {
        let order = || OrderId::new(number.unsigned_abs()).ok();
        match number {
            0 => Some(Self::Issued),
            1.. => order().map(Self::Used),
            ..0 => order().map(Self::Held),
        }
    }

    /// From the word and the order that events and rows hold.
    pub fn from_parts(word: &str, order: Option<OrderId>) -> Option<Self> {
        match (word, order) {
            ("issued", None) => Some(Self::Issued),
            ("held", Some(order)) => Some(Self::Held(order)),
            ("used", Some(order)) => Some(Self::Used(order)),
            _ => None,
        }
    }
}

/// A coupon that a user has, as the contract shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnCoupon {
    /// Number of the event that issued it: its place in the list.
    #[serde(skip)]
    pub seq: Seq,
    pub coupon_id: CouponId,
    pub name: String,
    pub discount: Discount,
    pub status: OwnCouponStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    #[serde(serialize_with = "time::serialize")]
    pub issued_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize")]
    pub expires_at: DateTime<Utc>,
}

/// The state of a coupon, and whether there is still time to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnCouponStatus {
    Issued,
    Held,
    Used,
    /// It was issued, and the time to use it is over.
    Expired,
}

impl OwnCouponStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Held => "held",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Issued, Self::Held, Self::Used, Self::Expired].into_iter().find(|it| it.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discount_shows_its_cap_only_where_it_has_one() {
        let shown = |it: Discount| serde_json::to_value(it).unwrap();
        assert_eq!(shown(Discount::Fixed(500)), serde_json::json!({"kind": "fixed", "value": 500}));
        let percent = Discount::Percent { value: 10, max_amount: Some(3) };
        assert_eq!(shown(percent), serde_json::json!({"kind": "percent", "value": 10, "maxAmount": 3}));
        assert_eq!(Discount::from_parts("percent", 10, Some(3)), Some(percent));
        assert_eq!(Discount::from_parts("gift", 1, None), None);
    }

    #[test]
    fn a_percentage_is_rounded_down_and_nothing_exceeds_the_total() {
        let percent = |value, max_amount| Discount::Percent { value, max_amount };
        assert_eq!(percent(15, None).amount(99), 14);
        assert_eq!(percent(15, Some(10)).amount(99), 10);
        assert_eq!(percent(100, None).amount(9_999_999_999_999), 9_999_999_999_999);
        assert_eq!((Discount::Fixed(500).amount(99), Discount::Fixed(5).amount(99)), (99, 5));
    }

    #[test]
    fn only_a_held_or_used_unit_names_an_order() {
        let order = OrderId::new(1_024).ok();
        assert_eq!(IssueState::from_parts("used", order).and_then(IssueState::order), order);
        assert_eq!(IssueState::from_parts("issued", None), Some(IssueState::Issued));
        for (word, order) in [("issued", order), ("held", None), ("used", None), ("lost", None)] {
            assert_eq!(IssueState::from_parts(word, order), None, "{word}");
        }
    }
}
