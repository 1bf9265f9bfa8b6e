//! Commands that are ready at the same moment travel together: one write here, one read, one fsync and one write at
//! Redis, for dozens of requests. Sent one by one they cost as much as the scripts themselves.

use std::io;

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::sync::{mpsc, oneshot};

use super::connect::SharedConnection;

/// Most commands of one batch. None of them is answered before the last one is, so this bounds what the first one waits:
/// 64 scripts take Redis a millisecond. Redis reads 16 KiB at once, some 30 commands, whatever is sent.
const COMMANDS_MAX: usize = 64;

/// Sends commands over the shared connection. Cheap to clone; the last one ends the task that gathers.
#[derive(Clone)]
pub(super) struct Batches {
    queue: mpsc::UnboundedSender<Call>,
}

struct Call {
    command: Cmd,
    answer: oneshot::Sender<Answer>,
}

/// What Redis answers to one command.
pub(super) type Answer = Result<Value, RedisError>;

impl Batches {
    pub fn start(connection: SharedConnection) -> Self {
        // Bounded by the requests in flight, and by those whose clients went away within the reply's time-out.
        let (queue, calls) = mpsc::unbounded_channel();
        tokio::spawn(gather(calls, connection));
        Self { queue }
    }

    /// Sends a command, whether anybody waits for [`answer`] or not.
    pub fn queue(&self, command: Cmd) -> oneshot::Receiver<Answer> {
        let (answer, told) = oneshot::channel();
        let _ = self.queue.send(Call { command, answer });
        told
    }
}

/// What Redis answers to a command that was queued.
pub(super) async fn answer(told: oneshot::Receiver<Answer>) -> Answer {
    told.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()))
}

async fn gather(mut calls: mpsc::UnboundedReceiver<Call>, connection: SharedConnection) {
    while let Some(first) = calls.recv().await {
        // All requests that are ready to run come first, so that their commands are in this batch. Without it the runtime
        // turns to this task after each of them.
        tokio::task::yield_now().await;
        let mut batch = vec![first];
        while batch.len() < COMMANDS_MAX
            && let Ok(call) = calls.try_recv()
        {
            batch.push(call);
        }
        tokio::spawn(carry(batch, connection.clone()));
    }
}

async fn carry(batch: Vec<Call>, connection: SharedConnection) {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    let mut waiting = Vec::with_capacity(batch.len());
    for Call { command, answer } in batch {
        pipeline.add_command(command);
        waiting.push(answer);
    }
    match connection.send(&pipeline).await {
        Ok(values) if values.len() == waiting.len() => {
            for (answer, value) in waiting.into_iter().zip(values) {
                // Who does not wait any more does not need it.
                let _ = answer.send(value.extract_error());
            }
        }
        // Dropped unanswered: nobody knows which reply is whose.
        Ok(_) => tracing::error!("redis answered another number of commands than were sent"),
        Err(error) => {
            for answer in waiting {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
