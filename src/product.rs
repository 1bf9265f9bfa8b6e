//! What is listed: products, their options, and the SKUs that own a stock.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::{OptionId, ProductId};
use crate::money::Amount;
use crate::time::{self, Millis};

/// Most options of one product: bounds what one script reads and writes.
pub const OPTIONS_MAX: usize = 50;

/// The sellable unit that owns a stock; option 0 where the product has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkuId {
    pub product: ProductId,
    pub option: OptionId,
}

/// A product as the contract shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    pub id: ProductId,
    pub name: String,
    /// Price of one unit; with options, that of the cheapest.
    pub price: Amount,
    /// Units left; with options, their sum.
    pub stock: i64,
    pub options: Vec<ProductOption>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub sale_starts_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::time::serialize_option")]
    pub sale_ends_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_per_user: Option<u32>,
}

impl Product {
    /// Whether a time is inside the sale window.
    pub fn is_on_sale(&self, at_ms: Millis) -> bool {
        let at = time::from_millis(at_ms);
        self.sale_starts_at.is_none_or(|it| it <= at) && self.sale_ends_at.is_none_or(|it| at < it)
    }
}

/// A variant of a product, with its own price and stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProductOption {
    pub id: OptionId,
    pub name: String,
    pub price: Amount,
    pub stock: i64,
}
