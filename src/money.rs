//! Amounts in minor units, bounded so that Lua doubles and `%.14g` hold them exactly.

/// An amount in minor units (KRW has no fraction). Negative only as a ledger entry.
pub type Amount = i64;

/// Largest amount anywhere: 13 digits, exact in a Lua double and in every way Lua prints one.
pub const AMOUNT_MAX: Amount = 9_999_999_999_999;

/// Largest price of one unit, and largest stock of one SKU.
pub const PRICE_MAX: Amount = 1_000_000_000;
pub const STOCK_MAX: i64 = 1_000_000_000;

/// Most units of one campaign.
pub const COUPONS_MAX: i64 = 1_000_000_000;
