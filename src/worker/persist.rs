//! Events to MySQL: read a batch behind the position, write it, trim.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use redis::RedisError;
use tokio_util::sync::CancellationToken;

use super::recover::{self, Because};
use super::{Trouble, Worker};
use crate::cell::{CellId, Position};
use crate::event::Entry;
use crate::mysql::cells;
use crate::mysql::persist::{Batch, PersistError, bury, persist};
use crate::scripts::ScriptError;
use crate::scripts::connect::OwnConnection;
use crate::scripts::events_read::{EventsRead, await_event, events_read};
use crate::scripts::events_trim::events_trim;
use crate::telemetry::traces::Description;

/// Longest wait for an event; then the cell is looked at all the same, since a log that was taken away wakes nobody.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Pause when nothing waits, where Redis does not say when something comes.
const IDLE_PAUSE: Duration = Duration::from_millis(5);

/// A batch below this is followed by a pause in which the next one gathers: a hundred events cost MySQL half as much
/// again, each, as a thousand do, and at the pace of commits a sale never fills a batch.
const GATHERED_EVENTS: usize = 1_024;

/// That pause. It adds to the lag, and to what `Prefer: wait=persisted` waits for, while events come all the time; after
/// a moment without any the next one is written at once.
const GATHER_PAUSE: Duration = Duration::from_millis(20);

/// A round that takes longer hangs, and the backlog is told meanwhile.
const HANGING: Duration = Duration::from_secs(1);

/// Why a round did not persist.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Persist(#[from] PersistError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    /// The log does not go on where MySQL stands: events are lost, or MySQL lost its tail.
    #[error("the log of cell {cell} has a gap: {found} after {after}")]
    Gap { cell: CellId, after: Position, found: Position },
}

/// Persists one cell's events until `stop`.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let mut failures = backoff();
    let (mut position, mut known) = (None, None);
    let mut bell = Bell::default();
    while !stop.is_cancelled() {
        let result = tokio::select! {
            result = round(&worker, cell, &mut position) => result,
            never = gauge_while_it_hangs(&worker, cell, known) => match never {},
        };
        known = position.or(known);
        let pause = match result {
            Ok(0) => {
                let after = position.unwrap_or_default();
                stop.run_until_cancelled(bell.wait(&worker, cell, after)).await;
                continue;
            }
            Ok(events) => {
                failures = backoff();
                if events >= GATHERED_EVENTS {
                    continue;
                }
                GATHER_PAUSE
            }
            Err(error) => {
                // Whatever happened, MySQL knows where it stands; what we believed may be old.
                position = None;
                // While MySQL is away the backlog is what somebody wants to see.
                if let RoundError::Mysql(_) | RoundError::Persist(PersistError::Mysql(_)) = &error {
                    gauge_behind(&worker, cell, known).await;
                }
                if mend(&worker, cell, &error).await {
                    // It sells from now on, and what waits for MySQL is what the next failover loses.
                    failures = backoff();
                }
                failures.next().unwrap_or(Duration::from_secs(2))
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// What wakes an idle loop: a read that Redis answers when an event comes, on a connection of its own. It only says that
/// there is something to read; `events_read` reads it, with proof that the gate is open.
#[derive(Default)]
struct Bell {
    connection: Option<OwnConnection>,
    trouble: Trouble,
}

impl Bell {
    /// Until there is an event behind `after`, or it is time to look anyway.
    async fn wait(&mut self, worker: &Worker, cell: CellId, after: Position) {
        match self.ring(worker, cell, after).await {
            Ok(()) => self.trouble.is_over(),
            Err(error) => {
                if error.code() != Some("NOPERM") {
                    // Away, or the cell is elsewhere by now; the round that follows meets the same.
                    self.connection = None;
                } else if self.trouble.begins() {
                    tracing::warn!(%cell, %error, "redis does not tell of new events; looking for them all the time");
                }
                tokio::time::sleep(IDLE_PAUSE).await;
            }
        }
    }

    async fn ring(&mut self, worker: &Worker, cell: CellId, after: Position) -> Result<(), RedisError> {
        let connection = worker.scripts.server(cell)?.kept_connection(&mut self.connection).await?;
        await_event(connection, cell, after, IDLE_WAIT).await
    }
}

fn backoff() -> backon::ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Does what can be done about a failed round; the loop tries again afterwards. True where that opened the cell.
async fn mend(worker: &Worker, cell: CellId, error: &RoundError) -> bool {
    let because = match error {
        RoundError::Script(ScriptError::CellClosed(_)) => Because::Closed,
        RoundError::Gap { .. } => Because::Gap,
        RoundError::Persist(PersistError::NotTheWriter(_)) => {
            // Usually another worker was faster. But where MySQL knows an older epoch than the gate, it has
            // failed over to before that epoch was claimed, and nobody can write until it is claimed anew.
            let row = cells::read(&worker.mysql, cell).await;
            let behind =
                row.is_ok_and(|row| worker.scripts.fence(cell).is_some_and(|it| it.epoch > row.view.epoch));
            if !behind {
                tracing::debug!(%cell, "another worker persists this cell, or its epoch has moved on");
                return false;
            }
            Because::Gap
        }
        RoundError::Script(_) | RoundError::Persist(_) | RoundError::Mysql(_) => {
            metrics::counter!("firstcome_persist_failures_total", "cell" => cell.to_string()).increment(1);
            tracing::warn!(%cell, %error, "persisting pauses");
            return false;
        }
    };
    if because == Because::Gap {
        tracing::error!(%cell, %error, "events are missing; recovering");
    }
    recover::recover_unasked(worker, cell, because).await
}

/// Persists one batch; returns how many events.
async fn round(worker: &Worker, cell: CellId, position: &mut Option<Position>) -> Result<usize, RoundError> {
    let from = match *position {
        Some(known) => known,
        None => cells::read(&worker.mysql, cell).await?.view.persisted,
    };
    let read = events_read(&worker.scripts, cell, from, worker.settings.persist_batch_events).await?;
    if let Err(gap) = check_contiguous(cell, from, &read) {
        // What we stood at may be old by now: another worker persisted, and what it persisted is trimmed.
        let now = cells::read(&worker.mysql, cell).await?.view.persisted;
        return Err(if now == from { gap } else { PersistError::NotTheWriter(cell).into() });
    }
    *position = Some(from);
    gauge_backlog(cell, from, &read);
    if read.entries.is_empty() {
        return Ok(0);
    }
    let events = read.entries.len();
    let describe = || Description {
        name: "persist".into(),
        attributes: vec![
            KeyValue::new("firstcome.cell", i64::from(cell.0)),
            KeyValue::new("db.system.name", "mysql"),
            KeyValue::new("db.operation.batch.size", events as i64),
        ],
    };
    let persisted = async {
        let started = Instant::now();
        let batch = Batch { cell, writer: read.epoch, from, entries: &read.entries };
        let to = persist_or_bisect(worker, batch).await?;
        *position = Some(to);
        metrics::histogram!("firstcome_persist_commit_seconds").record(started.elapsed());
        metrics::histogram!("firstcome_persist_batch_events").record(events as f64);
        metrics::counter!("firstcome_persisted_events_total").increment(events as u64);
        trim(worker, cell, to, &read).await;
        Ok(events)
    };
    worker.trace(SpanKind::Internal, describe, persisted).await
}

/// Each event's number is the one before plus one; the only legal gap is an epoch's opener, which
/// names the event it follows.
fn check_contiguous(cell: CellId, from: Position, read: &EventsRead) -> Result<(), RoundError> {
    if read.newest < from {
        return Err(RoundError::Gap { cell, after: from, found: read.newest });
    }
    let mut after = from;
    for entry in &read.entries {
        if !entry.follows(after) {
            return Err(RoundError::Gap { cell, after, found: entry.position });
        }
        after = entry.position;
    }
    Ok(())
}

/// Commits a batch; where the server refuses its data, halves it until the one bad event is alone,
/// and parks that one, so that it never stalls the cell.
pub(super) async fn persist_or_bisect(worker: &Worker, batch: Batch<'_>) -> Result<Position, PersistError> {
    let error = match persist(&worker.mysql, batch).await {
        Err(PersistError::BadData(error)) => error,
        other => return other,
    };
    if let [entry] = batch.entries {
        tracing::error!(cell = %batch.cell, event = %entry.position, kind = entry.kind, %error, "a dead event");
        metrics::counter!("firstcome_dead_events_total", "cell" => batch.cell.to_string()).increment(1);
        return bury(&worker.mysql, batch, &error.to_string()).await;
    }
    let (first, second) = batch.entries.split_at(batch.entries.len() / 2);
    let middle = Box::pin(persist_or_bisect(worker, Batch { entries: first, ..batch })).await?;
    Box::pin(persist_or_bisect(worker, Batch { from: middle, entries: second, ..batch })).await
}

/// Drops persisted entries beyond those that are kept. A failure costs memory only, and is retried
/// with the next batch.
async fn trim(worker: &Worker, cell: CellId, persisted: Position, read: &EventsRead) {
    let mut surplus = read.length.saturating_sub(worker.settings.keep_events);
    while surplus > 0 && persisted.epoch == read.epoch {
        let trimmed =
            events_trim(&worker.scripts, cell, read.epoch, persisted.seq, worker.settings.keep_events).await;
        match trimmed {
            Ok(0) => return,
            Ok(dropped) => surplus = surplus.saturating_sub(dropped),
            Err(error) => {
                tracing::warn!(%cell, %error, "trimming pauses");
                return;
            }
        }
    }
}

/// Tells of the backlog while a round takes long, as where somebody's transaction holds a row that it needs.
async fn gauge_while_it_hangs(worker: &Worker, cell: CellId, known: Option<Position>) -> Infallible {
    loop {
        tokio::time::sleep(HANGING).await;
        gauge_behind(worker, cell, known).await;
    }
}

/// Tells of the backlog behind the last position that MySQL is known to have.
async fn gauge_behind(worker: &Worker, cell: CellId, known: Option<Position>) {
    if let Some(from) = known
        && let Ok(read) = events_read(&worker.scripts, cell, from, 1).await
    {
        gauge_backlog(cell, from, &read);
    }
}

fn gauge_backlog(cell: CellId, from: Position, read: &EventsRead) {
    let label = cell.to_string();
    // Entries of one epoch are contiguous; across an opener the difference would count its jump.
    let backlog =
        if from.epoch == read.newest.epoch { read.newest.seq - from.seq } else { read.entries.len() as u64 };
    metrics::gauge!("firstcome_backlog_events", "cell" => label.clone()).set(backlog as f64);
    let oldest = read.entries.first().and_then(Entry::at_ms);
    let lag_ms = oldest.map_or(0, |at_ms| (chrono::Utc::now().timestamp_millis() - at_ms).max(0));
    metrics::gauge!("firstcome_persist_lag_seconds", "cell" => label).set(lag_ms as f64 / 1_000.0);
}

/// Persists until nothing waits; for tests and orderly shutdowns. Recovers the cell where it is closed.
///
/// # Errors
/// The first failure after which a recovery or a second reading of the position did not help within
/// `patience`.
pub async fn drain(worker: &Worker, cell: CellId, patience: Duration) -> Result<(), RoundError> {
    let deadline = Instant::now() + patience;
    let mut position = None;
    loop {
        match round(worker, cell, &mut position).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(error) => {
                position = None;
                mend(worker, cell, &error).await;
                tokio::time::sleep(IDLE_PAUSE).await;
            }
        }
    }
}
