//! Typed binding of `lua/product_restock.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{idempotency_parts, keys};
use crate::cell::Seq;
use crate::idempotency::{Idempotency, Seen};
use crate::ids::UserId;
use crate::money::STOCK_MAX;
use crate::product::SkuId;

/// What can happen when units are added, in the order the script tests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProductRestock {
    KeyReused,
    NotFound,
    OptionRequired,
    OutOfRange {
        remaining: i64,
    },
    /// There are enough, but in other cells.
    Short,
    Restocked {
        seq: Seq,
        remaining: i64,
        seen: Seen,
    },
}

/// Adds units to a SKU, or takes unsold ones away (`delta` < 0), in its home cell. `elsewhere`: the shares of all other
/// cells (see [`super::quota_read::Quota::share`]).
///
/// # Errors
/// After [`ScriptError::Unknown`] the units may have been added; a retry is safe with a key.
pub async fn product_restock(
    scripts: &Scripts,
    sku: SkuId,
    delta: i64,
    idempotency: Option<&Idempotency>,
    idempotency_ttl_ms: u64,
    key_scope: Option<UserId>,
    elsewhere: i64,
) -> Result<ProductRestock, ScriptError> {
    let cell = scripts.cells().home(sku.product);
    let (idem_key, fingerprint, key) = idempotency_parts(cell, key_scope, idempotency);
    let args = [
        sku.product.to_string(),
        sku.option.to_string(),
        delta.to_string(),
        STOCK_MAX.to_string(),
        fingerprint.to_owned(),
        key.to_owned(),
        idempotency_ttl_ms.to_string(),
        key_scope.map_or(0, UserId::get).to_string(),
        elsewhere.to_string(),
    ];
    let reply = scripts.call(Script::ProductRestock, cell, &[keys::sku(cell, sku), idem_key], &args).await?;
    let restocked = |seen| {
        let mut words = reply.text(1)?.split(' ');
        let seq = words.next().and_then(|it| it.parse().ok());
        let remaining = words.nth(1).and_then(|it| it.parse().ok());
        let (Some(seq), Some(remaining)) = (seq, remaining) else { return Err(reply.unexpected()) };
        scripts.acknowledge(cell, reply.epoch, seq)?;
        Ok(ProductRestock::Restocked { seq, remaining, seen })
    };
    match reply.outcome {
        "KEY_REUSED" => Ok(ProductRestock::KeyReused),
        "REPLAYED" => restocked(Seen::Replayed),
        "NOT_FOUND" => Ok(ProductRestock::NotFound),
        "OPTION_REQUIRED" => Ok(ProductRestock::OptionRequired),
        "OUT_OF_RANGE" => Ok(ProductRestock::OutOfRange { remaining: reply.int(2)? }),
        "SHORT" => Ok(ProductRestock::Short),
        "RESTOCKED" => restocked(Seen::New),
        _ => Err(reply.unexpected()),
    }
}
