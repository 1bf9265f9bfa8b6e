//! Several workers, several cells: each worker works on its share of them, and takes over those of one that died.
//!
//! Nothing depends on it but the work that is done twice otherwise: two workers on one cell do no harm. So a worker that
//! cannot reach MySQL goes on with what it has; when it can again, it lets go of what others took meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Trouble, Worker, publish};
use crate::cell::CellId;
use crate::mysql::shares::Shares;

/// How often a worker tells that it lives, and looks for cells that nobody has.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the loops of a cell may take to end.
const ENDING: Duration = Duration::from_secs(3);

/// What a worker works on.
struct Held {
    loops: TaskTracker,
    stop: CancellationToken,
}

impl Held {
    fn start(worker: &Worker, cell: CellId) -> Self {
        let (loops, stop) = (TaskTracker::new(), CancellationToken::new());
        worker.spawn_loops(&loops, cell, &stop);
        loops.close();
        Self { loops, stop }
    }

    /// Waits until the batches at hand are written, within reason: a loop that hangs keeps no other worker from the cell.
    async fn end(self, cell: CellId) {
        self.stop.cancel();
        if tokio::time::timeout(ENDING, self.loops.wait()).await.is_err() {
            tracing::warn!(%cell, loops = self.loops.len(), "loops of a cell that others may have do not end");
        }
    }
}

/// Works on this worker's share of the cells until `stop`; each loop finishes the batch it is at.
pub(super) async fn run(worker: &Worker, stop: CancellationToken) {
    let name = uuid::Uuid::now_v7().to_string();
    let mut held: BTreeMap<CellId, Held> = BTreeMap::new();
    let mut shares = None;
    let mut trouble = Trouble::default();
    while !stop.is_cancelled() {
        match look(worker, &name, &mut shares, &mut held).await {
            Ok(()) => trouble.is_over(),
            Err(error) => {
                shares = None;
                if trouble.begins() {
                    tracing::warn!(%error, cells = held.len(), "cells cannot be shared; going on with those at hand");
                }
            }
        }
        metrics::gauge!("firstcome_worker_cells").set(held.len() as f64);
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
    futures::future::join_all(held.into_iter().map(|(cell, it)| it.end(cell))).await;
    if let Some(mut shares) = shares {
        let _ = shares.leave(&name).await;
    }
}

/// Whoever has the cell now tells how far behind it is.
fn tell_nothing(cell: CellId) {
    for name in ["firstcome_backlog_events", "firstcome_persist_lag_seconds"] {
        metrics::gauge!(name, "cell" => cell.to_string()).set(0.0);
    }
    publish::gauge_nothing(cell);
}

async fn look(
    worker: &Worker,
    name: &str,
    kept: &mut Option<Shares>,
    held: &mut BTreeMap<CellId, Held>,
) -> Result<(), sqlx::Error> {
    if kept.is_none() {
        let mut shares = Shares::connect(&worker.mysql, name).await?;
        // The locks went with the connection before; what others took since is theirs.
        for cell in held.keys().copied().collect::<Vec<_>>() {
            if !shares.try_take(cell).await? {
                let lost = held.remove(&cell).expect("it was named");
                tracing::info!(%cell, "another worker has this cell now");
                tokio::spawn(async move {
                    lost.end(cell).await;
                    tell_nothing(cell);
                });
            }
        }
        *kept = Some(shares);
    }
    let Some(shares) = kept else { return Ok(()) };
    let cells = u64::from(worker.settings.cells);
    let share = cells.div_ceil(shares.count_workers(name).await?) as usize;
    while held.len() > share
        && let Some((cell, surplus)) = held.pop_last()
    {
        tell_nothing(cell);
        // Its lock is given back when its loops have ended: whoever comes finds the batch at hand written.
        surplus.end(cell).await;
        shares.release(cell).await?;
    }
    for cell in shares.free_cells().await? {
        if held.len() < share && shares.try_take(cell).await? {
            held.insert(cell, Held::start(worker, cell));
        }
    }
    Ok(())
}
