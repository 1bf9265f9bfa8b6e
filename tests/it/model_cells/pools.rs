//! The two pools of the test, and how they are described.

use firstcome::cell::CellId;
use firstcome::coupon::{CouponDescription, Discount};
use firstcome::ids::{CouponId, OptionId, ProductId, UserId};
use firstcome::pool::Pool;
use firstcome::product::SkuId;
use firstcome::scripts::product_set::{ProductDescription, SkuDescription};
use firstcome::time::Millis;

use super::rules::cells;

pub const PRICE: i64 = 10;

/// Long before and after anything that a sequence does.
const OPENS_AT_MS: Millis = 1_000_000_000_000;
const ENDS_AT_MS: Millis = 3_000_000_000_000;

/// A product without options, and a campaign.
pub fn pools() -> [Pool; 2] {
    [Pool::Stock(sku(ProductId::new(1).expect("small"))), Pool::Coupon(CouponId::new(2).expect("small"))]
}

pub fn sku(product: ProductId) -> SkuId {
    SkuId { product, option: OptionId::NONE }
}

pub fn product(sku: SkuId, stock: Option<i64>) -> ProductDescription {
    let sku_of_it = SkuDescription { option: sku.option, name: String::new(), price: PRICE, stock };
    ProductDescription {
        id: sku.product,
        name: "Mug".to_owned(),
        starts_at_ms: None,
        ends_at_ms: None,
        limit_per_user: None,
        skus: vec![sku_of_it],
    }
}

pub fn coupon(id: CouponId, quantity: i64) -> CouponDescription {
    CouponDescription {
        id,
        name: "Off".to_owned(),
        discount: Discount::Fixed(1),
        min_order_amount: None,
        quantity,
        starts_at_ms: OPENS_AT_MS,
        ends_at_ms: ENDS_AT_MS,
        expires_at_ms: ENDS_AT_MS,
    }
}

/// After the end of every campaign.
pub const LATER_MS: Millis = ENDS_AT_MS + 1;

/// Users of each cell.
pub const USERS: usize = 3;

/// The users of a cell, by number.
pub fn user(cell: CellId, number: usize) -> UserId {
    let all = (1..).map(|it| UserId::new(it).expect("small"));
    all.filter(|it| cells().of_user(*it) == cell).nth(number % USERS).expect("there is always one more")
}
