//! Promise: on a Redis Cluster each cell is where its slot is, and the others sell on while one of its servers is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firstcome::cell::CellId;
use firstcome::config::Authorities;
use firstcome::dev::PrivateRedis;
use firstcome::scripts::connect::RedisServer;
use firstcome::scripts::servers::Redis;
use futures::future::join_all;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal};

use super::test_app::eventually;
use super::test_cluster::{
    AMOUNT, CELLS, Told, cell_of, cells_on, charge, charge_on, drain, epoch, missing, server_of,
    start_cluster, start_cluster_with, start_engine, start_engine_with, topology, users, wait_for_charges,
};

/// Goal: each cell's keys are on the server of its slot; users of all cells are made, charged, read and persisted; cells
/// cost no more connections than servers do; the audit finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_are_spread_over_the_servers() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    for user in 1..=40 {
        app.user_with(user, 0).await;
        assert_eq!(charge(&app, user, &format!("{user}-1")).await, StatusCode::CREATED);
        assert_ne!(charge(&app, user, &format!("{user}-1")).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(app.balance(user).await, AMOUNT, "a retry charges nothing");
    }
    drain(&app, (0..CELLS).map(CellId)).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM ledger").await, 40);
    let mut found = 0;
    for server in 0..cluster.servers.len() {
        let cells = cells_on(&app, &cluster, server);
        assert!(!cells.is_empty(), "no cell on server {server}");
        let mut gates: Vec<String> = cluster.ask(server, &["KEYS", "*:gate"]).await.unwrap();
        gates.sort();
        assert_eq!(gates, cells.iter().map(|it| format!("{{c{it}}}:gate")).collect::<Vec<_>>());
        let wallets: Vec<String> = cluster.ask(server, &["KEYS", "*:user:*"]).await.unwrap();
        found += wallets.len();
        let clients: String = cluster.ask(server, &["CLIENT", "LIST", "TYPE", "NORMAL"]).await.unwrap();
        // One for all requests, four for large replies, one each for memory, the map, and a look at the file; and this.
        assert!(clients.lines().count() <= 5 + 3 + 1 + cells.len(), "{clients}");
    }
    assert_eq!(found, 40);
    for cell in (0..CELLS).map(CellId) {
        let said =
            cluster.ask::<u16>(0, &["CLUSTER", "KEYSLOT", &format!("{{c{cell}}}:gate")]).await.unwrap();
        assert_eq!(topology(&app).primary(said), topology(&app).address(cell));
    }
    app.finish().await;
}

/// Half of the servers are replicas; a primary is killed while users of all cells are charged. Goal: its cells are
/// recovered into a new epoch on the replica, the others answer all the time; what MySQL had is there, what is not was
/// counted as lost, and nothing is there twice. Then the old primary comes back, as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced() {
    is_replaced(Fault::Killed).await;
}

/// The same with a primary that stands still, and goes on later as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_is_replaced() {
    is_replaced(Fault::Frozen).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Frozen,
}

fn signal(server: &PrivateRedis, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(server.pid() as i32).unwrap(), signal).unwrap();
}

async fn is_replaced(fault: Fault) {
    let mut cluster = start_cluster(true).await;
    let app = start_engine(&cluster).await;
    let users = users(&app).await;
    let dead = server_of(&app, &cluster, CellId(0));
    let cells = cells_on(&app, &cluster, dead);
    let others: Vec<CellId> = (0..CELLS).map(CellId).filter(|it| !cells.contains(it)).collect();
    let (stop, told) = (AtomicBool::new(false), Told::default());
    let chargers = join_all(users.iter().map(|it| charge_on(&app, *it, &stop, &told)));
    let failover = async {
        wait_for_charges(&told, &cells).await;
        eventually!(!stored_keys(&app).await.is_empty());
        let persisted: Vec<String> = stored_keys(&app).await;
        let mut epochs = Vec::new();
        for cell in &cells {
            epochs.push(epoch(&app, *cell).await);
        }
        let clock = std::time::Instant::now();
        match fault {
            Fault::Killed => drop(cluster.servers[dead].kill().await),
            Fault::Frozen => signal(&cluster.servers[dead], Signal::STOP),
        }
        // Nobody has taken its place yet.
        wait_for_charges(&told, &others).await;
        println!("others sell after {:?}", clock.elapsed());
        for (cell, before) in cells.iter().zip(&epochs) {
            eventually!(epoch(&app, *cell).await > *before);
        }
        wait_for_charges(&told, &cells).await;
        println!("its cells sell after {:?}", clock.elapsed());
        assert_ne!(server_of(&app, &cluster, CellId(0)), dead);
        cluster.servers[dead].restart().await.unwrap();
        eventually!(cluster.ask::<redis::InfoDict>(dead, &["INFO", "replication"]).await.is_ok_and(|it| {
            it.get::<String>("role").as_deref() == Some("slave")
                && it.get::<String>("master_link_status").as_deref() == Some("up")
        }));
        wait_for_charges(&told, &cells).await;
        stop.store(true, Ordering::Relaxed);
        persisted
    };
    let (persisted, _) = tokio::join!(failover, chargers);
    let missing = missing(&app, &told).await;
    assert!(missing.iter().all(|it| !persisted.contains(it)), "{missing:?}");
    let lost = async || app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await;
    eventually!(lost().await >= missing.len() as i64);
    println!("{} told, {} lost", told.lock().unwrap().len(), missing.len());
    app.finish().await;
}

async fn stored_keys(app: &super::test_app::TestApp) -> Vec<String> {
    let sql = "SELECT idem_key FROM idempotency WHERE idem_key LIKE '%-%'";
    sqlx::query_scalar(sql).fetch_all(&app.connections().mysql).await.unwrap()
}

/// A server without a replica is killed. Goal: its cells answer 503 with `Retry-After`, the others sell; it comes back
/// with its data, and so do its cells. A node that starts meanwhile sells what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_sell_while_a_server_is_away() {
    let mut cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let users = users(&app).await;
    for user in &users {
        assert_eq!(charge(&app, *user, &format!("{user}-1")).await, StatusCode::CREATED);
    }
    let dead = server_of(&app, &cluster, CellId(0));
    let cells = cells_on(&app, &cluster, dead);
    cluster.servers[dead].kill().await;
    let other = firstcome::app::connect(app.settings.clone()).await.unwrap();
    let _follows = other.follow_epochs().await.unwrap();
    for round in 2..6 {
        for user in &users {
            let said = charge(&app, *user, &format!("{user}-{round}")).await;
            let is_away = cells.contains(&cell_of(*user));
            let wanted = if is_away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
            assert_eq!(said, wanted, "user {user} in round {round}");
            let user = firstcome::ids::UserId::new(*user).unwrap();
            let read = firstcome::scripts::balance_get::balance_get(&other.scripts, user).await;
            assert_eq!(read.is_ok(), !is_away, "{read:?}");
        }
    }
    let ready = app.get("/readyz").await;
    for cell in (0..CELLS).map(CellId) {
        let sells = ready.body["checks"]["cells"][usize::from(cell.0)]["sells"].as_bool();
        assert_eq!(sells, Some(!cells.contains(&cell)), "{ready:?}");
    }
    cluster.servers[dead].restart().await.unwrap();
    for user in &users {
        let key = format!("{user}-6");
        eventually!(charge(&app, *user, &key).await != StatusCode::SERVICE_UNAVAILABLE);
        let charges = if cells.contains(&cell_of(*user)) { 2 } else { 6 };
        assert_eq!(app.balance(*user).await, charges * AMOUNT, "user {user}");
    }
    drain(&app, (0..CELLS).map(CellId)).await;
    assert_eq!(app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await, 0);
    app.finish().await;
}

/// Goal: a password in front of one node counts for all, it is never said, and a cluster is no single server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_ask_for_a_password() {
    let cluster = start_cluster_with(false, "canary,5e71@").await;
    let places: Vec<String> = cluster.servers.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
    let url = format!("redis://:canary%2C5e71%40@{}/,{}", places[0], places[1]);
    let app =
        start_engine_with(&cluster, |it| it.redis_url = firstcome::config::Secret::new(url.clone())).await;
    for user in users(&app).await {
        assert_eq!(charge(&app, user, "k").await, StatusCode::CREATED);
    }
    let patience = Duration::from_secs(20);
    let error = RedisServer::new(&url, &Authorities::default(), patience).err().expect("no single server");
    assert!(error.to_string().contains("cluster") && !error.to_string().contains("canary"), "{error}");
    let mut settings = app.settings.clone();
    settings.redis_url = firstcome::config::Secret::new(url.replace("5e71", "wrong"));
    let refused =
        firstcome::app::connect(settings).await.err().map(|it| format!("{it:#}")).expect("no connection");
    assert!(refused.contains(&places[1]) && !refused.contains("canary"), "{refused}");
    assert!(Redis::new("redis://a:1/,rediss://b:2/", &Authorities::default(), patience).is_err());
    app.finish().await;
}
