//! A private Redis (or Valkey) that loses no acknowledged write.

use std::ops::{Deref, DerefMut};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::dev::{
    binaries::ServerBinaries, data_folder, process::ServerProcess, readiness::redis_is_ready,
    server_error::ServerError,
};

const SERVER: &str = "redis";
/// Redis writes its append-only file before it leaves; that is quick unless the disk is not.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// When Redis makes its append-only file durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before every reply: nothing that a client was told is lost.
    #[default]
    Always,
    /// Once a second: faster, and a crash of the machine may lose that second.
    EverySec,
}

/// What can differ between private Redis servers.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    pub fsync: Fsync,
    /// Further arguments, such as `--cluster-enabled yes`; a setting given here wins.
    pub extra_args: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
}

/// A running Redis server with its data in `<data_dir>/redis`.
#[derive(Debug)]
pub struct PrivateRedis {
    program: PathBuf,
    data_dir: PathBuf,
    port: u16,
    options: RedisOptions,
    process: ServerProcess,
}

impl Deref for PrivateRedis {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.process
    }
}

impl DerefMut for PrivateRedis {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.process
    }
}

impl PrivateRedis {
    /// Starts Redis and waits until it has loaded its data and answers PING.
    ///
    /// # Errors
    /// When it does not get there within two minutes.
    pub async fn start(
        binaries: &ServerBinaries,
        data_dir: &Path,
        port: u16,
        options: RedisOptions,
    ) -> Result<Self, ServerError> {
        let program = binaries.redis_server.clone();
        let data_dir = data_folder::absolute(SERVER, data_dir)?;
        let process = launch(&program, &data_dir, port, &options).await?;
        Ok(Self { program, data_dir, port, options, process })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Stops Redis with SIGTERM; kills it when it has not left after 15 seconds.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP_GRACE).await
    }

    /// Starts Redis again on the same port with the same data; kills it first if it is alive.
    ///
    /// # Errors
    /// As of [`PrivateRedis::start`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.kill().await;
        self.process = launch(&self.program, &self.data_dir, self.port, &self.options).await?;
        Ok(())
    }
}

async fn launch(
    program: &Path,
    data_dir: &Path,
    port: u16,
    options: &RedisOptions,
) -> Result<ServerProcess, ServerError> {
    let folder = data_dir.join("redis");
    data_folder::create_for(SERVER, &folder)?;
    let fsync = match options.fsync {
        Fsync::Always => "always",
        Fsync::EverySec => "everysec",
    };
    let mut command = Command::new(program);
    command
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .args(["--port", &port.to_string()])
        .args(["--bind", "127.0.0.1"])
        .args(["--protected-mode", "yes"])
        .args(["--daemonize", "no"])
        .arg("--dir")
        .arg(&folder)
        .args(["--appendonly", "yes"])
        .args(["--appendfsync", fsync])
        // The append-only file is the only copy that counts; snapshots would cost forks.
        .args(["--save", ""])
        // From 64 MB on, as is the default, a sale would have the whole dataset written anew every few seconds.
        .args(["--auto-aof-rewrite-min-size", "256mb"])
        // The engine's keys are its ledger: a write must be refused before any key is evicted.
        .args(["--maxmemory-policy", "noeviction"])
        .args(&options.extra_args);
    let mut process = ServerProcess::spawn(SERVER, &mut command, data_dir).await?;
    process.wait_until_ready(async || redis_is_ready(port).await).await?;
    Ok(process)
}
