//! Private servers of the test run: one MySQL and one RabbitMQ for all tests, a Redis for each.
//! They end with this process, however it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use firstcome::dev::{
    Fsync, MysqlOptions, PrivateMysql, PrivateRabbitmq, PrivateRedis, RabbitmqOptions, RedisOptions,
    ServerBinaries, ports, reaper,
};
use tokio::sync::OnceCell;

use super::test_clock::TestClock;

/// URLs of the servers that all tests share. Nobody may stop these.
pub struct SharedServers {
    pub mysql_url: String,
    pub amqp_url: String,
    _mysql: PrivateMysql,
    _rabbitmq: PrivateRabbitmq,
}

/// The servers under test: those named in the environment, else the system's.
pub fn binaries() -> ServerBinaries {
    ServerBinaries::locate(None, None, None).expect("the set-up has installed the servers")
}

pub async fn shared() -> &'static SharedServers {
    static SHARED: OnceCell<SharedServers> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            let folder = run_folder();
            let (binaries, mysql_port, rabbitmq_port) =
                (binaries(), ports::free().unwrap(), ports::free().unwrap());
            let (mysql, rabbitmq) = tokio::try_join!(
                PrivateMysql::start(&binaries, &folder, mysql_port, MysqlOptions::default()),
                PrivateRabbitmq::start(&binaries, &folder, rabbitmq_port, RabbitmqOptions::default()),
            )
            .expect("private servers start");
            SharedServers {
                mysql_url: mysql.url(),
                amqp_url: rabbitmq.url(),
                _mysql: mysql,
                _rabbitmq: rabbitmq,
            }
        })
        .await
}

/// A folder of its own for what one test starts.
pub fn fresh_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = run_folder().join(format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A Redis of one's own, with the durable settings.
pub async fn redis() -> (PrivateRedis, PathBuf) {
    let folder = fresh_folder();
    let redis = start_redis(&folder, RedisOptions::default()).await;
    (redis, folder)
}

/// The same, with a clock that the test can move.
pub async fn redis_with_clock() -> (PrivateRedis, PathBuf, TestClock) {
    let folder = fresh_folder();
    let clock = TestClock::new(&folder);
    let redis = start_redis(&folder, RedisOptions { env: clock.env(), ..RedisOptions::default() }).await;
    (redis, folder, clock)
}

/// Tests kill Redis, never the machine: what the kernel has is safe.
pub async fn start_redis(folder: &Path, options: RedisOptions) -> PrivateRedis {
    let port = ports::free().unwrap();
    run_folder();
    PrivateRedis::start(&binaries(), folder, port, RedisOptions { fsync: Fsync::EverySec, ..options })
        .await
        .unwrap()
}

/// The folder of this run. Made once, together with the reaper; folders of earlier runs go.
fn run_folder() -> PathBuf {
    static FOLDER: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FOLDER
        .get_or_init(|| {
            reaper::install(Path::new(env!("CARGO_BIN_EXE_firstcome"))).expect("the reaper starts");
            let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
            for run in std::fs::read_dir(&all).into_iter().flatten().flatten() {
                let alive = Path::new("/proc").join(run.file_name()).exists();
                if !alive {
                    let _ = std::fs::remove_dir_all(run.path());
                }
            }
            let folder = all.join(std::process::id().to_string());
            std::fs::create_dir_all(&folder).unwrap();
            folder
        })
        .clone()
}
