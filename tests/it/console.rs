//! Promise: the operations page comes from the engine alone, and its stream tells the truth once a second, to
//! administrators, until the node ends. What `dev` adds is there only.

use std::process::Command;
use std::time::Duration;

use firstcome::dev::ports;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::engine_process::EngineProcess;
use super::test_app::TestApp;
use super::tokens;

/// Events of a stream, one after the other.
struct Ticks {
    response: reqwest::Response,
    read: String,
}

impl Ticks {
    async fn of(app: &TestApp) -> Self {
        let response = reqwest::get(app.url("/console/stream")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// The data of the next one; none: the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let data = event.strip_prefix("event: tick\ndata: ").unwrap_or_else(|| panic!("{event:?}"));
                let data = serde_json::from_str(data).unwrap();
                self.read = rest.to_owned();
                return Some(data);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.read += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

/// Goal: what is streamed is what `/admin/overview` says, with buckets that count the answers.
#[tokio::test]
async fn the_stream_tells_what_happens() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 100).await;
    app.user_with(1, 1_000).await;
    let mut ticks = Ticks::of(&app).await;
    let first = ticks.next().await.unwrap();
    let overview = app.get("/admin/overview").await.body;
    for part in overview.as_object().unwrap().keys() {
        assert!(first.get(part).is_some(), "{part}: {first}");
    }
    assert!(first.get("rush").is_none(), "in dev only");
    let paid = |tick: &Value| -> u64 {
        let of_orders = |it: &&Value| {
            (&it["route"], &it["method"], &it["status"]) == (&json!("/orders"), &json!("POST"), &json!("201"))
        };
        let durations = tick["durations"].as_array().unwrap().iter().find(of_orders);
        durations.map_or(0, |it| {
            let (bounds, counts) = (it["upperSeconds"].as_array().unwrap(), it["counts"].as_array().unwrap());
            assert_eq!(bounds.len() + 1, counts.len(), "the last one has no bound");
            counts.last().unwrap().as_u64().unwrap()
        })
    };
    let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
    for _ in 0..3 {
        assert_eq!(app.post("/orders", order.clone()).await.status, StatusCode::CREATED);
    }
    // The recorder is shared with other tests of this process.
    let before = paid(&first);
    let mut ticked = first;
    for _ in 0..10 {
        let next = ticks.next().await.unwrap();
        assert!(next["at"].as_str() > ticked["at"].as_str(), "{next}");
        ticked = next;
        if paid(&ticked) >= before + 3 {
            break;
        }
    }
    assert!(paid(&ticked) >= before + 3, "{ticked}");
    assert_eq!(ticked["products"][0]["stock"], json!(97));
    app.finish().await;
}

/// Goal: a stream does not keep a node that ends.
#[tokio::test]
async fn a_stream_ends_with_its_node() {
    let mut app = TestApp::start().await;
    let mut ticks = Ticks::of(&app).await;
    assert!(ticks.next().await.is_some());
    let ended = async { while ticks.next().await.is_some() {} };
    let stopping = app.stop_engine();
    tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(ended, stopping) })
        .await
        .expect("it ends at once");
    app.start_engine().await;
    app.finish().await;
}

/// Goal: nobody can hold more streams than there is room for, and a place is free again when a watcher leaves.
#[tokio::test]
async fn watchers_are_bounded() {
    let app = TestApp::start().await;
    let mut watchers = Vec::new();
    for _ in 0..64 {
        watchers.push(Ticks::of(&app).await);
    }
    assert_eq!(app.get("/console/stream").await.code(), "overloaded");
    assert_eq!(app.get("/admin/overview").await.status, StatusCode::OK);
    drop(watchers);
    let freed = async {
        while app.get("/console/stream").await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.expect("places are free again");
    app.finish().await;
}

/// Goal: the page and all that it loads come from the engine, and nothing may come from elsewhere.
#[tokio::test]
async fn the_console_needs_no_network() {
    let app = TestApp::start().await;
    let page = app.get("/console").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    let mut texts = vec![page.body.as_str().unwrap().to_owned()];
    let mut loaded: Vec<String> = Vec::new();
    while let Some(text) = texts.pop() {
        for word in text.split(['"', '\'']) {
            let name = word.strip_prefix("/console/").or_else(|| word.strip_prefix("./")).unwrap_or_default();
            if (name.ends_with(".js") || name.ends_with(".css")) && !loaded.iter().any(|it| it == name) {
                let file = app.get(&format!("/console/{name}")).await;
                assert_eq!(file.status, StatusCode::OK, "{name}");
                texts.push(file.body.as_str().unwrap().to_owned());
                loaded.push(name.to_owned());
            }
        }
        assert!(!text.contains("src=\"http") && !text.contains("href=\"http"), "{text}");
    }
    assert!(loaded.len() >= 2, "{loaded:?}");
    for path in ["/console/", "/console/none.js", "/console/%2e%2e", "/console/console.js/x"] {
        assert_eq!(app.get(path).await.code(), "not_found", "{path}");
    }
    app.finish().await;
}

/// Goal: outside `dev` there is no shop and no rush.
#[tokio::test]
async fn what_dev_adds_is_nowhere_else() {
    let app = TestApp::start().await;
    for (method, path) in
        [(Method::GET, "/"), (Method::GET, "/shop/shop.js"), (Method::DELETE, "/console/rush")]
    {
        let answer = app.send(method.clone(), path, &[], String::new()).await;
        assert!(["not_found", "method_not_allowed"].contains(&answer.code()), "{method} {path}: {answer:?}");
    }
    assert_ne!(app.post("/console/rush", json!({"shoppers": 1})).await.status, StatusCode::ACCEPTED);
    app.finish().await;
}

/// Goal: what is left of what is on sale is a metric, and only while it is on sale.
#[tokio::test]
async fn units_left_are_metrics() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 100).await;
    app.campaign(7, 5, json!({})).await;
    let ended = json!({"name": "Over", "price": 1, "stock": 9, "saleStartsAt": "2020-01-01T00:00:00Z", "saleEndsAt": "2020-01-02T00:00:00Z"});
    assert_eq!(app.put("/admin/products/2", ended).await.status, StatusCode::CREATED);
    let metrics = app.get("/metrics").await.body.as_str().unwrap().to_owned();
    for line in ["firstcome_stock_units{product=\"1\"} 100", "firstcome_coupon_units{coupon=\"7\"} 5"] {
        assert!(metrics.lines().any(|it| it == line), "{line}");
    }
    assert!(!metrics.contains("firstcome_stock_units{product=\"2\"}"));
    app.finish().await;
}

/// Goal: metrics can have a listener of their own, also those of a worker that answers no calls.
#[tokio::test]
async fn metrics_can_have_a_listener_of_their_own() {
    let mut app = TestApp::start().await;
    app.stop_engine().await;
    let port = || format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
    app.settings.listen = port();
    for role in ["worker", "all"] {
        let own: std::net::SocketAddr = port();
        let change = |command: &mut Command| _ = command.env("FIRSTCOME_METRICS_LISTEN", own.to_string());
        let mut engine = EngineProcess::start_with(&app.settings, role, change);
        let told =
            async |url: String| reqwest::get(url).await.ok().filter(|it| it.status() == StatusCode::OK);
        let metrics = loop {
            match told(format!("http://{own}/metrics")).await {
                Some(answer) => break answer.text().await.unwrap(),
                None => assert_eq!(engine.ended(), None, "{role}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(metrics.contains("firstcome_persisted_events_total"), "{role}: {metrics}");
        assert!(told(format!("http://{own}/healthz")).await.is_some(), "{role}");
        assert!(told(format!("http://{own}/orders")).await.is_none(), "{role}");
        if role == "all" {
            let elsewhere = reqwest::get(format!("http://{}/metrics", app.settings.listen)).await.unwrap();
            assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
        }
        assert!(engine.terminate().await);
    }
    app.start_engine().await;
    app.finish().await;
}

/// Goal: who cannot send a header opens one stream with a ticket that an administrator got; nobody else gets one.
#[tokio::test]
async fn a_ticket_opens_a_stream() {
    let app = TestApp::start_with(tokens::trust_secret).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let ticket = async |token: &str| {
        app.send(Method::POST, "/console/ticket", &[("authorization", &bearer(token))], String::new()).await
    };
    assert_eq!(ticket(&tokens::user(1)).await.code(), "forbidden");
    let given = ticket(&tokens::admin()).await;
    assert_eq!(given.status, StatusCode::CREATED, "{given:?}");
    let path = format!("/console/stream?ticket={}", given.body["ticket"].as_str().unwrap());
    assert_eq!(app.get("/console/stream").await.code(), "unauthenticated");
    assert_eq!(app.get("/console/stream?ticket=0").await.code(), "unauthenticated");
    assert_eq!(app.get(&path).await.status, StatusCode::OK);
    assert_eq!(app.get(&path).await.code(), "unauthenticated", "it opens one");
    app.abandon().await;
}
