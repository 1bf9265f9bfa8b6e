//! Redis's memory against its bounds: new writes are refused while there is still room for those that are under way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use redis::{InfoDict, RedisError};
use tokio_util::sync::CancellationToken;

use crate::config::{Address, Settings};
use crate::scripts::connect::OwnConnection;
use crate::scripts::servers::ServerOfCells;
use crate::scripts::{Scripts, keys};

/// How often memory is looked at. At 70,000 events of 300 bytes a second a log grows by 21 MB meanwhile, so a bound of
/// 90 % suits a `maxmemory` of 256 MB and more; below it Redis itself refuses at the start of a script.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one server may take to tell: the others are looked at again only then.
const HANGING: Duration = Duration::from_secs(5);

/// Looks at the memory of each server until `stop`, and makes every appending script of its cells answer "backlog full"
/// while a bound is passed.
pub async fn watch(scripts: Scripts, settings: &Settings, stop: CancellationToken) {
    let mut connections: HashMap<Option<Address>, OwnConnection> = HashMap::new();
    let mut told: HashSet<Option<Address>> = HashSet::new();
    while !stop.is_cancelled() {
        let servers = scripts.servers();
        connections.retain(|address, _| servers.iter().any(|it| it.address == *address));
        told.retain(|address| {
            let has_cells = servers.iter().any(|it| it.address == *address);
            if !has_cells {
                gauge(address.as_ref(), 0, 0);
            }
            has_cells
        });
        told.extend(servers.iter().map(|it| it.address.clone()));
        // One that hangs keeps nobody from looking at the others.
        let looks = servers.iter().map(|it| {
            let kept = connections.remove(&it.address);
            look(&scripts, settings, it, kept)
        });
        for (address, connection) in join_all(looks).await.into_iter().flatten() {
            connections.insert(address, connection);
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Gives the connection back, to be kept until the next look.
async fn look(
    scripts: &Scripts,
    settings: &Settings,
    of: &ServerOfCells,
    mut kept: Option<OwnConnection>,
) -> Option<(Option<Address>, OwnConnection)> {
    let told = async {
        let connection = of.server.kept_connection(&mut kept).await?;
        compare(scripts, settings, of, connection).await
    };
    let told = tokio::time::timeout(HANGING, told).await;
    if let Err(error) =
        told.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    {
        // What is full stays full until somebody has looked: the server may be out of memory.
        let server = of.address.as_ref().map(tracing::field::display);
        tracing::debug!(%error, server, "redis does not tell its memory");
        return None;
    }
    kept.map(|it| (of.address.clone(), it))
}

async fn compare(
    scripts: &Scripts,
    settings: &Settings,
    of: &ServerOfCells,
    connection: &mut OwnConnection,
) -> Result<(), RedisError> {
    let info: InfoDict = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    let told = |key: &str| info.get::<u64>(key).unwrap_or_default();
    let (used, most) = (told("used_memory"), told("maxmemory"));
    // Where `maxmemory` is 0 there is no bound.
    let bound = most / 100 * u64::from(settings.memory_bound_percent);
    gauge(of.address.as_ref(), used, bound);
    for cell in of.cells.iter().copied() {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(keys::events(cell));
        let log_bytes: Option<u64> = usage.query_async(connection).await?;
        let log_bytes = log_bytes.unwrap_or_default();
        metrics::gauge!("firstcome_events_bytes", "cell" => cell.to_string()).set(log_bytes as f64);
        let full = (bound > 0 && used > bound) || log_bytes > settings.backlog_bound_bytes;
        if scripts.set_full(cell, full) != full {
            let server = of.address.as_ref().map(tracing::field::display);
            match full {
                true => {
                    tracing::error!(%cell, server, used, bound, log_bytes, "redis is nearly full; new writes are refused")
                }
                false => tracing::info!(%cell, server, used, bound, log_bytes, "redis has room again"),
            }
        }
    }
    Ok(())
}

/// A single server has no name here: it may change behind Sentinels.
fn gauge(address: Option<&Address>, used: u64, bound: u64) {
    let labels: Vec<metrics::Label> =
        address.iter().map(|it| metrics::Label::new("server", it.to_string())).collect();
    metrics::gauge!("firstcome_redis_memory_bytes", labels.clone()).set(used as f64);
    metrics::gauge!("firstcome_redis_memory_bound_bytes", labels).set(bound as f64);
}
