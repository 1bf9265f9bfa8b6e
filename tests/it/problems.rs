//! Promise: every problem has the status, code and words of the contract, in Korean and in English.

use std::time::{Duration, Instant};

use firstcome::worker::recover::{close, reopen};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::test_app::{Answer, CELL, TestApp};
use super::wire::{Wire, assert_problem, head};

/// The contract's table: code, status, detail in English and in Korean.
const CATALOGUE: [(&str, u16, &str, &str); 19] = [
    ("invalid_request", 400, "The request is invalid", "요청이 올바르지 않습니다"),
    ("invalid_amount", 400, "Invalid amount", "충전 금액이 올바르지 않습니다"),
    ("balance_limit_exceeded", 400, "The charge exceeds the balance limit", "충전 한도를 초과했습니다"),
    ("insufficient_balance", 400, "Insufficient balance", "잔액이 부족합니다"),
    ("out_of_stock", 400, "Out of stock", "상품 재고가 부족합니다"),
    ("purchase_limit_exceeded", 400, "The purchase limit is exceeded", "구매 한도를 초과했습니다"),
    ("sale_not_open", 409, "The product is not on sale now", "판매 기간이 아닙니다"),
    ("user_not_found", 404, "User not found", "사용자를 찾을 수 없습니다"),
    ("product_not_found", 404, "Product not found", "상품을 찾을 수 없습니다"),
    ("order_not_found", 404, "Order not found", "주문 정보가 존재하지 않습니다"),
    ("not_found", 404, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("method_not_allowed", 405, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("unsupported_media_type", 415, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("payload_too_large", 413, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    (
        "idempotency_key_reused",
        422,
        "The key was used for another request",
        "이미 다른 요청에 사용된 키입니다",
    ),
    ("overloaded", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("cell_closed", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("backlog_full", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("dependency_down", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
];

/// A request that can be sent again and again.
struct Request {
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Request {
    fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: String::new() }
    }

    fn post(path: &'static str, body: Value) -> Self {
        let headers = vec![("content-type", "application/json")];
        Self { method: Method::POST, path, headers, body: body.to_string() }
    }

    fn under(mut self, key: &'static str) -> Self {
        self.headers.push(("idempotency-key", key));
        self
    }

    async fn accepting(&self, app: &TestApp, languages: Option<&'static str>) -> Answer {
        let mut headers = self.headers.clone();
        headers.extend(languages.map(|it| ("accept-language", it)));
        app.send(self.method.clone(), self.path, &headers, self.body.clone()).await
    }

    /// Sends it for each kind of caller. Goal: the contract's words, in the language asked for.
    async fn is_told(&self, app: &TestApp, code: &str) -> Answer {
        let (_, status, english, korean) = *CATALOGUE.iter().find(|it| it.0 == code).expect("a row");
        let callers = [
            (None, "en", english),
            (Some("en"), "en", english),
            (Some("en-GB,ko;q=0.5"), "en", english),
            (Some("fr"), "en", english),
            (Some("ko"), "ko", korean),
            (Some("ko-KR,ko;q=0.9,en;q=0.8"), "ko", korean),
            (Some("en;q=0.1, ko;q=0.2"), "ko", korean),
        ];
        let mut last = None;
        for (languages, language, detail) in callers {
            let answer = self.accepting(app, languages).await;
            let story = format!("{} {} {languages:?}", self.method, self.path);
            assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{story}: {answer:?}");
            assert_eq!(answer.body["detail"], detail, "{story}");
            assert_eq!(answer.header("content-language"), Some(language), "{story}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503, "{story}: {answer:?}");
            if let Some(seconds) = answer.header("retry-after") {
                assert!((1..=60).contains(&seconds.parse().unwrap()), "{story}: {answer:?}");
            }
            assert_problem(&answer, &story);
            last = Some(answer);
        }
        last.unwrap()
    }
}

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

    let mut plain = charge(1);
    plain.headers = vec![("content-type", "text/plain")];
    plain.is_told(&app, "unsupported_media_type").await;
    let mut large = charge(1);
    large.body = " ".repeat(17 * 1024);
    large.is_told(&app, "payload_too_large").await;
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
    close(&worker, CELL).await.unwrap();
    Request::post("/orders", order(1, 1, 1)).is_told(&app, "cell_closed").await;
    Request::get("/users/1/balance").is_told(&app, "cell_closed").await;
    reopen(&worker, CELL, &firstcome::worker::Silent).await.unwrap();
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
    let mut app = TestApp::start_with(|settings| settings.redis_reply_timeout_ms = 300).await;
    app.user_with(1, 100).await;
    let pid = Pid::from_raw(app.redis.pid() as i32).unwrap();
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

    app.redis.kill().await;
    until("the connections are seen to be gone", async || {
        charge.accepting(&app, None).await.body.get("outcome").is_none()
    })
    .await;
    Request::get("/users/1/balance").is_told(&app, "dependency_down").await;
    Request::post("/users/1/balance", json!({"amount": 1})).is_told(&app, "dependency_down").await;
    assert_eq!(app.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(app.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    app.redis.restart().await.unwrap();
    until("the shop sells again", async || app.get("/users/1/balance").await.status.is_success()).await;
    assert_eq!(app.balance(1).await, 101);
    app.finish().await;
}
