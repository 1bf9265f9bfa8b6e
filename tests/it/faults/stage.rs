//! One run's world: a Redis (or two), a proxy in front of it, a database, and several engine processes.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use firstcome::cell::Position;
use firstcome::config::{Secret, Settings};
use firstcome::dev::{PrivateRedis, RedisOptions, ports};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{AssertSqlSafe, FromRow};

use super::figures::Figures;
use super::ledger::{Door, Ledger};
use super::nodes::{Node, Role};
use super::plan::{RunPlan, Shape};
use super::proxy::Proxy;
use super::servers::Servers;
use crate::cell_dump::connect;
use crate::test_servers;

/// How long anything may take before the suite gives up. Generous: a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A Redis that replicates, and the way on which it is reached by its primary's changes.
pub struct Pair {
    pub replica: PrivateRedis,
    /// Between the two; it leads to whichever is primary.
    pub link: Proxy,
}

pub struct Stage<'a> {
    pub servers: &'a mut Servers,
    pub figures: &'a mut Figures,
    pub plan: RunPlan,
    /// The primary.
    pub redis: PrivateRedis,
    pub pair: Option<Pair>,
    /// Between the engines and the primary.
    pub proxy: Proxy,
    pub settings: Settings,
    pub nodes: Vec<Node>,
    pub doors: Arc<Vec<Door>>,
    pub ledger: Arc<Ledger>,
    /// Ranges `(kept, lost_to]` that were ever reported as lost, by epoch: MySQL may be set back.
    pub lost: BTreeMap<u64, (u64, u64)>,
    /// What the data platform has taken.
    pub messages: Vec<Value>,
    /// How many events were counted as lost so far, and how many of them MySQL has counted now.
    pub lost_events: u64,
    counted: u64,
    /// When 500 is an honest answer: a script was made to fail.
    pub broken_scripts: Vec<(Instant, Instant)>,
    /// Whether an acknowledged event may be gone in this run.
    pub lossy: bool,
    /// How long MySQL was away in one go: nodes could not write their notes.
    pub longest_silence: Duration,
    mysql: MySqlPool,
}

impl<'a> Stage<'a> {
    /// Starts everything and fills the catalogue.
    pub async fn set(servers: &'a mut Servers, figures: &'a mut Figures, plan: RunPlan) -> Stage<'a> {
        let folder = test_servers::fresh_folder();
        let redis = start_redis(&folder.join("a"), &plan).await;
        let proxy = Proxy::start(port_of(&redis)).await;
        let pair = match plan.shape.replicated() {
            true => {
                let link = Proxy::start(port_of(&redis)).await;
                Some(Pair { replica: start_redis(&folder.join("b"), &plan).await, link })
            }
            false => None,
        };
        let settings = Settings {
            redis_url: Secret::new(format!("redis://127.0.0.1:{}/", proxy.port)),
            mysql_url: Secret::new(format!("{}faults_{}", servers.mysql.url(), plan.number)),
            amqp_url: Secret::new(servers.rabbitmq.url()),
            keep_events: plan.shape.keep_events(),
            backlog_bound: 50_000,
            payment_window_ms: 20_000,
            publish_timeout_ms: 3_000,
            persist_wait_ms: 1_000,
            mysql_connections: 8,
            ..Settings::default()
        };
        firstcome::mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
        let mysql = firstcome::mysql::connect(&settings.mysql_url, &settings.tls_ca_file, 4).await.unwrap();
        let mut stage = Stage {
            servers,
            figures,
            redis,
            pair,
            proxy,
            settings,
            nodes: Vec::new(),
            doors: Arc::default(),
            ledger: Arc::default(),
            lost: BTreeMap::new(),
            messages: Vec::new(),
            lost_events: 0,
            counted: 0,
            broken_scripts: Vec::new(),
            lossy: false,
            longest_silence: Duration::ZERO,
            mysql,
            plan,
        };
        if stage.pair.is_some() {
            stage.replicate().await;
        }
        stage.start_nodes(&folder);
        stage.await_ready().await;
        stage
    }

    fn start_nodes(&mut self, folder: &std::path::Path) {
        let roles: &[Role] = match self.plan.shape {
            Shape::Together => &[Role::All, Role::All],
            Shape::Split | Shape::Replicated | Shape::ShortTail => {
                &[Role::Api, Role::Api, Role::Worker, Role::Worker]
            }
        };
        let mut doors = Vec::new();
        for (number, role) in roles.iter().enumerate() {
            let listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
            let settings = Settings { listen, ..self.settings.clone() };
            let door = role.serves().then_some(doors.len());
            if door.is_some() {
                doors.push(Door { url: format!("http://{listen}"), life: 0.into() });
            }
            let log = folder.join(format!("{}-{number}.log", role.word()));
            self.nodes.push(Node::start(*role, door, settings, log));
        }
        self.doors = Arc::new(doors);
    }

    /// Kills a node and starts it again, and notes when it died.
    pub fn kill_node(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.process.kill();
        if let Some(door) = node.door {
            let life = self.doors[door].life.fetch_add(1, Ordering::SeqCst);
            self.ledger.deaths.lock().unwrap().push(((door, life), Instant::now()));
        }
        self.figures.count(match node.role {
            Role::All => "kills of an engine (all)",
            Role::Api => "kills of an API node",
            Role::Worker => "kills of a worker",
        });
    }

    /// A connection to the primary itself.
    pub async fn direct(&self) -> MultiplexedConnection {
        connect(&self.redis.url()).await
    }

    /// The gate as the primary has it.
    pub async fn gate(&self) -> String {
        let mut redis = self.direct().await;
        redis::cmd("GET")
            .arg("{c0}:gate")
            .query_async::<Option<String>>(&mut redis)
            .await
            .unwrap()
            .unwrap_or_default()
    }

    /// The epoch in which the gate is open; 0: it is shut.
    pub async fn open_epoch(&self) -> u64 {
        self.gate().await.parse().unwrap_or(0)
    }

    /// First and last event of the log.
    pub async fn log_bounds(&self) -> (Position, Position) {
        let mut redis = self.direct().await;
        let mut end = async |command: &str, from: &str, to: &str| {
            let found: Vec<(String, Value2)> = redis::cmd(command)
                .arg("{c0}:events")
                .arg(from)
                .arg(to)
                .arg("COUNT")
                .arg(1)
                .query_async(&mut redis)
                .await
                .unwrap();
            found.first().map_or(Position::default(), |it| it.0.parse().unwrap())
        };
        let first = end("XRANGE", "-", "+").await;
        (first, end("XREVRANGE", "+", "-").await)
    }

    /// Rows of MySQL. Connections may have died with a server, so a failure is tried again.
    pub async fn rows<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&self.mysql).await {
                Ok(rows) => return rows,
                Err(error) if Instant::now() > deadline => panic!("{sql}: {error}"),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// One number of MySQL.
    pub async fn number(&self, sql: &str) -> i64 {
        self.rows::<(i64,)>(sql).await[0].0
    }

    pub fn mysql(&self) -> &MySqlPool {
        &self.mysql
    }

    /// MySQL's position.
    pub async fn persisted(&self) -> Position {
        let row: (u64, u64) =
            self.rows("SELECT persisted_epoch, persisted_seq FROM cells").await.pop().unwrap();
        Position { epoch: row.0, seq: row.1 }
    }

    /// Keeps what MySQL tells of losses, before it may be set back.
    pub async fn remember_losses(&mut self) {
        let rows: Vec<(u64, u64, u64)> = self.rows("SELECT epoch, kept_seq, lost_to FROM recoveries").await;
        for (epoch, kept, lost_to) in rows {
            let known = self.lost.entry(epoch).or_insert((kept, lost_to));
            *known = (known.0.min(kept), known.1.max(lost_to));
        }
        let counted = self.number("SELECT CAST(lost_events AS SIGNED) FROM cells").await as u64;
        self.lost_events += counted - self.counted;
        self.counted = counted;
    }

    /// MySQL was set back: what it counts from here on begins anew.
    pub async fn count_losses_anew(&mut self) {
        self.counted = self.number("SELECT CAST(lost_events AS SIGNED) FROM cells").await as u64;
    }

    /// Waits until clients were told of `more` successes.
    pub async fn progress(&mut self, more: u64) {
        let wanted = self.ledger.acknowledged() + more;
        let ledger = self.ledger.clone();
        self.until(&format!("{more} more successes"), async || ledger.acknowledged() >= wanted).await;
    }

    /// Waits for a condition; panics with what the nodes said where it never comes true.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() > deadline {
                let words: Vec<String> = self
                    .nodes
                    .iter()
                    .map(|it| format!("-- {}\n{}", it.log.display(), it.last_words()))
                    .collect();
                panic!("never came true: {what}\n{}", words.join("\n"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the gate is open in a later epoch than `before` and a client was told of a success, and notes
    /// how long that took since `since`.
    pub async fn opened_again(&mut self, kind: &'static str, since: Instant, before: u64) {
        self.until("the cell opens again", async || self.open_epoch().await > before).await;
        self.progress(1).await;
        let (opened_after, lost) = (since.elapsed(), self.lost_events);
        self.remember_losses().await;
        self.figures.opened_again(kind, opened_after, self.lost_events - lost);
        self.figures.count("recoveries after a loss");
    }

    /// Waits until every node that serves says that it sells.
    pub async fn await_ready(&self) {
        for door in self.doors.iter() {
            let url = format!("{}/readyz", door.url);
            self.until("the node is ready", async || {
                reqwest::get(&url).await.is_ok_and(|it| it.status() == 200)
            })
            .await;
        }
    }

    /// What one node says of its cell.
    pub async fn readyz(&self, door: usize) -> Value {
        let url = format!("{}/readyz", self.doors[door].url);
        match reqwest::get(&url).await {
            Ok(answer) => answer.json().await.unwrap_or(json!(null)),
            Err(_) => json!(null),
        }
    }

    /// A command of the engine against this run's servers.
    pub async fn firstcome(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
        command
            .args(arguments)
            .env("FIRSTCOME_REDIS_URL", self.settings.redis_url.expose())
            .env("FIRSTCOME_MYSQL_URL", self.settings.mysql_url.expose())
            .env("FIRSTCOME_AMQP_URL", self.settings.amqp_url.expose())
            .env("FIRSTCOME_KEEP_EVENTS", self.settings.keep_events.to_string())
            .env("FIRSTCOME_BACKLOG_BOUND", self.settings.backlog_bound.to_string())
            .env("RUST_LOG", "warn");
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Waits until a node is up. One that met a dead server while it started has ended, and is started again, as a
    /// supervisor would.
    pub async fn await_up(&mut self, number: usize) {
        let deadline = Instant::now() + PATIENCE;
        while !self.nodes[number].is_up() {
            self.assert_alive();
            let node = &self.nodes[number];
            assert!(Instant::now() < deadline, "{} is not up\n{}", node.log.display(), node.last_words());
            tokio::time::sleep(POLL).await;
        }
    }

    /// No process that was up may have ended by itself.
    pub fn assert_alive(&mut self) {
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            let Some(status) = node.process.ended() else { continue };
            let last_words = node.last_words();
            assert!(!node.is_up(), "{} ended by itself: {status}\n{last_words}", node.log.display());
            node.start_again_after_vain_start();
            self.figures.count("starts of a node that met a dead server");
        }
    }
}

/// What a stream entry holds; nobody looks.
type Value2 = redis::Value;

/// The port of a private Redis.
pub fn port_of(redis: &PrivateRedis) -> u16 {
    redis.url().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
}

async fn start_redis(folder: &std::path::Path, plan: &RunPlan) -> PrivateRedis {
    // A replica that asks is served at once, not after five seconds.
    let extra_args = ["--repl-diskless-sync-delay", "0"].map(str::to_owned).to_vec();
    let options = RedisOptions { fsync: plan.fsync, extra_args, ..RedisOptions::default() };
    PrivateRedis::start(&test_servers::binaries(), folder, ports::free().unwrap(), options).await.unwrap()
}
