//! The private servers of a run, and its folder. All of it is gone when the run ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use firstcome::dev::{
    MysqlOptions, PrivateMysql, PrivateRabbitmq, PrivateRedis, RabbitmqOptions, RedisOptions, ServerBinaries,
    ports, reaper,
};

/// A folder of this process, among those of the build.
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Folders of runs that were killed go too.
    pub fn make() -> anyhow::Result<Self> {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        for run in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(run.file_name()).exists() {
                let _ = fs::remove_dir_all(run.path());
            }
        }
        let folder = all.join(std::process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// A folder in it.
    pub fn sub(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// With the durable settings: `appendfsync always`, `innodb_flush_log_at_trx_commit = 1`, quorum queues.
pub struct Servers {
    pub binaries: ServerBinaries,
    pub redis: PrivateRedis,
    pub mysql: PrivateMysql,
    pub rabbitmq: PrivateRabbitmq,
    // Last: fields are dropped in this order, and the servers write there until they are gone.
    pub folder: RunFolder,
}

impl Servers {
    pub async fn start() -> anyhow::Result<Self> {
        reaper::install(Path::new(env!("CARGO_BIN_EXE_firstcome"))).context("cannot start the reaper")?;
        let binaries = ServerBinaries::locate(None, None, None)?;
        let folder = RunFolder::make()?;
        let data = folder.sub("servers")?;
        let (redis_port, mysql_port, rabbitmq_port) = (ports::free()?, ports::free()?, ports::free()?);
        let (redis, mysql, rabbitmq) = tokio::try_join!(
            PrivateRedis::start(&binaries, &data, redis_port, RedisOptions::default()),
            PrivateMysql::start(&binaries, &data, mysql_port, MysqlOptions::for_sales()),
            PrivateRabbitmq::start(&binaries, &data, rabbitmq_port, RabbitmqOptions::default()),
        )?;
        Ok(Self { binaries, redis, mysql, rabbitmq, folder })
    }

    /// One more Redis, for what is measured apart from the engine.
    pub async fn another_redis(&self, name: &str) -> anyhow::Result<PrivateRedis> {
        let data = self.folder.sub(name)?;
        Ok(PrivateRedis::start(&self.binaries, &data, ports::free()?, RedisOptions::default()).await?)
    }
}
