//! `firstcome events` as an operator runs it, and what happens beside it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use firstcome::cell::{EventId, Seq};
use firstcome::mysql::dead_events::{self, Resolved};
use firstcome::worker::drain_outbox;
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::commands::{firstcome, run, text};
use crate::test_app::{TestApp, eventually};

use super::last_event;

fn item(user: u64, quantity: u64) -> Value {
    json!({"userId": user, "items": [{"productId": 1, "quantity": quantity}]})
}

async fn buy(app: &TestApp, user: u64, quantity: u64) -> u64 {
    let answer = app.post("/orders", item(user, quantity)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body["orderId"].as_u64().unwrap()
}

async fn sql(app: &TestApp, text: String) {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&app.connections().mysql).await.unwrap();
}

async fn refuse(app: &TestApp, table: &str, condition: &str) {
    sql(
        app,
        format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW \
             IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such rows today'; END IF"
        ),
    )
    .await;
}

async fn allow(app: &TestApp) {
    sql(app, "DROP TRIGGER refuse".to_owned()).await;
}

async fn shop() -> TestApp {
    shop_with(|_| {}).await
}

async fn shop_with(change: impl FnOnce(&mut firstcome::config::Settings)) -> TestApp {
    let app = TestApp::start_with(change).await;
    app.product_with(1, 10, 1_000).await;
    for user in 1..=3 {
        app.user_with(user, 1_000).await;
    }
    app.drain().await;
    app
}

async fn dead(app: &TestApp) -> Vec<Seq> {
    let dead = dead_events::list(&app.connections().mysql, None).await.unwrap();
    dead.iter().map(|it| it.seq).collect()
}

/// Garbage in the log, and an order whose ledger entry MySQL refuses. Goal: an operator sees both, applies the one and
/// drops the other; then the cell can be rebuilt, the audit is clean, and the message went out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_resolves_what_is_dead() {
    let app = shop().await;
    let empty = run(&app, &["events", "list"]);
    assert!(empty.status.success() && text(&empty).contains("0 dead events"), "{}", text(&empty));

    let mut redis = app.redis_of(1).await;
    let _: String = redis::cmd("XADD")
        .arg(&[&app.key_of(1, "events"), "1-*", "nonsense:7", "5 \u{1b}[31m words"])
        .query_async(&mut redis)
        .await
        .unwrap();
    let garbage = format!("{}-{}", app.cell_of(1), last_event(&app).await.0);
    refuse(&app, "ledger", "NEW.amount = -70").await;
    let refused = buy(&app, 1, 7).await;
    let order = format!("{}-{}", app.cell_of(1), refused / 1_024);
    buy(&app, 1, 2).await;
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 1, "later events apply");
    let cell = app.cell_of(1).to_string();
    let gauge = format!("firstcome_dead_events{{cell=\"{cell}\"}} ");
    eventually!(app.get("/metrics").await.body.as_str().unwrap().contains(&gauge));

    let list = run(&app, &["events", "list", "--cell", &cell]);
    let told = text(&list);
    assert!(list.status.success() && told.contains("2 dead events"), "{told}");
    for word in [&garbage, &order, "nonsense:7", "order_paid:1", "no such rows"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(text(&run(&app, &["events", "list", "--cell", "9"])).contains("0 dead events"));
    let json = run(&app, &["events", "list", "--format", "json"]);
    let rows: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&json!(garbage), &json!(order)), "{rows}");
    let shown = text(&run(&app, &["events", "show", &order]));
    assert!(shown.contains("OrderPaid") && shown.contains("total: 70"), "{shown}");
    let shown = text(&run(&app, &["events", "show", &garbage]));
    assert!(shown.contains("nothing that this release can read") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(run(&app, &["events", "show", "0-1"]).status.code(), Some(1));
    for wrong in [&["events", "retry"][..], &["events", "retry", "x"], &["events", "retry", "0-1", "--all"]] {
        assert_eq!(run(&app, wrong).status.code(), Some(2), "{wrong:?}");
    }

    let still = run(&app, &["events", "retry", "--all"]);
    assert_eq!(still.status.code(), Some(1), "{}", text(&still));
    assert_eq!(text(&still).matches("stays dead").count(), 2, "{}", text(&still));
    allow(&app).await;
    let done = run(&app, &["events", "retry", &order]);
    assert!(done.status.success() && text(&done).contains("is written"), "{}", text(&done));
    let again = run(&app, &["events", "retry", &order]);
    assert!(again.status.success() && text(&again).contains("is not dead"), "{}", text(&again));

    assert!(text(&run(&app, &["cell", "rebuild", &cell])).contains("1 dead events are unresolved"));
    let asked = run(&app, &["events", "drop", &garbage]);
    assert_eq!(asked.status.code(), Some(1), "{}", text(&asked));
    assert!(text(&asked).contains("Nothing was dropped") && text(&asked).contains("words"));
    assert_eq!(dead(&app).await.len(), 1);
    let dropped = run(&app, &["events", "drop", &garbage, "--yes"]);
    let logged = String::from_utf8_lossy(&dropped.stderr).into_owned();
    assert!(dropped.status.success() && logged.contains("words"), "{}", text(&dropped));
    assert_eq!(run(&app, &["events", "drop", &garbage, "--yes"]).status.code(), Some(1), "it is gone");

    eventually!({
        let rebuild = run(&app, &["cell", "rebuild", &cell]);
        rebuild.status.success() && text(&rebuild).contains("rebuilt")
    });
    assert!(app.engine().wait_until_open(Duration::from_secs(60)).await);
    buy(&app, 1, 1).await;
    app.drain().await;
    let messages = app.take_messages().await;
    let about = |it: &&Value| it["data"]["orderId"] == json!(refused);
    assert_eq!(messages.iter().filter(about).count(), 1, "the message of the retried one went out");
    assert_eq!(messages.len(), 3);
    app.finish().await;
}

/// Goal: of many retries at once of the same events, while sales go on, each event is applied once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_at_once_apply_once() {
    let app = shop().await;
    refuse(&app, "payments", "NEW.amount = 10").await;
    for _ in 0..20 {
        buy(&app, 1, 1).await;
    }
    app.drain_events().await;
    allow(&app).await;
    let dead = dead(&app).await;
    assert_eq!(dead.len(), 20);
    let (pool, cell) = (&app.connections().mysql, app.cell_of(1));
    let retries = dead
        .iter()
        .flat_map(|seq| [*seq; 3])
        .map(|seq| async move { dead_events::retry(pool, EventId { cell, seq }).await.unwrap() });
    let (outcomes, ()) = tokio::join!(join_all(retries), async {
        for _ in 0..20 {
            buy(&app, 2, 2).await;
        }
    });
    assert_eq!(outcomes.iter().filter(|it| **it == Resolved::Done).count(), 20);
    app.drain().await;
    assert_eq!(app.take_messages().await.len(), 40);
    app.finish().await;
}

/// A retry is killed while MySQL makes it wait in the middle. Goal: nothing of the event is written, and the next
/// retry writes all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_retry_leaves_nothing() {
    let app = shop().await;
    refuse(&app, "payments", "TRUE").await;
    let order = buy(&app, 1, 3).await;
    app.drain_events().await;
    allow(&app).await;
    let id = format!("{}-{}", app.cell_of(1), order / 1_024);
    let (pool, cell) = (&app.connections().mysql, app.cell_of(1));
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(pool).await.unwrap();

    // The ledger is written behind orders, wallets and units.
    let mut holder = pool.begin().await.unwrap();
    // However slow the machine is, it holds on.
    sqlx::query("SET SESSION wait_timeout = 3600").execute(&mut *holder).await.unwrap();
    sqlx::query("INSERT INTO ledger (cell, seq, user_id, kind, amount, balance, at) VALUES (?, ?, 9, 'x', 1, 1, NOW())")
        .bind(cell.0)
        .bind(order / 1_024)
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut retry = firstcome()
        .args(["events", "retry", &id])
        .env("FIRSTCOME_MYSQL_URL", app.settings.mysql_url.expose())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let waits = async || -> Option<u64> {
        let waiting: Option<(u64,)> = sqlx::query_as(
            "SELECT CAST(ID AS UNSIGNED) FROM information_schema.PROCESSLIST \
             WHERE DB = ? AND INFO LIKE 'INSERT INTO ledger%' LIMIT 1",
        )
        .bind(&database)
        .fetch_optional(pool)
        .await
        .unwrap();
        waiting.map(|it| it.0)
    };
    eventually!(waits().await.is_some());
    retry.kill().unwrap();
    retry.wait().unwrap();
    holder.rollback().await.unwrap();
    // MySQL notices the dead client when it answers; then its locks are free.
    eventually!(waits().await.is_none());
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 1);
    for table in ["orders", "order_lines", "payments", "ledger WHERE kind = 'payment'", "outbox"] {
        let text = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(text).fetch_one(pool).await.unwrap();
        assert_eq!(count, 0, "{table}");
    }
    let done = run(&app, &["events", "retry", "--all"]);
    assert!(done.status.success() && text(&done).contains("is written"), "{}", text(&done));
    app.finish().await;
}

/// Retries are killed at any moment. Goal: each event is wholly applied or wholly dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_killed_at_any_moment_lose_nothing() {
    let app = shop().await;
    refuse(&app, "order_lines", "TRUE").await;
    for user in (1..=3).cycle().take(60) {
        buy(&app, user, 1).await;
    }
    app.drain_events().await;
    allow(&app).await;
    let (mut kills, mut left) = (0, dead(&app).await.len());
    assert_eq!(left, 60);
    while left > 0 && kills < 20 {
        let mut retry = firstcome()
            .args(["events", "retry", "--all"])
            .env("FIRSTCOME_MYSQL_URL", app.settings.mysql_url.expose())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It dies once it has written something, or has ended.
        let begun = Instant::now();
        while dead(&app).await.len() == left && retry.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is retried");
        }
        retry.kill().unwrap();
        retry.wait().unwrap();
        kills += 1;
        left = dead(&app).await.len();
    }
    println!("{kills} kills, {left} dead events left");
    assert!(run(&app, &["events", "retry", "--all"]).status.success());
    app.drain().await;
    assert_eq!(app.take_messages().await.len(), 60);
    app.finish().await;
}

/// An order was refunded, that event is dead, and Redis has forgotten the order: MySQL says that it is paid. Goal: it is
/// not refunded a second time, and once the event is retried it is refunded for everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_refund_is_not_given_twice() {
    let app = shop_with(|settings| settings.keep_events = 1).await;
    let order = buy(&app, 1, 5).await;
    app.drain().await;
    refuse(&app, "ledger", "NEW.kind = 'refund'").await;
    let path = format!("/orders/{order}/refund");
    assert_eq!(app.post(&path, json!({})).await.status, StatusCode::OK);
    for _ in 0..3 {
        buy(&app, 2, 1).await;
        app.drain().await;
    }
    allow(&app).await;
    let balance = app.balance(1).await;
    assert_eq!(balance, 1_000);
    let again = app.post(&path, json!({})).await;
    assert_eq!((again.status, again.code()), (StatusCode::SERVICE_UNAVAILABLE, "not_yet_persisted"));
    assert_eq!(app.balance(1).await, balance);
    let done = run(&app, &["events", "retry", "--all"]);
    assert!(done.status.success(), "{}", text(&done));
    let again = app.post(&path, json!({})).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{again:?}");
    assert_eq!(app.get(&format!("/orders/{order}")).await.body["status"], "refunded");
    assert_eq!(app.balance(1).await, balance);
    app.finish().await;
}

/// A payment is dead, its refund is not. Goal: the refund's message waits for the payment's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_not_told_before_its_payment() {
    let app = shop().await;
    refuse(&app, "ledger", "NEW.kind = 'payment' AND NEW.amount = -50").await;
    let order = buy(&app, 1, 5).await;
    assert_eq!(app.post(&format!("/orders/{order}/refund"), json!({})).await.status, StatusCode::OK);
    buy(&app, 2, 1).await;
    app.drain_events().await;
    allow(&app).await;
    eventually!(app.count("SELECT COUNT(*) FROM outbox").await == 1);
    assert!(run(&app, &["events", "retry", "--all"]).status.success());
    drain_outbox(&app.connections().worker(), app.cell_of(1), Duration::from_secs(60)).await.unwrap();
    let messages = app.take_messages().await;
    let of_order = |it: &&Value| it["data"]["orderId"] == json!(order);
    let kinds: Vec<&str> = messages.iter().filter(of_order).map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 2, "{messages:?}");
    assert!(kinds[0].ends_with("order.paid") && kinds[1].ends_with("order.refunded"), "{kinds:?}");
    app.finish().await;
}

/// The publisher goes on behind what it has confirmed. Goal: a payment's message that comes late, and its refund that
/// waited for it, go out while later messages come all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_messages_go_out_while_others_come_all_the_time() {
    let app = shop().await;
    app.product_with(2, 1, 1_000_000).await;
    app.user_with(4, 1_000_000).await;
    refuse(&app, "ledger", "NEW.kind = 'payment' AND NEW.amount = -50").await;
    let order = buy(&app, 1, 5).await;
    assert_eq!(app.post(&format!("/orders/{order}/refund"), json!({})).await.status, StatusCode::OK);
    app.drain_events().await;
    allow(&app).await;
    let rush = async {
        let item = json!({"userId": 4, "items": [{"productId": 2, "quantity": 1}]});
        loop {
            assert_eq!(app.post("/orders", item.clone()).await.status, StatusCode::CREATED);
            // Slower than messages are taken one by one: else the queue would never be empty.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let told = async {
        let (mut kinds, mut others) = (Vec::new(), 0);
        let mut retried = false;
        while kinds.len() < 2 {
            for message in app.take_messages().await {
                match message["data"]["orderId"] == json!(order) {
                    true => kinds.push(message["type"].as_str().unwrap().to_owned()),
                    false => others += 1,
                }
            }
            // The publisher stands behind the late ones by then.
            if !retried && others > 100 {
                let retry = async {
                    dead_events::retry(
                        &app.connections().mysql,
                        EventId { cell: app.cell_of(1), seq: order / 1_024 },
                    )
                    .await
                };
                assert_eq!(retry.await.unwrap(), Resolved::Done);
                retried = true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kinds
    };
    let kinds = tokio::select! {
        kinds = tokio::time::timeout(Duration::from_secs(120), told) => kinds.expect("they go out"),
        () = rush => unreachable!("it goes on"),
    };
    assert!(kinds[0].ends_with("order.paid") && kinds[1].ends_with("order.refunded"), "{kinds:?}");
    app.finish().await;
}

/// A publisher has read the messages around a dead event when that is retried. Goal: what it confirms afterwards are the
/// messages it has read, and not the one that came in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_late_is_not_taken_for_confirmed() {
    let app = super::log_only(|_| {}).await;
    app.product_with(1, 10, 1_000).await;
    app.user_with(1, 1_000).await;
    refuse(&app, "payments", "NEW.amount = 50").await;
    buy(&app, 1, 1).await;
    let late = buy(&app, 1, 5).await / 1_024;
    buy(&app, 1, 1).await;
    app.drain_events().await;
    allow(&app).await;
    let pool = &app.connections().mysql;
    use firstcome::mysql::outbox::{confirm, waiting};
    let read: Vec<Seq> =
        waiting(pool, app.cell_of(1), 0, 10).await.unwrap().iter().map(|it| it.seq).collect();
    assert!(read.len() == 2 && read[0] < late && late < read[1], "{read:?}");
    let done = dead_events::retry(pool, EventId { cell: app.cell_of(1), seq: late }).await.unwrap();
    assert_eq!(done, Resolved::Done);
    confirm(pool, app.cell_of(1), &read, true).await.unwrap();
    let left = waiting(pool, app.cell_of(1), 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|it| it.seq).collect::<Vec<_>>(), [late]);
    app.abandon().await;
}
