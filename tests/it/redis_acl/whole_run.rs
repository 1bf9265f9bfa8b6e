//! A day in a shop, and its accidents, under the ACL.

use firstcome::audit;
use firstcome::config::Secret;
use firstcome::worker::recover::{self, Because};
use firstcome::worker::{Silent, expire, forget};
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::cell_dump::{connect, everything};
use super::super::pending_orders::{later, pay, place};
use super::super::test_app::{CELL, TestApp, eventually};
use super::super::test_clock::TestClock;
use super::{assert_nothing_refused, observer, redis, with_user};

/// The engine's user of `ops/redis.conf` reaches the keys of one cell.
const CELLS: u16 = 1;

/// Goal: with its users, too, a Redis that was killed has all that it had: it loads its own file as the default user.
#[tokio::test]
async fn a_restart_under_the_acl_loses_nothing() {
    const REBUILDS: &str = "SELECT COUNT(*) FROM recoveries WHERE rebuilt";
    let (redis, folder, _) = redis(false).await;
    let url = with_user(&redis.url(), "firstcome");
    let mut app = TestApp::start_on(redis, folder, |settings| {
        settings.redis_url = Secret::new(url);
        settings.cells = CELLS;
    })
    .await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 10, 100).await;
    assert_eq!(app.post_once("/orders", "order", order_of_one()).await.status, StatusCode::CREATED);
    place(&app, later(1, 1, 1, None)).await;
    app.drain().await;
    let rebuilds = app.count(REBUILDS).await;
    app.stop_engine().await;
    let observed = with_user(&app.redis.url(), "observer");
    let before = everything(&observed).await;
    app.redis.own().kill().await;
    app.redis.own().restart().await.unwrap();
    // Who has not logged in hears NOAUTH from a server that still loads, too.
    let mut observer = connect(&observed).await;
    let loading = async |redis: &mut MultiplexedConnection| {
        let info: InfoDict = redis::cmd("INFO").arg("persistence").query_async(redis).await.unwrap();
        info.get::<u8>("loading").unwrap() == 1
    };
    eventually!(!loading(&mut observer).await);
    assert_eq!(everything(&observed).await, before);
    assert_nothing_refused(app.redis.own()).await;
    app.start_engine().await;
    assert_eq!(app.count(REBUILDS).await, rebuilds, "nothing was missing");
    app.finish().await;
}

async fn audit(app: &TestApp) -> bool {
    let connections = app.connections();
    audit::audit(&connections.scripts, &connections.mysql, &audit::Silent).await.unwrap().clean()
}

/// A day in a shop: each call that changes something, and the ways in which an order can end.
async fn trade(app: &TestApp, clock: &TestClock) {
    let shirt = json!({"name": "Shirt", "limitPerUser": 5, "saleStartsAt": "2020-01-01T00:00:00Z",
        "options": [{"id": 1, "name": "S", "price": 5, "stock": 9}, {"id": 2, "name": "L", "price": 6, "stock": 9}]});
    assert_eq!(app.put("/admin/products/2", shirt).await.status, StatusCode::CREATED);
    let smaller =
        json!({"name": "Shirt", "limitPerUser": 5, "options": [{"id": 1, "name": "S", "price": 5}]});
    assert_eq!(app.put("/admin/products/2", smaller).await.status, StatusCode::OK);
    app.product_with(1, 10, 100).await;
    app.product_with(3, 10, 100).await;
    assert_eq!(app.send(Method::DELETE, "/admin/products/3", &[], "").await.status, StatusCode::NO_CONTENT);
    app.user_with(1, 10_000).await;
    let charged = app.post_once("/balance/charge", "charge", json!({"userId": 2, "amount": 500})).await;
    assert_eq!(charged.status, StatusCode::OK, "{charged:?}");
    let restocked = app.post_once("/admin/products/1/stock", "stock", json!({"delta": -3})).await;
    assert_eq!(restocked.status, StatusCode::OK, "{restocked:?}");
    for coupon in 1..=4 {
        app.campaign(coupon, 9, json!({})).await;
        let path = format!("/coupons/{coupon}/issue");
        assert_eq!(app.post_once(&path, &format!("claim {coupon}"), json!({"userId": 1})).await.status, 201);
    }
    assert_eq!(
        app.post("/coupons", json!({"userId": 1, "couponId": 1})).await.code(),
        "coupon_already_issued"
    );

    let items = json!([{"productId": 1, "quantity": 2}, {"productId": 2, "optionId": 1, "quantity": 1}]);
    let order = json!({"userId": 1, "items": items, "couponId": 1});
    let paid = app.post_once("/orders", "order", order.clone()).await;
    assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
    let again = app.post_once("/orders", "order", order).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    let waited = place(app, later(1, 1, 2, Some(2))).await;
    assert_eq!(pay(app, waited, None).await.status, StatusCode::OK);
    let cancelled = place(app, later(1, 1, 1, Some(3))).await;
    assert_eq!(app.post(&format!("/orders/{cancelled}/cancel"), json!({})).await.status, StatusCode::OK);
    let let_go = place(app, later(1, 1, 1, Some(3))).await;
    assert_eq!(app.get(&format!("/coupons/valid?orderId={let_go}")).await.status, StatusCode::OK);
    assert_eq!(app.post("/coupons/3/cancel", json!({"orderId": let_go})).await.status, StatusCode::OK);
    assert_eq!(pay(app, let_go, Some(4)).await.status, StatusCode::OK);
    app.drain().await;
    for order in [paid.body["orderId"].as_u64().unwrap(), waited] {
        let refunded =
            app.post_once(&format!("/orders/{order}/refund"), &format!("refund {order}"), json!({})).await;
        assert_eq!(refunded.status, StatusCode::OK, "{refunded:?}");
    }
    let expired = place(app, later(2, 1, 1, None)).await;
    clock.advance_seconds(10 * 60);
    expire(&app.connections().worker(), CELL).await.unwrap();
    eventually!(app.get(&format!("/orders/{expired}")).await.body["status"] == "expired");
    for path in [
        "/products",
        "/products/top",
        "/products/1/stock-check",
        "/coupons",
        "/users/1/coupons",
        "/users/1/orders",
        "/users/1/balance/history",
        "/balance?userId=9",
        "/readyz",
    ] {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
    app.assert_clean().await;
}

/// Goal: under that user the engine does all that it does, from the first sale to the rebuild after a FLUSHALL, and is
/// never refused anything.
#[tokio::test]
async fn the_engine_works_under_the_acl() {
    let (redis, folder, clock) = redis(true).await;
    let url = with_user(&redis.url(), "firstcome");
    let mut app = TestApp::start_on(redis, folder, |settings| {
        settings.redis_url = Secret::new(url);
        settings.cells = CELLS;
        settings.keep_events = 5;
    })
    .await;
    trade(&app, &clock).await;
    assert_nothing_refused(app.redis.own()).await;

    // An audit that finds something walks through what it counts at other times; a rebuild mends it.
    let mut observer = observer(app.redis.own()).await;
    let () = redis::pipe()
        .cmd("HSET")
        .arg("{c0}:coupon:2:issues")
        .arg("77")
        .arg("issued 1")
        .ignore()
        .cmd("ZADD")
        .arg("{c0}:sales:rolling")
        .arg("-5")
        .arg("0000000000000077")
        .ignore()
        .query_async(&mut observer)
        .await
        .unwrap();
    assert!(!audit(&app).await);
    let worker = app.connections().worker();
    recover::recover_in_turn(&worker, CELL, Because::Asked, &Silent).await.unwrap();
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    app.assert_clean().await;

    recover::close(&worker, CELL).await.unwrap();
    eventually!(app.get("/users/1/balance").await.code() == "cell_closed");
    recover::reopen(&worker, CELL, &Silent).await.unwrap();
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);

    // Another release meets texts that are missing; then everything is missing.
    for command in [&["SCRIPT", "FLUSH"][..], &["FLUSHALL"]] {
        let balance = app.balance(1).await;
        let () = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut observer).await.unwrap();
        eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
        assert_eq!(app.balance(1).await, balance);
        app.assert_clean().await;
    }
    assert_eq!(app.post("/orders", order_of_one()).await.status, StatusCode::CREATED);
    clock.advance_hours(24 * 9);
    let end = json!({"name": "Product 1", "price": 10, "saleEndsAt": "2020-01-02T00:00:00Z"});
    assert_eq!(app.put("/admin/products/1", end).await.status, StatusCode::OK);
    app.campaign(1, 9, json!({"endsAt": "2020-01-02T00:00:00Z"})).await;
    clock.advance_hours(24 * 9);
    assert_eq!(app.get("/products/top").await.body, json!([]), "the window has moved on");
    app.drain().await;
    let gone = forget(&worker, CELL).await.unwrap();
    assert!(gone.products > 0 && gone.coupons > 0, "{gone:?}");
    app.assert_clean().await;
    assert_nothing_refused(app.redis.own()).await;

    // A Redis that starts again, and an engine that does.
    app.redis.own().restart().await.unwrap();
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    app.stop_engine().await;
    app.start_engine().await;
    app.user_with(5, 10).await;
    assert_nothing_refused(app.redis.own()).await;
    app.finish().await;
}

fn order_of_one() -> Value {
    json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})
}
