//! Several workers on one cell: each event is persisted once, and a zombie writes nothing.

use std::time::{Duration, Instant};

use firstcome::dev::ports;
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::engine_process::EngineProcess;
use super::test_app::{TestApp, eventually};

/// Goal: with three workers on one cell nothing is applied twice, nothing is left out.
#[tokio::test]
async fn several_workers_apply_each_event_once() {
    let app = TestApp::start().await;
    app.product_with(1, 1, 100_000).await;
    app.user_with(1, 100_000).await;
    let _workers =
        [EngineProcess::start(&app.settings, "worker"), EngineProcess::start(&app.settings, "worker")];
    while app.count("SELECT COUNT(*) FROM nodes").await < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    for _ in 0..20 {
        join_all((0..50).map(|_| app.post("/orders", order.clone()))).await;
    }
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 1_000);
    let messages = app.take_messages().await;
    let mut ids: Vec<&str> = messages.iter().map(|it| it["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
    app.finish().await;
}

/// A worker is stopped in the middle of a transaction, overtaken, and continued. Goal: what it had in hand
/// is not written a second time, and it goes on as a good worker.
#[tokio::test]
async fn a_zombie_worker_writes_nothing() {
    let mut app = TestApp::start().await;
    app.product_with(1, 1, 100_000).await;
    app.user_with(1, 100_000).await;
    app.drain().await;
    app.stop_engine().await;
    app.settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
    let _api = EngineProcess::start(&app.settings, "api");
    let mysql =
        firstcome::mysql::connect(&app.settings.mysql_url, &app.settings.tls_ca_file, 4).await.unwrap();
    let count = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&mysql).await.unwrap();
    let until = async |sql: &'static str, wanted: i64| {
        let deadline = Instant::now() + Duration::from_secs(90);
        while count(sql).await != wanted {
            assert!(Instant::now() < deadline, "{sql} is {}, not {wanted}", count(sql).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let zombie = EngineProcess::start(&app.settings, "worker");
    let pid = Pid::from_raw(zombie.pid() as i32).unwrap();
    buy(&app, 10).await;
    until("SELECT COUNT(*) FROM orders", 10).await;

    // It waits for the row in the middle of its transaction when it falls asleep.
    let mut holder = mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    buy(&app, 10).await;
    const WAITING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() \
                           AND INFO LIKE 'UPDATE cells SET persisted%'";
    until(WAITING, 1).await;
    kill_process(pid, Signal::STOP).unwrap();
    holder.rollback().await.unwrap();
    let mut second = EngineProcess::start(&app.settings, "worker");
    until("SELECT COUNT(*) FROM orders", 20).await;
    kill_process(pid, Signal::CONT).unwrap();
    buy(&app, 10).await;
    until("SELECT COUNT(*) FROM orders", 30).await;

    assert!(second.terminate().await);
    buy(&app, 10).await;
    until("SELECT COUNT(*) FROM orders", 40).await;
    mysql.close().await;
    app.start_engine_elsewhere().await;
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 40);
    app.finish().await;
}

/// Buys one unit after the other from the engine process, each until it is paid.
async fn buy(app: &TestApp, times: usize) {
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let client = reqwest::Client::new();
    let url = format!("http://{}/orders", app.settings.listen);
    for number in 0..times {
        let key = format!("{:?}-{number}", Instant::now());
        loop {
            let request = client.post(&url).header("Idempotency-Key", &key).json(&order);
            match request.timeout(Duration::from_secs(5)).send().await {
                Ok(answer) if answer.status() == 201 => break,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Waits until workers have so many cells each.
async fn until_shared(app: &TestApp, expected: &[i64]) {
    let sql = "SELECT COUNT(*) FROM cells GROUP BY IS_USED_LOCK(CONCAT('firstcome.work.', cell, '.', \
               LEFT(SHA2(DATABASE(), 256), 16))) ORDER BY 1";
    let workers = "SELECT CAST(seen_at AS CHAR) FROM workers";
    let mysql = &app.connections().mysql;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let shares: Vec<i64> = sqlx::query_scalar(sql).fetch_all(mysql).await.unwrap();
        // Cells that nobody has would be a share of their own.
        let free = app.count(
            "SELECT COUNT(*) FROM cells WHERE IS_USED_LOCK(CONCAT('firstcome.work.', cell, '.', \
                              LEFT(SHA2(DATABASE(), 256), 16))) IS NULL",
        );
        if free.await == 0 && shares == expected {
            return;
        }
        if Instant::now() > deadline {
            let workers: Vec<String> = sqlx::query_scalar(workers).fetch_all(mysql).await.unwrap();
            panic!("cells are shared as {shares:?}, not as {expected:?}; workers were seen at {workers:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Goal: of several workers each takes its share of the cells; what a dead one had is taken over, and a new one gets some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_cells() {
    let app = TestApp::start_with(|settings| settings.cells = 8).await;
    until_shared(&app, &[8]).await;
    let second = EngineProcess::start(&app.settings, "worker");
    until_shared(&app, &[4, 4]).await;
    let third = EngineProcess::start(&app.settings, "worker");
    until_shared(&app, &[2, 3, 3]).await;
    kill_process(Pid::from_raw(second.pid() as i32).unwrap(), Signal::KILL).unwrap();
    kill_process(Pid::from_raw(third.pid() as i32).unwrap(), Signal::STOP).unwrap();
    for user in 1..=40 {
        app.user_with(user, 10).await;
    }
    // Of the dead and the sleeping, too.
    eventually!(app.count("SELECT COUNT(*) FROM wallets").await == 40);
    until_shared(&app, &[8]).await;
    kill_process(Pid::from_raw(third.pid() as i32).unwrap(), Signal::CONT).unwrap();
    until_shared(&app, &[4, 4]).await;
    for user in 1..=40 {
        app.user_with(100 + user, 10).await;
    }
    eventually!(app.count("SELECT COUNT(*) FROM wallets").await == 80);
    app.finish().await;
}
