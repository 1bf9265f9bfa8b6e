//! Promise: a server that was demoted and comes back with its scripts, its gate and open connections hands nothing out.

use firstcome::dev::{PrivateRedis, RedisOptions};
use reqwest::StatusCode;
use serde_json::json;

use super::cell_dump::{connect, dump};
use super::test_app::{TestApp, eventually};
use super::test_servers::{fresh_folder, start_redis};

/// Of the cell of who buys.
async fn epoch(app: &TestApp) -> i64 {
    app.count_of(1, "SELECT CAST(epoch AS SIGNED) FROM cells WHERE cell = ?").await
}

fn port(url: &str) -> String {
    url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned()
}

async fn replica_of(url: &str) -> PrivateRedis {
    let extra_args = vec!["--replicaof".to_owned(), "127.0.0.1".to_owned(), port(url)];
    start_redis(&fresh_folder(), RedisOptions { extra_args, ..RedisOptions::default() }).await
}

/// Makes a server the replica of another one, or (`NO ONE`) a primary.
async fn follow(url: &str, host: &str, port: &str) {
    let mut redis = connect(url).await;
    redis::cmd("REPLICAOF").arg(host).arg(port).query_async::<()>(&mut redis).await.unwrap();
}

/// Whether a replica has all that its primary has.
async fn is_in_step(replica: &str) -> bool {
    let mut redis = connect(replica).await;
    let info: redis::InfoDict = redis::cmd("INFO").arg("replication").query_async(&mut redis).await.unwrap();
    info.get::<String>("master_link_status").as_deref() == Some("up")
        && info.get::<String>("master_sync_in_progress").as_deref() == Some("0")
}

async fn buy(app: &TestApp) -> StatusCode {
    app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await.status
}

/// A replica comes, is promoted, the old primary follows it, and is promoted again, without a request in between. Goal:
/// its scripts of before answer nothing; a recovery keeps the data and goes on in a new epoch.
#[tokio::test]
async fn a_primary_that_comes_back_is_not_trusted() {
    let app = TestApp::start_with_own_redis(|_| {}).await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 1, 100).await;
    assert_eq!(buy(&app).await, StatusCode::CREATED);
    let a = app.redis.url();
    let before = dump(&a).await;
    let b = replica_of(&a).await;
    // The epoch was opened while the server was alone; one that knows the server follows unasked.
    eventually!(epoch(&app).await == 2);
    eventually!(buy(&app).await == StatusCode::CREATED);
    assert_eq!(app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await, 0);
    assert_ne!(dump(&a).await, before);
    let rebuilt = app.count("SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE epoch > 1").await;
    assert_eq!(rebuilt, 0, "nothing was lost, so nothing is rebuilt");

    for round in 0..3 {
        let began = epoch(&app).await;
        eventually!(is_in_step(&b.url()).await);
        follow(&b.url(), "NO", "ONE").await;
        follow(&a, "127.0.0.1", &port(&b.url())).await;
        eventually!(is_in_step(&a).await);
        follow(&a, "NO", "ONE").await;
        follow(&b.url(), "127.0.0.1", &port(&a)).await;
        eventually!(buy(&app).await == StatusCode::CREATED);
        assert!(epoch(&app).await > began, "round {round}: the old scripts were trusted");
    }
    app.finish().await;
}
