//! Typed binding of `lua/product_set.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::Seq;
use crate::ids::{OptionId, ProductId};
use crate::money::Amount;
use crate::product::SkuId;
use crate::time::Millis;

/// A product as an administrator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductDescription {
    pub id: ProductId,
    pub name: String,
    pub starts_at_ms: Option<Millis>,
    pub ends_at_ms: Option<Millis>,
    pub limit_per_user: Option<u32>,
    /// At least one; a product without options has the one with [`OptionId::NONE`].
    pub skus: Vec<SkuDescription>,
}

/// One sellable unit of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkuDescription {
    pub option: OptionId,
    pub name: String,
    pub price: Amount,
    /// Units of a new SKU; `None` is 0 for a new one and "as it was" for one that exists.
    pub stock: Option<i64>,
}

/// What can happen when a product is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductSet {
    /// `index` of the SKU that exists with another initial stock.
    StockDiffers {
        index: usize,
    },
    /// Too many options were left out in the product's life.
    TooManyOptions,
    Created {
        seq: Seq,
    },
    Updated {
        seq: Seq,
    },
}

/// Lists a product in its home cell, or changes what is listed.
///
/// # Errors
/// After [`ScriptError::Unknown`] the product may have been set; calling again is safe.
pub async fn product_set(scripts: &Scripts, product: &ProductDescription) -> Result<ProductSet, ScriptError> {
    let cell = scripts.cells().home(product.id);
    let mut extra_keys = vec![keys::product(cell, product.id), keys::products(cell)];
    extra_keys.extend(
        product.skus.iter().map(|it| keys::sku(cell, SkuId { product: product.id, option: it.option })),
    );

    let names: Vec<&str> = std::iter::once(&product.name)
        .chain(product.skus.iter().map(|it| &it.name))
        .map(String::as_str)
        .collect();
    let text = |it: Option<i64>| it.map(|it| it.to_string()).unwrap_or_default();
    let mut args = vec![
        product.id.to_string(),
        product.name.clone(),
        serde_json::to_string(&names).expect("texts are JSON"),
        text(product.starts_at_ms),
        text(product.ends_at_ms),
        text(product.limit_per_user.map(i64::from)),
        product.skus.len().to_string(),
    ];
    for sku in &product.skus {
        args.extend([sku.option.to_string(), sku.name.clone(), sku.price.to_string(), text(sku.stock)]);
    }

    let reply = scripts.call(Script::ProductSet, cell, &extra_keys, &args).await?;
    let set = |outcome: fn(Seq) -> ProductSet| {
        let seq = reply.int(2)? as Seq;
        scripts.acknowledge(cell, reply.epoch, seq)?;
        Ok(outcome(seq))
    };
    match reply.outcome {
        "STOCK_DIFFERS" => Ok(ProductSet::StockDiffers { index: reply.int(1)? as usize - 1 }),
        "TOO_MANY_OPTIONS" => Ok(ProductSet::TooManyOptions),
        "CREATED" => set(|seq| ProductSet::Created { seq }),
        "UPDATED" => set(|seq| ProductSet::Updated { seq }),
        _ => Err(reply.unexpected()),
    }
}
