//! Redis's memory against its bounds: new writes are refused while there is still room for those that are under way.

use std::time::Duration;

use redis::{InfoDict, RedisError};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::scripts::connect::OwnConnection;
use crate::scripts::{Scripts, keys};

/// How often memory is looked at. At 70,000 events of 300 bytes a second a log grows by 21 MB meanwhile, so a bound of
/// 90 % suits a `maxmemory` of 256 MB and more; below it Redis itself refuses at the start of a script.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks at Redis's memory until `stop`, and makes every appending script answer "backlog full" while a bound is passed.
pub async fn watch(scripts: Scripts, settings: &Settings, stop: CancellationToken) {
    let mut connection = None;
    while !stop.is_cancelled() {
        if let Err(error) = look(&scripts, settings, &mut connection).await {
            // What is full stays full until somebody has looked: the server may be out of memory.
            connection = None;
            tracing::debug!(%error, "redis does not tell its memory");
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn look(
    scripts: &Scripts,
    settings: &Settings,
    kept: &mut Option<OwnConnection>,
) -> Result<(), RedisError> {
    let connection = scripts.server().kept_connection(kept).await?;
    let info: InfoDict = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    let told = |key: &str| info.get::<u64>(key).unwrap_or_default();
    let (used, most) = (told("used_memory"), told("maxmemory"));
    // Where `maxmemory` is 0 there is no bound.
    let bound = most / 100 * u64::from(settings.memory_bound_percent);
    metrics::gauge!("firstcome_redis_memory_bytes").set(used as f64);
    metrics::gauge!("firstcome_redis_memory_bound_bytes").set(bound as f64);
    for cell in scripts.cells().all() {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(keys::events(cell));
        let log_bytes: Option<u64> = usage.query_async(connection).await?;
        let log_bytes = log_bytes.unwrap_or_default();
        metrics::gauge!("firstcome_events_bytes", "cell" => cell.to_string()).set(log_bytes as f64);
        let full = (bound > 0 && used > bound) || log_bytes > settings.backlog_bound_bytes;
        if scripts.set_full(cell, full) != full {
            match full {
                true => {
                    tracing::error!(%cell, used, bound, log_bytes, "redis is nearly full; new writes are refused")
                }
                false => tracing::info!(%cell, used, bound, log_bytes, "redis has room again"),
            }
        }
    }
    Ok(())
}
