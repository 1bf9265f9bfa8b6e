//! Events reach MySQL, messages reach RabbitMQ, whatever happens to either server.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use firstcome::config::{Secret, Settings};
use firstcome::dev::{MysqlOptions, PrivateMysql, PrivateRabbitmq, RabbitmqOptions, ports};
use futures::future::join_all;
use redis::InfoDict;
use reqwest::StatusCode;
use serde_json::json;

use super::cell_dump::connect;
use super::engine_process::EngineProcess;
use super::test_app::TestApp;
use super::test_servers;

async fn buy(app: &TestApp, times: usize) {
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    for answer in join_all((0..times).map(|_| app.post("/orders", order.clone()))).await {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
}

async fn shop(change: impl FnOnce(&mut Settings)) -> TestApp {
    let app = TestApp::start_with(change).await;
    stock_up(&app).await;
    app
}

async fn stock_up(app: &TestApp) {
    app.product_with(1, 1, 100_000).await;
    app.user_with(1, 100_000).await;
}

/// An engine as a process, ready, and its URL.
async fn process_of(app: &mut TestApp) -> (EngineProcess, String) {
    app.settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
    let engine = EngineProcess::start(&app.settings, "all");
    let url = format!("http://{}", app.settings.listen);
    while !reqwest::get(format!("{url}/readyz")).await.is_ok_and(|it| it.status().is_success()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (engine, url)
}

/// Goal: a log in which nothing happens is waited for, and not asked all the time.
#[tokio::test]
async fn an_idle_cell_costs_little() {
    let app = shop(|_| {}).await;
    app.drain().await;
    let calls = async || -> u64 {
        let mut calls = 0;
        for server in app.redis.url().split(',') {
            let mut info = redis::cmd("INFO");
            let info: InfoDict =
                info.arg("commandstats").query_async(&mut connect(server).await).await.unwrap();
            let evalsha: String = info.get("cmdstat_evalsha").unwrap();
            let called = evalsha.split(',').find_map(|it| it.strip_prefix("calls=")).unwrap();
            calls += called.parse::<u64>().unwrap();
        }
        calls
    };
    let before = calls().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = calls().await - before;
    // The log ten times a second, deadlines four times, the rest once or twice.
    assert!(asked < 80 * u64::from(app.settings.cells), "{asked} scripts in two seconds");
    app.finish().await;
}

/// Goal: while MySQL is away, sales go on; when it is back, everything arrives once.
#[tokio::test]
async fn sales_go_on_without_mysql_and_all_of_them_arrive() {
    let folder = test_servers::fresh_folder();
    let port = ports::free().unwrap();
    let mut mysql =
        PrivateMysql::start(&test_servers::binaries(), &folder, port, MysqlOptions::default()).await.unwrap();
    let url = Secret::new(format!("{}firstcome", mysql.url()));
    let app = shop(|settings| settings.mysql_url = url).await;
    buy(&app, 20).await;

    mysql.kill().await;
    buy(&app, 50).await;
    assert_eq!(app.stock(1).await, 99_930);
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK, "it can sell");
    mysql.restart().await.unwrap();
    buy(&app, 5).await;

    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 75);
    // At least once: who publishes loses the lock with MySQL, and may not know yet when another one begins.
    let messages = app.take_messages().await;
    let ids: HashSet<_> = messages.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 75);
    app.finish().await;
}

/// Goal: while RabbitMQ is away, only the outbox grows; when it is back, every message arrives.
#[tokio::test]
async fn the_outbox_waits_for_rabbitmq() {
    let folder = test_servers::fresh_folder();
    let port = ports::free().unwrap();
    let mut rabbitmq =
        PrivateRabbitmq::start(&test_servers::binaries(), &folder, port, RabbitmqOptions::default())
            .await
            .unwrap();
    let url = Secret::new(rabbitmq.url());
    let app = shop(|settings| (settings.amqp_url, settings.publish_timeout_ms) = (url, 3_000)).await;
    buy(&app, 5).await;
    app.drain().await;

    // The orderly stop comes first: a broker killed in the seconds after a queue was declared may not
    // have the queue's own log registered on disk yet, and then never elects its leader.
    rabbitmq.stop().await;
    buy(&app, 10).await;
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM outbox").await, 10);
    rabbitmq.restart().await.unwrap();
    app.drain().await;

    rabbitmq.kill().await;
    buy(&app, 20).await;
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM outbox").await, 20);
    rabbitmq.restart().await.unwrap();
    app.drain().await;
    let messages = app.take_messages().await;
    let mut ids: Vec<&str> = messages.iter().map(|it| it["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 35);
    assert_eq!(app.count("SELECT CAST(SUM(published) AS SIGNED) FROM publishing").await, 35);
    app.finish().await;
}

/// A message that no queue takes is confirmed by RabbitMQ all the same. Goal: it stays in the outbox.
#[tokio::test]
async fn an_unroutable_message_is_not_taken_for_delivered() {
    let app = shop(|_| ()).await;
    app.drain().await;
    let connection =
        lapin::Connection::connect(app.settings.amqp_url.expose(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange) = (app.settings.amqp_queue.as_str(), app.settings.amqp_exchange.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), "order.*".into(), Default::default()).await.unwrap();

    buy(&app, 3).await;
    app.drain_events().await;
    // The publisher has tried at least once when its refusals are counted.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !app.get("/metrics").await.body.as_str().unwrap().lines().any(|it| {
        it.starts_with("firstcome_publish_refusals_total{reason=\"returned\"}") && !it.ends_with(" 0")
    }) {
        assert!(Instant::now() < deadline, "nothing was returned");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM outbox").await, 3);

    channel
        .queue_bind(queue.into(), exchange.into(), "order.*".into(), Default::default(), Default::default())
        .await
        .unwrap();
    app.drain().await;
    assert_eq!(app.take_messages().await.len(), 3);
    app.finish().await;
}

/// Goal: past the bound new writes are refused before Redis could fill up, reads go on, and nothing is lost.
#[tokio::test]
async fn a_full_backlog_refuses_new_writes() {
    let app = shop(|settings| (settings.keep_events, settings.backlog_bound) = (10, 100)).await;
    app.drain().await;
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();

    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let answers = join_all((0..150).map(|_| app.post("/orders", order.clone()))).await;
    let refused: Vec<_> = answers.iter().filter(|it| it.status != StatusCode::CREATED).collect();
    assert!((40..=60).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|it| it.code() == "backlog_full" && it.header("retry-after").is_some()));
    assert_eq!(app.get("/users/1/balance").await.status, StatusCode::OK);
    holder.rollback().await.unwrap();

    app.drain().await;
    buy(&app, 5).await;
    app.finish().await;
}

/// Goal: persisted entries leave Redis, but for the kept tail.
#[tokio::test]
async fn persisted_events_are_trimmed() {
    let app = shop(|settings| settings.keep_events = 20).await;
    for _ in 0..5 {
        buy(&app, 40).await;
        app.drain().await;
    }
    let mut redis = app.redis_of(1).await;
    let length: i64 = redis::cmd("XLEN").arg(app.key_of(1, "events")).query_async(&mut redis).await.unwrap();
    assert!((20..=60).contains(&length), "{length}");
    app.finish().await;
}

/// An entry that no release can read. Goal: it is parked, later events apply.
#[tokio::test]
async fn garbage_in_the_log_stalls_nothing() {
    let app = shop(|_| ()).await;
    let mut redis = app.redis_of(1).await;
    let _: String = redis::cmd("XADD")
        .arg(app.key_of(1, "events"))
        .arg("1-*")
        .arg("nonsense:7")
        .arg("x")
        .query_async(&mut redis)
        .await
        .unwrap();
    let four_words = [&b"a"[..], b"b", b"\xff", b"d"];
    let _: String = redis::cmd("XADD")
        .arg(app.key_of(1, "events"))
        .arg("1-*")
        .arg(&four_words)
        .query_async(&mut redis)
        .await
        .unwrap();
    buy(&app, 3).await;
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 2);
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 3);
    app.abandon().await;
}

/// Redis reaches its memory bound under load. Goal: sales are refused, what was sold is persisted all the
/// same, nothing is evicted, and with more memory the shop goes on.
#[tokio::test]
async fn a_redis_out_of_memory_refuses_and_loses_nothing() {
    let app = TestApp::start_with_own_redis(|settings| settings.keep_events = 10).await;
    stock_up(&app).await;
    buy(&app, 20).await;
    let mut redis = app.redis_of(1).await;
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
    let used: u64 =
        info.lines().find_map(|it| it.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let bound = |bytes: u64| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).to_owned();
    let () = bound(used / 2).query_async(&mut redis).await.unwrap();

    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let refused = app.post("/orders", order).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "dependency_down"));
    assert_eq!(app.stock(1).await, 99_980, "reads go on");
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 20);

    let () = bound(0).query_async(&mut redis).await.unwrap();
    buy(&app, 5).await;
    app.finish().await;
}

/// Rows that MySQL refuses: an order whose id is taken. Goal: only that event is parked, and its
/// absolute values are written all the same.
#[tokio::test]
async fn a_refused_event_is_parked_alone() {
    let app = shop(|_| ()).await;
    buy(&app, 1).await;
    app.drain_events().await;
    let last = app.count("SELECT CAST(MAX(seq) AS SIGNED) FROM orders").await as u64;
    sqlx::query(
        "INSERT INTO payments (order_id, cell, seq, user_id, amount, at) VALUES (?, ?, 0, 0, 0, NOW())",
    )
    .bind((last + 5) * 1_024 + u64::from(app.cell_of(1).0))
    .bind(app.cell_of(1).0)
    .execute(&app.connections().mysql)
    .await
    .unwrap();
    buy(&app, 20).await;
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 20);
    assert_eq!(app.count("SELECT CAST(SUM(remaining) AS SIGNED) FROM skus").await, app.stock(1).await);
    assert_eq!(app.count("SELECT balance FROM wallets").await, app.balance(1).await);
    app.abandon().await;
}

/// Goal: events that come one by one are not committed one by one, but at most every 20 ms.
#[tokio::test]
async fn events_that_come_one_by_one_are_committed_together() {
    let mut app = shop(|_| ()).await;
    app.stop_engine().await;
    let (mut engine, url) = process_of(&mut app).await;
    let client = reqwest::Client::new();
    let commits = async || -> f64 {
        let metrics = client.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        let line = metrics.lines().find(|it| it.starts_with("firstcome_persist_batch_events_count "));
        line.map_or(0.0, |it| it.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let (began, before) = (Instant::now(), commits().await);
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    for _ in 0..300 {
        let answer = client.post(format!("{url}/orders")).json(&order).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    let mysql = firstcome::mysql::connect(&app.settings.mysql_url, &Default::default(), 1).await.unwrap();
    let written = async || -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mysql).await.unwrap()
    };
    while written().await < 300 {
        assert!(began.elapsed() < Duration::from_secs(60), "they are written");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (made, most) = (commits().await - before, began.elapsed().as_secs_f64() / 0.020 + 2.0);
    assert!(made >= 1.0 && made <= most && made < 300.0, "{made} commits of 300 events, at most {most:.0}");
    assert!(engine.terminate().await);
    app.start_engine().await;
    app.finish().await;
}

/// Goal: SIGTERM answers the requests in flight and ends with success.
#[tokio::test]
async fn sigterm_finishes_what_is_in_flight() {
    let mut app = shop(|_| ()).await;
    app.stop_engine().await;
    let (mut engine, url) = process_of(&mut app).await;
    let client = reqwest::Client::new();
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    let requests = (0..200).map(|_| client.post(format!("{url}/orders")).json(&order).send());
    let (answers, ended) = tokio::join!(join_all(requests), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        engine.terminate().await
    });
    assert!(ended);
    // A connection that was not accepted yet is refused; whoever was accepted got a whole answer.
    let paid =
        answers.iter().filter(|it| it.as_ref().is_ok_and(|it| it.status() == StatusCode::CREATED)).count();
    app.start_engine().await;
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, paid as i64);
    assert!(paid > 0);
    app.finish().await;
}
