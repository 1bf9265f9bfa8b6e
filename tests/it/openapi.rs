//! Promise: `/openapi.json` tells what is served, no less and no more, and `/docs` shows it without any network.

use reqwest::Method;
use serde_json::{Value, json};

use super::documented::Documented;
use super::test_app::{Answer, TestApp};

/// Goal: every documented call is served: no path is unknown, no method is refused.
#[tokio::test]
async fn every_documented_call_is_served() {
    let app = TestApp::start().await;
    let documented = Documented::by(&app).await;
    assert!(documented.calls().len() > 30);
    for (method, path) in documented.calls() {
        let file = if path.starts_with("/console/") { "console.js" } else { "start.js" };
        let asked = path.replace("{orderId}", "1024").replace("{file}", file);
        let asked = asked.split('/').map(|it| if it.starts_with('{') { "1" } else { it });
        let asked = asked.collect::<Vec<_>>().join("/");
        let answer = app.send(method.clone(), &asked, &[], String::new()).await;
        assert!(!["not_found", "method_not_allowed"].contains(&answer.code()), "{method} {path}: {answer:?}");
    }
    app.finish().await;
}

/// Goal: a client that does what the examples show gets what the examples show.
#[tokio::test]
async fn the_examples_can_be_followed() {
    let app = TestApp::start().await;
    let mut documented = Documented::by(&app).await;
    let mut told = async |line: &str, ids: &[(&str, u64)], example: usize, status: u16| -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let operation = &documented.document()["paths"][path][method.as_str().to_lowercase()];
        let body = &operation["requestBody"]["content"]["application/json"]["examples"];
        let mut body = body.as_object().map(|it| it.values().nth(example).unwrap()["value"].clone());
        let mut asked = path.to_owned();
        for (name, id) in ids {
            asked = asked.replace(&format!("{{{name}}}"), &id.to_string());
            if let Some(field) = body.as_mut().and_then(|it| it.get_mut(*name)) {
                *field = json!(id);
            }
        }
        let shown = &operation["responses"][status.to_string()]["content"]["application/json"]["example"];
        let shown = shown.clone();
        let text = body.map(|it| it.to_string()).unwrap_or_default();
        let headers: &[(&str, &str)] =
            if text.is_empty() { &[] } else { &[("content-type", "application/json")] };
        let answer = app.send(method.clone(), &asked, headers, text).await;
        let story = format!("{line} {ids:?}");
        assert_eq!(answer.status.as_u16(), status, "{story}: {answer:?}");
        documented.assert_lists(&method, path, &answer, &story);
        if let (Value::Object(given), Value::Object(shown), 0) = (&answer.body, &shown, example) {
            let names = |it: &serde_json::Map<String, Value>| it.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(given), names(shown), "{story}: {answer:?}");
        }
        answer
    };
    told("PUT /users/{userId}", &[("userId", 1)], 0, 201).await;
    told("POST /users/{userId}/balance", &[("userId", 1)], 0, 201).await;
    told("POST /balance/charge", &[], 0, 200).await;
    told("PUT /users/{userId}", &[("userId", 1)], 0, 200).await;
    // By name: "with options …" comes before "without options".
    told("PUT /admin/products/{productId}", &[("productId", 2)], 0, 201).await;
    told("PUT /admin/products/{productId}", &[("productId", 1)], 1, 201).await;
    told("PUT /admin/products/{productId}", &[("productId", 1)], 1, 200).await;
    told("POST /admin/products/{productId}/stock", &[("productId", 1)], 0, 200).await;
    told("PUT /admin/coupons/{couponId}", &[("couponId", 1)], 0, 201).await;
    told("PUT /admin/coupons/{couponId}", &[("couponId", 2)], 1, 201).await;
    told("POST /coupons", &[("userId", 1), ("couponId", 2)], 0, 201).await;
    told("POST /coupons/{couponId}/issue", &[("couponId", 1), ("userId", 1)], 0, 201).await;
    let paid = told("POST /orders", &[], 0, 201).await.body["orderId"].as_u64().unwrap();
    told("GET /orders/{orderId}", &[("orderId", paid)], 0, 200).await;
    told("POST /orders/{orderId}/refund", &[("orderId", paid)], 0, 200).await;
    let pending = told("POST /orders", &[("couponId", 2)], 1, 201).await.body["orderId"].as_u64().unwrap();
    told("POST /coupons/{couponId}/cancel", &[("couponId", 2), ("orderId", pending)], 0, 200).await;
    told("POST /payments", &[("orderId", pending)], 0, 200).await;
    let pending = told("POST /orders", &[("couponId", 2)], 1, 201).await.body["orderId"].as_u64().unwrap();
    told("POST /orders/{orderId}/cancel", &[("orderId", pending)], 0, 200).await;
    for list in [
        "GET /users/{userId}/balance",
        "GET /users/{userId}/balance/history",
        "GET /users/{userId}/orders",
        "GET /users/{userId}/coupons",
        "GET /products",
        "GET /products/top",
        "GET /products/rank",
        "GET /coupons",
        "GET /healthz",
        "GET /readyz",
    ] {
        told(list, &[("userId", 1)], 0, 200).await;
    }
    told("GET /products/{productId}", &[("productId", 2)], 0, 200).await;
    told("DELETE /admin/products/{productId}", &[("productId", 1)], 0, 204).await;
    app.drain().await;
    app.finish().await;
}

/// Goal: the page and all that it loads come from the engine, and nothing may come from elsewhere.
#[tokio::test]
async fn the_docs_need_no_network() {
    let app = TestApp::start().await;
    let page = app.get("/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let text = page.body.as_str().unwrap();
    let loaded: Vec<&str> = text.split(['"']).filter(|it| it.starts_with("docs/")).collect();
    assert_eq!(loaded.len(), 3, "{text}");
    for name in loaded {
        let file = app.get(&format!("/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        let kind = if name.ends_with(".css") { "text/css" } else { "text/javascript" };
        assert!(file.header("content-type").unwrap().starts_with(kind), "{name}");
        for elsewhere in ["http://", "https://"] {
            assert!(!text.contains(elsewhere), "{text}");
        }
    }
    let start = app.get("/docs/start.js").await;
    assert!(start.body.as_str().unwrap().contains("url: 'openapi.json'"), "{start:?}");
    for path in ["/docs/", "/docs/index.html", "/docs/%2e%2e", "/docs/start.js/x"] {
        assert_eq!(app.get(path).await.code(), "not_found", "{path}");
    }
    app.finish().await;
}
