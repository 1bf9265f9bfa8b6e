//! What an order is: its items, amounts and status.

mod facts;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::Amount;
use crate::product::SkuId;

pub use facts::{FactLine, OrderFacts, WORDS as FACTS_WORDS};

/// Most lines of one order, after equal SKUs were added up.
pub const ITEMS_MAX: usize = 50;

/// Most units of one SKU in one order, after equal SKUs were added up.
pub const QUANTITY_MAX: u32 = 1_000;

/// `pending` → `paid` → `refunded`, or `pending` → `cancelled` / `expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    Pending,
    Paid,
    Cancelled,
    Expired,
    Refunded,
}

impl OrderStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Refunded => "refunded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Paid, Self::Cancelled, Self::Expired, Self::Refunded]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

/// What a buyer asks for: units of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderItem {
    pub sku: SkuId,
    pub quantity: u32,
}

/// One line of an order, its price fixed at placing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderLine {
    pub product_id: ProductId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option_id: Option<OptionId>,
    pub quantity: u32,
    pub unit_price: Amount,
}

/// An order as the contract shows it, and as the data platform receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub status: OrderStatus,
    pub items: Vec<OrderLine>,
    /// Before the discount.
    pub total: Amount,
    pub discount: Amount,
    /// `total` − `discount`; 0 while unpaid.
    pub paid: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon_id: Option<CouponId>,
    #[serde(serialize_with = "crate::time::serialize")]
    pub placed_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub paid_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub cancelled_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub refunded_at: Option<DateTime<Utc>>,
}

/// Adds up items that name one SKU twice, in order of first appearance. Returns the index (in the
/// input) of the first item that takes its SKU over [`QUANTITY_MAX`] as the error.
pub fn merge_items(items: &[OrderItem]) -> Result<Vec<OrderItem>, usize> {
    let mut merged: Vec<OrderItem> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let quantity = match merged.iter_mut().find(|it| it.sku == item.sku) {
            Some(same) => {
                same.quantity = same.quantity.saturating_add(item.quantity);
                same.quantity
            }
            None => {
                merged.push(*item);
                item.quantity
            }
        };
        if quantity > QUANTITY_MAX {
            return Err(index);
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(product: u64, quantity: u32) -> OrderItem {
        let sku = SkuId { product: ProductId::new(product).unwrap(), option: OptionId::NONE };
        OrderItem { sku, quantity }
    }

    #[test]
    fn items_that_name_one_sku_twice_are_added_up() {
        assert_eq!(merge_items(&[item(2, 1), item(1, 5), item(2, 3)]), Ok(vec![item(2, 4), item(1, 5)]));
        assert_eq!(merge_items(&[item(2, 999), item(1, 1), item(2, 2)]), Err(2));
        assert_eq!(merge_items(&[item(2, u32::MAX)]), Err(0));
    }
}
