//! The engine under test: API node and worker as processes of their own, and what can be asked about it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use firstcome::cell::Position;
use firstcome::config::Secret;
use firstcome::dev::ports;
use firstcome::mysql;
use lapin::options::QueuePurgeOptions;
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::mysql::MySqlPool;

use crate::child::Running;
use crate::process::Watched;
use crate::servers::Servers;
use crate::traffic::{FIRST_PRODUCT, PRICE, PRODUCTS, STOCK};

const FIRSTCOME: &str = env!("CARGO_BIN_EXE_firstcome");

/// How long a backlog may take to be written.
const DRAIN_PATIENCE: Duration = Duration::from_secs(900);

const QUEUE: &str = "firstcome.data-platform";

pub struct Shop<'a> {
    servers: &'a Servers,
    pub address: SocketAddr,
    /// Threads of each process of the engine.
    threads: usize,
    api: Running,
    worker: Option<Running>,
    mysql_url: String,
    mysql: MySqlPool,
    redis: MultiplexedConnection,
    client: reqwest::Client,
}

/// How far orders have come since the log was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of the newest event in Redis.
    pub appended: u64,
    /// Of the last one in MySQL.
    pub persisted: u64,
    /// Messages that RabbitMQ has confirmed.
    pub published: u64,
}

impl<'a> Shop<'a> {
    /// Makes an empty shop and opens it: a node that answers, and a worker.
    pub async fn open(servers: &'a Servers, threads: usize) -> anyhow::Result<Self> {
        let mysql_url = format!("{}firstcome", servers.mysql.url());
        let secret = Secret::new(&mysql_url);
        mysql::migrate(&secret, &Default::default()).await?;
        let mysql = mysql::connect(&secret, &Default::default(), 2).await?;
        let client = redis::Client::open(servers.redis.url())?;
        let settings =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let redis = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let worker = Self::start(servers, &mysql_url, address, threads, "worker")?;
        let mut api = Self::start(servers, &mysql_url, address, threads, "api")?;
        api.wait_until_ready(&format!("http://{address}/readyz")).await?;
        let client = reqwest::Client::new();
        Ok(Self { servers, address, threads, api, worker: Some(worker), mysql_url, mysql, redis, client })
    }

    /// Settings of the engine in the environment apply, but for what names this run's own servers. A settings file
    /// does not.
    fn command(servers: &Servers, mysql_url: &str) -> Command {
        let mut command = Command::new(FIRSTCOME);
        command
            .current_dir("/")
            .env("FIRSTCOME_REDIS_URL", servers.redis.url())
            .env("FIRSTCOME_MYSQL_URL", mysql_url)
            .env("FIRSTCOME_AMQP_URL", servers.rabbitmq.url())
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()));
        command
    }

    fn start(
        servers: &Servers,
        mysql_url: &str,
        address: SocketAddr,
        threads: usize,
        role: &'static str,
    ) -> anyhow::Result<Running> {
        let mut command = Self::command(servers, mysql_url);
        command.env("TOKIO_WORKER_THREADS", threads.to_string());
        command.args(["serve", "--require-durable", "--role", role, "--listen", &address.to_string()]);
        Running::start(role, &mut command)
    }

    /// Makes the products and so many users, as far as they are missing.
    pub async fn seed(&self, users: u64) -> anyhow::Result<()> {
        let mut command = Self::command(self.servers, &self.mysql_url);
        let products = FIRST_PRODUCT + PRODUCTS - 1;
        command.args(["seed", "--products", &products.to_string(), "--stock", &STOCK.to_string()]);
        command.args(["--price", &PRICE.to_string(), "--balance", "1000000000"]);
        command.args(["--users", &users.to_string()]).stdout(Stdio::null());
        self.run_to_its_end(command).await.and_then(|code| {
            anyhow::ensure!(code == 0, "seeding failed");
            Ok(())
        })
    }

    /// Opens a campaign of so many units.
    pub async fn open_campaign(&self, coupon: u64, quantity: u64) -> anyhow::Result<()> {
        let body = json!({
            "name": format!("Campaign {coupon}"), "discount": {"kind": "fixed", "value": 10}, "quantity": quantity,
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
        });
        self.call(Method::PUT, &format!("/admin/coupons/{coupon}"), &body).await
    }

    /// A request that must succeed.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<()> {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.request(method, url).json(body).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{path}: {status} {}", answer.text().await?);
        Ok(())
    }

    /// Has orders wait in Redis from here on.
    pub async fn rest_worker(&mut self) -> anyhow::Result<()> {
        match self.worker.take() {
            Some(mut worker) => worker.stop().await,
            None => Ok(()),
        }
    }

    pub fn wake_worker(&mut self) -> anyhow::Result<()> {
        if self.worker.is_none() {
            let Self { servers, mysql_url, address, threads, .. } = &*self;
            self.worker = Some(Self::start(servers, mysql_url, *address, *threads, "worker")?);
        }
        Ok(())
    }

    /// Wakes the worker and waits until MySQL has every event and RabbitMQ every message.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        self.wake_worker()?;
        let began = Instant::now();
        loop {
            let progress = self.progress().await?;
            if progress.appended == progress.persisted && !self.has_messages().await? {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < DRAIN_PATIENCE, "the backlog is not written in time");
            if let Some(status) = self.worker.as_mut().map(Running::ended).transpose()?.flatten() {
                anyhow::bail!("the worker ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn has_messages(&self) -> anyhow::Result<bool> {
        let waits: i64 =
            sqlx::query_scalar("SELECT EXISTS(SELECT 1 FROM outbox)").fetch_one(&self.mysql).await?;
        Ok(waits != 0)
    }

    pub async fn progress(&self) -> anyhow::Result<Progress> {
        let newest: Vec<(String, Vec<String>)> = redis::cmd("XREVRANGE")
            .arg(&["{c0}:events", "+", "-", "COUNT", "1"])
            .query_async(&mut self.redis.clone())
            .await?;
        let newest = newest.first().context("an event log")?.0.parse::<Position>()?;
        let persisted: u64 = sqlx::query_scalar("SELECT persisted_seq FROM cells WHERE cell = 0")
            .fetch_one(&self.mysql)
            .await?;
        let published: u64 = sqlx::query_scalar("SELECT published FROM publishing WHERE cell = 0")
            .fetch_one(&self.mysql)
            .await?;
        Ok(Progress { appended: newest.seq, persisted, published })
    }

    /// Ends the API node and starts another one; returns how long that one takes until it is ready.
    pub async fn restart_api(&mut self) -> anyhow::Result<Duration> {
        self.api.stop().await?;
        let began = Instant::now();
        self.api = Self::start(self.servers, &self.mysql_url, self.address, self.threads, "api")?;
        self.api.wait_until_ready(&format!("http://{}/readyz", self.address)).await?;
        Ok(began.elapsed())
    }

    /// Runs `firstcome audit`; true: clean. What it says is shown where it is not.
    pub async fn audit(&self) -> anyhow::Result<bool> {
        let mut command = Self::command(self.servers, &self.mysql_url);
        command.arg("audit").stdout(Stdio::piped());
        let mut audit = Running::start("audit", &mut command)?;
        let output = audit.child().stdout.take().context("a pipe")?;
        let text = tokio::task::spawn_blocking(move || std::io::read_to_string(output)).await??;
        let status = wait(audit).await?;
        if status != 0 {
            eprintln!("{text}");
        }
        Ok(status == 0)
    }

    async fn run_to_its_end(&self, mut command: Command) -> anyhow::Result<i32> {
        wait(Running::start("firstcome", &mut command)?).await
    }

    /// Throws away what lies in the queue, which nobody reads: it must not grow from case to case.
    pub async fn purge_queue(&self) -> anyhow::Result<()> {
        let connection =
            lapin::Connection::connect(&self.servers.rabbitmq.url(), lapin::ConnectionProperties::default())
                .await?;
        let channel = connection.create_channel().await?;
        channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// `appendfsync`: `always` or `everysec`.
    pub async fn set_fsync(&self, when: &str) -> anyhow::Result<()> {
        let set = ["SET", "appendfsync", when];
        Ok(redis::cmd("CONFIG").arg(&set).query_async(&mut self.redis.clone()).await?)
    }

    /// Bytes that Redis uses without the event log, and those of the log.
    pub async fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let mut redis = self.redis.clone();
        let text: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await?;
        let used = text.lines().find_map(|it| it.strip_prefix("used_memory:")).context("used_memory")?;
        let used: u64 = used.trim().parse()?;
        let log: Option<u64> = redis::cmd("MEMORY")
            .arg(&["USAGE", "{c0}:events", "SAMPLES", "0"])
            .query_async(&mut redis)
            .await?;
        let log = log.unwrap_or(0);
        Ok((used.saturating_sub(log), log))
    }

    pub fn api_pid(&self) -> u32 {
        self.api.pid()
    }

    /// Those that run, by the names that the table has for them.
    pub fn processes(&self) -> Vec<Watched> {
        let mut all = vec![
            ("redis", self.servers.redis.pid()),
            ("mysql", self.servers.mysql.pid()),
            ("rabbitmq", self.servers.rabbitmq.pid()),
            ("api", self.api.pid()),
        ];
        all.extend(self.worker.as_ref().map(|it| ("worker", it.pid())));
        all
    }
}

async fn wait(mut running: Running) -> anyhow::Result<i32> {
    loop {
        if let Some(status) = running.ended()? {
            return status.code().context("it was killed");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
