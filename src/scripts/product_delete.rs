//! Typed binding of `lua/product_delete.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::Seq;
use crate::ids::ProductId;
use crate::time::Millis;

/// What can happen when a product is taken off the list, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductDelete {
    NotFound,
    /// Its sale has not ended before the time that was given.
    NotEnded,
    Deleted,
}

/// Takes a product off the list for good; with `ended_before_ms` only if its sale ended before that time.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be gone; calling again is safe.
pub async fn product_delete(
    scripts: &Scripts,
    product: ProductId,
    ended_before_ms: Option<Millis>,
) -> Result<ProductDelete, ScriptError> {
    let cell = scripts.cells().home(product);
    let extra_keys = [keys::product(cell, product), keys::products(cell), keys::bought(cell, product)];
    let args = [product.to_string(), ended_before_ms.map(|it| it.to_string()).unwrap_or_default()];
    let reply = scripts.call(Script::ProductDelete, cell, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(ProductDelete::NotFound),
        "NOT_ENDED" => Ok(ProductDelete::NotEnded),
        "DELETED" => {
            scripts.acknowledge(cell, reply.epoch, reply.int(1)? as Seq)?;
            Ok(ProductDelete::Deleted)
        }
        _ => Err(reply.unexpected()),
    }
}
