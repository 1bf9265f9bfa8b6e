//! Typed binding of `lua/key_note.lua`; the header of that file is the contract.

use super::idempotency_parts;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;

/// What can happen when an answer is to be remembered for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNote {
    KeyReused,
    /// The first request with this key was told so.
    Replayed {
        answer: String,
    },
    Noted,
}

/// Remembers what a request under this key was told that changed nothing here: of a payment that was made before, or of
/// something that another cell does. `scope`: whose key it is; `None`: an administrator's.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be remembered; a retry is safe.
pub async fn key_note(
    scripts: &Scripts,
    cell: CellId,
    scope: Option<UserId>,
    idempotency: &Idempotency,
    idempotency_ttl_ms: u64,
    answer: &str,
) -> Result<KeyNote, ScriptError> {
    let (record, fingerprint, key) = idempotency_parts(cell, scope, Some(idempotency));
    let scope = scope.map_or(0, UserId::get).to_string();
    let args = [&scope, fingerprint, key, &idempotency_ttl_ms.to_string(), answer];
    let reply = scripts.call(Script::KeyNote, cell, &[record], &args).await?;
    match reply.outcome {
        "KEY_REUSED" => Ok(KeyNote::KeyReused),
        "REPLAYED" => Ok(KeyNote::Replayed { answer: reply.text(1)?.to_owned() }),
        "NOTED" => {
            let seq = reply.text(1)?.parse().map_err(|_| reply.unexpected())?;
            scripts.acknowledge(cell, reply.epoch, seq)?;
            Ok(KeyNote::Noted)
        }
        _ => Err(reply.unexpected()),
    }
}
