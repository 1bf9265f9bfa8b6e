//! How a server of a cluster stands: whether what it says makes the map doubtful, and whether it has cells at all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Pipeline, RedisError, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::scripts::sentinel::unreachable;

/// Wakes who reads the map, before its time.
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<Notify>);

impl Doubt {
    pub fn raise(&self) {
        self.0.notify_one();
    }

    /// Whether anybody doubts the map within so long.
    pub(super) async fn is_raised_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.notified()).await.is_ok()
    }
}

/// One server, as its connections see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Standing {
    doubt: Doubt,
    /// Ends its connections.
    left: CancellationToken,
}

impl Standing {
    pub(super) fn new(doubt: Doubt) -> Self {
        Self { doubt, left: CancellationToken::new() }
    }

    /// It has no cell any more: what is on its way there ends, and its outcome is unknown. A server that stands still
    /// would hold a worker for the time-out of its reply, and a recovery with it.
    pub(super) fn leave(&self) {
        self.left.cancel();
    }

    pub fn has_left(&self) -> bool {
        self.left.is_cancelled()
    }

    /// It could not be reached.
    pub fn failed(&self) {
        self.doubt.raise();
    }

    /// What a call gives, unless the server has no cell any more; the map is doubted where the answer says so.
    pub async fn weighed<T: SaysOtherwise>(
        &self,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        if self.has_left() {
            return Err(unreachable("another server of the cluster has the cell".to_owned()));
        }
        let ended = tokio::select! {
            biased;
            ended = call => ended,
            () = self.left.cancelled() => {
                let why = "another server of the cluster has the cell now";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, why).into())
            }
        };
        let is_doubtful = match &ended {
            Ok(answer) => answer.says_otherwise(),
            Err(error) => error.is_io_error() || error.code().is_some_and(is_of_another_map),
        };
        if is_doubtful {
            self.doubt.raise();
        }
        ended
    }
}

/// Answers as they come, refusals among them.
pub trait SaysOtherwise {
    /// Whether the server says that a slot is not, or no longer, its own.
    fn says_otherwise(&self) -> bool;
}

impl SaysOtherwise for Value {
    fn says_otherwise(&self) -> bool {
        matches!(self, Value::ServerError(refusal) if is_of_another_map(refusal.code()))
    }
}

impl SaysOtherwise for Vec<Value> {
    fn says_otherwise(&self) -> bool {
        self.iter().any(SaysOtherwise::says_otherwise)
    }
}

fn is_of_another_map(code: &str) -> bool {
    matches!(code, "MOVED" | "CLUSTERDOWN" | "READONLY" | "MASTERDOWN")
}

/// The connection of the hot path to one server.
#[derive(Clone, Debug)]
pub struct NodeConnection {
    manager: ConnectionManager,
    standing: Standing,
}

impl NodeConnection {
    pub fn new(manager: ConnectionManager, standing: Standing) -> Self {
        Self { manager, standing }
    }

    pub async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let mut manager = self.manager.clone();
        self.standing.weighed(manager.send_packed_commands(commands, 0, commands.len())).await
    }
}
