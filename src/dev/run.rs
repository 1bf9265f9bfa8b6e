//! `firstcome dev`: private servers, schema, demo catalogue, API and worker in one process.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use futures::TryFutureExt;
use serde::Serialize;

use super::private_redis::{Redis, RedisPids};
use super::{
    MysqlOptions, PrivateMysql, PrivateRabbitmq, RabbitmqOptions, ServerBinaries, demo, ports, reaper,
};
use crate::app::{Engine, check_exposure};
use crate::config::{Auth, Authorities, Secret, Settings};
use crate::identity::Tokens;
use crate::{mysql, telemetry};

/// How often the servers are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long the first opening of all cells may take.
const OPENING: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub struct DevOptions {
    /// Where the private servers keep their data
    #[arg(long, default_value = ".firstcome", value_name = "DIR")]
    data_dir: PathBuf,
    /// What is on sale at the first start
    #[arg(long, value_enum, default_value = "demo")]
    catalogue: Catalogue,
    /// Number of cells: 1, 2, 4, 8 and so on, up to 1024; fixed by the first start of a data folder
    #[arg(long, value_name = "N")]
    cells: Option<u16>,
    /// A Redis Cluster of so many servers in place of one: 3, or 6 for a replica of each; fixed by the first start
    #[arg(long, value_name = "N", value_parser = ["3", "6"])]
    redis_cluster: Option<String>,
    /// Start a server that died again, instead of only reporting it
    #[arg(long)]
    restart_servers: bool,
    /// Allow an address that others can reach, though everybody may do everything
    #[arg(long)]
    allow_insecure: bool,
    #[arg(long, env = "FIRSTCOME_REDIS_SERVER", value_name = "PATH")]
    redis_server: Option<PathBuf>,
    #[arg(long, env = "FIRSTCOME_MYSQLD", value_name = "PATH")]
    mysqld: Option<PathBuf>,
    #[arg(long, env = "FIRSTCOME_RABBITMQ_SERVER", value_name = "PATH")]
    rabbitmq_server: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Catalogue {
    Demo,
    Empty,
}

/// Servers of one data folder.
struct Servers {
    redis: Redis,
    mysql: PrivateMysql,
    rabbitmq: PrivateRabbitmq,
}

/// `endpoints.json`: what tools that watch a `dev` engine need to know.
#[derive(Serialize)]
struct Endpoints {
    http: String,
    redis: String,
    mysql: String,
    amqp: String,
    pids: Pids,
}

#[derive(Serialize)]
struct Pids {
    engine: u32,
    redis: RedisPids,
    mysql: u32,
    rabbitmq: u32,
}

/// Runs until `stop`, then ends everything it started.
pub async fn run(
    mut settings: Settings,
    options: DevOptions,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if let Some(cells) = options.cells {
        settings.cells = cells;
        settings.check()?;
    }
    check_exposure(&settings, options.allow_insecure)?;
    // Before any server is started.
    Tokens::load(&settings)?;
    let binaries = ServerBinaries::locate(
        options.redis_server.clone(),
        options.mysqld.clone(),
        options.rabbitmq_server.clone(),
    )?;
    let folder = options.data_dir.as_path();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let _only_one = lock(&folder)?;
    reaper::install(&std::env::current_exe()?).context("cannot start the reaper")?;

    let replicas = options.redis_cluster.as_deref().map(|it| it == "6");
    tokio::pin!(stop);
    let mut servers = tokio::select! {
        servers = Servers::start(&binaries, &folder, replicas) => servers?,
        () = &mut stop => return Ok(()),
    };
    servers.name_in(&mut settings);
    settings.max_in_flight = settings.max_in_flight.max(1_024);
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await?;
    // With one replica each, Redis could only be told to stop selling whenever a server dies.
    let require_durable = replicas != Some(true);
    let engine = Engine::start_demo(settings.clone(), require_durable, telemetry::install_metrics()?).await?;
    if !engine.wait_until_open(OPENING).await {
        bail!("the cell did not open within {OPENING:?}; see the log above");
    }
    if options.catalogue == Catalogue::Demo {
        demo::offer(engine.connections(), engine.watermark())
            .await
            .context("cannot load the demo catalogue")?;
    }
    let address = engine.address().context("dev always serves")?;
    servers.write_endpoints(&folder, address, &settings)?;
    println!("{}", welcome(address, &folder));
    if settings.auth == Auth::Jwt {
        println!("Every call needs a token (-H \"Authorization: Bearer …\"): firstcome token --user 1\n");
    }

    let result = tokio::select! {
        () = &mut stop => Ok(()),
        failed = servers.watch(options.restart_servers, |it| it.write_endpoints(&folder, address, &settings)) => failed,
    };
    tracing::info!("stopping: requests in flight and the current batch are finished first");
    engine.stop().await;
    servers.stop().await;
    result
}

impl Servers {
    /// `replicas`: a Redis Cluster, with or without them.
    async fn start(binaries: &ServerBinaries, folder: &Path, replicas: Option<bool>) -> anyhow::Result<Self> {
        Redis::check(folder, replicas)?;
        let mysql_port = ports::remembered(folder, "mysql").await?;
        let rabbitmq_port = ports::remembered(folder, "rabbitmq").await?;
        tracing::info!(folder = %folder.display(), "starting private servers; RabbitMQ takes about five seconds");
        let (redis, mysql, rabbitmq) = tokio::try_join!(
            Redis::start(binaries, folder, replicas),
            PrivateMysql::start(binaries, folder, mysql_port, MysqlOptions::for_sales()).err_into(),
            PrivateRabbitmq::start(binaries, folder, rabbitmq_port, RabbitmqOptions::default()).err_into(),
        )?;
        Ok(Self { redis, mysql, rabbitmq })
    }

    fn name_in(&self, settings: &mut Settings) {
        settings.redis_url = Secret::new(self.redis.url());
        settings.mysql_url = Secret::new(format!("{}firstcome", self.mysql.url()));
        settings.amqp_url = Secret::new(self.rabbitmq.url());
        // They speak no TLS.
        settings.tls_ca_file = Authorities::default();
    }

    /// Reports each server that dies, and starts it again where that was asked for. Ends only on an error.
    async fn watch(
        &mut self,
        restart: bool,
        restarted: impl Fn(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // Those whose death was told.
        let mut reported = HashSet::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let mut exits = self.redis.exits();
            exits.push(("mysql".to_owned(), self.mysql.has_exited()));
            exits.push(("rabbitmq".to_owned(), self.rabbitmq.has_exited()));
            for (server, exit) in exits {
                let Some(status) = exit else {
                    reported.remove(&server);
                    continue;
                };
                if reported.insert(server.clone()) {
                    let hint = if restart { "" } else { "; --restart-servers starts them again" };
                    tracing::error!(server, %status, "a private server died{hint}");
                }
                if restart {
                    match server.as_str() {
                        "mysql" => self.mysql.restart().await?,
                        "rabbitmq" => self.rabbitmq.restart().await?,
                        redis => self.redis.restart(redis).await?,
                    }
                    tracing::info!(server, "started again");
                    restarted(self)?;
                }
            }
        }
    }

    async fn stop(mut self) {
        tokio::join!(self.redis.stop(), self.mysql.stop(), self.rabbitmq.stop());
    }

    /// Writes `endpoints.json` beside its place, then moves it there: readers never see half of it.
    fn write_endpoints(&self, folder: &Path, address: SocketAddr, settings: &Settings) -> anyhow::Result<()> {
        let endpoints = Endpoints {
            http: format!("http://{address}"),
            redis: settings.redis_url.expose().to_owned(),
            mysql: settings.mysql_url.expose().to_owned(),
            amqp: settings.amqp_url.expose().to_owned(),
            pids: Pids {
                engine: std::process::id(),
                redis: self.redis.pids(),
                mysql: self.mysql.pid(),
                rabbitmq: self.rabbitmq.pid(),
            },
        };
        let (new, place) = (folder.join("endpoints.json.new"), folder.join("endpoints.json"));
        std::fs::write(&new, serde_json::to_string_pretty(&endpoints)?)?;
        std::fs::rename(&new, &place).with_context(|| format!("cannot write {}", place.display()))
    }
}

/// Keeps a second `dev` from using the same folder; the lock ends with the process, however it ends.
fn lock(folder: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!("another `firstcome dev` uses {}; choose another --data-dir", folder.display()),
    }
}

fn welcome(address: SocketAddr, folder: &Path) -> String {
    format!(
        "\nfirstcome sells on http://{address}\n\n  \
         shop       http://{address}/\n  \
         console    http://{address}/console    press \"Start a rush\" and watch\n  \
         API        http://{address}/docs\n  \
         products   curl -s http://{address}/products\n  \
         buy one    curl -s -X POST http://{address}/orders -H 'Content-Type: application/json' \
         -H \"Idempotency-Key: $(date +%s%N)\" \
         -d '{{\"userId\": 1, \"items\": [{{\"productId\": 1, \"quantity\": 1}}]}}'\n  \
         metrics    http://{address}/metrics\n  \
         servers    {}\n\nCtrl-C stops everything; a second start goes on with the same data.\n",
        folder.join("endpoints.json").display()
    )
}
