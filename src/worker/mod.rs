//! The write-behind: events from Redis to MySQL, messages from MySQL to RabbitMQ, recoveries, deadlines, forgetting, and what
//! cells have to do with each other.

mod copies;
mod expire;
mod forget;
pub mod moving;
mod persist;
mod publish;
mod rebuild;
pub mod recover;
mod replicas;
mod rewrite;
mod shares;
mod transfers;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use sqlx::mysql::MySqlPool;
use tokio::sync::Semaphore;
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
use crate::telemetry::scope::Scope;
use crate::telemetry::traces::{Description, Traces};

/// What the loops work with. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    scripts: Scripts,
    mysql: MySqlPool,
    settings: Arc<Settings>,
    traces: Option<Traces>,
    /// Recoveries at once: each has a connection to MySQL and one to Redis of its own, and reads whole tables.
    recoveries: Arc<Semaphore>,
}

/// Most recoveries that one worker carries out at once.
const RECOVERIES_AT_ONCE: usize = 8;

impl Worker {
    /// `scripts` are called over bulk connections, so that large replies do not delay purchases.
    pub fn new(scripts: &Scripts, mysql: MySqlPool, settings: Arc<Settings>) -> Self {
        Self {
            scripts: scripts.bulk(),
            mysql,
            settings,
            traces: None,
            recoveries: Arc::new(Semaphore::new(RECOVERIES_AT_ONCE)),
        }
    }

    /// With what makes spans, where a collector is named.
    pub fn traced(self, traces: Option<Traces>) -> Self {
        Self { traces, ..self }
    }

    /// Does a piece of work within a trace of its own, where one is sampled.
    async fn trace<T, E>(
        &self,
        kind: SpanKind,
        describe: impl FnOnce() -> Description,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let span = self.traces.as_ref().and_then(|it| it.begin(kind, describe));
        let result = Scope { request_id: None, span: span.clone() }.around(work).await;
        if let Some(span) = span {
            if result.is_err() {
                span.fail("failed");
            }
            span.end();
        }
        result
    }

    /// Runs all loops until `stop`; each finishes the batch it is at.
    pub async fn run(&self, stop: CancellationToken) {
        if self.settings.cells > 1 {
            return shares::run(self, stop).await;
        }
        metrics::gauge!("firstcome_worker_cells").set(1.0);
        // One cell is everybody's: whoever is faster persists, and nobody has to take over.
        let loops = TaskTracker::new();
        self.spawn_loops(&loops, self.settings.cells().first(), &stop);
        loops.close();
        loops.wait().await;
    }

    fn spawn_loops(&self, loops: &TaskTracker, cell: CellId, stop: &CancellationToken) {
        self.spawn(loops, "persist", cell, stop, persist::run);
        self.spawn(loops, "publish", cell, stop, publish::run);
        self.spawn(loops, "expire", cell, stop, expire::run);
        self.spawn(loops, "replicas", cell, stop, replicas::run);
        self.spawn(loops, "rewrite", cell, stop, rewrite::run);
        self.spawn(loops, "forget", cell, stop, forget::run);
        if self.settings.cells > 1 {
            self.spawn(loops, "copies", cell, stop, copies::run);
            self.spawn(loops, "transfers", cell, stop, transfers::run);
        }
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

/// What a loop meets again and again is told when it begins, and not each time.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    /// Whether it has just begun.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    fn is_over(&mut self) {
        self.0 = false;
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
