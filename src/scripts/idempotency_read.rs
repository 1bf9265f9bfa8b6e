//! Typed binding of `lua/idempotency_read.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;

/// What the record of a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyRead {
    Unused,
    KeyReused,
    /// The first request's answer.
    Replayed {
        answer: String,
    },
}

/// Reads the record of a key. `scope`: whose it is; `None`: an administrator's.
pub async fn idempotency_read(
    scripts: &Scripts,
    cell: CellId,
    scope: Option<UserId>,
    idempotency: &Idempotency,
) -> Result<IdempotencyRead, ScriptError> {
    let key = keys::idempotency(cell, scope, &idempotency.key);
    let args = [idempotency.fingerprint.as_str()];
    let reply = scripts.call(Script::IdempotencyRead, cell, &[key], &args).await?;
    match reply.outcome {
        "UNUSED" => Ok(IdempotencyRead::Unused),
        "KEY_REUSED" => Ok(IdempotencyRead::KeyReused),
        "REPLAYED" => Ok(IdempotencyRead::Replayed { answer: reply.text(1)?.to_owned() }),
        _ => Err(reply.unexpected()),
    }
}
