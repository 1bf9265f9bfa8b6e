//! The append-only file after a restart that kept the data.
//!
//! A file that was cut inside a script ends in a MULTI without its EXEC. Redis (7.0.15, tried) drops the half-done commands
//! when it loads the file, but leaves them in it, and appends what comes later behind them: so the next restart carries
//! the lost half out after all. Until the file was written anew, a cell therefore stays marked as suspect, and a restart
//! meanwhile is met with a rebuild. That holds for a rebuilt cell too: it has none of the keys that only the lost half makes, so
//! that nothing in the file would take them away.

use std::time::Duration;

use redis::{AsyncCommands, InfoDict, RedisError};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::recover::{Because, recover_unasked};
use crate::cell::CellId;
use crate::scripts::connect::OwnConnection;
use crate::scripts::keys;
use crate::scripts::recovery::trust;

/// How often the mark is looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// How often while the file is being written.
const WRITING_PAUSE: Duration = Duration::from_millis(100);

/// What was found.
enum Found {
    NoMark,
    Writing,
    Trusted,
    /// The server does not write its file anew when it is asked to.
    Refused(RedisError),
}

/// Has the file written anew for a cell that bears the mark, and takes the mark away, until `stop`.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let mut connection = None;
    while !stop.is_cancelled() {
        let pause = match look(&worker, cell, &mut connection).await {
            Ok(Found::NoMark) => {
                connection = None;
                PAUSE
            }
            Ok(Found::Writing) => WRITING_PAUSE,
            Ok(Found::Trusted) => {
                tracing::info!(%cell, "the append-only file was written anew; a restart can be met without a rebuild");
                connection = None;
                PAUSE
            }
            Ok(Found::Refused(error)) => {
                tracing::warn!(%cell, %error, "the append-only file is not written anew; rebuilding the cell instead");
                recover_unasked(&worker, cell, Because::NotRewritten).await;
                PAUSE
            }
            // The persisting loop meets the same, and logs it.
            Err(_) => {
                connection = None;
                PAUSE
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// All of it on one connection that never reconnects: what one server says must not be taken for another's, nor for the
/// same one's after a restart. And only once the server was checked since it started: before, it may have the rest of a cut
/// script, which a new file would hold for good.
async fn look(worker: &Worker, cell: CellId, kept: &mut Option<OwnConnection>) -> Result<Found, RedisError> {
    // Most cells bear none: they need no connection of their own to be asked.
    if kept.is_none() && !worker.scripts.is_suspect(cell).await? {
        return Ok(Found::NoMark);
    }
    let connection = worker.scripts.server(cell)?.kept_connection(kept).await?;
    if !connection.exists::<_, bool>(keys::suspect(cell)).await? {
        return Ok(Found::NoMark);
    }
    let Some(fence) = worker.scripts.checked(connection, cell).await? else { return Ok(Found::NoMark) };
    let file = AppendOnlyFile::of(connection).await?;
    if !file.is_kept || (file.is_written && !file.is_being_written) {
        return Ok(match trust(connection, cell, fence.epoch).await? {
            true => Found::Trusted,
            // Being recovered, or closed.
            false => Found::NoMark,
        });
    }
    if !file.is_being_written
        && let Err(error) = redis::cmd("BGREWRITEAOF").query_async::<()>(connection).await
    {
        if error.is_io_error() {
            return Err(error);
        }
        // Another worker, or the server by itself, may have been faster; or it is busy for a moment.
        let file = AppendOnlyFile::of(connection).await?;
        let is_busy = matches!(error.code(), Some("BUSY" | "LOADING"));
        if !is_busy && !file.is_being_written && !file.is_written {
            return Ok(Found::Refused(error));
        }
    }
    Ok(Found::Writing)
}

/// What a server says of its append-only file.
struct AppendOnlyFile {
    is_kept: bool,
    /// It is being written anew, or will be in a moment.
    is_being_written: bool,
    /// It was written anew since the server started.
    is_written: bool,
}

impl AppendOnlyFile {
    async fn of(connection: &mut OwnConnection) -> Result<Self, RedisError> {
        let info: InfoDict = redis::cmd("INFO").arg("persistence").query_async(connection).await?;
        let told = |key: &str| info.get::<String>(key).unwrap_or_default();
        Ok(Self {
            is_kept: told("aof_enabled") == "1",
            is_being_written: ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
                .iter()
                .any(|it| told(it) == "1"),
            is_written: info.get::<u64>("aof_rewrites").unwrap_or_default() > 0
                && told("aof_last_bgrewrite_status") == "ok",
        })
    }
}
