//! Typed binding of `lua/balance_get.lua`; the header of that file is the contract.

use super::keys;
use super::load::{NO_ARGS, ScriptError, Scripts};
use super::text::Script;
use crate::ids::UserId;
use crate::money::Amount;

/// Reads one wallet; `None` for an unknown user.
pub async fn balance_get(scripts: &Scripts, user: UserId) -> Result<Option<Amount>, ScriptError> {
    let cell = scripts.cells().of_user(user);
    let reply = scripts.call(Script::BalanceGet, cell, &[keys::user(cell, user)], NO_ARGS).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(None),
        "FOUND" => Ok(Some(reply.int(1)?)),
        _ => Err(reply.unexpected()),
    }
}
