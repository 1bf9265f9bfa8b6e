//! The write-behind: events from Redis to MySQL, messages from MySQL to RabbitMQ, and recoveries.

mod persist;
mod publish;
mod rebuild;
pub mod recover;

use std::sync::Arc;

use sqlx::mysql::MySqlPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use persist::drain as drain_events;
pub use publish::drain as drain_outbox;

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
            loops.spawn(persist::run(self.clone(), cell, stop.clone()));
            loops.spawn(publish::run(self.clone(), cell, stop.clone()));
        }
        loops.close();
        loops.wait().await;
    }
}
