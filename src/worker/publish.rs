//! Messages to RabbitMQ: at least once, never before MySQL has them.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::Utc;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::cell::{CellId, Seq};
use crate::config::Settings;
use crate::message::message_id;
use crate::mysql::named_lock::NamedLock;
use crate::mysql::outbox::{self, OutboxRow};
use crate::rabbitmq::{Message, Outcome, PublishError, Publisher};
use crate::telemetry::scope;
use crate::telemetry::traces::Description;

/// Pause when nothing waits.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// Pause when nothing of what waits was taken.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How often the outbox is read from its first row on, at most. While an audit holds its snapshot MySQL purges nothing,
/// and such a read walks over hundreds of thousands of rows that are deleted already.
const WHOLE_LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Such reads take at most about one in so many parts of the time.
const WHOLE_LOOK_SHARE: u32 = 20;

/// Rounds in a row of which nothing was taken, before the publisher connects anew: RabbitMQ 3.10 goes on refusing what
/// comes over a channel that met a full queue, also after the queue's limit was lifted.
const REFUSED_ROUNDS_MAX: u32 = 5;

/// What one round did.
struct Round {
    sent: usize,
    confirmed: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishRoundError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
}

/// Publishes one cell's messages until `stop`. Of several workers one does; the lock only saves work.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let backoff = || {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build()
    };
    let mut failures = backoff();
    while !stop.is_cancelled() {
        let pause = match publish_while_locked(&worker, cell, &stop, || failures = backoff()).await {
            Ok(()) => Duration::from_secs(1),
            Err(error) => {
                metrics::counter!("firstcome_publish_failures_total").increment(1);
                tracing::warn!(%cell, %error, "publishing pauses");
                // While RabbitMQ is away this is what somebody wants to see; where MySQL is, too, it stays as it was.
                let _ = gauge_outbox(&worker, cell).await;
                failures.next().unwrap_or(Duration::from_secs(5))
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Publishes until `stop` or a failure, or until nothing is taken any more; returns at once where another worker has
/// the lock.
async fn publish_while_locked(
    worker: &Worker,
    cell: CellId,
    stop: &CancellationToken,
    mut progressed: impl FnMut(),
) -> Result<(), PublishRoundError> {
    let Some(mut lock) = NamedLock::try_take(&worker.mysql, "publish", cell).await? else {
        gauge_nothing(cell);
        return Ok(());
    };
    let publisher = connect(worker).await?;
    let mut last_look = Instant::now();
    let mut refused_rounds = 0;
    let (mut behind, mut whole_look) = (0, Instant::now());
    while !stop.is_cancelled() && refused_rounds < REFUSED_ROUNDS_MAX {
        if last_look.elapsed() > Duration::from_secs(1) {
            last_look = Instant::now();
            if !lock.is_held().await {
                gauge_nothing(cell);
                return Ok(());
            }
        }
        let began = Instant::now();
        if began >= whole_look {
            gauge_depth(cell, outbox::depth(&worker.mysql, cell).await?);
            // The round that reads from the first row tells how old that is.
            behind = 0;
            whole_look = began + WHOLE_LOOK_PAUSE.max(began.elapsed() * WHOLE_LOOK_SHARE);
        }
        let pause = match round(worker, cell, &publisher, &mut behind).await? {
            Round { sent: 0, .. } => IDLE_PAUSE,
            // What was returned or refused stays so for a while; asking at once only makes work.
            Round { confirmed: 0, .. } => {
                refused_rounds += 1;
                REFUSED_PAUSE
            }
            Round { .. } => {
                refused_rounds = 0;
                progressed();
                continue;
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    publisher.close().await;
    Ok(())
}

async fn connect(worker: &Worker) -> Result<Publisher, PublishError> {
    let settings = &worker.settings;
    let timeout = Duration::from_millis(settings.publish_timeout_ms);
    let Settings { amqp_url, tls_ca_file, amqp_exchange, amqp_queue, .. } = &**settings;
    Publisher::connect(amqp_url, tls_ca_file, amqp_exchange, amqp_queue, timeout).await
}

/// Sends the oldest messages behind a number, and deletes exactly the confirmed ones.
///
/// `behind` moves on with what was sent as long as all of it is confirmed. Messages may also come before it (of a dead
/// event that is retried, of a refund that waited for its payment's message), so a caller sets it back now and then.
async fn round(
    worker: &Worker,
    cell: CellId,
    publisher: &Publisher,
    behind: &mut Seq,
) -> Result<Round, PublishRoundError> {
    let most = worker.settings.publish_batch_messages;
    let rows = outbox::waiting(&worker.mysql, cell, *behind, most).await?;
    if *behind == 0 {
        gauge_lag(cell, rows.first());
    }
    if rows.is_empty() {
        return Ok(Round { sent: 0, confirmed: 0 });
    }
    let describe = || Description {
        name: "publish".into(),
        attributes: vec![
            KeyValue::new("firstcome.cell", i64::from(cell.0)),
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.batch.message_count", rows.len() as i64),
        ],
    };
    worker.trace(SpanKind::Producer, describe, send(worker, cell, publisher, &rows, behind)).await
}

/// Sends messages, and deletes those that are confirmed.
async fn send(
    worker: &Worker,
    cell: CellId,
    publisher: &Publisher,
    rows: &[OutboxRow],
    behind: &mut Seq,
) -> Result<Round, PublishRoundError> {
    let ids: Vec<String> = rows.iter().map(|it| message_id(cell, it.seq)).collect();
    let messages: Vec<Message> = rows.iter().zip(&ids).map(|(row, id)| as_message(row, id)).collect();
    let started = Instant::now();
    let outcomes = publisher.publish(&messages).await.inspect_err(|error| {
        // Some of them may have arrived; all are sent again.
        if let PublishError::TimedOut(_) = error {
            count_refusals("late", rows.len());
        }
    })?;
    metrics::histogram!("firstcome_publish_batch_seconds").record(started.elapsed());

    let confirmed: Vec<Seq> =
        rows.iter().zip(&outcomes).filter(|it| *it.1 == Outcome::Confirmed).map(|it| it.0.seq).collect();
    for (reason, outcome) in [("returned", Outcome::Returned), ("refused", Outcome::Refused)] {
        let count = outcomes.iter().filter(|it| **it == outcome).count();
        if count > 0 {
            count_refusals(reason, count);
            tracing::warn!(%cell, count, reason, "messages stay in the outbox");
        }
    }
    let all_confirmed = confirmed.len() == rows.len();
    *behind = rows.last().filter(|_| all_confirmed).map_or(0, |it| it.seq);
    let whole_batch = all_confirmed && rows.iter().all(|it| it.after_seq.is_none());
    outbox::confirm(&worker.mysql, cell, &confirmed, whole_batch).await?;
    metrics::counter!("firstcome_published_messages_total").increment(confirmed.len() as u64);
    scope::with_span(|span| span.set(KeyValue::new("firstcome.confirmed", confirmed.len() as i64)));
    Ok(Round { sent: rows.len(), confirmed: confirmed.len() })
}

/// What waits, and for how long the oldest of it.
async fn gauge_outbox(worker: &Worker, cell: CellId) -> Result<(), sqlx::Error> {
    gauge_depth(cell, outbox::depth(&worker.mysql, cell).await?);
    gauge_lag(cell, outbox::waiting(&worker.mysql, cell, 0, 1).await?.first());
    Ok(())
}

/// Only the worker that publishes tells: the others' figures would be old.
pub(super) fn gauge_nothing(cell: CellId) {
    gauge_depth(cell, 0);
    gauge_lag(cell, None);
}

fn gauge_depth(cell: CellId, messages: u64) {
    metrics::gauge!("firstcome_outbox_messages", "cell" => cell.to_string()).set(messages as f64);
}

fn gauge_lag(cell: CellId, oldest: Option<&OutboxRow>) {
    let seconds = oldest.map_or(0.0, |it| it.age(Utc::now()).as_seconds_f64());
    metrics::gauge!("firstcome_publish_lag_seconds", "cell" => cell.to_string()).set(seconds);
}

fn count_refusals(reason: &'static str, messages: usize) {
    metrics::counter!("firstcome_publish_refusals_total", "reason" => reason).increment(messages as u64);
}

fn as_message<'a>(row: &'a OutboxRow, id: &'a str) -> Message<'a> {
    Message { id, routing_key: &row.kind, body: &row.payload }
}

/// Publishes until the outbox is empty, or waits until whoever has the lock did; for tests and orderly shutdowns.
///
/// # Errors
/// What still failed when `patience` was over.
pub async fn drain(worker: &Worker, cell: CellId, patience: Duration) -> Result<(), PublishRoundError> {
    let deadline = Instant::now() + patience;
    loop {
        let drained = async {
            let mut mine = None;
            while outbox::depth(&worker.mysql, cell).await? > 0 {
                if mine.is_none()
                    && let Some(lock) = NamedLock::try_take(&worker.mysql, "publish", cell).await?
                {
                    mine = Some((lock.keep(), connect(worker).await?));
                }
                let confirmed = match &mine {
                    Some((_, publisher)) => round(worker, cell, publisher, &mut 0).await?.confirmed,
                    None => 0,
                };
                if confirmed == 0 {
                    tokio::time::sleep(IDLE_PAUSE).await;
                }
                if Instant::now() > deadline {
                    return Err(PublishError::TimedOut(patience).into());
                }
            }
            if let Some((_, publisher)) = mine {
                publisher.close().await;
            }
            Ok::<_, PublishRoundError>(())
        };
        match drained.await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(IDLE_PAUSE).await,
            result => return result,
        }
    }
}
