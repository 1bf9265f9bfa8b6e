//! Typed binding of `lua/product_list.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::ids::{OptionId, ProductId};
use crate::product::{Product, ProductOption};
use crate::time::{self, Millis};

/// `{id, name, starts_at_ms, ends_at_ms, limit, {option_id, name, price, remaining, …}}`
type RawProduct = (String, String, String, String, String, Vec<String>);

/// Products, and the cell's clock, which their sale windows go by.
#[derive(Debug)]
pub struct ProductPage {
    pub products: Vec<Product>,
    pub now_ms: Millis,
}

/// Reads up to `limit` (1 to 201) products with ids above `after`, in order of their ids.
pub async fn product_list(scripts: &Scripts, after: u64, limit: usize) -> Result<ProductPage, ScriptError> {
    let cell = CellId(0);
    let args = [after.to_string(), limit.to_string()];
    let mut reply = scripts.call(Script::ProductList, cell, &[keys::products(cell)], &args).await?;
    match reply.outcome {
        "FOUND" => {
            let products: Vec<RawProduct> = reply.take(1)?;
            let products = products.into_iter().map(parse).collect::<Option<_>>();
            Ok(ProductPage { products: products.ok_or_else(|| reply.unexpected())?, now_ms: reply.int(2)? })
        }
        _ => Err(reply.unexpected()),
    }
}

/// Reads one product, and the cell's clock; `None` where it is not listed.
pub async fn product_get(
    scripts: &Scripts,
    product: ProductId,
) -> Result<Option<(Product, Millis)>, ScriptError> {
    let ProductPage { products, now_ms } = product_list(scripts, product.get() - 1, 1).await?;
    Ok(products.into_iter().find(|it| it.id == product).map(|it| (it, now_ms)))
}

fn parse((id, name, starts, ends, limit, skus): RawProduct) -> Option<Product> {
    let time = |text: &str| text.parse().ok().map(time::from_millis);
    let mut options = Vec::with_capacity(skus.len() / 4);
    for sku in skus.chunks_exact(4) {
        options.push(ProductOption {
            id: OptionId::new(sku[0].parse().ok()?).ok()?,
            name: sku[1].clone(),
            price: sku[2].parse().ok()?,
            stock: sku[3].parse().ok()?,
        });
    }
    let (price, stock) = (options.iter().map(|it| it.price).min()?, options.iter().map(|it| it.stock).sum());
    options.retain(|it| it.id != OptionId::NONE);
    Some(Product {
        id: id.parse().ok()?,
        name,
        price,
        stock,
        options,
        sale_starts_at: time(&starts),
        sale_ends_at: time(&ends),
        limit_per_user: limit.parse().ok(),
    })
}
