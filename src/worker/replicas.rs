//! Replicas that came after an epoch was opened: from then on a promotion can bring back a server whose scripts and gate
//! are those of this epoch, so its scripts must compare the server's replication id, too.

use std::time::Duration;

use redis::RedisError;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::recover::{Because, recover_unasked};
use crate::cell::CellId;
use crate::scripts::connect::OwnConnection;
use crate::scripts::recovery::replid_to_compare;

/// How often replicas are looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Gives a cell an epoch whose scripts compare the replication id, once its server has replicas, until `stop`.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let mut connection = None;
    while !stop.is_cancelled() {
        match came_later(&worker, cell, &mut connection).await {
            Ok(false) => {}
            Ok(true) => {
                if recover_unasked(&worker, cell, Because::Replicas).await {
                    tracing::info!(%cell, "redis has replicas now: a new epoch, whose scripts know this server");
                }
                // Behind a name the recovery may have met another server than this connection goes to.
                connection = None;
            }
            // The persisting loop meets the same, and logs it.
            Err(_) => connection = None,
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn came_later(
    worker: &Worker,
    cell: CellId,
    kept: &mut Option<OwnConnection>,
) -> Result<bool, RedisError> {
    // Before the first recovery, and where scripts compare it already, there is nothing to do.
    if worker.scripts.fence(cell).is_none_or(|it| it.replid.is_some()) {
        return Ok(false);
    }
    let connection = worker.scripts.server(cell)?.kept_connection(kept).await?;
    Ok(replid_to_compare(connection).await?.is_some())
}
