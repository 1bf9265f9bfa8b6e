//! `Prefer: wait=persisted`: what was told with it is in MySQL.

use firstcome::app::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::test_app::{Answer, TestApp};

const WAIT: (&str, &str) = ("Prefer", "wait=persisted");

async fn buy(app: &TestApp, key: &str) -> Answer {
    let body = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]}).to_string();
    let headers = [WAIT, ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    app.send(Method::POST, "/orders", &headers, body).await
}

/// Goal: when the answer comes, MySQL has the order, without anybody draining anything.
#[tokio::test]
async fn what_is_told_is_in_mysql() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 1_000).await;
    app.user_with(1, 100_000).await;
    for number in 1..=100 {
        let answer = buy(&app, &format!("order {number}")).await;
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (StatusCode::CREATED, Some("wait=persisted"))
        );
        assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, number);
    }
    // Every changing call, also one that changed nothing new; never a reading one.
    let json = ("Content-Type", "application/json");
    for (method, path, body) in [
        (Method::PUT, "/users/2", ""),
        (Method::POST, "/users/2/balance", r#"{"amount": 5}"#),
        (Method::POST, "/admin/products/1/stock", r#"{"delta": 1}"#),
        (Method::DELETE, "/admin/products/1", ""),
    ] {
        let answer = app.send(method.clone(), path, &[WAIT, json], body).await;
        assert!(
            answer.status.is_success() && answer.status != StatusCode::ACCEPTED,
            "{method} {path} {answer:?}"
        );
        assert_eq!(answer.header("preference-applied"), Some("wait=persisted"), "{method} {path}");
    }
    let read = app.send(Method::GET, "/users/2/balance", &[WAIT], "").await;
    assert_eq!((read.status, read.header("preference-applied")), (StatusCode::OK, None));
    let refused = app.send(Method::POST, "/users/9/balance", &[WAIT, json], r#"{"amount": 5}"#).await;
    assert_eq!((refused.code(), refused.header("preference-applied")), ("user_not_found", None));
    app.finish().await;
}

/// MySQL does not follow. Goal: the success is told as 202 after the patience of the settings, and once MySQL has it, a
/// replay says so.
#[tokio::test]
async fn past_the_patience_it_is_accepted() {
    let mut app = TestApp::start_with(|settings| settings.persist_wait_ms = 100).await;
    app.product_with(1, 10, 1_000).await;
    app.user_with(1, 1_000).await;
    app.drain().await;
    app.stop_engine().await;
    app.start_engine_as(Role::Api).await;

    let accepted = buy(&app, "the key").await;
    assert_eq!(
        (accepted.status, accepted.header("preference-applied")),
        (StatusCode::ACCEPTED, None),
        "{accepted:?}"
    );
    assert_eq!((&accepted.body["persisted"], &accepted.body["status"]), (&json!(false), &json!("paid")));
    assert_eq!(
        accepted.header("location").map(str::to_owned),
        Some(format!("/orders/{}", accepted.body["orderId"]))
    );
    let again = buy(&app, "the key").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::ACCEPTED, Some("true")));
    // A payment of it, and a user who exists, change nothing more, but MySQL does not have them either.
    let pay = json!({"orderId": accepted.body["orderId"]}).to_string();
    for key in [None, Some(("idempotency-key", "a further payment"))] {
        let headers: Vec<_> = [WAIT, ("content-type", "application/json")].into_iter().chain(key).collect();
        let paid = app.send(Method::POST, "/payments", &headers, pay.clone()).await;
        assert_eq!((paid.status, &paid.body["persisted"]), (StatusCode::ACCEPTED, &json!(false)), "{paid:?}");
    }
    for status in ["created", "exists"] {
        let user = app.send(Method::PUT, "/users/9", &[WAIT], "").await;
        assert_eq!((user.status, &user.body["persisted"]), (StatusCode::ACCEPTED, &json!(false)), "{status}");
    }
    let gone = app.send(Method::DELETE, "/admin/products/1", &[WAIT], "").await;
    assert_eq!((gone.status, &gone.body), (StatusCode::ACCEPTED, &json!({"persisted": false})));

    app.stop_engine().await;
    app.start_engine().await;
    // A slow machine fails no test: the patience is short.
    app.drain_events().await;
    let told = buy(&app, "the key").await;
    assert_eq!(
        (told.status, told.header("preference-applied")),
        (StatusCode::CREATED, Some("wait=persisted"))
    );
    for key in ["a further payment", "and one more"] {
        let headers = [WAIT, ("content-type", "application/json"), ("idempotency-key", key)];
        let paid = app.send(Method::POST, "/payments", &headers, pay.clone()).await;
        let applied = (paid.status, paid.header("preference-applied"));
        assert_eq!(applied, (StatusCode::OK, Some("wait=persisted")), "{paid:?}");
    }
    let mut body = accepted.body.clone();
    body.as_object_mut().unwrap().remove("persisted");
    assert_eq!(told.body, body);
    app.finish().await;
}

/// Goal: an event that MySQL could not record is not told as recorded.
#[tokio::test]
async fn a_dead_event_does_not_count() {
    let app = TestApp::start_with(|settings| settings.persist_wait_ms = 300).await;
    app.product_with(1, 10, 1_000).await;
    app.user_with(1, 1_000).await;
    let first = buy(&app, "first").await;
    let next = first.body["orderId"].as_u64().unwrap() + 1_024;
    sqlx::query(
        "INSERT INTO payments (order_id, cell, seq, user_id, amount, at) VALUES (?, ?, 0, 1, 1, NOW())",
    )
    .bind(next)
    .bind(app.cell_of(1).0)
    .execute(&app.connections().mysql)
    .await
    .unwrap();
    let dead = buy(&app, "dead").await;
    assert_eq!((dead.status, &dead.body["persisted"]), (StatusCode::ACCEPTED, &json!(false)), "{dead:?}");
    let next = buy(&app, "next").await;
    assert_eq!(
        (next.status, next.header("preference-applied")),
        (StatusCode::CREATED, Some("wait=persisted"))
    );
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 1);
    app.abandon().await;
}
