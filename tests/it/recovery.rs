//! What was in Redis and is gone comes back, and nothing is sold that is not there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use firstcome::app::Role;
use firstcome::config::Settings;
use firstcome::dev::ports;
use redis::AsyncCommands;
use redis::streams::StreamInfoStreamReply;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::engine_process::EngineProcess;
use super::test_app::{TestApp, eventually};

/// Every kind of state that exists.
async fn fill(app: &TestApp) {
    app.product_with(1, 1_000, 20).await;
    let with_options = json!({
        "name": "상품 \"둘\"", "limitPerUser": 3, "saleStartsAt": "2020-01-01T00:00:00Z", "saleEndsAt": "2999-01-01T09:00:00+09:00",
        "options": [{"id": 1, "name": "S", "price": 500, "stock": 5}, {"id": 2, "name": "L", "price": 700, "stock": 6}]
    });
    assert_eq!(app.put("/admin/products/2", with_options).await.status, StatusCode::CREATED);
    // An option is left out again: it stops selling, its units stay.
    let fewer =
        json!({"name": "상품 둘", "limitPerUser": 3, "options": [{"id": 1, "name": "S", "price": 550}]});
    assert_eq!(app.put("/admin/products/2", fewer).await.status, StatusCode::OK);
    app.user_with(1, 0).await;
    app.user_with(2, 50_000).await;
    app.user_with(3, 50_000).await;
    let charge = app.post_once("/balance/charge", "charge key", json!({"userId": 4, "amount": 7})).await;
    assert_eq!(charge.status, StatusCode::OK);
    let items = json!([{"productId": 1, "quantity": 2}, {"productId": 2, "optionId": 1, "quantity": 3}]);
    let order = app.post_once("/orders", "order key", json!({"userId": 2, "items": items})).await;
    assert_eq!(order.status, StatusCode::CREATED, "{order:?}");
    let restock = app.post_once("/admin/products/1/stock", "restock key", json!({"delta": -3})).await;
    assert_eq!(restock.status, StatusCode::OK, "{restock:?}");
    // A window that ends behind 2038, a product that is gone, and one that came back.
    let far = json!({"name": "far", "price": 0, "stock": 1, "saleStartsAt": "2020-01-01T00:00:00Z", "saleEndsAt": "9999-12-31T23:59:59.999Z"});
    assert_eq!(app.put("/admin/products/3", far.clone()).await.status, StatusCode::CREATED);
    for product in ["/admin/products/4", "/admin/products/5"] {
        assert_eq!(app.put(product, far.clone()).await.status, StatusCode::CREATED);
        assert_eq!(app.send(Method::DELETE, product, &[], "").await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        app.put("/admin/products/5", json!({"name": "again", "price": 1, "stock": 2})).await.status,
        StatusCode::CREATED
    );
    // Coupons: given and used, over, capped, never given.
    app.campaign(1, 5, json!({"minOrderAmount": 0})).await;
    app.campaign(2, 5, json!({"discount": {"kind": "percent", "value": 15, "maxAmount": 40}})).await;
    app.campaign(3, 0, json!({"expiresAt": "2020-01-01T00:00:00Z"})).await;
    for (user, coupon) in [(2, 1), (3, 1), (3, 2)] {
        let claimed =
            app.post_once("/coupons", "claim key", json!({"userId": user, "couponId": coupon})).await;
        let expected =
            if (user, coupon) == (3, 2) { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CREATED };
        assert_eq!(claimed.status, expected, "{claimed:?}");
    }
    let made = app.post("/coupons/2/issue", json!({"userId": 77})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let order = json!({"userId": 3, "couponId": 1, "items": [{"productId": 1, "quantity": 1}]});
    assert_eq!(app.post("/orders", order).await.body["discount"], 10);
}

/// The epoch that all cells have.
async fn epoch(app: &TestApp) -> i64 {
    let least = app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await;
    assert_eq!(app.count("SELECT CAST(MAX(epoch) AS SIGNED) FROM cells").await, least);
    least
}

/// The epoch of the cell of user 1 and product 1.
async fn epoch_of_first(app: &TestApp) -> i64 {
    app.count_of(1, "SELECT CAST(epoch AS SIGNED) FROM cells WHERE cell = ?").await
}

async fn lost_events(app: &TestApp) -> i64 {
    app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await
}

/// Goal: a cell that lost everything is rebuilt unasked, and is what it was.
#[tokio::test]
async fn a_wiped_cell_comes_back_as_it_was() {
    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;
    let before = app.redis.dump().await;
    assert!(before.len() > 12, "{before:#?}");

    app.redis.flush_all().await;

    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, before);
    assert_eq!(epoch(&app).await, 2);
    let items = json!([{"productId": 1, "quantity": 2}, {"productId": 2, "optionId": 1, "quantity": 3}]);
    let again = app.post_once("/orders", "order key", json!({"userId": 2, "items": items})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, Some("true")));
    let over = app
        .post("/orders", json!({"userId": 2, "items": [{"productId": 2, "optionId": 1, "quantity": 1}]}))
        .await;
    assert_eq!(over.code(), "purchase_limit_exceeded", "limits are rebuilt: {over:?}");
    assert_eq!(lost_events(&app).await, 0);
    app.finish().await;
}

/// Goal: after a restart of Redis with all its data, the cell is kept, in a new epoch.
#[tokio::test]
async fn a_restarted_redis_is_checked_and_kept() {
    let mut app = TestApp::start_with_own_redis(|_| {}).await;
    fill(&app).await;
    let before = app.redis.dump().await;

    app.redis.own().restart().await.unwrap();

    app.wait_until_all_sell().await;
    // Marked until the append-only file was written anew.
    eventually!(!is_marked(&app).await);
    assert_eq!(app.redis.dump().await, before);
    assert_eq!(app.count("SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE epoch > 1").await, 0);
    assert_eq!(epoch(&app).await, 2);
    app.finish().await;
}

async fn is_marked(app: &TestApp) -> bool {
    !app.redis.keys("*:suspect").await.is_empty()
}

/// The file that Redis appends to: the newest one, since cells that are opened have it written anew.
fn append_only_file(app: &TestApp) -> PathBuf {
    let folder = std::fs::read_dir(app.folder.join("redis/appendonlydir")).unwrap();
    let files = folder.map(|it| it.unwrap().path()).filter(|it| it.to_string_lossy().ends_with(".incr.aof"));
    files.max_by_key(|it| it.metadata().unwrap().modified().unwrap()).expect("a file")
}

/// As the append-only file holds a command.
fn logged(words: &[&str]) -> String {
    let words: String = words.iter().map(|it| format!("${}\r\n{it}\r\n", it.len())).collect();
    format!("*{}\r\n{words}", words.matches('$').count())
}

/// When Redis restarts again after the restart that dropped the half of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restarts {
    /// When its file was written anew.
    Rewritten,
    AtOnce,
    /// The same, and no recovery can begin for a while.
    BeforeMysqlAnswers,
}

/// The append-only file ends inside a script of which nobody has heard. Redis drops the half of it when it loads the file,
/// but leaves it there. Goal: no later restart brings it back, neither before the file was written anew nor after.
#[tokio::test]
async fn what_was_cut_off_stays_gone() {
    for restarts in [Restarts::Rewritten, Restarts::AtOnce, Restarts::BeforeMysqlAnswers] {
        let mut app = TestApp::start_with_own_redis(|_| {}).await;
        app.user_with(1, 1_000).await;
        app.product_with(1, 10, 40).await;
        app.drain_events().await;
        app.stop_engine().await;
        app.redis.own().kill().await;
        let seq = 1_100_004;
        let half = [
            logged(&["MULTI"]),
            logged(&[
                "XADD",
                &app.key_of(1, "events"),
                &format!("1-{seq}"),
                "order_paid:1",
                "half of an order",
            ]),
            logged(&["HINCRBY", &app.key_of(1, "user:1"), "balance", "-10"]),
            logged(&["HINCRBY", &app.key_of(1, "sku:1:0"), "remaining", "7"]),
            // Cut off in the middle.
            logged(&["ZINCRBY", &app.key_of(1, "sales:rolling"), "-1", "0000000000000001"])[..30].to_owned(),
        ];
        let file = append_only_file(&app);
        let mut file = std::fs::File::options().append(true).open(&file).unwrap();
        std::io::Write::write_all(&mut file, half.concat().as_bytes()).unwrap();
        app.redis.own().restart().await.unwrap();
        app.start_engine().await;
        app.wait_until_all_sell().await;
        assert_eq!((app.balance(1).await, app.stock(1).await), (1_000, 40));
        assert_eq!(app.count("SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE epoch > 1").await, 0);
        // The end of its transaction would be that of the one that was cut off.
        app.user_with(2, 5).await;
        if restarts == Restarts::Rewritten {
            eventually!(!is_marked(&app).await);
        }
        for _ in 0..2 {
            let mut mysql = app.connections().mysql.begin().await.unwrap();
            app.redis.own().kill().await;
            if restarts == Restarts::BeforeMysqlAnswers {
                sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *mysql).await.unwrap();
            }
            app.redis.own().restart().await.unwrap();
            if restarts == Restarts::BeforeMysqlAnswers {
                // As long as a look for the mark, and a new file, take.
                tokio::time::sleep(Duration::from_millis(2_500)).await;
            }
            mysql.rollback().await.unwrap();
            app.wait_until_all_sell().await;
            assert_eq!((app.balance(1).await, app.stock(1).await), (1_000, 40), "{restarts:?}");
        }
        app.drain().await;
        app.finish().await;
    }
}

/// Goal: a new process on a Redis that lost nothing opens nothing anew.
#[tokio::test]
async fn a_new_engine_goes_on_in_the_same_epoch() {
    let mut app = TestApp::start().await;
    fill(&app).await;
    app.stop_engine().await;
    app.start_engine().await;
    assert_eq!(app.balance(3).await, 49_010);
    assert_eq!(epoch(&app).await, 1);
    app.finish().await;
}

/// Redis loses the end of its log: MySQL has more than Redis. Goal: the cell is rebuilt from MySQL,
/// nothing that was persisted is missing.
#[tokio::test]
async fn a_cut_log_is_noticed_and_rebuilt() {
    let mut app = TestApp::start_with_own_redis(|_| {}).await;
    fill(&app).await;
    app.drain_events().await;
    let before = app.redis.dump().await;

    app.redis.own().kill().await;
    let log = append_only_file(&app);
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(length - 700).unwrap();
    app.redis.own().restart().await.unwrap();

    app.wait_until_all_sell().await;
    // Cells that were cut off nothing are marked for a while.
    eventually!(!is_marked(&app).await);
    assert_eq!(app.redis.dump().await, before);
    let each = "SELECT CAST(MAX(times) AS SIGNED) FROM \
                (SELECT SUM(rebuilt) AS times FROM recoveries WHERE epoch > 1 GROUP BY cell) AS each_cell";
    assert_eq!(app.count(each).await, 1);
    assert_eq!(lost_events(&app).await, 0);
    app.finish().await;
}

/// Goal: a number that was handed out once is never handed out again, whatever Redis has forgotten.
#[tokio::test]
async fn numbers_never_restart() {
    let app = TestApp::start_with_own_redis(|_| {}).await;
    app.user_with(1, 100).await;
    app.product_with(1, 1, 100).await;
    let order = async || {
        let items = json!([{"productId": 1, "quantity": 1}]);
        let answer = app.post("/orders", json!({"userId": 1, "items": items})).await;
        answer.body["orderId"].as_i64().map(|it| it / 1_024)
    };
    let mut last = order().await.unwrap();
    for _ in 0..3 {
        app.drain_events().await;
        app.redis.flush_all().await;
        let next = loop {
            if let Some(seq) = order().await {
                break seq;
            }
        };
        // Past all that nodes may have handed out meanwhile.
        assert!(next > last + app.settings.stream_bound() as i64, "{next} after {last}");
        last = next;
    }
    app.finish().await;
}

/// Transactions of this test's database that wait to move the position.
const WAITING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() \
                       AND INFO LIKE 'UPDATE cells SET persisted%'";

/// Cuts the log in the beginning of the last scripts but `gone - 1`, so that so many are gone.
fn cut_before_the_last(app: &TestApp, gone: usize) {
    let log = append_only_file(app);
    let text = std::fs::read(&log).unwrap();
    let mut begin = text.windows(5).enumerate().filter(|(_, it)| *it == b"MULTI").map(|it| it.0);
    let cut = begin.nth_back(gone - 1).unwrap();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(cut as u64).unwrap();
}

/// Redis loses events that MySQL did not have yet, but that the engine had acknowledged. Goal: the loss
/// is counted, with its range, and what is left is sound.
#[tokio::test]
async fn an_acknowledged_loss_is_counted() {
    let mut app = TestApp::start_with_own_redis(|settings| settings.redis_reply_timeout_ms = 500).await;
    app.user_with(1, 100).await;
    app.drain_events().await;
    // Nothing persists while another transaction holds the cell's row.
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    let charge = async || {
        assert_eq!(app.post("/users/1/balance", json!({"amount": 1})).await.status, StatusCode::CREATED);
    };
    charge().await;
    // The worker has read that one; of those that follow it knows nothing.
    eventually!(app.count(WAITING).await == 1);
    for _ in 0..4 {
        charge().await;
    }
    app.redis.own().kill().await;
    cut_before_the_last(&app, 2);
    app.redis.own().restart().await.unwrap();
    holder.rollback().await.unwrap();

    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    let lost = lost_events(&app).await;
    assert_eq!((app.balance(1).await, lost), (103, 2));
    app.finish().await;
}

/// The same, and the node that acknowledged it is dead. Goal: what it had noted is counted.
#[tokio::test]
async fn what_a_dead_node_acknowledged_is_counted() {
    let mut app = TestApp::start_with_own_redis(|settings| settings.redis_reply_timeout_ms = 500).await;
    app.user_with(1, 100).await;
    app.drain_events().await;
    app.stop_engine().await;
    app.start_engine_as(Role::Worker).await;
    let settings = Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], ports::free().unwrap())),
        ..app.settings.clone()
    };
    let mut node = EngineProcess::start(&settings, "api");
    let client = reqwest::Client::new();
    let charge = async || {
        let sent = client.post(format!("http://{}/users/1/balance", settings.listen));
        sent.json(&json!({"amount": 1})).send().await.is_ok_and(|it| it.status() == StatusCode::CREATED)
    };
    eventually!(charge().await);
    app.drain_events().await;
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    assert!(charge().await);
    eventually!(app.count(WAITING).await == 1);
    for _ in 0..4 {
        assert!(charge().await);
    }
    let newest =
        app.redis_of(1).await.xinfo_stream::<_, StreamInfoStreamReply>(app.key_of(1, "events")).await;
    let newest: i64 = newest.unwrap().last_generated_id.split_once('-').unwrap().1.parse().unwrap();
    eventually!(app.count("SELECT CAST(MAX(highest_seq) AS SIGNED) FROM nodes").await == newest);
    node.kill();
    app.redis.own().kill().await;
    cut_before_the_last(&app, 2);
    app.redis.own().restart().await.unwrap();
    holder.rollback().await.unwrap();

    eventually!(lost_events(&app).await == 2);
    app.stop_engine().await;
    app.start_engine().await;
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    assert_eq!(app.balance(1).await, 104);
    app.finish().await;
}

/// A script that stops after its first write. Goal: the gate is shut at once, the cell is rebuilt from
/// MySQL, and the event that stands in the log counts.
#[tokio::test]
async fn a_script_that_stopped_half_way_is_repaired() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 5).await;
    app.user_with(1, 100).await;
    let mut redis = app.redis_of(1).await;
    // An amount at which the purchase's second write fails: HINCRBY of a number that is none.
    let () = redis::cmd("HSET")
        .arg(app.key_of(1, "sku:1:0"))
        .arg("remaining")
        .arg("5.0")
        .query_async(&mut redis)
        .await
        .unwrap();

    let broken = app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await;

    assert_eq!(broken.status, StatusCode::INTERNAL_SERVER_ERROR, "{broken:?}");
    eventually!(
        app.get("/users/1/balance").await.status == StatusCode::OK && epoch_of_first(&app).await == 2
    );
    assert_eq!((app.balance(1).await, app.stock(1).await), (90, 4), "the event stands, so its effects do");
    app.finish().await;
}

/// While one purchase stops half-way, others are on their way behind it. Goal: none of them runs on half of its
/// changes, which would put wrong balances and units into events, and so into MySQL.
#[tokio::test]
async fn nothing_runs_behind_a_script_that_stopped_half_way() {
    let app = TestApp::start().await;
    for product in [1, 2] {
        app.product_with(product, 10, 1_000).await;
    }
    app.user_with(1, 100_000).await;
    let mut redis = app.redis_of(1).await;
    // The first write that fails is that of the first item's sales; the second item is not taken from then on.
    let mut plant = redis::pipe();
    let sales = app.key_of(1, "sales:rolling");
    plant.del(&sales).set(&sales, "of a wrong kind");
    let () = plant.query_async(&mut redis).await.unwrap();

    let items = json!([{"productId": 1, "quantity": 1}, {"productId": 2, "quantity": 1}]);
    let order = json!({"userId": 1, "items": items});
    let answers = futures::future::join_all((0..50).map(|_| app.post("/orders", order.clone()))).await;

    let failed = answers.iter().filter(|it| it.status == StatusCode::INTERNAL_SERVER_ERROR).count();
    assert_eq!(failed, 1, "it shut the gate behind itself");
    eventually!(
        app.get("/users/1/balance").await.status == StatusCode::OK && epoch_of_first(&app).await == 2
    );
    assert_eq!(app.stock(1).await, app.stock(2).await);
    app.finish().await;
}

/// A script that fails in its checks. Goal: nothing changes, and the cell goes on selling.
#[tokio::test]
async fn a_failed_check_shuts_nothing() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 5).await;
    app.user_with(1, 100).await;
    let mut redis = app.redis_of(2).await;
    let () =
        redis::cmd("SET").arg(app.key_of(2, "user:2")).arg("no hash").query_async(&mut redis).await.unwrap();

    let broken = app.post("/orders", json!({"userId": 2, "items": [{"productId": 1, "quantity": 1}]})).await;

    assert_eq!(broken.status, StatusCode::INTERNAL_SERVER_ERROR, "{broken:?}");
    let good = app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await;
    assert_eq!((good.status, epoch(&app).await), (StatusCode::CREATED, 1));
    let () = redis::cmd("DEL").arg(app.key_of(2, "user:2")).query_async(&mut redis).await.unwrap();
    app.finish().await;
}

/// Goal: a closed cell refuses everything until it is opened, and loses nothing.
#[tokio::test]
async fn a_closed_cell_waits_for_its_operator() {
    use firstcome::worker::recover::{RecoverOutcome, close, reopen};

    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    let worker = app.connections().worker();
    close(&worker, app.cell_of(1)).await.unwrap();
    let refused = app.post("/users/1/balance", json!({"amount": 1})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "cell_closed"));
    assert!(refused.header("retry-after").is_some());
    eventually!(app.get("/readyz").await.status == StatusCode::SERVICE_UNAVAILABLE);

    // Either this call or the engine's own worker is the one that opens it.
    let opened = reopen(&worker, app.cell_of(1), &firstcome::worker::Silent).await.unwrap();
    assert!(!matches!(opened, RecoverOutcome::LeftClosed { .. }), "{opened:?}");
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    assert_eq!(app.balance(1).await, 100);
    assert_eq!(app.count("SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE epoch > 1").await, 0);
    app.finish().await;
}

/// A worker's COMMIT is under way when Redis loses everything and another worker recovers. Goal: the recovery
/// sees what that COMMIT brought, counts no loss, and the cell opens.
#[tokio::test]
async fn a_recovery_waits_for_the_transaction_before_it() {
    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    app.drain_events().await;
    let position = app.count_of(1, "SELECT CAST(persisted_seq AS SIGNED) FROM cells WHERE cell = ?").await;
    // The transaction of an older writer: it has moved the position and not committed yet.
    let mut older = app.connections().mysql.begin().await.unwrap();
    // However slow the machine is, it holds on.
    sqlx::query("SET SESSION wait_timeout = 3600").execute(&mut *older).await.unwrap();
    let moved = "UPDATE cells SET persisted_seq = persisted_seq + 3 WHERE cell = ?";
    sqlx::query(moved).bind(app.cell_of(1).0).execute(&mut *older).await.unwrap();
    sqlx::query("UPDATE wallets SET balance = 97, seq = seq + 3").execute(&mut *older).await.unwrap();
    sqlx::query("INSERT INTO ledger SELECT cell, seq, user_id, 'charge', -3, 97, NULL, NOW(3) FROM wallets")
        .execute(&mut *older)
        .await
        .unwrap();
    app.redis.flush_all().await;
    // Of other cells that is over; this one's recovery has read the old position and waits to claim its epoch.
    eventually!(app.count_of(1, "SELECT COUNT(*) FROM cells WHERE cell <> ? AND epoch < 2").await == 0);
    let claims =
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'UPDATE cells SET epoch%'";
    eventually!(app.count(claims).await > 0);
    older.commit().await.unwrap();

    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    assert_eq!(app.balance(1).await, 97);
    assert_eq!(lost_events(&app).await, 0);
    assert_eq!(
        app.count_of(1, "SELECT CAST(kept_seq AS SIGNED) FROM recoveries WHERE epoch = 2 AND cell = ?").await,
        position + 3
    );
    app.user_with(2, 5).await;
    app.finish().await;
}

/// Three workers meet the same loss. Goal: one recovers, the others follow, and the epoch rises once.
#[tokio::test]
async fn of_several_workers_one_recovers() {
    use super::engine_process::EngineProcess;

    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;
    let before = app.redis.dump().await;
    let _workers =
        [EngineProcess::start(&app.settings, "worker"), EngineProcess::start(&app.settings, "worker")];
    eventually!(app.count("SELECT COUNT(DISTINCT node) FROM nodes").await == 3);
    for round in 2..=4 {
        app.redis.flush_all().await;
        app.wait_until_all_sell().await;
        eventually!(app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await >= round);
    }
    assert_eq!(epoch(&app).await, 4);
    assert_eq!(app.redis.dump().await, before);
    app.finish().await;
}
