//! Typed binding of `lua/audit_read.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position};
use crate::ids::UserId;
use crate::product::SkuId;

/// Amounts as Redis has them, and the newest event that they reflect. `None`: no such key.
#[derive(Debug)]
pub struct AuditRead {
    pub newest: Position,
    pub values: Vec<Option<i64>>,
}

/// Balances of up to 1,000 users, all of them in `cell`.
pub async fn audit_wallets(
    scripts: &Scripts,
    cell: CellId,
    users: &[UserId],
) -> Result<AuditRead, ScriptError> {
    audit_read(scripts, cell, users.iter().map(|it| keys::user(cell, *it)).collect(), "balance").await
}

/// Units left of up to 1,000 SKUs.
pub async fn audit_skus(scripts: &Scripts, cell: CellId, skus: &[SkuId]) -> Result<AuditRead, ScriptError> {
    audit_read(scripts, cell, skus.iter().map(|it| keys::sku(cell, *it)).collect(), "remaining").await
}

async fn audit_read(
    scripts: &Scripts,
    cell: CellId,
    keys: Vec<String>,
    field: &str,
) -> Result<AuditRead, ScriptError> {
    let mut reply = scripts.call(Script::AuditRead, cell, &keys, &[field]).await?;
    match reply.outcome {
        "READ" => {
            let values: Vec<String> = reply.take(2)?;
            let values = values.iter().map(|it| match it.as_str() {
                "" => Ok(None),
                digits => digits.parse().map(Some).map_err(|_| reply.unexpected()),
            });
            let values = values.collect::<Result<_, _>>()?;
            Ok(AuditRead { newest: reply.text(1)?.parse().map_err(|_| reply.unexpected())?, values })
        }
        _ => Err(reply.unexpected()),
    }
}
