//! What is handed out to cells in parts: the stock of a SKU, and the units of a campaign.

use std::fmt;
use std::str::FromStr;

use crate::cell::{CellId, Cells};
use crate::ids::{CouponId, OptionId};
use crate::product::SkuId;

/// Units of one thing. Its home cell owns what no other cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    Stock(SkuId),
    Coupon(CouponId),
}

impl Pool {
    pub fn home(self, cells: Cells) -> CellId {
        match self {
            Self::Stock(sku) => cells.home(sku.product),
            Self::Coupon(coupon) => cells.coupon_home(coupon),
        }
    }
}

/// As scripts spell it: `s:7:0`, `c:9`.
impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stock(SkuId { product, option }) => write!(f, "s:{product}:{option}"),
            Self::Coupon(coupon) => write!(f, "c:{coupon}"),
        }
    }
}

/// A text names no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pool of units")]
pub struct NotAPool(String);

impl FromStr for Pool {
    type Err = NotAPool;

    fn from_str(text: &str) -> Result<Self, NotAPool> {
        let stock = |text: &str| {
            let (product, option) = text.split_once(':')?;
            let option = OptionId::new(option.parse().ok()?).ok()?;
            Some(Self::Stock(SkuId { product: product.parse().ok()?, option }))
        };
        let pool = match text.split_once(':') {
            Some(("s", rest)) => stock(rest),
            Some(("c", rest)) => rest.parse().ok().map(Self::Coupon),
            _ => None,
        };
        pool.ok_or_else(|| NotAPool(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_read_as_it_is_spelled() {
        for text in ["s:7:0", "s:7:12", "c:9"] {
            assert_eq!(text.parse::<Pool>().unwrap().to_string(), text);
        }
        for text in ["", "s", "s:7", "s:x:0", "c:", "c:0", "x:7", "s:7:0:1"] {
            assert!(text.parse::<Pool>().is_err(), "{text}");
        }
    }
}
