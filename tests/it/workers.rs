//! Several workers on one cell: each event is persisted once, and a zombie writes nothing.

use std::time::Duration;

use firstcome::dev::ports;
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::engine_process::EngineProcess;
use super::test_app::TestApp;

/// Goal: with three workers on one cell nothing is applied twice, nothing is left out.
#[tokio::test]
async fn several_workers_apply_each_event_once() {
    let app = TestApp::start().await;
    app.product_with(1, 1, 100_000).await;
    app.user_with(1, 100_000).await;
    let _workers =
        [EngineProcess::start(&app.settings, "worker"), EngineProcess::start(&app.settings, "worker")];
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

/// A worker is stopped in the middle of its work, overtaken, and continued. Goal: it cannot write.
#[tokio::test]
async fn a_zombie_worker_writes_nothing() {
    let mut app = TestApp::start().await;
    app.product_with(1, 1, 100_000).await;
    app.user_with(1, 100_000).await;
    app.drain().await;
    app.stop_engine().await;
    app.settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
    let _api = EngineProcess::start(&app.settings, "api");
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let client = reqwest::Client::new();
    let url = format!("http://{}/orders", app.settings.listen);
    let mut bought = 0;
    for _ in 0..3 {
        let zombie = EngineProcess::start(&app.settings, "worker");
        let pid = Pid::from_raw(zombie.pid() as i32).unwrap();
        let target = bought + 40;
        while bought < target {
            let sent = client.post(&url).json(&order).timeout(Duration::from_secs(5)).send().await;
            match sent {
                Ok(answer) if answer.status() == 201 => bought += 1,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        kill_process(pid, Signal::STOP).unwrap();
        // Another worker takes over while the first one sleeps, whatever it was doing.
        let mut second = EngineProcess::start(&app.settings, "worker");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mysql = firstcome::mysql::connect(&app.settings.mysql_url, 4).await.unwrap();
        loop {
            let (orders,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM orders").fetch_one(&mysql).await.unwrap();
            if orders == bought {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{orders} of {bought} orders arrived");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        mysql.close().await;
        kill_process(pid, Signal::CONT).unwrap();
        assert!(second.terminate().await);
    }
    app.start_engine_elsewhere().await;
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, bought);
    app.finish().await;
}
