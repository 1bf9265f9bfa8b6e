//! Typed binding of `lua/product_set.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position, Seq};
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

/// Of what a product or campaign in another cell than its home is a copy: numbers of the home cell's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOf {
    /// The one that described it.
    pub version: Seq,
    /// The one that began its life.
    pub life: Seq,
}

/// What can happen when a product is described, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductSet {
    /// This copy, or a newer one, is there.
    Known,
    /// A product of an earlier life of the id is there.
    OtherLife,
    /// `index` of the SKU that exists with another initial stock.
    StockDiffers {
        index: usize,
    },
    /// Too many options were left out in the product's life.
    TooManyOptions,
    Created(Described),
    Updated(Described),
}

/// A product or campaign was described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// The event, with the epoch in which it was made.
    pub at: Position,
    /// The first event of its life in its home cell.
    pub life: Seq,
}

/// Lists a product in its home cell, or changes what is listed; in another cell a copy of it, whose units come by
/// transfers.
///
/// # Errors
/// After [`ScriptError::Unknown`] the product may have been set; calling again is safe.
pub async fn product_set(
    scripts: &Scripts,
    cell: CellId,
    product: &ProductDescription,
    copy_of: Option<CopyOf>,
) -> Result<ProductSet, ScriptError> {
    let mut extra_keys = vec![keys::product(cell, product.id), keys::products(cell), keys::uncopied(cell)];
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
        copy_of.map(|it| it.version.to_string()).unwrap_or_default(),
        copy_of.map(|it| it.life.to_string()).unwrap_or_default(),
        product.skus.len().to_string(),
    ];
    for sku in &product.skus {
        let stock = sku.stock.filter(|_| copy_of.is_none());
        args.extend([sku.option.to_string(), sku.name.clone(), sku.price.to_string(), text(stock)]);
    }

    let reply = scripts.call(Script::ProductSet, cell, &extra_keys, &args).await?;
    let set = |outcome: fn(Described) -> ProductSet| {
        let at = Position { epoch: reply.epoch, seq: reply.int(2)? as Seq };
        scripts.acknowledge(cell, reply.epoch, at.seq)?;
        Ok(outcome(Described { at, life: reply.int(3)? as Seq }))
    };
    match reply.outcome {
        "KNOWN" => Ok(ProductSet::Known),
        "OTHER_LIFE" => Ok(ProductSet::OtherLife),
        "STOCK_DIFFERS" => Ok(ProductSet::StockDiffers { index: reply.int(1)? as usize - 1 }),
        "TOO_MANY_OPTIONS" => Ok(ProductSet::TooManyOptions),
        "CREATED" => set(ProductSet::Created),
        "UPDATED" => set(ProductSet::Updated),
        _ => Err(reply.unexpected()),
    }
}
