//! What the servers' settings can lose: looked at once, at the start, and said in plain words.

use std::collections::HashMap;
use std::fmt;

use futures::future::join_all;
use redis::{InfoDict, RedisError};
use sqlx::mysql::MySqlPool;

use crate::cell::CellId;
use crate::config::Address;
use crate::scripts::Scripts;
use crate::scripts::connect::RedisServer;

/// The first release with `#!lua` flags, without which a script could stop half-way for lack of memory.
const REDIS_MAJOR_MIN: u64 = 7;

/// A setting that is weaker than what the engine's promises rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// `redis` or `mysql`.
    pub server: &'static str,
    /// Which one of a cluster.
    pub address: Option<Address>,
    pub setting: &'static str,
    /// As the server has it; `unknown` where it does not say.
    pub value: String,
    pub wanted: &'static str,
    /// What it can lose.
    pub loses: &'static str,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, address, setting, value, wanted, loses } = self;
        let at = address.as_ref().map_or(String::new(), |it| format!(" at {it}"));
        write!(f, "{server}{at}: {setting} is {value}, wanted: {wanted}; {loses}")
    }
}

/// What the present settings can lose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durability {
    /// None: a crash loses nothing that was acknowledged.
    pub weaknesses: Vec<Weakness>,
    /// Replicas that Redis has now, all servers of a cluster together.
    pub replicas: u64,
}

/// What one Redis says.
#[derive(Default)]
struct Look {
    weaknesses: Vec<Weakness>,
    replicas: u64,
    /// It stops every cell of the cluster when one server is away.
    needs_all_slots: bool,
    /// It is in a cluster.
    is_clustered: bool,
}

impl Durability {
    /// One plain sentence on what can be lost.
    pub fn sentence(&self) -> String {
        let has = |setting: &str| self.weaknesses.iter().any(|it| it.setting == setting);
        let disk = "the loss of its disk loses what MySQL did not have yet";
        let mut text = if has("appendonly") {
            "a restart of Redis loses every acknowledged write that MySQL did not have yet".to_owned()
        } else if has("appendfsync") || has("no-appendfsync-on-rewrite") {
            format!("a crash of Redis's machine can lose the writes of its last seconds, and {disk}")
        } else {
            format!("a crash of Redis loses nothing that was acknowledged, and {disk}")
        };
        if self.replicas > 0 {
            text += "; a failover loses what the promoted replica had not received";
        }
        if has("min-replicas-to-write") || has("min-replicas-max-lag") {
            text += ", and a primary that was cut off goes on selling what nobody will know of";
        }
        if self.weaknesses.iter().any(|it| it.server == "mysql") {
            text += "; a crash of MySQL's machine can take back commits, which are repeated as far as keep_events \
                     reaches";
        }
        text + "; whatever is lost is found, counted and told"
    }
}

/// The servers are such that the engine must not sell on them, or did not say what they are.
#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    #[error("redis is version {0}; firstcome needs Redis 7.0 or Valkey 7.2, or later")]
    RedisTooOld(String),
    #[error(
        "redis: maxmemory-policy is {0}, and must be noeviction: every key is somebody's money or stock, and \
         none may be evicted"
    )]
    Evicts(String),
    /// Asked for by `--require-durable`.
    #[error("--require-durable: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Weak(Vec<Weakness>),
}

/// Looks at both servers.
///
/// # Errors
/// Where Redis is too old or evicts keys, whatever is asked for; or a server does not answer.
pub async fn look(redis: &RedisServer, mysql: &MySqlPool) -> Result<Durability, DurabilityError> {
    let Look { weaknesses, replicas, is_clustered, .. } = look_at_redis(redis, None).await?;
    if is_clustered {
        tracing::warn!(
            "this Redis is in a cluster, and redis_url names one server: name several with commas between them"
        );
    }
    let mut found = Durability { weaknesses, replicas };
    found.weaknesses.extend(look_at_mysql(mysql).await?);
    Ok(found)
}

/// The same with every server of a cluster, replicas among them, since each may have to take a primary's place. One that
/// is away keeps nobody from selling on the others.
async fn look_at_all(
    servers: Vec<(Address, RedisServer)>,
    mysql: &MySqlPool,
) -> Result<Durability, DurabilityError> {
    let mut found = Durability::default();
    let mut answered = 0;
    let mut failure = None;
    let looks = servers.iter().map(|(address, server)| look_at_redis(server, Some(address)));
    for ((address, _), looked) in servers.iter().zip(join_all(looks).await) {
        match looked {
            Ok(look) => {
                answered += 1;
                found.replicas += look.replicas;
                found.weaknesses.extend(look.weaknesses);
                if look.needs_all_slots {
                    tracing::warn!(
                        server = %address,
                        "cluster-require-full-coverage is yes: when one server is away, all cells stop selling"
                    );
                }
            }
            Err(DurabilityError::Redis(error)) if error.is_io_error() => {
                tracing::warn!(server = %address, %error, "a server of the cluster does not tell its settings");
                failure = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = failure.filter(|_| answered == 0) {
        return Err(error.into());
    }
    found.weaknesses.extend(look_at_mysql(mysql).await?);
    Ok(found)
}

async fn look_at_redis(server: &RedisServer, address: Option<&Address>) -> Result<Look, DurabilityError> {
    let mut connection = server.own_connection().await?;
    let info: InfoDict = redis::cmd("INFO").query_async(&mut connection).await?;
    let told = |key: &str| info.get::<String>(key).unwrap_or_default();
    // Valkey tells the version of Redis that it is compatible with, too.
    let version = told("redis_version");
    let major: u64 = version.split('.').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    if major < REDIS_MAJOR_MIN {
        return Err(DurabilityError::RedisTooOld(version));
    }
    let policy = told("maxmemory_policy");
    if policy != "noeviction" {
        return Err(DurabilityError::Evicts(policy));
    }
    // A user without this right, or a service that hides it, leaves the settings unknown.
    let names = [
        "appendfsync",
        "no-appendfsync-on-rewrite",
        "min-replicas-to-write",
        "min-replicas-max-lag",
        "cluster-require-full-coverage",
    ];
    let settings = redis::cmd("CONFIG").arg("GET").arg(&names).query_async(&mut connection).await;
    let settings: HashMap<String, String> = match settings {
        Ok(settings) => settings,
        Err(error) if error.is_io_error() => return Err(error.into()),
        Err(_) => HashMap::new(),
    };
    let setting = |name: &str| settings.get(name).map_or("unknown", String::as_str).to_owned();

    let mut weaknesses = Vec::new();
    let mut want = |setting, value: String, wanted, is_met: bool, loses| {
        if !is_met {
            let address = address.cloned();
            weaknesses.push(Weakness { server: "redis", address, setting, value, wanted, loses });
        }
    };
    let logs = told("aof_enabled") == "1";
    want(
        "appendonly",
        if logs { "yes" } else { "no" }.to_owned(),
        "yes",
        logs,
        "a restart loses what MySQL did not have yet",
    );
    if logs {
        let fsync = setting("appendfsync");
        let is_met = fsync == "always";
        want("appendfsync", fsync, "always", is_met, "a crash of the machine can lose the last seconds");
        let suspends = setting("no-appendfsync-on-rewrite");
        let is_met = suspends == "no";
        want(
            "no-appendfsync-on-rewrite",
            suspends,
            "no",
            is_met,
            "a rewrite of the file suspends appendfsync",
        );
    }
    let replicas: u64 = info.get("connected_slaves").unwrap_or_default();
    // A replica of a cluster becomes a primary unasked, with its own settings.
    if replicas > 0 || (address.is_some() && told("role") == "slave") {
        let least = setting("min-replicas-to-write");
        let is_met = least.parse().is_ok_and(|it: u64| it >= 1);
        let loses = "a primary that was cut off goes on selling until it meets the others";
        want("min-replicas-to-write", least, "1 or more, where there are replicas", is_met, loses);
        // 0 switches both off.
        let lag = setting("min-replicas-max-lag");
        let is_met = lag != "0";
        want("min-replicas-max-lag", lag, "1 or more, where there are replicas", is_met, loses);
    }
    Ok(Look {
        weaknesses,
        replicas,
        needs_all_slots: setting("cluster-require-full-coverage") == "yes",
        is_clustered: told("cluster_enabled") == "1",
    })
}

async fn look_at_mysql(mysql: &MySqlPool) -> Result<Vec<Weakness>, sqlx::Error> {
    let (flush, sync_binlog, binlog): (i64, i64, i64) = sqlx::query_as(
        "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@sync_binlog AS SIGNED), \
         CAST(@@log_bin AS SIGNED)",
    )
    .fetch_one(mysql)
    .await?;
    let loses = "a crash of the machine can take back commits, which Redis may have forgotten";
    let mut weaknesses = Vec::new();
    let mut want = |setting, value: i64, is_met: bool| {
        if !is_met {
            let value = value.to_string();
            weaknesses.push(Weakness { server: "mysql", address: None, setting, value, wanted: "1", loses });
        }
    };
    want("innodb_flush_log_at_trx_commit", flush, flush == 1);
    want("sync_binlog", sync_binlog, binlog == 0 || sync_binlog == 1);
    Ok(weaknesses)
}

/// Looks, says in the log what can be lost, and refuses what is weaker than asked for.
///
/// # Errors
/// As [`look`]; and [`DurabilityError::Weak`] where `require` is set and something is weaker than it should be.
pub async fn check(scripts: &Scripts, mysql: &MySqlPool, require: bool) -> Result<(), DurabilityError> {
    let found = match scripts.cluster() {
        Some(cluster) => look_at_all(cluster.all_servers()?, mysql).await?,
        None => look(&scripts.server(CellId(0))?, mysql).await?,
    };
    metrics::gauge!("firstcome_weak_settings").set(found.weaknesses.len() as f64);
    if require && !found.weaknesses.is_empty() {
        return Err(DurabilityError::Weak(found.weaknesses));
    }
    for weakness in &found.weaknesses {
        tracing::warn!(
            server = weakness.server,
            address = weakness.address.as_ref().map(tracing::field::display),
            setting = weakness.setting,
            value = weakness.value,
            wanted = weakness.wanted,
            "{}",
            weakness.loses
        );
    }
    tracing::info!("what these servers can lose: {}", found.sentence());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&'static str, &'static str)], replicas: u64) -> String {
        let weakness = |(server, setting): &(&'static str, &'static str)| Weakness {
            server,
            address: None,
            setting,
            value: "weak".to_owned(),
            wanted: "strong",
            loses: "something",
        };
        Durability { weaknesses: settings.iter().map(weakness).collect(), replicas }.sentence()
    }

    #[test]
    fn the_sentence_says_the_worst() {
        assert!(with(&[], 0).starts_with("a crash of Redis loses nothing that was acknowledged"));
        let everysec = with(&[("redis", "appendfsync")], 0);
        assert!(everysec.starts_with("a crash of Redis's machine can lose the writes of its last seconds"));
        let none = with(&[("redis", "appendonly")], 0);
        assert!(none.starts_with("a restart of Redis loses every acknowledged write"), "{none}");
        assert!(with(&[], 1).contains("a failover loses what the promoted replica had not received"));
        for setting in ["min-replicas-to-write", "min-replicas-max-lag"] {
            assert!(with(&[("redis", setting)], 1).contains("goes on selling"));
        }
        assert!(with(&[("mysql", "sync_binlog")], 0).contains("take back commits"));
        assert!(!with(&[], 0).contains("failover") && !with(&[], 0).contains("commits"));
    }
}
