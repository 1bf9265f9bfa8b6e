//! Every Redis key, spelled here and nowhere else in Rust. All keys of a cell carry its hash tag, so
//! they are in one Redis Cluster slot and one script reaches them all.

use crate::cell::CellId;
use crate::idempotency::IdempotencyKey;
use crate::ids::{OptionId, ProductId, UserId};
use crate::product::SkuId;

/// The glob that matches every wallet and SKU of a cell and few other keys, for one walk with SCAN:
/// `user…` and `sku…`, but not the many idempotency records.
pub fn wallets_and_skus(cell: CellId) -> String {
    format!("{{c{cell}}}:[us][sk][eu]*")
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

/// Product → units, of products with a limit per user.
pub fn bought(cell: CellId, user: UserId) -> String {
    format!("{{c{cell}}}:user:{user}:bought")
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
        assert_eq!(user_of(&bought(CellId(3), seven)), None);
        assert_eq!(user_of(&gate(CellId(3))), None);
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
