//! A private Redis Cluster: three primaries, and where that is asked for a replica of each. It is formed over Redis's own
//! protocol, since `redis-cli` may be missing, and each step asks first whether it was done: so a start goes on where an
//! earlier one, or one that was killed, left off.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, InfoDict, RedisError};

use crate::dev::process::START_DEADLINE;
use crate::dev::{PrivateRedis, RedisOptions, ServerBinaries, ServerError, ports};

/// How many servers have slots.
pub const PRIMARIES: usize = 3;

/// One more than the last slot.
const SLOTS: usize = 16_384;

/// How long servers may take to know each other, until they are made to meet again.
const MEETING: Duration = Duration::from_secs(10);

/// How often the cluster is looked at while it forms.
const POLL: Duration = Duration::from_millis(50);

/// What can differ between private clusters.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// A replica for each primary.
    pub replicas: bool,
    /// How long a server may be silent until the others think that it is down.
    pub node_timeout_ms: u32,
    pub each: RedisOptions,
    /// Whom the servers know by that password; empty: whoever names nobody.
    pub user: String,
    /// What the servers ask for, where they ask for something.
    pub password: String,
    /// Clients and servers speak TLS, by the certificate that `each` names. There is a door without it, for
    /// administration.
    pub tls: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            replicas: false,
            node_timeout_ms: 2_000,
            each: RedisOptions::default(),
            user: String::new(),
            password: String::new(),
            tls: false,
        }
    }
}

/// A running cluster with the data of its servers in `<data_dir>/redis-1` and so on.
#[derive(Debug)]
pub struct PrivateCluster {
    /// Primaries first, as they were at the first start, then their replicas in the same order.
    pub servers: Vec<PrivateRedis>,
    /// Where clients find each.
    ports: Vec<u16>,
    credentials: String,
    tls: bool,
}

impl PrivateCluster {
    /// Starts all servers, and waits until they have all slots and all replicas.
    ///
    /// # Errors
    /// When they do not get there within two minutes.
    pub async fn start(
        binaries: &ServerBinaries,
        data_dir: &Path,
        options: &ClusterOptions,
    ) -> Result<Self, ServerError> {
        let count = if options.replicas { 2 * PRIMARIES } else { PRIMARIES };
        let folders: Vec<PathBuf> = (1..=count).map(|it| data_dir.join(format!("redis-{it}"))).collect();
        let mut ports = Vec::new();
        for folder in &folders {
            let port = ports::remembered_with_bus(folder, "redis").await;
            ports.push(port.map_err(|source| failed(&format!("no port for {}", folder.display()), source))?);
        }
        let each = folders.iter().zip(&ports);
        let servers =
            try_join_all(each.map(|(folder, port)| start_one(binaries, folder, *port, options))).await?;
        let encoded: String = form_urlencoded::byte_serialize(options.password.as_bytes()).collect();
        let credentials = match encoded.as_str() {
            "" => String::new(),
            password => format!("{}:{}@", options.user, password.replace('+', "%20")),
        };
        let cluster = Self { servers, ports, credentials, tls: options.tls };
        cluster.form().await?;
        Ok(cluster)
    }

    /// All servers in the syntax of the setting `redis_url`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let each = self.ports.iter().map(|it| format!("{scheme}://{}127.0.0.1:{it}/", self.credentials));
        each.collect::<Vec<_>>().join(",")
    }

    /// Where clients find a server.
    pub fn port(&self, server: usize) -> u16 {
        self.ports[server]
    }

    pub async fn stop(&mut self) -> Vec<ExitStatus> {
        join_all(self.servers.iter_mut().map(PrivateRedis::stop)).await
    }

    /// A connection to one server, for its administration.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn connect(&self, server: usize) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(Duration::from_secs(30)));
        let url = self.servers[server].url().replace("://", &format!("://{}", self.credentials));
        let client = redis::Client::open(url)?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Says one thing to one server.
    ///
    /// # Errors
    /// Where it does not answer or refuses.
    pub async fn ask<T: FromRedisValue>(&self, server: usize, words: &[&str]) -> Result<T, RedisError> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut self.connect(server).await?).await
    }

    async fn form(&self) -> Result<(), ServerError> {
        let said = |what: &'static str| move |error: RedisError| failed(what, error);
        for server in 0..PRIMARIES {
            // Of two servers with the same epoch one would give way by itself, later. It is refused to a server that has
            // met others, or has an epoch, and so to one that was here before.
            let epoch = (server + 1).to_string();
            let _: Result<(), _> = self.ask(server, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        let began = Instant::now();
        while let Err(error) = self.meet().await {
            if began.elapsed() > START_DEADLINE {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        for server in 0..PRIMARIES {
            let (first, next) = (SLOTS * server / PRIMARIES, SLOTS * (server + 1) / PRIMARIES);
            if self.owner_of(server, first).await.map_err(said("CLUSTER SLOTS"))?.is_some() {
                continue;
            }
            let words = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()];
            self.ask::<()>(server, &words).await.map_err(said("CLUSTER ADDSLOTSRANGE"))?;
        }
        self.wait_for("all slots to be served", async |it| {
            Ok(it.told(&["CLUSTER", "INFO"], "cluster_state").await? == "ok")
        })
        .await?;
        for server in PRIMARIES..self.servers.len() {
            self.replicate(server).await?;
        }
        self.wait_for("all replicas to have their data", async |it| it.replicas_are_in_step().await).await
    }

    /// Makes all servers known to each other, those too that are: their ports may be new ones. On a slow machine a
    /// handshake may take longer than Redis allows, which is the time-out of a node; then it is to be asked for again.
    async fn meet(&self) -> Result<(), ServerError> {
        for (server, port) in self.ports.iter().enumerate().skip(1) {
            let (port, bus) = (port.to_string(), (port + 10_000).to_string());
            let words = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            self.ask::<()>(0, &words).await.map_err(|error| failed("CLUSTER MEET", error))?;
            tracing::debug!(server, port, "met");
        }
        self.wait_within(MEETING, "all servers to know each other", async |it| {
            Ok(it.told(&["CLUSTER", "INFO"], "cluster_known_nodes").await? == it.servers.len().to_string())
        })
        .await
    }

    /// Has a server that has neither slots nor a primary follow the one that serves the first slot of its share.
    async fn replicate(&self, server: usize) -> Result<(), ServerError> {
        let first = SLOTS * (server - PRIMARIES) / PRIMARIES;
        // Those that just met may not have heard of each other's slots yet.
        self.wait_for("a replica to follow", async |it| {
            let nodes: String = it.ask(server, &["CLUSTER", "NODES"]).await?;
            let Some(own) = nodes.lines().find(|it| it.contains("myself")) else { return Ok(false) };
            // Id, address, flags, primary, ping, pong, epoch, link, and the slots.
            if own.contains("slave") || own.split(' ').nth(8).is_some() {
                return Ok(true);
            }
            let Some(primary) = it.owner_of(server, first).await? else { return Ok(false) };
            Ok(it.ask::<()>(server, &["CLUSTER", "REPLICATE", &primary]).await.is_ok())
        })
        .await
    }

    /// Whether each replica has its data, and all servers have heard of it.
    async fn replicas_are_in_step(&self) -> Result<bool, RedisError> {
        for server in 0..self.servers.len() {
            let mut known = std::collections::BTreeSet::new();
            for range in self.ask::<Vec<Vec<redis::Value>>>(server, &["CLUSTER", "SLOTS"]).await? {
                for node in range.into_iter().skip(2) {
                    known.extend(
                        redis::from_redis_value::<Vec<redis::Value>>(node)?
                            .into_iter()
                            .nth(1)
                            .map(|it| format!("{it:?}")),
                    );
                }
            }
            if known.len() < self.servers.len() {
                return Ok(false);
            }
            let info: InfoDict = self.ask(server, &["INFO", "replication"]).await?;
            let told = |key: &str| info.get::<String>(key).unwrap_or_default();
            if told("role") == "slave" && told("master_link_status") != "up" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The id of the server that has a slot, as another one sees it.
    async fn owner_of(&self, server: usize, slot: usize) -> Result<Option<String>, RedisError> {
        let ranges: Vec<Vec<redis::Value>> = self.ask(server, &["CLUSTER", "SLOTS"]).await?;
        for range in ranges {
            let mut fields = range.into_iter();
            let (Some(first), Some(last), Some(primary)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let (first, last): (usize, usize) =
                (redis::from_redis_value(first)?, redis::from_redis_value(last)?);
            if (first..=last).contains(&slot) {
                let facts: Vec<redis::Value> = redis::from_redis_value(primary)?;
                return Ok(facts.into_iter().nth(2).map(redis::from_redis_value).transpose()?);
            }
        }
        Ok(None)
    }

    /// One field that all servers tell alike; empty where they differ.
    async fn told(&self, words: &[&str], field: &str) -> Result<String, RedisError> {
        let mut values = Vec::new();
        for server in 0..self.servers.len() {
            let info: InfoDict = self.ask(server, words).await?;
            values.push(info.get::<String>(field).unwrap_or_default());
        }
        values.dedup();
        Ok(if values.len() == 1 { values.remove(0) } else { String::new() })
    }

    async fn wait_for(
        &self,
        what: &str,
        is_done: impl AsyncFn(&Self) -> Result<bool, RedisError>,
    ) -> Result<(), ServerError> {
        self.wait_within(START_DEADLINE, what, is_done).await
    }

    async fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        is_done: impl AsyncFn(&Self) -> Result<bool, RedisError>,
    ) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            let answer = is_done(self).await;
            match answer {
                Ok(true) => return Ok(()),
                Ok(false) if began.elapsed() < patience => {}
                Err(_) if began.elapsed() < patience => {}
                Ok(false) => {
                    let took = format!("it took more than {} s", patience.as_secs());
                    return Err(failed(&format!("waiting for {what}"), took));
                }
                Err(error) => return Err(failed(&format!("waiting for {what}"), error)),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn failed(what: &str, reason: impl ToString) -> ServerError {
    ServerError::Cluster { what: what.to_owned(), reason: reason.to_string() }
}

async fn start_one(
    binaries: &ServerBinaries,
    folder: &Path,
    port: u16,
    options: &ClusterOptions,
) -> Result<PrivateRedis, ServerError> {
    let timeout = options.node_timeout_ms.to_string();
    let mut set = vec![
        ("cluster-enabled", "yes"),
        // Beside the data, and written by the server itself.
        ("cluster-config-file", "nodes.conf"),
        ("cluster-node-timeout", &timeout),
        ("cluster-announce-ip", "127.0.0.1"),
        // Where one server is away without a replica, the cells of the others sell on.
        ("cluster-require-full-coverage", "no"),
        // A replica stays where it is.
        ("cluster-allow-replica-migration", "no"),
        ("repl-diskless-sync-delay", "0"),
    ];
    if !options.password.is_empty() {
        set.push(("masterauth", &options.password));
        // A user comes with the settings.
        match options.user.as_str() {
            "" => set.push(("requirepass", &options.password)),
            user => set.push(("masteruser", user)),
        }
    }
    let (tls_port, mut plain_port) = (port.to_string(), port);
    if options.tls {
        plain_port = ports::free().map_err(|source| failed("no port without TLS", source))?;
        set.extend([("tls-port", &*tls_port), ("tls-cluster", "yes"), ("tls-replication", "yes")]);
    }
    let mut extra_args: Vec<String> =
        set.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect();
    extra_args.extend(options.each.extra_args.iter().cloned());
    PrivateRedis::start(binaries, folder, plain_port, RedisOptions { extra_args, ..options.each.clone() })
        .await
}
