//! Promise: pages of listed origins may call from a browser, and those of others learn nothing.

use firstcome::config::List;
use reqwest::Method;
use serde_json::json;

use super::test_app::{Answer, TestApp};
use super::tokens;

const SHOP: &str = "https://shop.example";

async fn start(origins: &[&str]) -> TestApp {
    let mut app = TestApp::start_with(|settings| {
        tokens::trust_secret(settings);
        settings.cors_origins = List(origins.iter().map(|it| it.parse().unwrap()).collect());
    })
    .await;
    app.present(&tokens::admin());
    app.user_with(1, 100).await;
    app.product_with(1, 10, 5).await;
    app
}

/// What a browser asks before it sends an order, without any token.
async fn preflight(app: &TestApp, origin: &str) -> Answer {
    let headers = [
        ("authorization", ""),
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    app.send(Method::OPTIONS, "/orders", &headers, "").await
}

fn access_control(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(|it| it.as_str()).filter(|it| it.starts_with("access-control-")).collect()
}

fn words(answer: &Answer, name: &str) -> Vec<String> {
    let all = answer.header(name).unwrap_or_default().to_ascii_lowercase();
    all.split(',').map(|it| it.trim().to_owned()).collect()
}

/// Goal: a listed origin's page may send an order and read all that the contract exposes, refusals included.
#[tokio::test]
async fn a_listed_origin_may_call() {
    let app = start(&["http://localhost:5173", SHOP]).await;
    let answer = preflight(&app, SHOP).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert!(answer.header("x-request-id").is_some() && answer.header("access-control-max-age").is_some());
    for method in ["get", "post", "put", "delete"] {
        assert!(words(&answer, "access-control-allow-methods").contains(&method.to_owned()), "{method}");
    }
    for name in
        ["authorization", "content-type", "idempotency-key", "prefer", "accept-language", "x-request-id"]
    {
        assert!(words(&answer, "access-control-allow-headers").contains(&name.to_owned()), "{name}");
    }

    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]}).to_string();
    let (origin, json) = (("origin", SHOP), ("content-type", "application/json"));
    let bought = app.send(Method::POST, "/orders", &[origin, json], order).await;
    assert_eq!(bought.status, 201, "{bought:?}");
    let refused = app.send(Method::POST, "/orders", &[origin, json], "{}").await;
    let stranger = app.send(Method::GET, "/products", &[origin, ("authorization", "Basic x")], "").await;
    let unknown = app.send(Method::GET, "/nope", &[origin], "").await;
    for (answer, status) in [(bought, 201), (refused, 400), (stranger, 401), (unknown, 404)] {
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP), "{answer:?}");
        let exposed = "link,etag,location,retry-after,x-request-id,idempotency-replayed,preference-applied";
        assert_eq!(words(&answer, "access-control-expose-headers").join(","), exposed);
        assert!(answer.headers.get_all("vary").iter().any(|it| it.to_str().unwrap().contains("origin")));
        assert!(answer.header("access-control-allow-credentials").is_none(), "tokens are no cookies");
    }
    app.finish().await;
}

/// Goal: any other origin is told nothing, neither before nor with a request; one without an origin is as ever.
#[tokio::test]
async fn a_foreign_origin_gets_no_headers() {
    let app = start(&[SHOP]).await;
    for origin in
        ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null", "*"]
    {
        let asked = preflight(&app, origin).await;
        assert_eq!(access_control(&asked), [] as [&str; 0], "{origin}");
        let sent = app.send(Method::GET, "/products", &[("origin", origin)], "").await;
        assert_eq!(access_control(&sent), [] as [&str; 0], "{origin}");
        // What a form of a foreign page can send without asking is no JSON, and has no token.
        for kind in ["text/plain", "application/x-www-form-urlencoded"] {
            let headers = [("origin", origin), ("content-type", kind), ("authorization", "")];
            let order = r#"{"userId":1,"items":[{"productId":1,"quantity":1}]}"#;
            assert_eq!(app.send(Method::POST, "/orders", &headers, order).await.status, 415);
        }
    }
    let without = app.get("/products").await;
    assert_eq!(access_control(&without), [] as [&str; 0]);
    assert_eq!(app.send(Method::OPTIONS, "/orders", &[], "").await.status, 405, "no preflight");
    assert_eq!(app.stock(1).await, 5);
    app.finish().await;
}

/// Goal: without a list there is no CORS at all, and limits are answered so that a listed page can read them.
#[tokio::test]
async fn nothing_is_shared_by_default() {
    let app = start(&[]).await;
    let asked = preflight(&app, SHOP).await;
    assert_eq!((asked.status.as_u16(), access_control(&asked).len()), (405, 0));
    let sent = app.send(Method::GET, "/products", &[("origin", SHOP)], "").await;
    assert_eq!((sent.status.as_u16(), access_control(&sent).len()), (200, 0));
    app.finish().await;

    let app = TestApp::start_with(|settings| {
        settings.cors_origins = List(vec![SHOP.parse().unwrap()]);
        (settings.rate_limit_address_per_second, settings.rate_limit_burst_seconds) = (1, 1);
    })
    .await;
    let limited = loop {
        let answer = app.send(Method::GET, "/products", &[("origin", SHOP)], "").await;
        if answer.status == 429 {
            break answer;
        }
    };
    assert_eq!(limited.header("access-control-allow-origin"), Some(SHOP));
    assert!(limited.header("retry-after").is_some());
    app.finish().await;
}
