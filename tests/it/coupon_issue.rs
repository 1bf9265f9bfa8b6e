//! Promise: never issue more than there are, never twice to one user, never use one twice.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::TestApp;

/// 900 claims at once by 300 users for 100 coupons, by both calls, with and without keys. Goal: exactly 100 are
/// issued, none twice, and Redis and MySQL tell the same story.
#[tokio::test]
async fn of_900_claims_for_100_coupons_exactly_100_win() {
    let app = TestApp::start().await;
    app.campaign(7, 100, json!({})).await;
    for user in 1..=150 {
        app.user_with(user, 0).await;
    }

    let claim = async |index: u64| {
        let user = index % 300 + 1;
        match index % 4 {
            // Users above 150 do not exist yet; the alias makes them.
            0 | 1 => app.post("/coupons/7/issue", json!({"userId": user})).await,
            2 => app.post_once("/coupons/7/issue", &format!("key {user}"), json!({"userId": user})).await,
            _ => app.post("/coupons", json!({"userId": user, "couponId": 7})).await,
        }
    };
    let answers = join_all((0..900).map(claim)).await;

    let won = answers
        .iter()
        .filter(|it| it.status == StatusCode::CREATED && it.header("idempotency-replayed").is_none());
    let mut winners: Vec<u64> = won.map(|it| it.body["userId"].as_u64().unwrap()).collect();
    winners.sort_unstable();
    assert_eq!(winners.len(), 100);
    winners.dedup();
    assert_eq!(winners.len(), 100, "nobody has two");
    let refused = answers.iter().filter(|it| it.status != StatusCode::CREATED);
    for answer in refused {
        assert!(
            ["coupon_sold_out", "coupon_already_issued", "user_not_found"].contains(&answer.code()),
            "{answer:?}"
        );
    }
    assert_eq!(app.get("/coupons").await.body[0]["remaining"], 0);
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM coupon_issues WHERE state = 'issued'").await, 100);
    assert_eq!(app.count("SELECT remaining FROM coupons").await, 0);
    let in_mysql: Vec<u64> = sqlx::query_scalar("SELECT user_id FROM coupon_issues ORDER BY user_id")
        .fetch_all(&app.connections().mysql)
        .await
        .unwrap();
    assert_eq!(in_mysql, winners);
    app.finish().await;
}

/// One user, or who calls themself that, sends 1,000 claims at once, by both calls, each under a key of its own or none.
/// Goal: one unit is theirs, and the pool is there for all others.
#[tokio::test]
async fn of_1000_claims_by_one_user_one_wins() {
    let app = TestApp::start().await;
    app.campaign(7, 1_000, json!({})).await;
    app.user_with(1, 0).await;
    let claim = async |index: u64| match index % 4 {
        0 => app.post("/coupons/7/issue", json!({"userId": 1})).await,
        1 => app.post_once("/coupons/7/issue", &format!("key {index}"), json!({"userId": 1})).await,
        2 => app.post("/coupons", json!({"userId": 1, "couponId": 7})).await,
        _ => app.post_once("/coupons", &format!("key {index}"), json!({"userId": 1, "couponId": 7})).await,
    };
    let answers = join_all((0..1_000).map(claim)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == StatusCode::CREATED);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|it| it.code() == "coupon_already_issued"), "{lost:?}");
    assert_eq!(app.get("/coupons").await.body[0]["remaining"], 999);
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM coupon_issues").await, 1);
    app.finish().await;
}

/// One coupon in four orders at once, 200 times. Goal: one order has it, the others are told that it is used.
#[tokio::test]
async fn a_coupon_is_used_by_one_order_of_four() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 1_000).await;
    app.campaign(7, 200, json!({"discount": {"kind": "percent", "value": 50}})).await;
    for user in 1..=200u64 {
        app.user_with(user, 1_000).await;
        let claimed = app.post("/coupons", json!({"userId": user, "couponId": 7})).await;
        assert_eq!(claimed.status, StatusCode::CREATED, "{claimed:?}");
        let order = json!({"userId": user, "couponId": 7, "items": [{"productId": 1, "quantity": 1}]});
        let answers = join_all((0..4).map(|_| app.post("/orders", order.clone()))).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == StatusCode::CREATED);
        assert_eq!((won.len(), lost.len()), (1, 3), "{answers:?}");
        assert_eq!((&won[0].body["discount"], &won[0].body["paid"]), (&json!(50), &json!(50)));
        assert!(
            lost.iter().all(|it| it.code() == "invalid_coupon" && it.body["reason"] == "used"),
            "{lost:?}"
        );
        assert_eq!(app.balance(user).await, 950);
        let own = app.get(&format!("/users/{user}/coupons")).await;
        assert_eq!(own.body[0]["status"], "used", "{own:?}");
        assert_eq!(own.body[0]["orderId"], won[0].body["orderId"]);
    }
    assert_eq!(app.stock(1).await, 800);
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders WHERE coupon_id = 7 AND discount = 50").await, 200);
    assert_eq!(
        app.count("SELECT COUNT(DISTINCT order_id) FROM coupon_issues WHERE state = 'used'").await,
        200
    );
    app.finish().await;
}

/// Goal: issuing goes by Redis's clock: not before it begins, and not at the instant at which it ends.
#[tokio::test]
async fn a_window_opens_and_closes_by_the_cells_clock() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    app.user_with(1, 0).await;
    app.user_with(2, 0).await;
    app.user_with(3, 100).await;
    app.product_with(1, 50, 10).await;
    let at = |hours: i64| {
        (chrono::Utc::now() + chrono::Duration::hours(hours))
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let window = json!({"startsAt": at(1), "endsAt": at(3), "expiresAt": at(5)});
    app.campaign(7, 10, window).await;
    let claim = |user: u64| app.post_once("/coupons", "the key", json!({"userId": user, "couponId": 7}));

    assert_eq!(claim(1).await.code(), "coupon_not_started");
    clock.advance_hours(2);
    let claimed = claim(1).await;
    assert_eq!((claimed.status, &claimed.body["status"]), (StatusCode::CREATED, &json!("issued")));
    assert_eq!(claim(3).await.status, StatusCode::CREATED);
    clock.advance_hours(2);
    assert_eq!(claim(2).await.code(), "coupon_expired");
    assert_eq!(claim(1).await.body, claimed.body, "a replay is told the same after the window");
    let order = json!({"userId": 3, "couponId": 7, "items": [{"productId": 1, "quantity": 1}]});
    assert_eq!(app.post("/orders", order.clone()).await.body["paid"], 40);
    clock.advance_hours(2);
    let order = json!({"userId": 1, "couponId": 7, "items": [{"productId": 1, "quantity": 1}]});
    assert_eq!(app.post("/orders", order).await.body["reason"], "expired");
    let status = async |user: u64| app.get(&format!("/users/{user}/coupons")).await.body[0]["status"].clone();
    assert_eq!((status(1).await, status(3).await), (json!("expired"), json!("used")));
    assert_eq!(app.get("/users/1/coupons?status=issued").await.body, json!([]));
    app.finish().await;
}
