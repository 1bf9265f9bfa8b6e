//! Idempotency keys of requests that are carried out in another cell than that of whoever sends them.
//!
//! What a key stands for is noted in its scope's own cell, too, once its request was carried out: so the same key for another
//! request is found, whichever cell that one is for. The request itself is done once because of the key's record in the
//! cell that carries it out.

use crate::cell::CellId;
use crate::idempotency::Idempotency;
use crate::ids::UserId;
use crate::scripts::idempotency_read::{IdempotencyRead, idempotency_read};
use crate::scripts::key_note::key_note;
use crate::scripts::{ScriptError, Scripts};

/// A key, seen from another cell than the one that carries its request out.
#[derive(Debug, Clone, Copy)]
pub struct ForeignKey<'a> {
    own: CellId,
    scope: Option<UserId>,
    idempotency: &'a Idempotency,
}

impl<'a> ForeignKey<'a> {
    /// `None`: there is no key, or its request is carried out in its own cell. `scope`: whose it is; `None`: an
    /// administrator's.
    pub fn new(
        scripts: &Scripts,
        carried_out_in: CellId,
        scope: Option<UserId>,
        idempotency: Option<&'a Idempotency>,
    ) -> Option<Self> {
        let cells = scripts.cells();
        let own = scope.map_or(cells.first(), |it| cells.of_user(it));
        let idempotency = idempotency.filter(|_| own != carried_out_in)?;
        Some(Self { own, scope, idempotency })
    }

    /// Whether it was used for another request.
    pub async fn is_of_another_request(self, scripts: &Scripts) -> Result<bool, ScriptError> {
        let read = idempotency_read(scripts, self.own, self.scope, self.idempotency).await?;
        Ok(read == IdempotencyRead::KeyReused)
    }

    /// Notes that its request was carried out.
    pub async fn note(self, scripts: &Scripts, ttl_ms: u64) -> Result<(), ScriptError> {
        key_note(scripts, self.own, self.scope, self.idempotency, ttl_ms, "elsewhere").await.map(|_| ())
    }
}
