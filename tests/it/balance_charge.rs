//! Charges: limits, keys, and who may be charged.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::TestApp;

#[tokio::test]
async fn a_charge_stays_within_both_limits() {
    let app = TestApp::start_with(|it| (it.charge_limit, it.wallet_limit) = (1_000, 2_500)).await;
    app.user_with(1, 0).await;
    for amount in [json!(0), json!(-1), json!(1_001), json!(9_007_199_254_740_993_u64)] {
        let answer = app.post("/users/1/balance", json!({ "amount": amount })).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid_amount"), "{amount}");
    }
    for amount in [json!("5"), json!(1.0), json!(null), json!(true), json!([5])] {
        let answer = app.post("/users/1/balance", json!({ "amount": amount })).await;
        assert_eq!(answer.code(), "invalid_request", "{amount}");
        assert_eq!(answer.body["errors"][0]["pointer"], json!("#/amount"), "{answer:?}");
    }
    assert_eq!(app.post("/users/1/balance", json!({"amount": 1_000})).await.status, StatusCode::CREATED);
    assert_eq!(app.post("/users/1/balance", json!({"amount": 1_000})).await.body["balance"], json!(2_000));
    assert_eq!(app.post("/users/1/balance", json!({"amount": 501})).await.code(), "balance_limit_exceeded");
    assert_eq!(app.post("/users/1/balance", json!({"amount": 500})).await.body["balance"], json!(2_500));
    assert_eq!(app.post("/users/9/balance", json!({"amount": 500})).await.code(), "user_not_found");
    app.finish().await;
}

#[tokio::test]
async fn the_alias_creates_the_wallet_and_an_unknown_user_has_nothing() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/balance?userId=5").await.body, json!({"userId": 5, "balance": 0}));
    assert_eq!(app.get("/users/5/balance").await.code(), "user_not_found");
    let answer = app.post("/balance/charge", json!({"userId": 5, "amount": 70})).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"userId": 5, "balance": 70})));
    assert_eq!(app.put("/users/5", json!({})).await.status, StatusCode::OK);
    assert_eq!(app.get("/users/5/balance").await.body, json!({"userId": 5, "balance": 70}));
    app.finish().await;
}

/// Goal: the money of a key is charged once, and a replay tells the first answer.
#[tokio::test]
async fn a_charge_under_a_key_happens_once() {
    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    let charge = || app.post_once("/users/1/balance", "once", json!({"amount": 10}));
    let answers = join_all((0..32).map(|_| charge())).await;
    assert!(answers.iter().all(|it| it.status == StatusCode::CREATED && it.body["balance"] == json!(110)));
    assert_eq!(app.post("/users/1/balance", json!({"amount": 1})).await.body["balance"], json!(111));
    assert_eq!(charge().await.body["balance"], json!(110), "the stored answer, not today's balance");
    let reused = app.post_once("/users/1/balance", "once", json!({"amount": 11})).await;
    assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY);
    app.finish().await;
}
