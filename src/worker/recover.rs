//! Recovery of a cell after Redis lost something, or may have: `docs/architecture.md` says why each
//! step is where it is.
//!
//! All steps on Redis go over one connection that never reconnects; any lost connection or unknown
//! COMMIT ends the attempt, and the next one starts with the next epoch.

use std::time::{Duration, Instant};

use super::Worker;
use super::rebuild::{Progress, Silent, rebuild};
use crate::cell::{CellId, CellState, Epoch, Fence, Position, Seq};
use crate::mysql::cells::{self, CellRow, Recovered};
use crate::mysql::named_lock::NamedLock;
use crate::mysql::persist::{Batch, PersistError};
use crate::scripts::recovery::{CellInRecovery, CellLook, StepError, look};

/// How long nodes have to say that they turned to the new epoch.
const NOTES_PATIENCE: Duration = Duration::from_secs(3);

/// Events persisted at once.
const SURVIVORS: usize = 2_000;

/// What a recovery answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// NOSCRIPT or a shut gate: perhaps nothing is lost.
    Closed,
    /// The log has a gap: something is lost, whatever the fence says.
    Gap,
    /// The server has replicas now, and the scripts of this epoch do not know the server.
    Replicas,
    /// The data was kept after a restart, and the server does not write its append-only file anew.
    NotRewritten,
    /// An operator wants the cell rebuilt from MySQL.
    Asked,
}

/// How a recovery ended well.
#[derive(Debug, Clone)]
pub enum RecoverOutcome {
    /// This epoch's fence is present and the gate open: only script texts were missing.
    StillOpen,
    /// Another process recovered it meanwhile.
    OpenedElsewhere,
    /// Closed by an operator, or because MySQL is behind; left alone.
    LeftClosed { reason: String },
    /// Open in a new epoch.
    Opened(Recovered),
}

/// How a recovery ended otherwise. The cell stays shut, and the next attempt starts over.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Step(#[from] StepError),
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    #[error("{0}")]
    Persist(#[from] PersistError),
    /// Somebody else raised the epoch.
    #[error("superseded by another recovery")]
    Superseded,
    /// MySQL lacks what Redis has trimmed already: restore MySQL further, then open the cell.
    #[error("mysql is behind: events {0} to {1} are neither there nor in redis")]
    DatabaseBehind(Seq, Seq),
    /// A rebuild would leave out their rows.
    #[error("{0} dead events are unresolved")]
    DeadEvents(u64),
    #[error("a row cannot be restored: {0}")]
    Row(String),
}

/// Recovers a cell that a loop found shut; true when this opened it. Failures are logged; the loop comes again.
pub(super) async fn recover_unasked(worker: &Worker, cell: CellId, because: Because) -> bool {
    let Ok(_turn) = worker.recoveries.acquire().await else { return false };
    match recover_in_turn(worker, cell, because, &Silent).await {
        Ok(RecoverOutcome::Opened(found)) => {
            metrics::counter!("firstcome_recoveries_total", "cell" => cell.to_string()).increment(1);
            tracing::info!(%cell, epoch = found.epoch, rebuilt = found.rebuilt, "cell is open");
            true
        }
        Ok(
            RecoverOutcome::StillOpen | RecoverOutcome::OpenedElsewhere | RecoverOutcome::LeftClosed { .. },
        ) => false,
        Err(error) => {
            tracing::warn!(%cell, %error, "the cell stays shut for now");
            false
        }
    }
}

/// Recovers a cell when its turn comes: two recoveries at once do no harm, but each would send the other
/// back to the start. A process that sleeps or dies loses its turn by the time-out of the lock.
pub async fn recover_in_turn(
    worker: &Worker,
    cell: CellId,
    because: Because,
    progress: &dyn Progress,
) -> Result<RecoverOutcome, RecoverError> {
    loop {
        if let Some(lock) = NamedLock::try_take(&worker.mysql, "recover", cell).await? {
            let _kept = lock.keep();
            return recover(worker, cell, because, progress).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let row = cells::read(&worker.mysql, cell).await?;
        if let Some(fence) = row.fence().filter(|it| Some(it) != worker.scripts.fence(cell).as_ref()) {
            worker.scripts.adopt(cell, fence);
            if because != Because::Asked {
                return Ok(RecoverOutcome::OpenedElsewhere);
            }
        }
    }
}

/// Recovers a cell: afterwards it is open in a new epoch and holds exactly what MySQL holds, or it
/// never was shut.
async fn recover(
    worker: &Worker,
    cell: CellId,
    because: Because,
    progress: &dyn Progress,
) -> Result<RecoverOutcome, RecoverError> {
    let mut connection = worker.scripts.own_connection(cell).await?;
    let row = cells::read(&worker.mysql, cell).await?;
    if let CellState::Closed { reason } = row.view.state {
        return Ok(RecoverOutcome::LeftClosed { reason });
    }
    if let Some(fence) = row.fence() {
        // A recovery that was under way when this one was asked for has seen to it.
        if because == Because::Replicas && fence.replid.is_some() {
            return Ok(RecoverOutcome::OpenedElsewhere);
        }
        worker.scripts.adopt(cell, fence);
        if because == Because::Closed && worker.scripts.load_behind_fence(&mut connection, cell).await? {
            return Ok(RecoverOutcome::StillOpen);
        }
    }
    let seen = look(&mut connection, cell).await?;
    let epoch = row.view.epoch.max(seen.gate_epoch()).max(seen.newest.epoch) + 1;
    if !cells::claim_epoch(&worker.mysql, cell, row.view.epoch, epoch).await? {
        return Err(RecoverError::Superseded);
    }
    if row.view.epoch == 0 {
        tracing::info!(%cell, "opening a cell for the first time");
    } else {
        tracing::warn!(%cell, epoch, ?because, gate = seen.gate, newest = %seen.newest, persisted = %row.view.persisted, "recovering");
    }
    let (mut in_recovery, seen) = CellInRecovery::take(connection, cell, epoch).await?;
    // Only what MySQL says now counts. The claim has waited for any transaction of an older writer, whose
    // events the first reading may lack; and whoever claimed a newer epoch has not seen our token.
    let row = cells::read(&worker.mysql, cell).await?;
    if row.view.epoch != epoch {
        return Err(RecoverError::Superseded);
    }
    // From here on this node vouches for nothing of an older epoch.
    worker.scripts.adopt(cell, Fence { epoch, replid: None });

    let survivors = persist_survivors(worker, cell, &mut in_recovery, row.view.persisted).await?;
    let kept = survivors.kept;
    if let Some(missing) = missing_in_mysql(kept, &seen, &survivors) {
        let reason = format!("database_behind: events {} to {}", missing.0, missing.1);
        cells::set_state(&worker.mysql, cell, Some(&reason)).await?;
        tracing::error!(%cell, reason, "closed");
        return Err(RecoverError::DatabaseBehind(missing.0, missing.1));
    }
    let noted = highest_note(worker, cell, epoch).await?;
    let highest = noted.max(if survivors.gap { seen.newest.seq } else { 0 });
    let must_rebuild = matches!(because, Because::Asked | Because::NotRewritten)
        || seen.suspect
        || survivors.gap
        || seen.newest != kept
        || highest > kept.seq
        || seen.newest == Position::default();
    if must_rebuild {
        let (cells, ttl_ms) = (worker.scripts.cells(), worker.settings.idempotency_ttl_ms);
        rebuild(&mut in_recovery, cell, cells, &worker.mysql, ttl_ms, progress).await?;
    }
    let found = Recovered {
        cell,
        epoch,
        kept,
        rebuilt: must_rebuild,
        lost_from: lost_from(worker, &row, kept, highest).await?,
        lost_to: highest,
        base: base(worker, &row, kept, &seen, highest).await?,
        replid: in_recovery.replid().await?,
    };
    // After a restart the file may have the rest of a cut script, unless it was empty: see `rewrite.rs`.
    let doubtful = match because {
        Because::NotRewritten => false,
        Because::Replicas => must_rebuild,
        Because::Closed | Because::Gap | Because::Asked => {
            !must_rebuild || seen.newest != Position::default()
        }
    };
    open(worker, in_recovery, found, doubtful).await
}

struct Survivors {
    /// The last event that MySQL has now.
    kept: Position,
    /// Entries follow behind `kept` that do not connect to it.
    gap: bool,
}

/// Persists what the log still has behind MySQL's position.
async fn persist_survivors(
    worker: &Worker,
    cell: CellId,
    in_recovery: &mut CellInRecovery,
    mut kept: Position,
) -> Result<Survivors, RecoverError> {
    loop {
        let entries = in_recovery.survivors(kept, SURVIVORS).await?;
        let mut after = kept;
        let connected = entries
            .iter()
            .take_while(|it| {
                let connects = it.follows(after);
                after = it.position;
                connects
            })
            .count();
        if connected > 0 {
            let batch =
                Batch { cell, writer: in_recovery.epoch(), from: kept, entries: &entries[..connected] };
            kept = super::persist::persist_or_bisect(worker, batch).await?;
        }
        if connected < entries.len() {
            return Ok(Survivors { kept, gap: true });
        }
        if entries.is_empty() {
            return Ok(Survivors { kept, gap: false });
        }
    }
}

/// The range that neither MySQL nor the log has any more: the log begins behind MySQL's position.
fn missing_in_mysql(kept: Position, seen: &CellLook, survivors: &Survivors) -> Option<(Seq, Seq)> {
    let begins_behind = survivors.gap && seen.oldest > kept && seen.oldest.seq > kept.seq + 1;
    begins_behind.then(|| (kept.seq + 1, seen.oldest.seq - 1))
}

/// The highest number that any node vouches for, once all that are awake have turned to the epoch.
async fn highest_note(worker: &Worker, cell: CellId, epoch: Epoch) -> Result<Seq, RecoverError> {
    let started = Instant::now();
    loop {
        let notes = cells::read_notes(&worker.mysql, cell, epoch).await?;
        if notes.waiting == 0 || started.elapsed() > NOTES_PATIENCE {
            return Ok(notes.highest.max(worker.scripts.vouched(cell).highest));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The opener's number: past anything that may ever have been handed out, since only persisted entries
/// are trimmed and scripts refuse beyond the bound.
async fn base(
    worker: &Worker,
    row: &CellRow,
    kept: Position,
    seen: &CellLook,
    highest: Seq,
) -> Result<Seq, RecoverError> {
    let bound = cells::stream_bound(&worker.mysql).await?;
    Ok(kept.seq.max(row.base).max(seen.newest.seq).max(highest) + bound + 1)
}

/// Where the loss begins: behind what is kept, behind what an attempt that died after counting has counted,
/// and behind the last opener's jump, where that opener was never persisted.
async fn lost_from(
    worker: &Worker,
    row: &CellRow,
    kept: Position,
    highest: Seq,
) -> Result<Seq, RecoverError> {
    let counted = cells::counted_loss(&worker.mysql, row.view.cell, kept).await?;
    let jump = if highest >= row.base { row.base } else { 0 };
    Ok(kept.seq.max(counted).max(jump))
}

async fn open(
    worker: &Worker,
    in_recovery: CellInRecovery,
    found: Recovered,
    doubtful: bool,
) -> Result<RecoverOutcome, RecoverError> {
    if !cells::commit_recovery(&worker.mysql, &found).await? {
        return Err(RecoverError::Superseded);
    }
    if found.lost() > 0 {
        metrics::counter!("firstcome_lost_events_total", "cell" => found.cell.to_string())
            .increment(found.lost());
        tracing::error!(cell = %found.cell, from = found.lost_from + 1, to = found.lost_to, "acknowledged events are lost");
    }
    worker.scripts.adopt(found.cell, Fence { epoch: found.epoch, replid: found.replid.clone() });
    in_recovery.open(&worker.scripts, found.base, found.kept, found.replid.clone(), doubtful).await?;
    // Closed while it was being opened: the operator's word counts.
    if cells::read(&worker.mysql, found.cell).await?.view.state != CellState::Open {
        worker.scripts.shut(found.cell, found.epoch, false).await?;
    }
    cells::forget_silent_nodes(&worker.mysql, found.cell).await?;
    Ok(RecoverOutcome::Opened(found))
}

/// Closes a cell for an operator: nothing sells until it is opened again.
pub async fn close(worker: &Worker, cell: CellId) -> Result<(), RecoverError> {
    close_as(worker, cell, "operator").await
}

/// The same with another reason.
pub(super) async fn close_as(worker: &Worker, cell: CellId, reason: &str) -> Result<(), RecoverError> {
    cells::set_state(&worker.mysql, cell, Some(reason)).await?;
    let epoch = cells::read(&worker.mysql, cell).await?.view.epoch;
    worker.scripts.shut(cell, epoch, false).await?;
    Ok(())
}

/// Allows a cell to be recovered again, and does it.
pub async fn reopen(
    worker: &Worker,
    cell: CellId,
    progress: &dyn Progress,
) -> Result<RecoverOutcome, RecoverError> {
    cells::set_state(&worker.mysql, cell, None).await?;
    recover_in_turn(worker, cell, Because::Closed, progress).await
}
