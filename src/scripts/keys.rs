//! Every Redis key, spelled here and nowhere else in Rust. All keys of a cell carry its hash tag, so
//! they are in one Redis Cluster slot and one script reaches them all.

use crate::cell::CellId;
use crate::idempotency::IdempotencyKey;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::pool::Pool;
use crate::product::SkuId;
use crate::ranking::Hour;

/// The glob that matches every wallet, SKU and campaign of a cell and few other keys, for one walk with
/// SCAN: `user…`, `sku…` and `coupon…`, but not the many idempotency records.
pub fn holdings(cell: CellId) -> String {
    format!("{{c{cell}}}:[usc][sko][eu]*")
}

/// The user whose wallet a key is; `None` for every other key.
pub fn user_of(key: &str) -> Option<UserId> {
    let (tag, rest) = key.split_once(":user:")?;
    tag.starts_with("{c").then(|| rest.parse().ok()).flatten()
}

/// The SKU whose stock a key is; `None` for every other key.
pub fn sku_of(key: &str) -> Option<SkuId> {
    let (tag, rest) = key.split_once(":sku:")?;
    let (product, option) = rest.split_once(':').filter(|_| tag.starts_with("{c"))?;
    let plain = option == "0" || !option.starts_with('0') && option.bytes().all(|it| it.is_ascii_digit());
    let option = option.parse().ok().filter(|_| plain)?;
    Some(SkuId { product: product.parse().ok()?, option: OptionId::new(option).ok()? })
}

/// The campaign that a key belongs to, its own or that of its issues; `None` for every other key.
pub fn coupon_of(key: &str) -> Option<CouponId> {
    let (tag, rest) = key.split_once(":coupon:")?;
    let id = rest.strip_suffix(":issues").unwrap_or(rest);
    tag.starts_with("{c").then(|| id.parse().ok()).flatten()
}

/// `8`: open in epoch 8; `8!`: being recovered into epoch 8; missing: shut.
pub fn gate(cell: CellId) -> String {
    format!("{{c{cell}}}:gate")
}

/// The event log.
pub fn events(cell: CellId) -> String {
    format!("{{c{cell}}}:events")
}

/// Present: the cell's data must be rebuilt from MySQL.
pub fn suspect(cell: CellId) -> String {
    format!("{{c{cell}}}:suspect")
}

/// A user's wallet and what else a purchase reads.
pub fn user(cell: CellId, user: UserId) -> String {
    format!("{{c{cell}}}:user:{user}")
}

/// User → units bought of a product while it had a limit per user.
pub fn bought(cell: CellId, product: ProductId) -> String {
    format!("{{c{cell}}}:bought:{product}")
}

/// Ids of all campaigns.
pub fn coupons(cell: CellId) -> String {
    format!("{{c{cell}}}:coupons")
}

/// A campaign: discount, bounds, window, units left.
pub fn coupon(cell: CellId, coupon: CouponId) -> String {
    format!("{{c{cell}}}:coupon:{coupon}")
}

/// User → state of their unit of a campaign.
pub fn issues(cell: CellId, coupon: CouponId) -> String {
    format!("{{c{cell}}}:coupon:{coupon}:issues")
}

/// Declared where an order has no coupon; the script touches neither.
pub fn no_coupon(cell: CellId) -> [String; 2] {
    [format!("{{c{cell}}}:coupon"), format!("{{c{cell}}}:coupon:issues")]
}

/// An order that was placed for later payment, or refunded, until its last event was trimmed.
pub fn order(cell: CellId, order: OrderId) -> String {
    format!("{{c{cell}}}:order:{order}")
}

/// Pending orders by the time until which they can be paid.
pub fn due(cell: CellId) -> String {
    format!("{{c{cell}}}:due")
}

/// Orders that were paid or came to an end, by the number of their last event, until that was trimmed.
pub fn settled(cell: CellId) -> String {
    format!("{{c{cell}}}:settled")
}

/// How far the ranking's window has moved.
pub fn sales(cell: CellId) -> String {
    format!("{{c{cell}}}:sales")
}

/// Units sold by product in the ranking's window.
pub fn rolling_sales(cell: CellId) -> String {
    format!("{{c{cell}}}:sales:rolling")
}

/// Units sold by product in one hour.
pub fn hour_sales(cell: CellId, hour: Hour) -> String {
    format!("{{c{cell}}}:sales:{hour}")
}

/// A product in the sets of units sold: in 16 digits, so that of equals the lower id comes first.
pub fn sold_member(product: ProductId) -> String {
    format!("{product:0>16}")
}

/// The product that a member of the sets of units sold is; `None` for every other text.
pub fn product_of_sold_member(member: &str) -> Option<ProductId> {
    let product = member.trim_start_matches('0').parse().ok()?;
    (sold_member(product) == member).then_some(product)
}

/// Ids of all listed products.
pub fn products(cell: CellId) -> String {
    format!("{{c{cell}}}:products")
}

/// What is listed: name, options, window, limit.
pub fn product(cell: CellId, product: ProductId) -> String {
    format!("{{c{cell}}}:product:{product}")
}

/// The sellable unit: remaining, price, window, limit.
pub fn sku(cell: CellId, sku: SkuId) -> String {
    format!("{{c{cell}}}:sku:{}:{}", sku.product, sku.option)
}

/// The hash that holds a cell's units of a pool.
pub fn pool(cell: CellId, pool: Pool) -> String {
    match pool {
        Pool::Stock(id) => sku(cell, id),
        Pool::Coupon(id) => coupon(cell, id),
    }
}

/// Transfers of a pool's units: the last one to and from each other cell.
pub fn quota(cell: CellId, pool: Pool) -> String {
    format!("{{c{cell}}}:quota:{pool}")
}

/// Transfers out of the cell whose arrival MySQL does not have yet.
pub fn gifts(cell: CellId) -> String {
    format!("{{c{cell}}}:gifts")
}

/// Cells that wait for units of a pool; in its home cell.
pub fn asks(cell: CellId, pool: Pool) -> String {
    format!("{{c{cell}}}:asks:{pool}")
}

/// Products and campaigns of this home cell that changed, and may not be everywhere.
pub fn uncopied(cell: CellId) -> String {
    format!("{{c{cell}}}:uncopied")
}

/// The record of an idempotency key; `None` is an administrator's scope.
pub fn idempotency(cell: CellId, scope: Option<UserId>, key: &IdempotencyKey) -> String {
    format!("{{c{cell}}}:idem:{}:{}", scope.map_or(0, UserId::get), key.as_str())
}

/// Declared where a request has no key; the script does not touch it.
pub fn no_idempotency(cell: CellId) -> String {
    format!("{{c{cell}}}:idem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wallets_key_names_a_user() {
        let seven = UserId::new(7).unwrap();
        assert_eq!(user_of(&user(CellId(3), seven)), Some(seven));
        assert_eq!(user_of(&bought(CellId(3), ProductId::new(7).unwrap())), None);
        assert_eq!(user_of(&gate(CellId(3))), None);
    }

    #[test]
    fn products_of_equal_sales_are_in_order_of_their_ids() {
        let member = |id| sold_member(ProductId::new(id).unwrap());
        assert_eq!(member(7), "0000000000000007");
        assert!(member(7) < member(10) && member(10) < member(crate::ids::ID_MAX));
        for id in [1, 10, crate::ids::ID_MAX] {
            assert_eq!(product_of_sold_member(&member(id)), ProductId::new(id).ok());
        }
        for stranger in ["", "7", "0000000000000000", "00000000000000007", "+000000000000007"] {
            assert_eq!(product_of_sold_member(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn the_keys_of_a_campaign_name_it() {
        let seven = CouponId::new(7).unwrap();
        for key in [coupon(CellId(3), seven), issues(CellId(3), seven)] {
            assert_eq!(coupon_of(&key), Some(seven), "{key}");
        }
        let [none, no_issues] = no_coupon(CellId(3));
        for key in [coupons(CellId(3)), none, no_issues, user(CellId(3), UserId::new(7).unwrap())] {
            assert_eq!(coupon_of(&key), None, "{key}");
        }
    }

    #[test]
    fn only_a_skus_key_names_a_sku() {
        let product = ProductId::new(7).unwrap();
        for option in [OptionId::NONE, OptionId::new(5).unwrap()] {
            let id = SkuId { product, option };
            assert_eq!(sku_of(&sku(CellId(3), id)), Some(id));
        }
        for key in
            ["{c3}:sku:7", "{c3}:sku:7:", "{c3}:sku:7:05", "{c3}:sku:7:+5", "{c3}:sku:7:1:2", "sku:7:0"]
        {
            assert_eq!(sku_of(key), None, "{key}");
        }
        assert_eq!(sku_of(&user(CellId(3), UserId::new(7).unwrap())), None);
    }
}
