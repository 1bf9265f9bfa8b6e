//! Promise: before Redis is full, new writes are told so and nothing else happens; what is under way goes on.

use firstcome::scripts::Scripts;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::{Answer, TestApp, eventually};

async fn buy(app: &TestApp) -> Answer {
    app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await
}

fn is_full(answer: &Answer) -> bool {
    (answer.status, answer.code()) == (StatusCode::SERVICE_UNAVAILABLE, "backlog_full")
}

async fn config(app: &TestApp, setting: &str, value: &str) {
    let mut redis = app.redis_of(1).await;
    redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).query_async::<()>(&mut redis).await.unwrap();
}

async fn used_memory(app: &TestApp) -> u64 {
    let mut redis = app.redis_of(1).await;
    let info: redis::InfoDict = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
    info.get("used_memory").unwrap()
}

async fn shop() -> TestApp {
    let app = TestApp::start_with_own_redis(|settings| {
        settings.backlog_bound_bytes = 1 << 20;
        settings.keep_events = 1;
    })
    .await;
    app.user_with(1, 1_000_000).await;
    app.product_with(1, 1, 1_000_000).await;
    app
}

/// Redis's memory passes the bound. Goal: writes are refused and change nothing, reads and replays of what is known go
/// on, the worker goes on, and with room again the shop sells.
#[tokio::test]
async fn a_full_redis_is_told_before_it_is_full() {
    let app = shop().await;
    let key = "before";
    let first = app.post_once("/balance/charge", key, json!({"userId": 1, "amount": 5})).await;
    assert_eq!(first.status, StatusCode::OK);
    app.drain().await;
    let used = used_memory(&app).await;
    // 95 % of it is used.
    config(&app, "maxmemory", &(used * 100 / 95).to_string()).await;
    eventually!(is_full(&buy(&app).await));
    let (before, events_before) = app.redis.everything().await;
    for answer in [
        buy(&app).await,
        app.post("/balance/charge", json!({"userId": 1, "amount": 5})).await,
        app.put("/admin/products/2", json!({"name": "two", "price": 1, "stock": 1})).await,
    ] {
        assert!(is_full(&answer) && answer.header("retry-after").is_some(), "{answer:?}");
    }
    let (after, events_after) = app.redis.everything().await;
    assert_eq!(after, before);
    assert!(events_after <= events_before, "the worker may have trimmed meanwhile");
    assert_eq!(app.get("/products/1").await.status, StatusCode::OK);
    assert_eq!(app.get("/users/1/balance").await.status, StatusCode::OK);
    config(&app, "maxmemory", "0").await;
    eventually!(buy(&app).await.status == StatusCode::CREATED);
    app.finish().await;
}

/// MySQL does not take events for a while, and the log passes its bound in bytes. Goal: 503 until the worker has caught
/// up and trimmed.
#[tokio::test]
async fn a_log_of_too_many_bytes_is_told() {
    let app = shop().await;
    // Whoever holds the position holds the worker.
    let mut transaction = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").fetch_all(&mut *transaction).await.unwrap();
    eventually!({
        let bought = futures::future::join_all((0..200).map(|_| buy(&app))).await;
        // A silent session would be ended by the server.
        sqlx::query("SELECT 1").fetch_one(&mut *transaction).await.unwrap();
        bought.iter().any(is_full)
    });
    assert!(is_full(&buy(&app).await));
    transaction.rollback().await.unwrap();
    eventually!(buy(&app).await.status == StatusCode::CREATED);
    app.finish().await;
}

/// Redis is out of memory within a second, before anybody has looked. Goal: it refuses before a script begins, so
/// nothing is half done.
#[tokio::test]
async fn memory_that_ends_at_once_leaves_nothing_half_done() {
    let app = TestApp::start_with_own_redis(|settings| settings.memory_bound_percent = 100).await;
    app.user_with(1, 1_000_000).await;
    app.product_with(1, 1, 1_000_000).await;
    app.drain().await;
    config(&app, "maxmemory", &(used_memory(&app).await + 300_000).to_string()).await;
    let mut refused = 0;
    while refused < 50 {
        let bought = futures::future::join_all((0..50).map(|_| buy(&app))).await;
        for answer in bought {
            match answer.status {
                StatusCode::CREATED => {}
                StatusCode::SERVICE_UNAVAILABLE => refused += 1,
                _ => panic!("{answer:?}"),
            }
        }
    }
    config(&app, "maxmemory", "0").await;
    eventually!(buy(&app).await.status == StatusCode::CREATED);
    let scripts: &Scripts = &app.connections().scripts;
    assert_eq!(scripts.fence(app.cell_of(1)).unwrap().epoch, 1, "nothing had to be recovered");
    app.finish().await;
}
