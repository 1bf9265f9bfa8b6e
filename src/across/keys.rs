//! Idempotency keys of requests that are carried out in another cell than that of whoever sends them.

use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;
use crate::scripts::key_note::{KeyNote, key_note};
use crate::scripts::{ScriptError, Scripts};

/// Whether a key was used for another request. What a key of this scope stands for is noted in the scope's own cell before
/// `at` carries the request out under the same key, and so is the same for all cells.
pub async fn is_of_another_request(
    scripts: &Scripts,
    at: CellId,
    scope: Option<UserId>,
    idempotency: Option<&Idempotency>,
    idempotency_ttl_ms: u64,
) -> Result<bool, ScriptError> {
    let cells = scripts.cells();
    let own = scope.map_or(cells.first(), |it| cells.of_user(it));
    let Some(idempotency) = idempotency.filter(|_| own != at) else { return Ok(false) };
    let noted = key_note(scripts, own, scope, idempotency, idempotency_ttl_ms, &at.to_string()).await?;
    Ok(noted == KeyNote::KeyReused)
}
