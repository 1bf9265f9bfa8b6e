//! Typed binding of `lua/quota_settle.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::quota_give::Transfer;
use super::text::Script;

/// What can happen when a transfer is over, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaSettle {
    /// Another one is under way, or none.
    Other,
    Settled,
}

/// Tells the giver that a transfer has arrived, so that it can give the next one. Only to be called once MySQL has the
/// event that took it.
pub async fn quota_settle(scripts: &Scripts, transfer: &Transfer) -> Result<QuotaSettle, ScriptError> {
    let Transfer { pool, from, to, number, life, .. } = *transfer;
    let extra_keys = [keys::quota(from, pool), keys::gifts(from), keys::pool(from, pool)];
    let args = [pool.to_string(), to.to_string(), number.to_string(), life.to_string()];
    let reply = scripts.call(Script::QuotaSettle, from, &extra_keys, &args).await?;
    match reply.outcome {
        "OTHER" => Ok(QuotaSettle::Other),
        "SETTLED" => Ok(QuotaSettle::Settled),
        _ => Err(reply.unexpected()),
    }
}
