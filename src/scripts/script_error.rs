//! Why a script gave no outcome of its own, told from what Redis says.

use redis::{ErrorKind, RedisError};

use super::text::HALFWAY;
use crate::cell::CellId;

/// Why a script gave no outcome of its own.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScriptError {
    /// Nothing ran: the cell is being recovered, or closed.
    #[error("cell {0} is closed")]
    CellClosed(CellId),
    /// Nothing ran: too many events wait for MySQL.
    #[error("the backlog of cell {0} is full")]
    BacklogFull(CellId),
    /// Nothing ran: Redis cannot be reached or refuses for now (out of memory, loading, …).
    #[error("redis refuses: {0}")]
    Refused(String),
    /// The script may have run. A retry under the same idempotency key finds out.
    #[error("redis did not answer: {0}")]
    Unknown(String),
    /// The script failed. Where it may have stopped half-way, the cell's gate was shut.
    #[error("script {script} failed: {reason}")]
    Failed { script: &'static str, reason: String },
}

/// Codes of refusals before a script runs. Of those that name another server or another time nobody follows one here: the
/// caller hears that nothing ran.
const REFUSALS: [&str; 12] = [
    "OOM",
    "NOREPLICAS",
    "MISCONF",
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "READONLY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOPERM",
];

/// What Redis says to a script that meets a key whose slot is on the move.
const AWAY: &str = "non local key";

impl ScriptError {
    /// Nothing ran, or nobody knows; `None`: the script itself failed.
    pub(super) fn of_error(error: &RedisError) -> Option<Self> {
        let text = error.to_string();
        if error.is_connection_refusal() || error.code().is_some_and(|it| REFUSALS.contains(&it)) {
            return Some(Self::Refused(text));
        }
        if !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
            return Some(Self::Unknown(text));
        }
        // A key that the script does not declare has left, and was missed before anything was written.
        (error.code() != Some(HALFWAY) && text.contains(AWAY)).then_some(Self::Refused(text))
    }
}
