//! A Redis with replicas, and three Sentinels that watch over it.

use std::path::PathBuf;
use std::process::Command;

use firstcome::dev::{PrivateRedis, RedisOptions, ServerProcess, ports};
use redis::FromRedisValue;
use rustix::process::{Pid, Signal};

use super::test_app::eventually;
use super::test_servers::{binaries, fresh_folder, start_redis};

/// The name under which the Sentinels know the primary.
pub const NAME: &str = "shop.main";

/// How long a server may be silent until it counts as down.
const DOWN_AFTER_MS: u32 = 1_000;

/// What the servers ask for, where they ask for something: of Redis, of a Sentinel.
#[derive(Default, Clone)]
pub struct Passwords {
    pub redis: String,
    pub sentinel: String,
}

pub struct WatchedRedis {
    pub servers: Vec<PrivateRedis>,
    sentinels: Vec<Sentinel>,
    passwords: Passwords,
}

struct Sentinel {
    port: u16,
    folder: PathBuf,
    process: ServerProcess,
}

impl WatchedRedis {
    /// A primary, which is the first of the servers, its replicas, and Sentinels that know them all.
    pub async fn start(replicas: usize, passwords: Passwords) -> Self {
        let mut servers: Vec<PrivateRedis> = Vec::new();
        for _ in 0..=replicas {
            let mut extra_args = Vec::new();
            let mut set = |name: &str, values: &[&str]| {
                extra_args.push(format!("--{name}"));
                extra_args.extend(values.iter().map(|it| (*it).to_owned()));
            };
            set("repl-diskless-sync-delay", &["0"]);
            if let Some(primary) = servers.first() {
                set("replicaof", &["127.0.0.1", &port(primary).to_string()]);
            }
            if !passwords.redis.is_empty() {
                set("requirepass", &[&passwords.redis]);
                set("masterauth", &[&passwords.redis]);
            }
            servers.push(
                start_redis(&fresh_folder(), RedisOptions { extra_args, ..RedisOptions::default() }).await,
            );
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(port(&servers[0]), &passwords).await);
        }
        let it = Self { servers, sentinels, passwords };
        it.wait_until_calm().await;
        it
    }

    /// What the engine is given.
    pub fn url(&self) -> String {
        let (redis, sentinel) = (&self.passwords.redis, &self.passwords.sentinel);
        let user = if redis.is_empty() { String::new() } else { format!(":{redis}@") };
        let query =
            if sentinel.is_empty() { String::new() } else { format!("?sentinel_password={sentinel}") };
        format!("redis+sentinel://{user}{}/{NAME}{query}", self.places())
    }

    /// The Sentinels, as they stand in a URL.
    pub fn places(&self) -> String {
        self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect::<Vec<_>>().join(",")
    }

    /// The server that all Sentinels name, by its place in `servers`; none while they differ.
    pub async fn primary(&self) -> Option<usize> {
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            let answer = self.ask::<(String, u16)>(sentinel.port, &["GET-MASTER-ADDR-BY-NAME", NAME]).await?;
            named.push(answer.1);
        }
        let agree = named.iter().all(|it| *it == named[0]);
        self.servers.iter().position(|it| agree && port(it) == named[0])
    }

    /// Asks a Sentinel, or has it do something; `None` where it does not answer or refuses.
    async fn ask<T: FromRedisValue>(&self, port: u16, words: &[&str]) -> Option<T> {
        let mut sentinel = connect(port, &self.passwords.sentinel).await?;
        redis::cmd("SENTINEL").arg(words).query_async(&mut sentinel).await.ok()
    }

    /// Asks a server; `None` where it does not answer.
    pub async fn query<T: FromRedisValue>(&self, server: usize, words: &[&str]) -> Option<T> {
        let mut redis = connect(port(&self.servers[server]), &self.passwords.redis).await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut redis).await.ok()
    }

    /// Has the Sentinels make another server the primary, as soon as they are ready to.
    pub async fn fail_over(&self) {
        let old = self.primary().await;
        eventually!(
            self.ask::<String>(self.sentinels[0].port, &["FAILOVER", NAME]).await.is_some()
                || self.primary().await != old
        );
        eventually!(self.primary().await.is_some_and(|it| Some(it) != old));
    }

    pub fn signal(&self, server: usize, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.servers[server].pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Has a server follow the primary at once, which the Sentinels would only do after some seconds.
    pub async fn follow(&self, server: usize) {
        eventually!(match self.primary().await {
            Some(primary) if primary == server => true,
            Some(primary) => {
                let port = port(&self.servers[primary]).to_string();
                self.query::<String>(server, &["REPLICAOF", "127.0.0.1", &port]).await.is_some()
            }
            None => false,
        });
    }

    /// Waits until all servers follow the primary, and all Sentinels know them and each other.
    pub async fn wait_until_calm(&self) {
        let replicas = self.servers.len() - 1;
        eventually!(match self.primary().await {
            Some(primary) => self.is_calm(primary, replicas).await,
            None => false,
        });
    }

    async fn is_calm(&self, primary: usize, replicas: usize) -> bool {
        let info = self.query::<redis::InfoDict>(primary, &["INFO", "replication"]).await;
        let Some(info) = info else { return false };
        let in_step = (0..replicas).filter(|it| {
            info.get::<String>(&format!("slave{it}")).is_some_and(|it| it.contains("state=online"))
        });
        if info.get::<String>("role").as_deref() != Some("master") || in_step.count() != replicas {
            return false;
        }
        for sentinel in &self.sentinels {
            type Facts = std::collections::HashMap<String, String>;
            let seen = self.ask::<Vec<Facts>>(sentinel.port, &["REPLICAS", NAME]).await.unwrap_or_default();
            let good = seen.iter().filter(|it| it["flags"] == "slave");
            let quorum = self.ask::<String>(sentinel.port, &["CKQUORUM", NAME]).await.unwrap_or_default();
            if good.count() != replicas || !quorum.contains("OK 3 usable") {
                return false;
            }
        }
        true
    }

    /// Waits until all replicas have what the primary has now.
    pub async fn wait_until_replicated(&self) {
        let primary = self.primary().await.unwrap();
        let told = async || {
            let info = self.query::<redis::InfoDict>(primary, &["INFO", "replication"]).await;
            info.expect("the primary answers")
        };
        let offset = |text: &str| text.rsplit_once("offset=")?.1.split(',').next()?.parse::<u64>().ok();
        let all: u64 = told().await.get("master_repl_offset").unwrap();
        eventually!({
            let info = told().await;
            let mut replicas =
                (0..self.servers.len() - 1).map(|it| info.get::<String>(&format!("slave{it}")));
            replicas.all(|it| it.is_some_and(|it| offset(&it).is_some_and(|it| it >= all)))
        });
    }

    pub async fn stop_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            sentinel.process.kill().await;
        }
    }

    /// Starts them again with what they knew.
    pub async fn start_sentinels(&mut self) {
        for sentinel in &mut self.sentinels {
            sentinel.process = launch(sentinel.port, &sentinel.folder).await;
        }
    }
}

impl Sentinel {
    async fn start(primary: u16, passwords: &Passwords) -> Self {
        let (port, folder) = (ports::free().unwrap(), fresh_folder());
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 10000\n\
             sentinel parallel-syncs {NAME} 2\n",
            folder = folder.display(),
        );
        if !passwords.redis.is_empty() {
            text += &format!("sentinel auth-pass {NAME} {}\n", passwords.redis);
        }
        if !passwords.sentinel.is_empty() {
            text += &format!("requirepass {}\n", passwords.sentinel);
        }
        std::fs::write(folder.join("sentinel.conf"), text).unwrap();
        let process = launch(port, &folder).await;
        Self { port, folder, process }
    }
}

/// Starts a Sentinel with the `sentinel.conf` of a folder.
pub async fn launch(port: u16, folder: &std::path::Path) -> ServerProcess {
    let mut command = Command::new(&binaries().redis_server);
    command.arg(folder.join("sentinel.conf")).arg("--sentinel");
    let mut process = ServerProcess::spawn("sentinel", &mut command, folder).await.unwrap();
    let probe =
        async || tokio::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.map(drop);
    process.wait_until_ready(probe).await.unwrap();
    process
}

/// Where a server listens.
pub fn port(redis: &PrivateRedis) -> u16 {
    redis.url().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
}

async fn connect(port: u16, password: &str) -> Option<redis::aio::MultiplexedConnection> {
    let user = if password.is_empty() { String::new() } else { format!(":{password}@") };
    let client = redis::Client::open(format!("redis://{user}127.0.0.1:{port}/")).unwrap();
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(std::time::Duration::from_secs(5)))
        .set_response_timeout(Some(std::time::Duration::from_secs(5)));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}
