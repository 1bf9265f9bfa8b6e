//! Promise: operators can look at the engine on its worst day, and an audit over HTTP never says "clean" without
//! having looked.

use firstcome::worker::recover::close;
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::test_app::{TestApp, eventually};

async fn overview(app: &TestApp) -> Value {
    let answer = app.get("/admin/overview").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

/// Goal: it shows what the other calls say.
#[tokio::test]
async fn a_shop_at_work_is_shown() {
    let app = TestApp::start().await;
    app.user_with(1, 10_000).await;
    app.product_with(1, 1_000, 5).await;
    app.campaign(1, 10, json!({})).await;
    let buy = async |units: i64| {
        let items = json!([{"productId": 1, "quantity": units}]);
        app.post("/orders", json!({"userId": 1, "items": items})).await
    };
    assert_eq!(buy(2).await.status, StatusCode::CREATED);
    assert_eq!(buy(4).await.code(), "out_of_stock");
    app.drain().await;
    assert_eq!(app.post("/admin/audit", json!({})).await.body["clean"], true);

    let shown = overview(&app).await;
    assert_eq!(
        (&shown["mysqlReachable"], &shown["version"]),
        (&json!(true), &json!(env!("CARGO_PKG_VERSION")))
    );
    let cell = &shown["cells"][0];
    for (field, value) in [
        ("cell", 0),
        ("epoch", 1),
        ("lostEvents", 0),
        ("backlogEvents", 0),
        ("outboxMessages", 0),
        ("publishLagMs", 0),
        ("deadEvents", 0),
    ] {
        assert_eq!(cell[field], value, "{field}: {shown}");
    }
    assert_eq!((&cell["sells"], &cell["state"]), (&json!(true), &json!("open")));
    assert_eq!(cell["newestSeq"], cell["persistedSeq"], "{shown}");
    let name = app.get("/products/1").await.body["name"].clone();
    let product = json!({"id": 1, "name": name, "price": 1_000, "stock": 3, "supplied": 5});
    assert_eq!(shown["products"], json!([product]));
    assert_eq!(shown["coupons"], app.get("/coupons").await.body);
    assert_eq!(shown["ranking"], app.get("/products/top").await.body);
    let last = &shown["lastAudit"];
    assert_eq!((&last["clean"], &last["differences"]), (&json!(true), &json!(0)));
    assert!(last["checkedRows"].as_u64() >= Some(8), "{shown}");
    // At least: the recorder is that of all tests in this process.
    let count = |list: &str, named: &[(&str, &str)]| {
        let entries = shown[list].as_array().unwrap().iter();
        let of_name = entries.filter(|it| named.iter().all(|(name, value)| it[*name] == *value));
        of_name.map(|it| it["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert!(count("outcomes", &[("script", "order_place"), ("outcome", "PAID")]) >= 1, "{shown}");
    assert!(count("problems", &[("code", "out_of_stock")]) >= 1, "{shown}");
    app.finish().await;
}

/// Goal: a closed cell is shown with its reason, and its audit is refused.
#[tokio::test]
async fn a_closed_cell_is_shown() {
    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    app.drain().await;
    // The one whose lists are shown.
    let closed = app.settings.cells().first();
    close(&app.connections().worker(), closed).await.unwrap();
    let at = usize::from(closed.0);
    eventually!(overview(&app).await["cells"][at]["sells"] == false);
    eventually!(overview(&app).await["cells"][at]["state"] == "closed");
    let shown = overview(&app).await;
    assert_eq!(shown["cells"][at]["reason"], "operator", "{shown}");
    assert_eq!((&shown["products"], &shown["ranking"]), (&Value::Null, &Value::Null));
    let audit = app.post("/admin/audit", json!({})).await;
    assert_eq!((audit.status.as_u16(), audit.code()), (503, "cell_closed"), "{audit:?}");
    app.abandon().await;
}

/// Redis and MySQL are away, one after the other. Goal: the page says so, and shows what the other one tells.
#[tokio::test]
async fn servers_that_are_away_are_shown() {
    let mut app = TestApp::start_with_own_redis(|_| {}).await;
    app.product_with(1, 100, 5).await;
    app.drain().await;
    app.connections().mysql.close().await;
    let shown = overview(&app).await;
    assert_eq!(shown["mysqlReachable"], false, "{shown}");
    assert_eq!(shown["products"][0]["stock"], 5, "{shown}");
    assert_eq!(shown["products"][0]["supplied"], Value::Null, "{shown}");
    let audit = app.post("/admin/audit", json!({})).await;
    assert_eq!((audit.status.as_u16(), audit.code()), (503, "dependency_down"), "{audit:?}");
    app.redis.own().stop().await;
    let shown = overview(&app).await;
    assert_eq!((&shown["cells"][0]["sells"], &shown["products"]), (&json!(false), &Value::Null), "{shown}");
    app.abandon().await;
}

/// Goal: several audits at once all look, one after the other, while the shop sells; what they found is noted.
#[tokio::test]
async fn audits_take_turns() {
    let app = TestApp::start().await;
    app.user_with(1, 100_000).await;
    app.product_with(1, 10, 1_000).await;
    let buy = async || {
        for _ in 0..50 {
            let item = json!([{"productId": 1, "quantity": 1}]);
            assert_eq!(app.post("/orders", json!({"userId": 1, "items": item})).await.status, 201);
        }
    };
    let audits = join_all((0..5).map(|_| app.post("/admin/audit", json!({}))));
    let (audits, ()) = futures::join!(audits, buy());
    for audit in &audits {
        assert_eq!((audit.status.as_u16(), &audit.body["clean"]), (200, &json!(true)), "{audit:?}");
        assert_eq!(audit.body["differences"], json!([]));
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM audits").await, 5);
    let messages = audits.iter().map(|it| it.body["checked"]["messages"].as_i64().unwrap());
    assert!(messages.clone().is_sorted() && messages.sum::<i64>() > 0, "{audits:?}");
    assert_eq!(overview(&app).await["lastAudit"]["clean"], true);
    app.finish().await;
}
