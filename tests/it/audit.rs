//! Promise: the audit finds whatever differs, names it, and never raises a false alarm while the shop sells.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firstcome::app::Role;
use firstcome::audit::{self, AuditReport};
use firstcome::cell::CellId;
use firstcome::ids::CouponId;
use firstcome::scripts::coupon_forget::{CouponForget, Forgetting, coupon_forget};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::test_app::{Answer, TestApp};

async fn open_coupon(app: &TestApp, coupon: u64, quantity: u32) {
    let body = json!({"name": "A coupon", "discount": {"kind": "fixed", "value": 30}, "quantity": quantity,
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"});
    let answer = app.put(&format!("/admin/coupons/{coupon}"), body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// Takes a campaign out of Redis, as if it were over.
async fn forget(app: &TestApp, coupon: u64) {
    let year_2999_ms = 32_500_000_000_000;
    let id = CouponId::new(coupon).unwrap();
    let (scripts, ended) = (&app.connections().scripts, Forgetting::Ended { before_ms: year_2999_ms });
    let outcome = coupon_forget(scripts, scripts.cells().coupon_home(id), id, ended).await.unwrap();
    assert_eq!(outcome, CouponForget::Forgotten);
}

async fn claim(app: &TestApp, coupon: u64, user: u64) -> Answer {
    app.post("/coupons", json!({"couponId": coupon, "userId": user})).await
}

async fn buy(app: &TestApp, user: u64, product: u64, coupon: Option<u64>) -> Answer {
    let items = json!([{"productId": product, "quantity": 1}]);
    app.post("/orders", json!({"userId": user, "items": items, "couponId": coupon})).await
}

async fn bought(app: &TestApp, user: u64, product: u64, coupon: Option<u64>) {
    let answer = buy(app, user, product, coupon).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

pub async fn delete_product(app: &TestApp, product: u64) -> StatusCode {
    app.send(Method::DELETE, &format!("/admin/products/{product}"), &[], "").await.status
}

async fn audited(app: &TestApp) -> AuditReport {
    audit::audit(&app.connections().scripts, &app.connections().mysql, &audit::Silent).await.unwrap()
}

/// What the audit names.
pub async fn named(app: &TestApp) -> BTreeSet<Named> {
    let report = audited(app).await;
    report.differences.iter().map(|it| (it.kind.to_owned(), it.id.clone())).collect()
}

/// Kind and id of a difference.
pub type Named = (String, String);

/// One difference, as a test expects it.
pub fn difference(kind: &str, id: &str) -> Named {
    (kind.to_owned(), id.to_owned())
}

/// Runs a command on keys of one cell, its words separated by spaces; a tilde is a space within a word.
pub async fn redis_does(app: &TestApp, command: &str) {
    let (_, tagged) = command.split_once("{c").expect("a key");
    let cell = CellId(tagged.split_once('}').unwrap().0.parse().unwrap());
    let mut words = command.split_whitespace();
    let mut built = redis::cmd(words.next().unwrap());
    for word in words {
        built.arg(word.replace('~', " "));
    }
    let _: redis::Value = built.query_async(&mut app.redis.connect(cell).await).await.unwrap();
}

pub async fn mysql_does(app: &TestApp, sql: &'static str) {
    sqlx::query(sql).execute(&app.connections().mysql).await.unwrap();
}

/// Every kind of state that an audit compares: users 1 to 9, products and coupons in their first and second
/// lives, forgotten and deleted ones, issues that were used and that were not.
pub async fn fill(app: &TestApp) {
    for user in 1..=9 {
        app.user_with(user, 100_000).await;
    }
    app.product_with(1, 100, 50).await;
    let options = json!({"name": "With options", "limitPerUser": 5, "options": [
        {"id": 1, "name": "S", "price": 50, "stock": 20}, {"id": 2, "name": "L", "price": 70, "stock": 20}]});
    assert_eq!(app.put("/admin/products/2", options).await.status, StatusCode::CREATED);
    let fewer = json!({"name": "With options", "options": [{"id": 1, "name": "S", "price": 50}]});
    assert_eq!(app.put("/admin/products/2", fewer).await.status, StatusCode::OK);
    let items = json!([{"productId": 2, "optionId": 1, "quantity": 3}, {"productId": 1, "quantity": 2}]);
    assert_eq!(app.post("/orders", json!({"userId": 9, "items": items})).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/admin/products/1/stock", json!({"delta": 7})).await.status, StatusCode::OK);

    // Product 3 is in its second life, product 4 is gone; both were sold and restocked.
    for product in [3, 4] {
        app.product_with(product, 10, 8).await;
        bought(app, 1, product, None).await;
        let restocked = app.post(&format!("/admin/products/{product}/stock"), json!({"delta": -2})).await;
        assert_eq!(restocked.status, StatusCode::OK, "{restocked:?}");
        assert_eq!(delete_product(app, product).await, StatusCode::NO_CONTENT);
    }
    app.product_with(3, 10, 5).await;
    bought(app, 2, 3, None).await;

    // Coupon 1 is open, with a unit of user 1 that is used and one of user 2 that is not.
    open_coupon(app, 1, 10).await;
    // Coupons 2 to 4 were used and forgotten; 3 and 4 are in their second life, in which user 1 has 4 again.
    for coupon in 1..=4 {
        if coupon > 1 {
            open_coupon(app, coupon, 5).await;
        }
        for user in 1..=2 {
            assert_eq!(claim(app, coupon, user).await.status, StatusCode::CREATED);
        }
        bought(app, 1, 1, Some(coupon)).await;
    }
    for coupon in 2..=4 {
        forget(app, coupon).await;
    }
    for coupon in 3..=4 {
        open_coupon(app, coupon, 3).await;
    }
    assert_eq!(claim(app, 4, 1).await.status, StatusCode::CREATED);
    let issued = app.post("/coupons/4/issue", json!({"userId": 77})).await;
    assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    bought(app, 2, 1, None).await;
}

/// Products that users of a cell have bought.
pub fn ranked_in(app: &TestApp, cell: CellId) -> BTreeSet<u64> {
    let bought = [(9, 1), (9, 2), (1, 1), (1, 3), (1, 4), (2, 1), (2, 3)];
    bought.into_iter().filter(|it| app.cell_of(it.0) == cell).map(|it| it.1).collect()
}

/// Goal: nothing is wrong with any kind of state, and everything was looked at.
#[tokio::test]
async fn every_kind_of_state_is_clean() {
    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;

    let report = audited(&app).await;

    assert!(report.clean(), "{report:#?}");
    let checked = report.checked;
    assert_eq!((checked.wallets, checked.coupons), (10, 4 * u64::from(app.settings.cells)));
    // Two each of coupons 1 to 3, and of coupon 4 users 1, 2 (its first life) and 77.
    let ranked: usize = app.settings.cells().all().map(|it| ranked_in(&app, it).len()).sum();
    assert_eq!((checked.coupon_issues, checked.ranked_products), (9, ranked as u64));
    app.finish().await;
}

/// Nothing reaches MySQL. Goal: the audit compares all the same, by the events that wait.
#[tokio::test]
async fn a_long_backlog_is_clean() {
    let app = TestApp::start_with_one_cell(|_| {}).await;
    app.product_with(90, 100, 10).await;
    open_coupon(&app, 90, 10).await;
    app.user_with(90, 1_000).await;
    claim(&app, 90, 90).await;
    app.drain_events().await;
    // Nothing persists while another transaction holds the cell's row.
    let mut holder = app.connections().mysql.begin().await.unwrap();
    let held = "SELECT CAST(persisted_seq AS SIGNED) FROM cells FOR UPDATE";
    let (before,): (i64,) = sqlx::query_as(held).fetch_one(&mut *holder).await.unwrap();
    fill(&app).await;
    // What MySQL knows ends: a campaign with its issue, and a product.
    bought(&app, 90, 90, Some(90)).await;
    forget(&app, 90).await;
    assert_eq!(delete_product(&app, 90).await, StatusCode::NO_CONTENT);
    for round in 1..=3 {
        let report = audited(&app).await;
        assert!(report.clean(), "{report:#?}");
        let (now,): (i64,) = sqlx::query_as(held).fetch_one(&mut *holder).await.unwrap();
        assert_eq!(now, before, "round {round}");
        // And the next life of each.
        if round == 1 {
            open_coupon(&app, 90, 4).await;
            app.product_with(90, 100, 3).await;
        }
        if round == 2 {
            assert_eq!(claim(&app, 90, 90).await.status, StatusCode::CREATED);
            bought(&app, 90, 90, Some(90)).await;
        }
    }
    let newest: Vec<(String, Vec<String>)> = redis::cmd("XREVRANGE")
        .arg(&["{c0}:events", "+", "-", "COUNT", "1"])
        .query_async(&mut app.redis_of(1).await)
        .await
        .unwrap();
    let newest: i64 = newest[0].0.split_once('-').unwrap().1.parse().unwrap();
    assert!(newest > before + 50, "{newest} is the newest event, of which MySQL has {before}");
    drop(holder);
    app.finish().await;
}

/// What goes on in a busy shop until `stop`; each counts what it did.
async fn busy(app: &TestApp, stop: &AtomicBool, done: &AtomicU64) {
    let going = || !stop.load(Ordering::Relaxed);
    // A buyer claims, buys with the coupon and without, and charges; all of them the same three coupons.
    let buyer = |user: u64| async move {
        let mut round = 0;
        while going() {
            round += 1;
            // More products than one page of the ranking.
            let (coupon, product) = (100 + round % 3, 1 + (7 * round + user) % 60);
            let answers = [
                claim(app, coupon, user).await,
                buy(app, user, product, Some(coupon)).await,
                buy(app, user, 61 - product, None).await,
                app.post(&format!("/users/{user}/balance"), json!({"amount": 40})).await,
            ];
            let worked = answers.iter().filter(|it| it.status.is_success()).count();
            done.fetch_add(worked as u64, Ordering::Relaxed);
        }
    };
    // A product and a campaign that end and begin again, with somebody who buys and claims all the time.
    let lives = |id: u64| async move {
        while going() {
            app.product_with(id, 10, 40).await;
            open_coupon(app, id, 40).await;
            for user in 1..=6 {
                claim(app, id, user).await;
                buy(app, user, id, (user % 2 == 0).then_some(id)).await;
            }
            assert_eq!(delete_product(app, id).await, StatusCode::NO_CONTENT);
            forget(app, id).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    // Who comes at any moment of these lives, also between two of them.
    let intruder = |user: u64| async move {
        while going() {
            for id in 200..203 {
                app.post(&format!("/coupons/{id}/issue"), json!({ "userId": user })).await;
                buy(app, user, id, Some(id)).await;
            }
        }
    };
    let reader = async {
        while going() {
            assert_eq!(app.get("/products/top").await.status, StatusCode::OK);
        }
    };
    let (buyers, lives) = ((1..=12).map(buyer), (200..203).map(lives));
    futures::join!(join_all(buyers), join_all(lives), join_all((7..=9).map(intruder)), reader);
}

/// Claims, purchases with and without coupons, charges, deletions and new lives, all at once and while the worker
/// persists. Goal: dozens of audits in the middle of it find nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_audit_of_a_busy_shop_raises_a_false_alarm() {
    // So few that the log is trimmed in the middle of a page, now and then.
    let app = TestApp::start_with(|settings| settings.keep_events = 200).await;
    for user in 1..=12 {
        app.user_with(user, 100_000).await;
    }
    for id in 1..=60 {
        app.product_with(id, 10, 1_000_000).await;
    }
    for id in 100..103 {
        open_coupon(&app, id, 8).await;
    }
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let auditor = async {
        let began = Instant::now();
        let (mut audits, mut did) = (0, 0);
        while audits < 40 || did < 1_000 || began.elapsed() < Duration::from_secs(10) {
            let report = audited(&app).await;
            assert!(report.clean(), "audit {audits}, after {did} changes: {report:#?}");
            audits += 1;
            did = done.load(Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
        audits
    };
    let (audits, ()) = futures::join!(auditor, busy(&app, &stop, &done));
    assert!(audits >= 40);
    app.drain_events().await;
    assert!(
        app.count("SELECT COUNT(*) FROM coupons WHERE home = 1 AND born_seq > 0 AND coupon_id >= 200").await
            == 3
    );
    app.finish().await;
}

/// 700 products in each of twelve hours leave the ranking's window, in chunks. Goal: no audit in the middle of it
/// finds a difference in the ranking, and the last unit is still compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ranking_that_rolls_is_clean() {
    let mut app = TestApp::start_with_one_cell(|_| {}).await;
    app.drain_events().await;
    // The worker would roll, too.
    app.stop_engine().await;
    app.start_engine_as(Role::Api).await;
    let mut redis = app.redis_of(1).await;
    let rolled_to: i64 =
        redis::cmd("HGET").arg("{c0}:sales").arg("rolled_to").query_async(&mut redis).await.unwrap();
    // Twelve hours that have left, and two that have not. Rows and sets as purchases would have made them.
    let first = rolled_to - 11;
    let fill = "local hour = tonumber(ARGV[1]) \
        for h = 0, 13 do for n = 1, 700 do local member = string.format('%016d', n) \
        redis.call('ZINCRBY', '{c0}:sales:' .. string.format('%d', hour + h), -(h + 1), member) \
        redis.call('ZINCRBY', '{c0}:sales:rolling', -(h + 1), member) end end \
        return redis.call('HSET', '{c0}:sales', 'rolled_to', string.format('%d', hour - 1))";
    let _: i64 = redis::cmd("EVAL").arg(fill).arg(0).arg(first).query_async(&mut redis).await.unwrap();
    let mysql = &app.connections().mysql;
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 700), \
                   h AS (SELECT 0 AS h UNION ALL SELECT h + 1 FROM h WHERE h < 13)";
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO orders (id, cell, seq, user_id, status, total, discount, paid, placed_at, paid_at) {numbers} \
         SELECT (h * 1000 + n) * 1024, 0, h * 1000 + n, 1, 'paid', 0, 0, 0, NOW(3), \
         TIMESTAMPADD(HOUR, ? + h, '1970-01-01 00:30:00') FROM n, h"
    )))
    .bind(first)
    .execute(mysql)
    .await
    .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO order_lines (order_id, line_no, product_id, option_id, quantity, unit_price, limited) {numbers} \
         SELECT (h * 1000 + n) * 1024, 0, n, 0, h + 1, 0, 0 FROM n, h"
    )))
    .execute(mysql)
    .await
    .unwrap();

    let ranking = || async {
        let report = audited(&app).await;
        let ranked = report.differences.into_iter().filter(|it| it.kind == "ranking");
        (report.checked.ranked_products, ranked.collect::<Vec<_>>())
    };
    assert_eq!(ranking().await, (700, vec![]));
    let (audits, rolled) = (AtomicU64::new(0), AtomicBool::new(false));
    let auditor = async {
        while !rolled.load(Ordering::Relaxed) {
            assert_eq!(ranking().await, (700, vec![]));
            audits.fetch_add(1, Ordering::Relaxed);
        }
    };
    // The script itself, in chunks that are smaller than an hour, and not faster than 50 chunks an audit.
    let roll = async {
        let mut redis = app.redis_of(1).await;
        let text =
            format!("local CELL = '0' {}", include_str!("../../lua/ranking_roll.lua").replace("#!lua", "--"));
        for chunk in 0.. {
            let (outcome, _): (String, i64) = redis::cmd("EVAL")
                .arg(&text)
                .arg(4)
                .arg(&["{c0}:gate", "{c0}:events", "{c0}:sales", "{c0}:sales:rolling"])
                .arg(&[72, 40])
                .query_async(&mut redis)
                .await
                .unwrap();
            if outcome == "CURRENT" {
                return rolled.store(true, Ordering::Relaxed);
            }
            while audits.load(Ordering::Relaxed) < chunk / 50 {
                tokio::task::yield_now().await;
            }
        }
    };
    futures::join!(auditor, roll);
    let now_rolled_to: i64 =
        redis::cmd("HGET").arg("{c0}:sales").arg("rolled_to").query_async(&mut redis).await.unwrap();
    assert!(now_rolled_to >= rolled_to && audits.into_inner() >= 4);
    let left: i64 = redis::cmd("ZSCORE")
        .arg("{c0}:sales:rolling")
        .arg("0000000000000700")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(-left, (now_rolled_to - first + 2..=14).sum::<i64>());
    assert_eq!(ranking().await, (700, vec![]));
    redis_does(&app, "ZINCRBY {c0}:sales:rolling -1 0000000000000700").await;
    assert_eq!(ranking().await.1.len(), 1);
    app.abandon().await;
}
