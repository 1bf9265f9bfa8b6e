//! What nobody needs any more leaves Redis, and nobody loses by it.

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::cell_dump::{Dump, longest_log};
use super::test_app::TestApp;
use super::test_clock::TestClock;

const DAY_HOURS: i64 = 24;

/// The time of day that Redis has.
async fn now(app: &TestApp) -> DateTime<Utc> {
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut app.redis_of(1).await).await.unwrap();
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// One day's sale: a product and a campaign for an hour, with a limit per user, claims, orders with coupons and keys.
async fn one_sale(app: &TestApp, clock: &TestClock, day: u64) {
    let begin = now(app).await;
    let at = |hours: i64| (begin + chrono::Duration::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let product = json!({
        "name": "of the day", "saleEndsAt": at(1), "limitPerUser": 2,
        "options": [{"id": 1, "name": "S", "price": 10, "stock": 50}, {"id": 2, "name": "L", "price": 12, "stock": 50}]
    });
    assert_eq!(app.put(&format!("/admin/products/{day}"), product).await.status, StatusCode::CREATED);
    let smaller = json!({"name": "of the day", "saleEndsAt": at(1), "limitPerUser": 2,
        "options": [{"id": 1, "name": "S", "price": 10}]});
    let window = json!({"endsAt": at(1), "expiresAt": at(2)});
    app.campaign(day, 30, window).await;
    let buyer = async |user: u64| {
        let claimed = app.post("/coupons", json!({"userId": user, "couponId": day})).await;
        assert_eq!(claimed.status, StatusCode::CREATED, "{claimed:?}");
        let items = json!([{"productId": day, "optionId": user % 2 + 1, "quantity": 1}]);
        let order = json!({"userId": user, "couponId": day, "items": items});
        let paid = app.post_once("/orders", &format!("day {day}"), order).await;
        assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
    };
    join_all((1..=20).map(buyer)).await;
    assert_eq!(app.put(&format!("/admin/products/{day}"), smaller).await.status, StatusCode::OK);
    clock.advance_hours(DAY_HOURS);
}

/// What is in Redis but for the keys of engine and users.
fn left_behind(dump: &Dump) -> Vec<&String> {
    let of_cell = |key: &str| key.split_once("}:").map(|it| it.1.to_owned()).unwrap_or_default();
    let stays = |key: &&String| of_cell(key).starts_with("user:") || of_cell(key) == "sales";
    dump.keys().filter(|it| !stays(it)).collect()
}

/// A month of daily sales in fast motion. Goal: after their time Redis holds what it held before the first one, MySQL
/// everything that happened, and the audit has nothing to say.
#[tokio::test]
async fn a_month_of_sales_leaves_no_trace_in_redis() {
    let (app, clock) = TestApp::start_with_clock(|settings| settings.keep_events = 50).await;
    for user in 1..=20 {
        app.user_with(user, 1_000_000).await;
    }
    app.drain_events().await;
    let mut after_a_week = 0;
    for day in 1..=30 {
        one_sale(&app, &clock, day).await;
        app.drain_events().await;
        app.forget().await;
        app.wait_for_copies().await;
        // Whoever looks first moves the ranking's window.
        assert_eq!(app.get("/products/top").await.status, StatusCode::OK);
        let size = app.redis.dump().await.len();
        if day == 9 {
            after_a_week = size;
        }
        assert!(day < 9 || size == after_a_week, "day {day}: {size} keys instead of {after_a_week}");
    }
    // What was sold this week is still refused in the contract's words; what was sold long ago is no longer listed.
    assert_eq!(app.get("/products/1").await.code(), "product_not_found");
    assert_eq!(app.get("/products/29").await.status, StatusCode::OK);
    let order = |day: u64| json!({"userId": 1, "items": [{"productId": day, "optionId": 1, "quantity": 1}]});
    assert_eq!(app.post("/orders", order(29)).await.code(), "sale_not_open");
    assert_eq!(app.post("/orders", order(1)).await.code(), "product_not_found");
    let claim = |day: u64| json!({"userId": 1, "couponId": day});
    assert_eq!(app.post("/coupons", claim(29)).await.code(), "coupon_expired");
    assert_eq!(app.post("/coupons", claim(1)).await.code(), "coupon_not_found");

    clock.advance_hours(9 * DAY_HOURS);
    app.drain_events().await;
    let gone = app.forget().await;
    assert!(gone.products > 0 && gone.coupons > 0, "{gone:?}");
    app.wait_for_copies().await;
    assert_eq!(app.get("/products/top").await.body, json!([]));
    let after = app.redis.dump().await;
    assert_eq!(left_behind(&after), [] as [&String; 0]);
    let log = longest_log(&app.redis.url()).await;
    assert!(log <= 50 + 2_000, "{log} entries are kept");

    // Nothing is lost: rows, a user's own lists, and a rebuild that does not bring back what is over.
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 600);
    assert_eq!(app.count("SELECT COUNT(*) FROM coupon_issues WHERE state = 'used'").await, 600);
    assert_eq!(app.count("SELECT COUNT(*) FROM idempotency").await, 0);
    let own = app.get("/users/1/coupons?limit=200").await;
    assert_eq!(own.body.as_array().map(Vec::len), Some(30));
    let orders = app.get("/users/1/orders?limit=200").await;
    assert_eq!(orders.body.as_array().map(Vec::len), Some(30));
    app.redis.flush_all().await;
    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, after);
    app.finish().await;
}

/// A product is deleted and its id, like that of a forgotten campaign, used again. Goal: the new life counts stock,
/// limit and pool of its own, orders of the old one stay, and MySQL adds up.
#[tokio::test]
async fn an_id_begins_a_new_life() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    app.user_with(1, 1_000).await;
    let product = |stock: i64| json!({"name": "again", "price": 10, "stock": stock, "limitPerUser": 2});
    let order = |coupon: Option<u64>| json!({"userId": 1, "couponId": coupon, "items": [{"productId": 1, "quantity": 2}]});
    let end = (now(&app).await + chrono::Duration::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(app.put("/admin/products/1", product(10)).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/admin/products/1/stock", json!({"delta": 5})).await.body["stock"], 15);
    app.campaign(1, 5, json!({"endsAt": end})).await;
    assert_eq!(app.post("/coupons", json!({"userId": 1, "couponId": 1})).await.status, StatusCode::CREATED);
    let first = app.post("/orders", order(Some(1))).await;
    assert_eq!(first.body["paid"], 10, "{first:?}");
    assert_eq!(app.post("/orders", order(None)).await.code(), "purchase_limit_exceeded");

    let delete = reqwest::Method::DELETE;
    assert_eq!(app.send(delete.clone(), "/admin/products/1", &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.send(delete, "/admin/products/1", &[], "").await.code(), "product_not_found");
    assert_eq!(app.post("/orders", order(None)).await.code(), "product_not_found");
    assert_eq!(app.get("/products/top").await.body, json!([]), "what is not listed is not ranked");
    clock.advance_hours(9 * DAY_HOURS);
    app.drain_events().await;
    // This call forgets it, or the engine's own worker.
    app.forget().await;
    app.wait_for_copies().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM coupons WHERE home = 1 AND forgotten = 1").await, 1);
    assert_eq!(app.get("/users/1/coupons").await.body[0]["status"], "used");
    app.assert_clean().await;

    // In one batch of the write-behind: a new life, a purchase, the end of it, and another life.
    app.campaign(1, 3, json!({"name": "second"})).await;
    assert_eq!(app.put("/admin/products/1", product(4)).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/coupons", json!({"userId": 1, "couponId": 1})).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/orders", order(Some(1))).await.status, StatusCode::CREATED);
    let delete = app.send(reqwest::Method::DELETE, "/admin/products/1", &[], "").await;
    assert_eq!(delete.status, StatusCode::NO_CONTENT);
    assert_eq!(app.put("/admin/products/1", product(7)).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/orders", order(None)).await.status, StatusCode::CREATED, "its limit begins anew");
    assert_eq!(app.stock(1).await, 5);
    assert_eq!(app.get("/products/top").await.body[0]["sold"], 4);
    app.wait_for_copies().await;
    let before = app.redis.dump().await;
    app.redis.flush_all().await;
    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, before);
    assert_eq!(app.get(&format!("/orders/{}", first.body["orderId"])).await.status, StatusCode::OK);
    app.finish().await;
}
