//! Where an engine of a test has its keys: a Redis of its own, or with `FIRSTCOME_TEST_REDIS=cluster` a cluster that no
//! other test uses meanwhile.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::Utc;
use firstcome::cell::CellId;
use firstcome::dev::{ClusterOptions, Fsync, PrivateCluster, PrivateRedis, RedisOptions};
use firstcome::scripts::cluster::slots::{SLOTS, slot_of_cell};
use firstcome::time::Millis;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::cell_dump::{Dump, connect, dump, everything};
use super::test_clock::TestClock;
use super::test_servers::{binaries, fresh_folder, start_redis};

/// Nothing fails here, and a slow machine is not to look as if something did.
const NODE_TIMEOUT_MS: u32 = 15_000;

/// The same where a test moves the clock, by days.
const CLOCKED_NODE_TIMEOUT_MS: u32 = i32::MAX as u32;

/// Clusters that no test uses now. To form one takes three seconds.
static FREE: Mutex<Vec<PrivateCluster>> = Mutex::new(Vec::new());

pub enum TestRedis {
    One(PrivateRedis),
    Cluster(LentCluster),
}

impl From<PrivateRedis> for TestRedis {
    fn from(redis: PrivateRedis) -> Self {
        Self::One(redis)
    }
}

/// Whether the engines of this run are on clusters: `FIRSTCOME_TEST_REDIS=cluster`.
pub fn is_on_cluster() -> bool {
    match std::env::var("FIRSTCOME_TEST_REDIS").ok().as_deref() {
        None | Some("" | "single") => false,
        Some("cluster") => true,
        Some(other) => panic!("FIRSTCOME_TEST_REDIS is {other}; allowed: single, cluster"),
    }
}

/// How many cells the engines of this run have: `FIRSTCOME_TEST_CELLS`, or one, on clusters eight.
pub fn cells() -> u16 {
    match std::env::var("FIRSTCOME_TEST_CELLS").ok().filter(|it| !it.is_empty()) {
        Some(asked) => asked.parse().expect("FIRSTCOME_TEST_CELLS is a number"),
        None if is_on_cluster() => 8,
        None => 1,
    }
}

impl TestRedis {
    pub async fn lent_cluster() -> Self {
        Self::Cluster(LentCluster { cluster: Some(free_cluster().await), comes_back: true })
    }

    /// One Redis, or a cluster where this run has them, whose clock shows a time, and can be moved. They keep nothing on disk.
    pub async fn with_clock(at_ms: Millis) -> (Self, TestClock) {
        if !is_on_cluster() {
            let (redis, clock) = stopped_redis(at_ms).await;
            return (Self::One(redis), clock);
        }
        let folder = fresh_folder();
        let (clock, each) = clocked(&folder, at_ms);
        let node_timeout_ms = CLOCKED_NODE_TIMEOUT_MS;
        let options = ClusterOptions { node_timeout_ms, each, ..ClusterOptions::default() };
        let cluster = PrivateCluster::start(&binaries(), &folder, &options).await.unwrap();
        clock.stop_at(at_ms);
        (Self::Cluster(LentCluster { cluster: Some(cluster), comes_back: false }), clock)
    }

    /// In the syntax of the setting `redis_url`.
    pub fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Cluster(lent) => lent.cluster().url(),
        }
    }

    /// Of the server that has a cell.
    pub fn url_of(&self, cell: CellId) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Cluster(lent) => server_of(lent.cluster(), cell).url(),
        }
    }

    /// The server of a test that began with [`super::test_app::TestApp::start_with_own_redis`].
    pub fn own(&mut self) -> &mut PrivateRedis {
        match self {
            Self::One(redis) => redis,
            Self::Cluster(_) => panic!("the test has to start with a Redis of its own"),
        }
    }

    /// A connection to the server that has a cell.
    pub async fn connect(&self, cell: CellId) -> MultiplexedConnection {
        connect(&self.url_of(cell)).await
    }

    pub async fn dump(&self) -> Dump {
        dump(&self.url()).await
    }

    /// All keys, and how many events there are.
    pub async fn everything(&self) -> (Dump, u64) {
        everything(&self.url()).await
    }

    /// Keys of all cells that match a pattern.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for url in self.url().split(',') {
            keys.extend(connect(url).await.keys::<_, Vec<String>>(pattern).await.unwrap());
        }
        keys
    }

    /// All data is gone.
    pub async fn flush_all(&self) {
        for url in self.url().split(',') {
            let () = redis::cmd("FLUSHALL").query_async(&mut connect(url).await).await.unwrap();
        }
    }
}

/// Given back when the test ends well, unless it has a clock of its own.
pub struct LentCluster {
    cluster: Option<PrivateCluster>,
    comes_back: bool,
}

impl LentCluster {
    fn cluster(&self) -> &PrivateCluster {
        self.cluster.as_ref().expect("not given back yet")
    }
}

impl Drop for LentCluster {
    fn drop(&mut self) {
        // The engine of a test that failed may still run.
        if self.comes_back && !std::thread::panicking() {
            FREE.lock().unwrap().extend(self.cluster.take());
        }
    }
}

/// Each has the same share of the slots, and keeps it.
fn server_of(cluster: &PrivateCluster, cell: CellId) -> &PrivateRedis {
    let servers = &cluster.servers;
    let is_behind =
        |server: &usize| usize::from(SLOTS) * (server + 1) / servers.len() > slot_of_cell(cell).into();
    &servers[(0..servers.len()).find(is_behind).expect("every slot has a server")]
}

/// A Redis whose clock shows a time, and can be moved. It keeps nothing on disk.
pub async fn stopped_redis(at_ms: Millis) -> (PrivateRedis, TestClock) {
    let folder = fresh_folder();
    let (clock, options) = clocked(&folder, at_ms);
    let redis = start_redis(&folder, options).await;
    clock.stop_at(at_ms);
    (redis, clock)
}

/// The clock goes on from that time while servers start.
fn clocked(folder: &Path, at_ms: Millis) -> (TestClock, RedisOptions) {
    let clock = TestClock::new(folder);
    clock.advance_seconds((at_ms - Utc::now().timestamp_millis()) / 1_000);
    let extra_args = ["--appendonly", "no"].map(str::to_owned).to_vec();
    let env = clock.env();
    (clock, RedisOptions { env, extra_args, ..RedisOptions::default() })
}

/// A cluster as it was when it was formed: an earlier one that nobody talks to any more, or a new one.
async fn free_cluster() -> PrivateCluster {
    let free = FREE.lock().unwrap().pop();
    if let Some(cluster) = free
        && is_left_alone(&cluster).await
    {
        for server in 0..cluster.servers.len() {
            for command in ["FLUSHALL", "SCRIPT FLUSH"] {
                let words: Vec<&str> = command.split(' ').collect();
                cluster.ask::<()>(server, &words).await.unwrap();
            }
        }
        return cluster;
    }
    let each = RedisOptions { fsync: Fsync::EverySec, ..RedisOptions::default() };
    let options = ClusterOptions { node_timeout_ms: NODE_TIMEOUT_MS, each, ..ClusterOptions::default() };
    PrivateCluster::start(&binaries(), &fresh_folder(), &options).await.unwrap()
}

/// Whether no engine and no test is connected to a cluster any more, within a second: what a process that outlived its test
/// does would be seen in the next one.
async fn is_left_alone(cluster: &PrivateCluster) -> bool {
    let deadline = Instant::now() + Duration::from_secs(1);
    for url in cluster.url().split(',') {
        let mut connection = connect(url).await;
        loop {
            let clients: String =
                redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await.unwrap();
            if clients.lines().count() == 1 {
                break;
            }
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    true
}
