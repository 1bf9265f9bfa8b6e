//! The write-behind: events from Redis to MySQL, messages from MySQL to RabbitMQ, recoveries, deadlines, and
//! forgetting.

mod expire;
mod forget;
pub mod moving;
mod persist;
mod publish;
mod rebuild;
pub mod recover;
mod replicas;
mod rewrite;

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use expire::expire;
pub use forget::{ForgetError, Forgotten, forget};
pub use persist::drain as drain_events;
pub use publish::drain as drain_outbox;
pub use rebuild::{Progress, Silent};

use crate::cell::CellId;
use crate::config::Settings;
use crate::scripts::Scripts;

/// What the loops work with. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    scripts: Scripts,
    mysql: MySqlPool,
    settings: Arc<Settings>,
}

impl Worker {
    /// `scripts` are called over bulk connections, so that large replies do not delay purchases.
    pub fn new(scripts: &Scripts, mysql: MySqlPool, settings: Arc<Settings>) -> Self {
        Self { scripts: scripts.bulk(), mysql, settings }
    }

    /// Runs all loops until `stop`; each finishes the batch it is at.
    pub async fn run(&self, stop: CancellationToken) {
        let loops = TaskTracker::new();
        for cell in self.settings.cells().all() {
            self.spawn(&loops, "persist", cell, &stop, persist::run);
            self.spawn(&loops, "publish", cell, &stop, publish::run);
            self.spawn(&loops, "expire", cell, &stop, expire::run);
            self.spawn(&loops, "replicas", cell, &stop, replicas::run);
            self.spawn(&loops, "rewrite", cell, &stop, rewrite::run);
            self.spawn(&loops, "forget", cell, &stop, forget::run);
        }
        loops.close();
        loops.wait().await;
    }

    fn spawn<Loop>(
        &self,
        loops: &TaskTracker,
        name: &'static str,
        cell: CellId,
        stop: &CancellationToken,
        run: fn(Self, CellId, CancellationToken) -> Loop,
    ) where
        Loop: Future<Output = ()> + Send + 'static,
    {
        let (worker, stop) = (self.clone(), stop.clone());
        loops.spawn(supervise(name, move || run(worker.clone(), cell, stop.clone())));
    }
}

/// Starts a loop again that panicked: where it stands is in MySQL, so nothing is lost with it.
async fn supervise<Loop>(name: &'static str, mut start: impl FnMut() -> Loop)
where
    Loop: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(start()).await {
        tracing::error!(name, %error, "a loop of the worker panicked; it starts again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
