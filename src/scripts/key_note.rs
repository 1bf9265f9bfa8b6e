//! Typed binding of `lua/key_note.lua`; the header of that file is the contract.

use super::idempotency_parts;
use super::load::{ScriptError, Scripts};
use super::settled::SettledOrder;
use super::text::Script;
use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;

/// What can happen when the answer of a payment is to be remembered for a further key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNote {
    KeyReused,
    /// The first request with this key was told so.
    Replayed {
        answer: String,
    },
    Noted,
}

/// Remembers that a request of a user's under this key was told of a payment that was made before.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be remembered; a retry is safe.
pub async fn key_note(
    scripts: &Scripts,
    cell: CellId,
    user: UserId,
    idempotency: &Idempotency,
    idempotency_ttl_ms: u64,
    told: &SettledOrder,
) -> Result<KeyNote, ScriptError> {
    let (record, fingerprint, key) = idempotency_parts(cell, Some(user), Some(idempotency));
    let args = [&user.to_string(), fingerprint, key, &idempotency_ttl_ms.to_string(), &told.to_string()];
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
