//! The engine in one process: API, worker and node over three servers. Only here settings are handed out.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::mysql::MySqlPool;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::across::desk::Desk;
use crate::config::{Auth, Settings, WrongSetting};
use crate::console::rush::Rush;
use crate::durability;
use crate::http::{self, AppState, SharedReads, SoldOut};
use crate::identity::{Tokens, is_well_known};
use crate::memory;
use crate::mysql::cells::CellsError;
use crate::mysql::{self, cells};
use crate::node::Node;
use crate::rabbitmq;
use crate::scripts::Scripts;
use crate::scripts::servers::Redis;
use crate::telemetry::{self, traces::Traces};
use crate::watermark::{CellWatch, Watermark};
use crate::worker::Worker;

/// How long the current batches may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    All,
    Api,
    Worker,
}

/// Connections to Redis and MySQL, and the settings they came from.
#[derive(Clone)]
pub struct Connections {
    pub settings: Arc<Settings>,
    pub scripts: Scripts,
    pub mysql: MySqlPool,
}

/// Connects to Redis and MySQL, waiting up to half a minute for servers that are still starting, and
/// checks that the database fits the settings.
pub async fn connect(settings: Settings) -> anyhow::Result<Connections> {
    let patience = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(18);
    let mysql = (|| mysql::connect(&settings.mysql_url, &settings.tls_ca_file, settings.mysql_connections))
        .retry(patience)
        .when(|error| !is_final(error) && !mysql::is_final(error))
        .notify(|error, _| tracing::warn!(%error, "mysql does not answer yet"))
        .await
        .with_context(|| {
            format!("cannot connect to MySQL at {} (did `firstcome migrate` run?)", settings.mysql_url)
        })?;
    cells::prepare(&mysql, settings.cells(), settings.stream_bound()).await.map_err(|error| match error {
        CellsError::OtherCount { .. } => anyhow::Error::from(error),
        CellsError::Mysql(_) => {
            anyhow::Error::from(error).context("the database is not ready (did `firstcome migrate` run?)")
        }
    })?;
    let redis = Redis::new(
        settings.redis_url.expose(),
        &settings.tls_ca_file,
        Duration::from_millis(settings.redis_reply_timeout_ms),
    )?;
    let scripts = (|| Scripts::connect(redis.clone(), settings.cells(), settings.stream_bound()))
        .retry(patience)
        .when(|error| !is_final(error))
        .notify(|error, _| tracing::warn!(%error, "redis does not answer yet"))
        .await
        .with_context(|| format!("cannot connect to Redis at {}", settings.redis_url))?;
    Ok(Connections { settings: Arc::new(settings), scripts, mysql })
}

/// Whether a server's certificate was refused: asking again brings the same one.
fn is_final(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // What the Redis library gives is shared.
        let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|it| it.downcast_ref());
        let io = shared.unwrap_or_else(|| error.downcast_ref::<io::Error>());
        let inner = io.and_then(io::Error::get_ref).and_then(|it| it.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(_)) = inner {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Connections {
    pub fn worker(&self) -> Worker {
        Worker::new(&self.scripts, self.mysql.clone(), self.settings.clone())
    }

    /// Learns the epoch of each cell, and goes on learning it while the guard lives: for commands that
    /// call scripts beside running engines.
    pub async fn follow_epochs(&self) -> Result<DropGuard, sqlx::Error> {
        let node = Node::new(self.mysql.clone(), self.scripts.clone());
        node.refresh().await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { node.run(stopped).await });
        Ok(stop.drop_guard())
    }
}

/// A running engine.
pub struct Engine {
    connections: Connections,
    address: Option<SocketAddr>,
    node: Arc<Node>,
    traces: Option<Traces>,
    stop_http: CancellationToken,
    stop_work: CancellationToken,
    http: TaskTracker,
    work: TaskTracker,
}

impl Engine {
    /// Starts all loops of a role. The API listens at once and answers 503 until its cells are open.
    ///
    /// `require_durable`: refuse servers that could lose an acknowledged write in a crash.
    pub async fn start(
        settings: Settings,
        role: Role,
        require_durable: bool,
        prometheus: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        Self::start_with(settings, role, require_durable, false, prometheus).await
    }

    /// Starts all there is, and where nobody is asked for a token, the demo shop and its shoppers.
    pub async fn start_demo(
        settings: Settings,
        require_durable: bool,
        prometheus: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let has_shop = settings.auth == Auth::None;
        Self::start_with(settings, Role::All, require_durable, has_shop, prometheus).await
    }

    async fn start_with(
        settings: Settings,
        role: Role,
        require_durable: bool,
        has_shop: bool,
        prometheus: PrometheusHandle,
    ) -> anyhow::Result<Self> {
        let mut tokens = None;
        let listener = match role {
            Role::All | Role::Api => {
                tokens = Tokens::load(&settings)?.map(Arc::new);
                let listener = TcpListener::bind(settings.listen).await;
                Some(listener.with_context(|| format!("cannot listen on {}", settings.listen))?)
            }
            Role::Worker => None,
        };
        let mut metrics_listener = None;
        if let Some(address) = settings.metrics_listen {
            let listener = TcpListener::bind(address).await;
            metrics_listener =
                Some(listener.with_context(|| format!("cannot listen on {address} (metrics_listen)"))?);
        }
        let connections = connect(settings).await?;
        let Connections { settings, scripts, mysql } = &connections;
        let looked = durability::check(scripts, mysql, require_durable).await;
        looked.context("these servers are refused")?;
        telemetry::begin_cells(scripts.cells());
        metrics::gauge!("firstcome_backlog_bound_events").set(settings.backlog_bound as f64);
        let node = Arc::new(Node::new(mysql.clone(), scripts.clone()));
        let traces = Traces::start(settings, node.name())?;
        let (stop_http, stop_work) = (CancellationToken::new(), CancellationToken::new());
        let (http, work) = (TaskTracker::new(), TaskTracker::new());
        if role != Role::Api {
            let (worker, stop) = (connections.worker().traced(traces.clone()), stop_work.clone());
            work.spawn(async move { worker.run(stop).await });
        }
        let (watched, bounds, stop) = (scripts.clone(), settings.clone(), stop_work.clone());
        work.spawn(async move { memory::watch(watched, &bounds, stop).await });
        let (running, stop) = (node.clone(), stop_work.clone());
        work.spawn(async move { running.run(stop).await });
        let (mut address, mut app) = (None, None);
        if let Some(listener) = listener {
            let local = listener.local_addr()?;
            address = Some(local);
            let state = Arc::new(AppState {
                scripts: scripts.clone(),
                mysql: mysql.clone(),
                settings: settings.clone(),
                tokens,
                cells: node.watch(),
                watermark: node.watermark(),
                desk: Arc::new(Desk::new(scripts.clone(), node.watermark())),
                sold_out: Arc::new(SoldOut::new(settings)),
                shared_reads: Arc::new(SharedReads::new(settings.list_staleness_ms)),
                traces: traces.clone(),
                prometheus: prometheus.clone(),
                started: Instant::now(),
                audit_turn: Arc::default(),
                console: Arc::default(),
                rush: has_shop.then(|| Arc::new(Rush::new(local))),
                stop: stop_http.clone(),
            });
            app = Some(state.clone());
            let (settings, stop) = (settings.clone(), stop_http.clone());
            http.spawn(async move { http::serve(listener, http::router(state), &settings, stop).await });
        }
        if let Some(listener) = metrics_listener {
            let (settings, stop) = (settings.clone(), stop_http.clone());
            let router = http::metrics_router(prometheus, app);
            http.spawn(async move { http::serve(listener, router, &settings, stop).await });
        }
        http.close();
        work.close();
        Ok(Self { connections, address, node, traces, stop_http, stop_work, http, work })
    }

    /// Where the API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What tells how far MySQL has got.
    pub fn watermark(&self) -> Watermark {
        self.node.watermark()
    }

    pub fn cells(&self) -> CellWatch {
        self.node.watch()
    }

    /// Waits until every cell sells; false when `patience` is over first.
    pub async fn wait_until_open(&self, patience: Duration) -> bool {
        let opened = async {
            while !self.node.refresh().await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, opened).await.is_ok()
    }

    /// Finishes requests in flight, then the current batches, writes the last notes, and has the last spans leave.
    pub async fn stop(self) {
        self.stop_http.cancel();
        self.http.wait().await;
        self.stop_work.cancel();
        let last_words = async {
            self.work.wait().await;
            self.node.leave().await;
            self.connections.mysql.close().await;
        };
        // A server that hangs must not keep the process: what is not persisted is in Redis.
        if tokio::time::timeout(LAST_WORDS, last_words).await.is_err() {
            tracing::warn!("stopping without the last batch: a server does not answer");
        }
        if let Some(traces) = self.traces {
            traces.end().await;
        }
    }
}

/// Refuses to serve behind what protects nothing: secrets that everybody knows, and those that nobody asks for.
pub fn check_protection(settings: &Settings) -> Result<(), WrongSetting> {
    let secret = settings.jwt_secret.expose();
    if settings.auth == Auth::None && !(secret.is_empty() && settings.jwt_keys.as_os_str().is_empty()) {
        return Err(WrongSetting {
            key: "auth".to_owned(),
            value: "none, together with jwt_secret or jwt_keys,".to_owned(),
            allowed: "jwt, or none without them: nobody would be asked for a token".to_owned(),
        });
    }
    if settings.auth == Auth::Jwt && !secret.is_empty() && is_well_known(secret) {
        let allowed = "one that nobody knows, such as what `openssl rand -base64 48` prints";
        let (key, value) = ("jwt_secret".to_owned(), "a well-known default".to_owned());
        return Err(WrongSetting { key, value, allowed: allowed.to_owned() });
    }
    if rabbitmq::is_guest_elsewhere(&settings.amqp_url) {
        let allowed = "a user of its own: guest with the password guest is for loopback only";
        let (key, value) = ("amqp_url".to_owned(), settings.amqp_url.to_string());
        return Err(WrongSetting { key, value, allowed: allowed.to_owned() });
    }
    Ok(())
}

/// Refuses to serve everybody on an address that others can reach.
pub fn check_exposure(settings: &Settings, allow_insecure: bool) -> anyhow::Result<()> {
    match settings.auth {
        Auth::Jwt => Ok(()),
        Auth::None if settings.listen.ip().is_loopback() || allow_insecure => Ok(()),
        Auth::None => anyhow::bail!(
            "auth = \"none\" serves everybody, so it listens on loopback only; {} is not: \
             set another address, or pass --allow-insecure",
            settings.listen
        ),
    }
}
