//! A day in a shop, and its accidents, under the ACL.

use firstcome::audit;
use firstcome::config::{Address, Secret, Settings};
use firstcome::dev::PrivateCluster;
use firstcome::ids::{ProductId, UserId};
use firstcome::worker::moving::move_cell;
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
use super::super::test_cluster::server_of;
use super::stage::Stage;
use super::{ENGINE, MOVER, assert_nothing_refused, observer, redis, with_user};

/// Goal: with its users, too, a Redis that was killed has all that it had: it loads its own file as the default user.
#[tokio::test]
async fn a_restart_under_the_acl_loses_nothing() {
    const REBUILDS: &str = "SELECT COUNT(*) FROM recoveries WHERE rebuilt";
    let (redis, folder, _) = redis(false).await;
    let url = with_user(&redis.url(), "firstcome");
    let mut app = TestApp::start_on(redis, folder, |settings| settings.redis_url = Secret::new(url)).await;
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
    for cell in app.settings.cells().all() {
        expire(&app.connections().worker(), cell).await.unwrap();
    }
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
    works(Stage::on_one(1).await).await;
}

/// Goal: the same with several cells, between which units move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_cells_work_under_the_acl() {
    works(Stage::on_one(8).await).await;
}

/// Goal: the same on a cluster, whose replicas have a user of their own; a cell moves under a third one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_works_under_the_acl() {
    works(Stage::on_cluster(8).await).await;
}

async fn works(mut stage: Stage) {
    let (app, clock) = (&stage.app, &stage.clock);
    trade(app, clock).await;
    let cells = app.settings.cells();
    if cells.count() > 1 {
        for user in 11..=30 {
            app.user_with(user, 100).await;
            let items = json!([{"productId": 1, "quantity": 1}]);
            let bought = app.post("/orders", json!({"userId": user, "items": items})).await;
            assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
        }
        assert!(app.count("SELECT COUNT(*) FROM transfers").await > 0, "units have moved");
    }
    stage.nothing_was_refused().await;

    // An audit that finds something walks through what it counts at other times; a rebuild mends it.
    let cell = cells.home(ProductId::new(1).unwrap());
    let () = redis::pipe()
        .cmd("HSET")
        .arg(format!("{{c{cell}}}:coupon:2:issues"))
        .arg("77")
        .arg("issued 1")
        .ignore()
        .cmd("ZADD")
        .arg(format!("{{c{cell}}}:sales:rolling"))
        .arg("-5")
        .arg("0000000000000077")
        .ignore()
        .query_async(&mut stage.observer(cell).await)
        .await
        .unwrap();
    assert!(!audit(app).await);
    let worker = app.connections().worker();
    recover::recover_in_turn(&worker, cell, Because::Asked, &Silent).await.unwrap();
    stage.sells().await;
    app.assert_clean().await;

    let of_user = cells.of_user(UserId::new(1).unwrap());
    recover::close(&worker, of_user).await.unwrap();
    eventually!(app.get("/users/1/balance").await.code() == "cell_closed");
    recover::reopen(&worker, of_user, &Silent).await.unwrap();
    stage.sells().await;

    // Another release meets texts that are missing; then everything is missing.
    for command in [&["SCRIPT", "FLUSH"][..], &["FLUSHALL"]] {
        let balance = app.balance(1).await;
        stage.say(command).await;
        eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
        stage.sells().await;
        assert_eq!(app.balance(1).await, balance);
        app.assert_clean().await;
    }
    assert_eq!(app.post("/orders", order_of_one()).await.status, StatusCode::CREATED);
    if let Some(cluster) = &stage.cluster {
        move_a_cell(app, cluster).await;
    }
    clock.advance_hours(24 * 9);
    let end = json!({"name": "Product 1", "price": 10, "saleEndsAt": "2020-01-02T00:00:00Z"});
    assert_eq!(app.put("/admin/products/1", end).await.status, StatusCode::OK);
    app.campaign(1, 9, json!({"endsAt": "2020-01-02T00:00:00Z"})).await;
    clock.advance_hours(24 * 9);
    eventually!(app.get("/products/top").await.body == json!([]));
    app.drain().await;
    let (mut products, mut coupons) = (0, 0);
    for cell in cells.all() {
        let gone = forget(&worker, cell).await.unwrap();
        (products, coupons) = (products + gone.products, coupons + gone.coupons);
    }
    assert!(products > 0 && coupons > 0, "{products} products, {coupons} coupons");
    app.assert_clean().await;
    stage.nothing_was_refused().await;

    // A Redis that starts again, and an engine that does.
    stage.restart().await;
    stage.sells().await;
    stage.app.stop_engine().await;
    stage.app.start_engine().await;
    stage.app.user_with(5, 10).await;
    stage.nothing_was_refused().await;
    stage.app.finish().await;
}

/// The engine's user may not move a cell, and is told so before anything has changed; the one for that may.
async fn move_a_cell(app: &TestApp, cluster: &PrivateCluster) {
    let from = server_of(app, cluster, CELL);
    let to = Address { host: "127.0.0.1".to_owned(), port: cluster.port((from + 1) % 3) };
    let refused = move_cell(&app.connections().worker(), CELL, &to, &Silent).await.unwrap_err();
    assert!(refused.to_string().contains("no permissions to run the 'cluster|nodes'"), "{refused}");
    for server in &cluster.servers {
        let () =
            redis::cmd("ACL").arg("LOG").arg("RESET").query_async(&mut observer(server).await).await.unwrap();
    }
    assert_eq!(app.get("/readyz").await.status, StatusCode::OK);
    let url = app.settings.redis_url.expose().replace(ENGINE, MOVER);
    let settings = Settings { redis_url: Secret::new(url), ..app.settings.clone() };
    let mover = firstcome::app::connect(settings).await.unwrap();
    let moved = move_cell(&mover.worker(), CELL, &to, &Silent).await.unwrap();
    assert!(moved.keys > 0, "{moved:?}");
    eventually!(app.get("/readyz").await.status == StatusCode::OK);
    assert_eq!(server_of(app, cluster, CELL), (from + 1) % 3);
}

fn order_of_one() -> Value {
    json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})
}
