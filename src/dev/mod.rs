//! Private servers: Redis, MySQL and RabbitMQ as child processes, for `firstcome dev` and the
//! integration tests.
//!
//! Each server listens on a loopback port of its own and keeps its data and its log in one
//! folder. None outlives the engine: a dropped handle kills its server, and the reaper kills
//! what is left when the engine itself was killed.

pub mod binaries;
mod data_folder;
pub mod demo;
mod mysql_install;
pub mod mysql_server;
pub mod ports;
mod private_redis;
pub mod process;
pub mod rabbitmq_server;
mod readiness;
pub mod reaper;
pub mod redis_cluster;
pub mod redis_server;
pub mod run;
pub mod server_error;

pub use binaries::{MissingServer, ServerBinaries, SqlFlavour};
pub use mysql_server::{MysqlOptions, PrivateMysql};
pub use process::ServerProcess;
pub use rabbitmq_server::{PrivateRabbitmq, RabbitmqOptions};
pub use reaper::Reaper;
pub use redis_cluster::{ClusterOptions, PrivateCluster};
pub use redis_server::{Fsync, PrivateRedis, RedisOptions};
pub use server_error::ServerError;

/// Threads of an engine whose servers run on the same machine: half the cores, because they need the others.
pub fn threads() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}
