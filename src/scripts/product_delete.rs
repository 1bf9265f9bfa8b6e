//! Typed binding of `lua/product_delete.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position, Seq};
use crate::ids::ProductId;
use crate::time::Millis;

/// What can happen when a product is taken off the list, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductDelete {
    NotFound,
    /// Its sale has not ended before the time that was given.
    NotEnded,
    /// It was listed again since.
    Newer,
    /// The event, with its epoch.
    Deleted(Position),
}

/// Which product is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// In its home cell, where an administrator wants it gone.
    Asked,
    /// In its home cell, where its sale ended before that time.
    Ended { before_ms: Millis },
    /// A copy of what the home cell said before this event of its.
    Copy { before: Seq },
}

/// Takes a product off a cell's list for good.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be gone; calling again is safe.
pub async fn product_delete(
    scripts: &Scripts,
    cell: CellId,
    product: ProductId,
    deletion: Deletion,
) -> Result<ProductDelete, ScriptError> {
    let extra_keys = [
        keys::product(cell, product),
        keys::products(cell),
        keys::bought(cell, product),
        keys::gifts(cell),
        keys::uncopied(cell),
    ];
    let (ended_before, before) = match deletion {
        Deletion::Asked => (String::new(), String::new()),
        Deletion::Ended { before_ms } => (before_ms.to_string(), String::new()),
        Deletion::Copy { before } => (String::new(), before.to_string()),
    };
    let args = [product.to_string(), ended_before, before];
    let reply = scripts.call(Script::ProductDelete, cell, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(ProductDelete::NotFound),
        "NOT_ENDED" => Ok(ProductDelete::NotEnded),
        "NEWER" => Ok(ProductDelete::Newer),
        "DELETED" => {
            let seq = reply.int(1)? as Seq;
            scripts.acknowledge(cell, reply.epoch, seq)?;
            Ok(ProductDelete::Deleted(Position { epoch: reply.epoch, seq }))
        }
        _ => Err(reply.unexpected()),
    }
}
