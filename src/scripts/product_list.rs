//! Typed binding of `lua/product_list.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::product_set::CopyOf;
use super::text::Script;
use crate::cell::CellId;
use crate::ids::{OptionId, ProductId};
use crate::product::{Product, ProductOption};
use crate::time::{self, Millis};

/// `{id, name, starts_at_ms, ends_at_ms, limit, {option_id, name, price, remaining, …}, version, life}`
type RawProduct = (String, String, String, String, String, Vec<String>, String, String);

/// Products of a cell, with the units that it has, and its clock, which sale windows go by.
#[derive(Debug)]
pub struct ProductPage {
    pub products: Vec<Product>,
    pub now_ms: Millis,
}

/// Which products of a cell.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Up to `limit` (1 to 201) with ids above `after`, in order of their ids.
    Behind { after: u64, limit: usize },
    /// Of these, at most 201, those that are listed.
    Named(&'a [ProductId]),
}

/// Reads products of a cell.
pub async fn product_list(
    scripts: &Scripts,
    cell: CellId,
    which: Which<'_>,
) -> Result<ProductPage, ScriptError> {
    let args: Vec<String> = match which {
        Which::Behind { after, limit } => vec![after.to_string(), limit.to_string()],
        Which::Named(ids) => {
            let ids = ids.iter().map(ProductId::to_string);
            ["0", "0"].map(str::to_owned).into_iter().chain(ids).collect()
        }
    };
    let mut reply = scripts.call(Script::ProductList, cell, &[keys::products(cell)], &args).await?;
    match reply.outcome {
        "FOUND" => {
            let products: Vec<RawProduct> = reply.take(1)?;
            let products = products.into_iter().map(|it| Some(parse(it)?.0)).collect::<Option<_>>();
            Ok(ProductPage { products: products.ok_or_else(|| reply.unexpected())?, now_ms: reply.int(2)? })
        }
        _ => Err(reply.unexpected()),
    }
}

/// Reads what a home cell says of one of its products, and of what a copy of it is a copy; `None` where it is not listed.
pub async fn product_to_copy(
    scripts: &Scripts,
    home: CellId,
    product: ProductId,
) -> Result<Option<(Product, CopyOf)>, ScriptError> {
    let args = ["0".to_owned(), "0".to_owned(), product.to_string()];
    let mut reply = scripts.call(Script::ProductList, home, &[keys::products(home)], &args).await?;
    match reply.outcome {
        "FOUND" => {
            let mut products: Vec<RawProduct> = reply.take(1)?;
            let Some(found) = products.pop() else { return Ok(None) };
            let (product, copy_of) = parse(found).ok_or_else(|| reply.unexpected())?;
            Ok(Some((product, copy_of.ok_or_else(|| reply.unexpected())?)))
        }
        _ => Err(reply.unexpected()),
    }
}

/// With one cell there is nothing to copy, and so no version.
fn parse(
    (id, name, starts, ends, limit, skus, version, life): RawProduct,
) -> Option<(Product, Option<CopyOf>)> {
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
    let copy_of = version.parse().ok().zip(life.parse().ok()).map(|(version, life)| CopyOf { version, life });
    let product = Product {
        id: id.parse().ok()?,
        name,
        price,
        stock,
        options,
        sale_starts_at: time(&starts),
        sale_ends_at: time(&ends),
        limit_per_user: limit.parse().ok(),
    };
    Some((product, copy_of))
}
