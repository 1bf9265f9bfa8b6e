//! Private servers of the runs that the simulation is compared with, and the engine on them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use firstcome::config::Secret;
use firstcome::dev::{
    MysqlOptions, PrivateMysql, PrivateRabbitmq, PrivateRedis, RabbitmqOptions, RedisOptions, ServerBinaries,
    ports, reaper,
};
use firstcome::mysql;
use sqlx::mysql::MySqlPool;

/// How long an engine may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// With the durable settings. All of it ends, and its folder goes, with this value.
pub struct Servers {
    pub binaries: ServerBinaries,
    pub mysql: PrivateMysql,
    pub rabbitmq: PrivateRabbitmq,
    engine: PathBuf,
    // Last: the servers write there until they are gone.
    folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Servers {
    pub async fn start() -> anyhow::Result<Self> {
        let examples = std::env::current_exe()?;
        let engine = examples.ancestors().nth(2).context("a folder")?.join("firstcome");
        anyhow::ensure!(engine.exists(), "cargo build --release --bin firstcome comes first");
        reaper::install(&engine).context("cannot start the reaper")?;
        let binaries = ServerBinaries::locate(None, None, None)?;
        let folder = Folder(std::env::temp_dir().join(format!("firstcome-scaling-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        let (mysql_port, rabbitmq_port) = (ports::free()?, ports::free()?);
        let (mysql, rabbitmq) = tokio::try_join!(
            PrivateMysql::start(&binaries, &folder.0, mysql_port, MysqlOptions::for_sales()),
            PrivateRabbitmq::start(&binaries, &folder.0, rabbitmq_port, RabbitmqOptions::default()),
        )?;
        Ok(Self { binaries, mysql, rabbitmq, engine, folder })
    }

    pub async fn redis(&self, name: &str) -> anyhow::Result<PrivateRedis> {
        let data = self.folder.0.join(name);
        std::fs::create_dir_all(&data)?;
        Ok(PrivateRedis::start(&self.binaries, &data, ports::free()?, RedisOptions::default()).await?)
    }
}

/// An engine of so many cells on a Redis and a database of its own.
pub struct Engine {
    pub redis: PrivateRedis,
    pub mysql: MySqlPool,
    /// URLs of its API nodes. The first one is the worker, too.
    pub nodes: Vec<String>,
    processes: Vec<Running>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if let Some(reaper) = reaper::installed() {
            let _ = reaper.forget(self.0.id());
        }
    }
}

impl Engine {
    pub async fn start(
        servers: &Servers,
        name: &str,
        cells: u16,
        api_nodes: usize,
        users: u64,
    ) -> anyhow::Result<Self> {
        let redis = servers.redis(name).await?;
        let mysql_url = format!("{}{name}", servers.mysql.url());
        let secret = Secret::new(&mysql_url);
        mysql::migrate(&secret, &Default::default()).await?;
        let mysql = mysql::connect(&secret, &Default::default(), 2).await?;
        let command = || {
            let mut command = Command::new(&servers.engine);
            command
                .current_dir("/")
                .env("FIRSTCOME_REDIS_URL", redis.url())
                .env("FIRSTCOME_MYSQL_URL", &mysql_url)
                .env("FIRSTCOME_AMQP_URL", servers.rabbitmq.url())
                .env("FIRSTCOME_CELLS", cells.to_string())
                .env("FIRSTCOME_MYSQL_CONNECTIONS", (16 + 2 * cells).to_string())
                .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()))
                .stdin(Stdio::null());
            command
        };
        let (mut nodes, mut processes) = (Vec::new(), Vec::new());
        for number in 0..api_nodes {
            let address = format!("127.0.0.1:{}", ports::free()?);
            let role = if number == 0 { "all" } else { "api" };
            let mut serve = command();
            serve.args(["serve", "--role", role, "--listen", &address]);
            let child = serve.env("TOKIO_WORKER_THREADS", "1").spawn().context("cannot start the engine")?;
            let running = Running(child);
            if let Some(reaper) = reaper::installed() {
                reaper.watch(running.0.id())?;
            }
            nodes.push(format!("http://{address}"));
            processes.push(running);
            wait_until_ready(&nodes[number]).await?;
        }
        let seeds = command()
            .args(["seed", "--products", "0", "--users", &users.to_string(), "--balance", "1000000"])
            .stdout(Stdio::null())
            .spawn()?;
        let mut seeds = Running(seeds);
        let seeded = tokio::task::spawn_blocking(move || seeds.0.wait()).await??;
        anyhow::ensure!(seeded.success(), "seeding failed");
        Ok(Self { redis, mysql, nodes, processes })
    }

    /// Waits until MySQL has every event.
    pub async fn drain(&self, cells: u16) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis.url())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let began = Instant::now();
        for cell in 0..cells {
            let log = firstcome::scripts::keys::events(firstcome::cell::CellId(cell));
            let newest: Vec<(String, Vec<String>)> =
                redis::cmd("XREVRANGE").arg(&[&log, "+", "-", "COUNT", "1"]).query_async(&mut redis).await?;
            let newest: firstcome::cell::Position = newest.first().context("an event log")?.0.parse()?;
            loop {
                let persisted: u64 = sqlx::query_scalar("SELECT persisted_seq FROM cells WHERE cell = ?")
                    .bind(cell)
                    .fetch_one(&self.mysql)
                    .await?;
                if persisted >= newest.seq {
                    break;
                }
                anyhow::ensure!(began.elapsed() < PATIENCE, "the backlog is not written in time");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    pub fn is_alive(&mut self) -> anyhow::Result<bool> {
        for process in &mut self.processes {
            if process.0.try_wait()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let (began, url) = (Instant::now(), format!("{url}/readyz"));
    while !reqwest::get(&url).await.is_ok_and(|it| it.status().is_success()) {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the engine is not ready in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
