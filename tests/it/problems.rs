//! Promise: every problem has the status, code and words of the contract, in Korean and in English.

use std::time::{Duration, Instant};

use firstcome::http::problem::ProblemKind;
use firstcome::worker::recover::{close, reopen};
use futures::future::join_all;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::contract::{CATALOGUE, Request};
use super::test_app::TestApp;
use super::wire::{Wire, assert_problem, head};

fn order(user: u64, product: u64, quantity: u64) -> Value {
    json!({"userId": user, "items": [{"productId": product, "quantity": quantity}]})
}

/// Waits for something that another task or process brings about.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Goal: the catalogue has the rows of the contract, those too that no request of this file brings about.
#[test]
fn the_catalogue_is_the_contracts() {
    let rows = ProblemKind::ALL.iter().map(|it| it.row());
    let mut rows: Vec<_> = rows.map(|it| (it.code, it.status, it.detail_en, it.detail_ko)).collect();
    // The contract leaves a failure of the engine itself to HTTP.
    rows.retain(|it| it.0 != "internal_error");
    let mut contract = CATALOGUE.to_vec();
    rows.sort_unstable();
    contract.sort_unstable();
    assert_eq!(rows, contract);
}

/// Goal: what a request itself brings about is told in the words of the contract.
#[tokio::test]
async fn refusals_are_told_in_the_contracts_words() {
    let app = TestApp::start().await;
    app.user_with(1, 500).await;
    app.product_with(1, 100, 3).await;
    app.product_with(2, 501, 3).await;
    let limited = json!({"name": "Limited", "price": 1, "stock": 9, "limitPerUser": 1});
    app.put("/admin/products/3", limited).await;
    let later = json!({"name": "Later", "price": 1, "stock": 9, "saleStartsAt": "2999-01-01T00:00:00Z"});
    app.put("/admin/products/4", later).await;
    let shirt = json!({"name": "Shirt", "options": [{"id": 7, "name": "S", "price": 1, "stock": 2}]});
    app.put("/admin/products/5", shirt).await;
    let used = app.post_once("/balance/charge", "used", json!({"userId": 1, "amount": 1})).await;
    assert_eq!(used.status, StatusCode::OK);

    let charge = |amount: i64| Request::post("/users/1/balance", json!({"amount": amount}));
    let invalid = Request::get("/products?limit=0").is_told(&app, "invalid_request").await;
    assert_eq!(invalid.body["errors"][0]["parameter"], "limit");
    let invalid = Request::get("/users/1/orders?status=done").is_told(&app, "invalid_request").await;
    assert_eq!(invalid.body["errors"][0]["parameter"], "status");
    let invalid = Request::post("/orders", order(1, 1, 0)).is_told(&app, "invalid_request").await;
    assert_eq!(invalid.body["errors"][0]["pointer"], "#/items/0/quantity");
    charge(0).is_told(&app, "invalid_amount").await;
    charge(1_000_000_001).is_told(&app, "invalid_amount").await;
    for _ in 0..9 {
        assert_eq!(app.post("/users/1/balance", json!({"amount": 1_000_000_000})).await.status, 201);
    }
    charge(1_000_000_000).is_told(&app, "balance_limit_exceeded").await;
    app.user_with(2, 500).await;
    Request::post("/orders", order(2, 2, 1)).is_told(&app, "insufficient_balance").await;

    let short = Request::post("/orders", order(1, 1, 4)).is_told(&app, "out_of_stock").await;
    assert_eq!((&short.body["productId"], &short.body["remaining"]), (&json!(1), &json!(3)));
    assert!(short.body.get("optionId").is_none(), "{short:?}");
    let item = json!({"productId": 5, "optionId": 7, "quantity": 3});
    let short = Request::post("/orders", json!({"userId": 1, "items": [item]}));
    let short = short.is_told(&app, "out_of_stock").await;
    assert_eq!((&short.body["optionId"], &short.body["remaining"]), (&json!(7), &json!(2)));
    let over = Request::post("/orders", order(1, 3, 2)).is_told(&app, "purchase_limit_exceeded").await;
    assert_eq!((&over.body["productId"], &over.body["remaining"]), (&json!(3), &json!(1)));
    Request::post("/orders", order(1, 4, 1)).is_told(&app, "sale_not_open").await;

    Request::get("/users/99/balance").is_told(&app, "user_not_found").await;
    Request::get("/users/99/balance/history").is_told(&app, "user_not_found").await;
    Request::get("/users/99/orders").is_told(&app, "user_not_found").await;
    Request::post("/users/99/balance", json!({"amount": 1})).is_told(&app, "user_not_found").await;
    Request::post("/orders", order(99, 1, 1)).is_told(&app, "user_not_found").await;
    Request::get("/products/99").is_told(&app, "product_not_found").await;
    Request::post("/orders", order(1, 99, 1)).is_told(&app, "product_not_found").await;
    Request::post("/admin/products/99/stock", json!({"delta": 1})).is_told(&app, "product_not_found").await;
    // An order of this cell that never was, and one of a cell that does not exist.
    Request::get("/orders/1048576").is_told(&app, "order_not_found").await;
    Request::get("/orders/9007199254740991").is_told(&app, "order_not_found").await;
    Request::get("/nope").is_told(&app, "not_found").await;
    Request::get("/orders").is_told(&app, "method_not_allowed").await;

    charge(1).typed("text/plain").is_told(&app, "unsupported_media_type").await;
    charge(1).saying(" ".repeat(17 * 1024)).is_told(&app, "payload_too_large").await;
    charge(1).under("used").is_told(&app, "idempotency_key_reused").await;

    assert_eq!((app.balance(1).await, app.stock(1).await), (9_000_000_501, 3));
    app.finish().await;
}

/// Goal: the prefix of problem types is a setting; nothing else of the document changes.
#[tokio::test]
async fn problem_types_carry_the_public_url() {
    let app = TestApp::start_with(|settings| settings.public_url = "https://shop.example/".to_owned()).await;
    let answer = app.get("/nope").await;
    assert_eq!(answer.body["type"], "https://shop.example/problems/not_found");
    app.finish().await;
}

/// Goal: a closed cell tells buyers to come back.
#[tokio::test]
async fn a_closed_cell_is_told_in_the_contracts_words() {
    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    let worker = app.connections().worker();
    close(&worker, app.cell_of(1)).await.unwrap();
    Request::post("/orders", order(1, 1, 1)).is_told(&app, "cell_closed").await;
    Request::get("/users/1/balance").is_told(&app, "cell_closed").await;
    reopen(&worker, app.cell_of(1), &firstcome::worker::Silent).await.unwrap();
    until("the cell sells again", async || app.get("/users/1/balance").await.status.is_success()).await;
    app.finish().await;
}

/// Goal: a full backlog tells buyers to come back, and readers nothing.
#[tokio::test]
async fn a_full_backlog_is_told_in_the_contracts_words() {
    let app =
        TestApp::start_with(|settings| (settings.keep_events, settings.backlog_bound) = (10, 100)).await;
    app.user_with(1, 0).await;
    app.drain().await;
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();

    let charge = json!({"amount": 1});
    let answers = join_all((0..150).map(|_| app.post("/users/1/balance", charge.clone()))).await;
    assert!(answers.iter().any(|it| it.code() == "backlog_full"), "{:?}", answers.last());
    Request::post("/users/1/balance", charge).is_told(&app, "backlog_full").await;
    assert_eq!(app.get("/users/1/balance").await.status, StatusCode::OK);
    holder.rollback().await.unwrap();
    app.finish().await;
}

/// Goal: a node that is full tells buyers to come back.
#[tokio::test]
async fn a_full_node_is_told_in_the_contracts_words() {
    let app = TestApp::start_with(|settings| {
        (settings.max_in_flight, settings.body_timeout_ms) = (1, 600_000);
    })
    .await;
    app.user_with(1, 0).await;
    // The engine asks for the body once the request is let in; until it comes, no other one is.
    let expect: [&[u8]; 3] =
        [b"Content-Type: application/json", b"Content-Length: 12", b"Expect: 100-continue"];
    let mut holder = Wire::connect(&app).await;
    holder.write(&head("POST /users/1/balance", &expect)).await;
    assert_eq!(holder.head().await.unwrap().status, StatusCode::CONTINUE);

    Request::get("/users/1/balance").is_told(&app, "overloaded").await;
    Request::post("/orders", order(1, 1, 1)).is_told(&app, "overloaded").await;
    Request::get("/nope").is_told(&app, "overloaded").await;

    holder.write(br#"{"amount":5}"#).await;
    assert_eq!(holder.answer().await.unwrap().status, StatusCode::CREATED);
    until("there is room again", async || app.get("/users/1/balance").await.status.is_success()).await;
    assert_eq!(app.balance(1).await, 5);
    app.finish().await;
}

/// Redis is stopped in its tracks, then killed. Goal: both are told, a write whose outcome nobody knows
/// says so, and the shop goes on once Redis is back.
#[tokio::test]
async fn a_redis_that_is_down_is_told_in_the_contracts_words() {
    let mut app = TestApp::start_with_own_redis(|settings| settings.redis_reply_timeout_ms = 300).await;
    app.user_with(1, 100).await;
    let pid = Pid::from_raw(app.redis.own().pid() as i32).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    Request::get("/users/1/balance").is_told(&app, "dependency_down").await;
    let charge = Request::post("/users/1/balance", json!({"amount": 1})).under("unknown");
    let unknown = charge.accepting(&app, Some("en")).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (503, "dependency_down"), "{unknown:?}");
    assert_eq!(unknown.body["outcome"], "unknown", "the script may have run: {unknown:?}");
    assert!(unknown.header("retry-after").is_some());
    assert_problem(&unknown, "a charge that nobody answered");
    kill_process(pid, Signal::CONT).unwrap();
    // The advice of the answer: the same request under the same key, until its outcome is known.
    until("the charge is known", async || charge.accepting(&app, None).await.status.is_success()).await;
    assert_eq!(app.balance(1).await, 101);
    app.drain_events().await;

    app.redis.own().kill().await;
    until("the connections are seen to be gone", async || {
        charge.accepting(&app, None).await.body.get("outcome").is_none()
    })
    .await;
    Request::get("/users/1/balance").is_told(&app, "dependency_down").await;
    Request::post("/users/1/balance", json!({"amount": 1})).is_told(&app, "dependency_down").await;
    assert_eq!(app.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(app.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    app.redis.own().restart().await.unwrap();
    until("the shop sells again", async || app.get("/users/1/balance").await.status.is_success()).await;
    assert_eq!(app.balance(1).await, 101);
    app.finish().await;
}
