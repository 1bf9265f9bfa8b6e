//! Promise: never oversell, never charge twice, at any concurrency, with any retry.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::test_app::{Answer, TestApp};

fn order(user: u64, product: u64, quantity: u32) -> Value {
    json!({"userId": user, "items": [{"productId": product, "quantity": quantity}]})
}

/// 500 buyers at once for 50 units. Goal: 50 orders are paid, 450 hear "out of stock", and Redis, MySQL
/// and the queue tell the same story.
#[tokio::test]
async fn fifty_units_go_to_exactly_fifty_of_500_buyers() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 50).await;
    for user in 1..=500 {
        app.user_with(user, 1_000).await;
    }

    let answers = join_all((1..=500).map(|user| app.post("/orders", order(user, 1, 1)))).await;

    let (paid, refused): (Vec<Answer>, Vec<Answer>) =
        answers.into_iter().partition(|it| it.status == StatusCode::CREATED);
    assert_eq!(paid.len(), 50);
    assert!(
        refused.iter().all(|it| it.code() == "out_of_stock" && it.body["remaining"] == json!(0)),
        "{refused:?}"
    );
    assert_eq!(app.stock(1).await, 0);
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders WHERE status = 'paid'").await, 50);
    assert_eq!(app.count("SELECT CAST(SUM(remaining) AS SIGNED) FROM skus").await, 0);
    assert_eq!(app.count("SELECT CAST(SUM(balance) AS SIGNED) FROM wallets").await, 500 * 1_000 - 50 * 100);
    let told = app.take_messages().await;
    let mut ids: Vec<&str> = told.iter().map(|it| it["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((told.len(), ids.len()), (50, 50));
    app.finish().await;
}

/// One user, or their program, sends 1,000 orders at once for a product that allows two units. Goal: two are theirs, and
/// the rest of the stock is there for all others.
#[tokio::test]
async fn of_1000_orders_by_one_user_the_limit_wins() {
    let app = TestApp::start().await;
    let limited = json!({"name": "limited", "price": 1, "stock": 5_000, "limitPerUser": 2});
    assert_eq!(app.put("/admin/products/1", limited).await.status, StatusCode::CREATED);
    app.user_with(1, 10_000).await;
    let buy = async |index: u64| {
        let mut order = order(1, 1, 1);
        order["payment"] = json!(if index.is_multiple_of(2) { "now" } else { "later" });
        app.post_once("/orders", &format!("order {index}"), order).await
    };
    let answers = join_all((0..1_000).map(buy)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == StatusCode::CREATED);
    assert_eq!(won.len(), 2);
    assert!(lost.iter().all(|it| it.code() == "purchase_limit_exceeded"), "{lost:?}");
    assert_eq!(app.stock(1).await, 4_998);
    app.finish().await;
}

/// 64 purchases at once by one user who can afford 10. Goal: 10 are paid, the wallet is empty.
#[tokio::test]
async fn a_wallet_pays_for_exactly_what_it_holds() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 1_000).await;
    app.user_with(1, 1_000).await;

    let answers = join_all((0..64).map(|_| app.post("/orders", order(1, 1, 1)))).await;

    assert_eq!(answers.iter().filter(|it| it.status == StatusCode::CREATED).count(), 10);
    assert_eq!(answers.iter().filter(|it| it.code() == "insufficient_balance").count(), 54);
    assert_eq!((app.balance(1).await, app.stock(1).await), (0, 990));
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 10);
    assert_eq!(app.take_messages().await.len(), 10);
    app.finish().await;
}

/// Eight requests at once under one key, 100 times. Goal: one order each, all eight hear of the same one.
#[tokio::test]
async fn one_key_makes_one_order_however_often_it_is_sent() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 1_000).await;
    app.user_with(1, 100_000).await;

    for round in 0..100 {
        let key = format!("order {round}");
        let answers = join_all((0..8).map(|_| app.post_once("/orders", &key, order(1, 1, 1)))).await;
        assert!(answers.iter().all(|it| it.status == StatusCode::CREATED), "{answers:?}");
        assert!(answers.iter().all(|it| it.body == answers[0].body), "{answers:?}");
        let replayed = answers.iter().filter(|it| it.header("idempotency-replayed") == Some("true")).count();
        assert_eq!(replayed, 7);
    }

    assert_eq!((app.balance(1).await, app.stock(1).await), (90_000, 900));
    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 100);
    assert_eq!(app.count("SELECT COUNT(*) FROM idempotency").await, 100);
    assert_eq!(app.take_messages().await.len(), 100);
    app.finish().await;
}

/// Goal: a key used for another request is refused, one whose request was refused is still free.
#[tokio::test]
async fn a_key_belongs_to_one_request_and_one_user() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 10).await;
    app.user_with(1, 100).await;
    app.user_with(2, 1_000).await;
    assert_eq!(app.post_once("/orders", "k", order(1, 1, 2)).await.code(), "insufficient_balance");
    let first = app.post_once("/orders", "k", order(1, 1, 1)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let other_body = app.post_once("/orders", "k", order(1, 1, 2)).await;
    assert_eq!(
        (other_body.status, other_body.code()),
        (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
    );
    let other_path = app.post_once("/balance/charge", "k", json!({"userId": 1, "amount": 5})).await;
    assert_eq!(other_path.code(), "idempotency_key_reused");
    assert_eq!(app.post_once("/orders", "k", order(2, 1, 1)).await.header("idempotency-replayed"), None);
    // White space and the order of fields are not the request.
    let body = r#"{ "items": [ {"quantity":1, "productId":1} ], "userId": 1 }"#;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let replay = app.send(reqwest::Method::POST, "/orders", &headers, body).await;
    assert_eq!((replay.status, &replay.body), (StatusCode::CREATED, &first.body));
    app.finish().await;
}

/// Goal: of several refusals the first in the contract's order is told, and nothing changes.
#[tokio::test]
async fn the_first_refusal_in_the_contracts_order_is_told() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 5).await;
    app.product_with(2, 1_000_000_000, 1_000).await;
    let closed = json!({"name": "later", "price": 1, "stock": 0, "saleStartsAt": "2999-01-01T00:00:00Z", "limitPerUser": 1});
    app.put("/admin/products/3", closed).await;
    let over = json!({"name": "over", "price": 1, "stock": 9, "saleEndsAt": "2020-01-01T00:00:00Z"});
    app.put("/admin/products/4", over).await;
    let limited = json!({"name": "limited", "price": 1, "stock": 1, "limitPerUser": 2});
    app.put("/admin/products/5", limited).await;
    let options = json!({"name": "o", "options": [{"id": 1, "name": "S", "price": 3, "stock": 1}]});
    app.put("/admin/products/6", options).await;
    app.user_with(1, 10).await;

    let items = |items: Value| json!({"userId": 1, "items": items});
    let item = |product: u64, quantity: u32| json!({"productId": product, "quantity": quantity});
    let cases = [
        (json!({"userId": 99, "items": [item(77, 1)]}), 404, "user_not_found"),
        (items(json!([item(3, 1), item(77, 1)])), 404, "product_not_found"),
        (items(json!([{"productId": 6, "quantity": 1}])), 400, "invalid_request"),
        (items(json!([{"productId": 6, "optionId": 2, "quantity": 1}])), 404, "product_not_found"),
        (items(json!([{"productId": 1, "optionId": 1, "quantity": 1}])), 404, "product_not_found"),
        (items(json!([item(5, 3), item(1, 6), item(3, 2)])), 409, "sale_not_open"),
        (items(json!([item(4, 1)])), 409, "sale_not_open"),
        (items(json!([item(1, 6), item(5, 3)])), 400, "purchase_limit_exceeded"),
        (items(json!([item(1, 6)])), 400, "out_of_stock"),
        (items(json!([item(5, 2)])), 400, "out_of_stock"),
        (items(json!([item(2, 1)])), 400, "insufficient_balance"),
    ];
    for (body, status, code) in cases {
        let answer = app.post("/orders", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{body} {answer:?}");
    }
    let short = app.post("/orders", items(json!([item(2, 1), item(1, 6)]))).await;
    assert_eq!((&short.body["productId"], &short.body["remaining"]), (&json!(1), &json!(5)));
    let limit = app.post("/orders", items(json!([item(5, 3)]))).await;
    assert_eq!((&limit.body["productId"], &limit.body["remaining"]), (&json!(5), &json!(2)));
    let huge: Vec<Value> = (0..1).map(|_| item(2, 1_000)).collect();
    assert_eq!(app.post("/orders", items(json!(huge))).await.code(), "insufficient_balance");
    assert_eq!((app.balance(1).await, app.stock(1).await, app.stock(5).await), (10, 5, 1));
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, 0);
    app.finish().await;
}

/// Goal: items that name one SKU twice are one line, and the limit counts all options of a product.
#[tokio::test]
async fn equal_items_are_added_up_and_options_share_the_limit() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 5).await;
    let options = json!({"name": "o", "limitPerUser": 3, "options": [
        {"id": 1, "name": "S", "price": 3, "stock": 9}, {"id": 2, "name": "L", "price": 4, "stock": 9}]});
    app.put("/admin/products/2", options).await;
    app.user_with(1, 1_000).await;

    let twice =
        json!({"userId": 1, "items": [{"productId": 1, "quantity": 3}, {"productId": 1, "quantity": 3}]});
    assert_eq!(app.post("/orders", twice).await.code(), "out_of_stock");
    let twice =
        json!({"userId": 1, "items": [{"productId": 1, "quantity": 2}, {"productId": 1, "quantity": 3}]});
    let answer = app.post("/orders", twice).await;
    assert_eq!(answer.body["items"], json!([{"productId": 1, "quantity": 5, "unitPrice": 10}]));
    let both = |s: u32, l: u32| {
        json!({"userId": 1, "items": [
            {"productId": 2, "optionId": 1, "quantity": s}, {"productId": 2, "optionId": 2, "quantity": l}]})
    };
    assert_eq!(app.post("/orders", both(2, 2)).await.code(), "purchase_limit_exceeded");
    assert_eq!(app.post("/orders", both(1, 1)).await.status, StatusCode::CREATED);
    let over = app.post("/orders", both(1, 1)).await;
    assert_eq!((over.code(), &over.body["remaining"]), ("purchase_limit_exceeded", &json!(1)));
    app.finish().await;
}

/// 100 orders of two products with 30 and 20 units. Goal: exactly 20 are paid, 10 and 0 are left.
#[tokio::test]
async fn an_order_takes_all_its_items_or_none() {
    let app = TestApp::start().await;
    app.product_with(1, 1, 30).await;
    app.product_with(2, 1, 20).await;
    for user in 1..=100 {
        app.user_with(user, 100).await;
    }
    let body = |user: u64| json!({"userId": user, "items": [{"productId": 1, "quantity": 1}, {"productId": 2, "quantity": 1}]});
    let answers = join_all((1..=100).map(|user| app.post("/orders", body(user)))).await;
    assert_eq!(answers.iter().filter(|it| it.status == StatusCode::CREATED).count(), 20);
    assert_eq!((app.stock(1).await, app.stock(2).await), (10, 0));
    app.finish().await;
}
