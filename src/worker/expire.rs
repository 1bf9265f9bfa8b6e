//! Pending orders whose time is over: what they took goes back.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::{Trouble, Worker};
use crate::cell::CellId;
use crate::ids::OrderId;
use crate::scripts::ScriptError;
use crate::scripts::order_end::{EndRequest, OrderEnd, OrderEnding, order_end};
use crate::scripts::orders_due::orders_due;

/// How often overdue orders are looked for. A payment is refused at its deadline, swept or not.
const PAUSE: Duration = Duration::from_millis(250);

/// Orders looked for at once.
const BATCH: usize = 500;

/// Of these, ended at once: enough to fill a connection, few enough not to delay purchases.
const AT_ONCE: usize = 32;

/// Ends overdue orders of a cell until `stop`.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let mut trouble = Trouble::default();
    while !stop.is_cancelled() {
        match expire(&worker, cell).await {
            // There may be more.
            Ok(looked) if looked == BATCH => continue,
            Ok(_) => trouble.is_over(),
            // The persisting loop opens it again.
            Err(ScriptError::CellClosed(_)) => {}
            Err(error) if trouble.begins() => {
                tracing::warn!(%cell, %error, "overdue orders do not expire for now");
            }
            Err(_) => {}
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Ends a batch of overdue orders; returns how many it found. Any number of workers may do it at once.
pub async fn expire(worker: &Worker, cell: CellId) -> Result<usize, ScriptError> {
    let due = orders_due(&worker.scripts, cell, BATCH).await?;
    let found = due.len();
    let mut ends = stream::iter(due).map(|order| end(worker, cell, order)).buffer_unordered(AT_ONCE);
    while let Some(ended) = ends.next().await {
        ended?;
    }
    Ok(found)
}

async fn end(worker: &Worker, cell: CellId, order: OrderId) -> Result<(), ScriptError> {
    let request = EndRequest {
        order,
        ending: OrderEnding::Expired,
        caller: None,
        idempotency: None,
        idempotency_ttl_ms: worker.settings.idempotency_ttl_ms,
        read: None,
    };
    match order_end(&worker.scripts, cell, request).await? {
        OrderEnd::Ended { .. } => {}
        // Paid, cancelled or expired by somebody else in between.
        OrderEnd::NotNow | OrderEnd::NotFound | OrderEnd::NotDue => {}
        // These come with a key, or with facts that were read.
        OrderEnd::KeyReused | OrderEnd::Stale => {}
    }
    Ok(())
}
