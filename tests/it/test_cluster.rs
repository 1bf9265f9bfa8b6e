//! A Redis Cluster of one's own, and an engine of eight cells on it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firstcome::cell::{CellId, Cells};
use firstcome::config::{Address, Secret, Settings};
use firstcome::dev::{ClusterOptions, Fsync, PrivateCluster};
use firstcome::ids::UserId;
use firstcome::scripts::cluster::Cluster;
use firstcome::worker::drain_events;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::{TestApp, eventually};
use super::test_servers::{self, binaries, fresh_folder};

pub const CELLS: u16 = 8;

/// What each call charges.
pub const AMOUNT: i64 = 7;

/// How long a server may be silent until it counts as down. Redis allows no failover much below it.
const NODE_TIMEOUT_MS: u32 = 1_000;

/// What callers were told, by idempotency key, and when: the number of charges that were told before.
pub type Told = Mutex<BTreeMap<String, u64>>;

pub async fn start_cluster(replicas: bool) -> PrivateCluster {
    start_cluster_with(replicas, "").await
}

pub async fn start_cluster_with(replicas: bool, password: &str) -> PrivateCluster {
    let options = ClusterOptions { replicas, password: password.to_owned(), ..ClusterOptions::default() };
    start_cluster_of(options).await
}

/// Its servers fail quickly, and let the kernel write their files.
pub async fn start_cluster_of(mut options: ClusterOptions) -> PrivateCluster {
    options.node_timeout_ms = NODE_TIMEOUT_MS;
    options.each.fsync = Fsync::EverySec;
    PrivateCluster::start(&binaries(), &fresh_folder(), &options).await.unwrap()
}

/// An engine on a cluster. The test's own Redis has no part in it.
pub async fn start_engine(cluster: &PrivateCluster) -> TestApp {
    start_engine_with(cluster, |_| {}).await
}

pub async fn start_engine_with(cluster: &PrivateCluster, change: impl FnOnce(&mut Settings)) -> TestApp {
    let (spare, folder) = test_servers::redis().await;
    let settings = |settings: &mut Settings| {
        settings.redis_url = Secret::new(cluster.url());
        settings.cells = CELLS;
        change(settings);
    };
    TestApp::start_on(spare, folder, settings).await
}

pub fn topology(app: &TestApp) -> &Cluster {
    app.connections().scripts.cluster().expect("the engine is on a cluster")
}

pub fn cell_of(user: u64) -> CellId {
    Cells::new(CELLS).unwrap().of_user(UserId::new(user).unwrap())
}

/// The first users of a cell.
pub fn users_of(cell: CellId) -> impl Iterator<Item = u64> {
    (1..).filter(move |it| cell_of(*it) == cell)
}

/// The server that has a cell, by its place in the cluster, as the engine sees it.
pub fn server_of(app: &TestApp, cluster: &PrivateCluster, cell: CellId) -> usize {
    found_on(app, cluster, cell).expect("a server of this cluster")
}

/// The same; `None` while no server has it, between the death of one and the promotion of its replica.
pub fn found_on(app: &TestApp, cluster: &PrivateCluster, cell: CellId) -> Option<usize> {
    let Address { port, .. } = topology(app).address(cell)?;
    (0..cluster.servers.len()).find(|it| cluster.port(*it) == port)
}

pub fn cells_on(app: &TestApp, cluster: &PrivateCluster, server: usize) -> Vec<CellId> {
    (0..CELLS).map(CellId).filter(|it| server_of(app, cluster, *it) == server).collect()
}

pub async fn epoch(app: &TestApp, cell: CellId) -> u64 {
    let sql = "SELECT epoch FROM cells WHERE cell = ?";
    sqlx::query_scalar(sql).bind(cell.0).fetch_one(&app.connections().mysql).await.unwrap()
}

/// Waits until MySQL has every event of these cells.
pub async fn drain(app: &TestApp, cells: impl IntoIterator<Item = CellId>) {
    for cell in cells {
        drain_events(&app.connections().worker(), cell, Duration::from_secs(60)).await.unwrap();
    }
}

pub async fn charge(app: &TestApp, user: u64, key: &str) -> StatusCode {
    let answer = app.post_once(&format!("/users/{user}/balance"), key, json!({"amount": AMOUNT})).await;
    let status = answer.status;
    let expected = [StatusCode::CREATED, StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];
    assert!(expected.contains(&status), "{answer:?}");
    assert!(
        status != StatusCode::SERVICE_UNAVAILABLE || answer.header("retry-after").is_some(),
        "{answer:?}"
    );
    status
}

/// Charges a user without end, each time under a key of its own, and repeats it until it hears a success.
pub async fn charge_on(app: &TestApp, user: u64, stop: &AtomicBool, told: &Told) {
    for number in 1.. {
        let key = format!("{user}-{number}");
        while charge(app, user, &key).await == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut told = told.lock().unwrap();
        let before = told.len() as u64;
        told.insert(key, before);
        drop(told);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Charges of a cell's users that were told.
pub fn told_of(told: &Told, cell: CellId) -> usize {
    let user = |key: &str| key.split('-').next().unwrap().parse().unwrap();
    told.lock().unwrap().keys().filter(|it| cell_of(user(it)) == cell).count()
}

/// Waits until each cell has told some more.
pub async fn wait_for_charges(told: &Told, cells: &[CellId]) {
    let before: Vec<usize> = cells.iter().map(|it| told_of(told, *it)).collect();
    eventually!(cells.iter().zip(&before).all(|(cell, before)| told_of(told, *cell) > before + 2));
}

/// What MySQL has of the charges that were told: keys that are missing. None is there twice, nobody was charged without
/// being told, and each balance is what its charges add up to.
pub async fn missing(app: &TestApp, told: &Told) -> Vec<String> {
    drain(app, (0..CELLS).map(CellId)).await;
    let mysql = &app.connections().mysql;
    let sql = "SELECT user_id, idem_key FROM idempotency WHERE idem_key LIKE '%-%'";
    let stored: Vec<(u64, String)> = sqlx::query_as(sql).fetch_all(mysql).await.unwrap();
    let told = told.lock().unwrap().clone();
    let mut charges: BTreeMap<u64, i64> = BTreeMap::new();
    for (user, key) in &stored {
        assert!(told.contains_key(key), "{user} was charged under {key}, and nobody was told");
        *charges.entry(*user).or_default() += 1;
    }
    let sql = "SELECT user_id, CAST(COUNT(*) AS SIGNED) FROM ledger WHERE kind = 'charge' GROUP BY user_id";
    let ledger: BTreeMap<u64, i64> =
        sqlx::query_as::<_, (u64, i64)>(sql).fetch_all(mysql).await.unwrap().into_iter().collect();
    assert_eq!(ledger, charges, "each key is one charge");
    for (user, charges) in charges {
        assert_eq!(app.balance(user).await, charges * AMOUNT, "user {user}");
    }
    let stored: std::collections::BTreeSet<String> = stored.into_iter().map(|it| it.1).collect();
    told.into_keys().filter(|it| !stored.contains(it)).collect()
}

/// One user of each cell.
pub async fn users(app: &TestApp) -> Vec<u64> {
    let users: Vec<u64> = (0..CELLS).map(|it| users_of(CellId(it)).next().unwrap()).collect();
    for user in &users {
        app.user_with(*user, 0).await;
    }
    users
}
