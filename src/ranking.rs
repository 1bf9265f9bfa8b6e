//! What sells: units of each product in the running UTC hour and the 71 before it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::ProductId;
use crate::money::Amount;
use crate::time::Millis;

/// Hours in the window, the running one included.
pub const WINDOW_HOURS: i64 = 72;

/// Length of an hour in milliseconds.
pub const HOUR_MS: Millis = 3_600_000;

/// Most products that a ranking shows.
pub const RANKED_MAX: usize = 100;

/// Products that it shows where nothing else is asked for.
pub const RANKED_DEFAULT: u64 = 5;

/// A UTC hour, counted from 1970.
pub type Hour = i64;

pub fn hour_of(at_ms: Millis) -> Hour {
    at_ms.div_euclid(HOUR_MS)
}

/// A product's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RankedProduct {
    /// 1 for the one that sold most; of equals the one with the lower id comes first.
    pub rank: usize,
    pub id: ProductId,
    pub name: String,
    /// Price of one unit; with options, that of the cheapest.
    pub price: Amount,
    /// Units left; with options, their sum.
    pub stock: i64,
    /// Units sold in the window, paid and not refunded.
    pub sold: i64,
}
