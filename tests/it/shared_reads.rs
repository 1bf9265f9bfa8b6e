//! Promise: lists and rankings are exact within 100 ms however many ask, and cost one read at a time.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use firstcome::worker::Silent;
use firstcome::worker::recover::{close, reopen};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::beside::Node;
use super::test_app::{TestApp, eventually};

/// The default of the setting.
const STALENESS: Duration = Duration::from_millis(100);

/// Callers within that time who make a rush.
const RUSH: u64 = 16;

/// Every list and ranking, the script that reads it, and an id in its entries.
const READS: [(&str, &str, &str); 5] = [
    ("/products", "product_list", "id"),
    ("/products?available=true&limit=2", "product_list", "id"),
    ("/products/top", "ranking_top", "id"),
    ("/products/rank?limit=7", "ranking_top", "id"),
    ("/coupons?limit=1", "coupon_list", "couponId"),
];

async fn shop() -> (TestApp, Node) {
    let app = TestApp::start().await;
    for product in 1..=3 {
        app.product_with(product, 1, 1_000_000).await;
        app.campaign(product, 10, json!({})).await;
    }
    app.user_with(1, 1_000_000).await;
    assert_eq!(buy(&app, 1).await, StatusCode::CREATED);
    let node = Node::beside(&app).await;
    (app, node)
}

async fn buy(app: &TestApp, product: u64) -> StatusCode {
    let order = json!({"userId": 1, "items": [{"productId": product, "quantity": 1}]});
    app.post("/orders", order).await.status
}

/// A thousand callers, a hundred at a time. Goal: as many reads as times of the setting went by, and every answer is the
/// same, in the form that one caller gets.
#[tokio::test]
async fn thousands_cost_a_read_each_hundred_milliseconds() {
    let (app, node) = shop().await;
    for (path, script, id) in READS {
        // With several cells it takes pages of all their rankings.
        let is_added_up = script == "ranking_top" && app.settings.cells > 1;
        let script = if is_added_up { "ranking_page" } else { script };
        let (before, began) = (node.told_by_script(script, "FOUND").await, Instant::now());
        let mut answers = Vec::new();
        for _ in 0..10 {
            answers.extend(join_all((0..100).map(|_| node.get(path, &[]))).await);
        }
        let times = began.elapsed().as_millis() / STALENESS.as_millis() + 1;
        let reads = node.told_by_script(script, "FOUND").await - before;
        println!("{path}: {reads} reads for 1000 answers in {:?}", began.elapsed());
        // Until it is a rush they read for themselves; on a slow machine each of the ten times is a new one.
        // Each asks all cells.
        let most = (times as u64 + 10 * RUSH) * u64::from(app.settings.cells);
        assert!((1..=most).contains(&reads), "{path}: {reads} reads in {:?}", began.elapsed());
        let first = &answers[0];
        assert_eq!((first.status, first.header("content-type")), (StatusCode::OK, Some("application/json")));
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        assert!(first.entries()[0][id].is_u64(), "{first:?}");
        assert_eq!(
            (&app.get(path).await.body, app.get(path).await.header("link")),
            (&first.body, first.header("link"))
        );
        for answer in &answers {
            let told = (&answer.body, answer.header("etag"), answer.header("link"));
            assert_eq!(told, (&first.body, first.header("etag"), first.header("link")), "{path}");
        }
    }
    app.finish().await;
}

/// Goal: a tag is good on every node while the answer is the same, for `GET` and `HEAD`, and no longer.
#[tokio::test]
async fn a_tag_is_good_on_every_node() {
    let (app, node) = shop().await;
    for (path, ..) in READS {
        let full = node.get(path, &[]).await;
        let tag = full.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
        let held = [("if-none-match", tag.as_str())];
        for unchanged in [node.get(path, &held).await, app.send(Method::GET, path, &held, "").await] {
            assert_eq!((unchanged.status.as_u16(), &unchanged.body), (304, &Value::Null), "{path}");
            assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
            assert_eq!(unchanged.header("cache-control"), Some("no-cache"));
        }
        assert_eq!(app.send(Method::HEAD, path, &held, "").await.status.as_u16(), 304);
        let head = app.send(Method::HEAD, path, &[], "").await;
        assert_eq!((head.status.as_u16(), head.header("etag")), (200, Some(tag.as_str())));
        let other = [("if-none-match", "\"other\", W/\"0\"")];
        assert_eq!(node.get(path, &other).await.body, full.body);
    }
    let held = app.get("/products").await.header("etag").unwrap().to_owned();
    assert_eq!(buy(&app, 1).await, StatusCode::CREATED);
    let held = [("if-none-match", held.as_str())];
    let changed = app.send(Method::GET, "/products", &held, "").await;
    assert_eq!((changed.status, &changed.body[0]["stock"]), (StatusCode::OK, &json!(999_998)));
    eventually!(node.get("/products", &held).await.status == StatusCode::OK);
    // One product is exact at any moment, and so are pages whose entries are the same but not their `Link`.
    assert_eq!(app.get("/products/1").await.header("etag"), None);
    let last = app.get("/products?limit=3").await;
    assert_eq!(last.next(), None);
    app.product_with(4, 1, 1).await;
    let held = [("if-none-match", last.header("etag").unwrap())];
    let more = app.send(Method::GET, "/products?limit=3", &held, "").await;
    assert_eq!((more.status, &more.body), (StatusCode::OK, &last.body));
    assert!(more.next().is_some());
    app.finish().await;
}

/// One buyer buys through one node, many list through the other. Goal: what had been sold 100 ms before a caller asked is
/// in the answer.
#[tokio::test]
async fn another_node_shows_a_sale_within_the_time() {
    let (app, node) = shop().await;
    let (sold, over) = (std::sync::Mutex::new(vec![(Instant::now(), 1)]), AtomicBool::new(false));
    let checked = AtomicI64::new(0);
    let lister = async |lane: usize| {
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let path = ["/products", "/products/top"][lane % 2];
            let answer = node.get(path, &[]).await;
            let shown = match lane % 2 {
                0 => 1_000_000 - answer.body[0]["stock"].as_i64().unwrap(),
                _ => answer.body[0]["sold"].as_i64().unwrap(),
            };
            let due = |it: &&(Instant, i64)| it.0 + STALENESS <= asked;
            let due = sold.lock().unwrap().iter().rfind(due).map_or(0, |it| it.1);
            assert!(shown >= due, "{path} shows {shown}, and {due} had been sold {STALENESS:?} before");
            checked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let buyer = async {
        for number in 2..=200 {
            assert_eq!(buy(&app, 1).await, StatusCode::CREATED);
            sold.lock().unwrap().push((Instant::now(), number));
        }
        eventually!(checked.load(Ordering::Relaxed) > 500);
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all((0..20).map(lister)), buyer);
    app.finish().await;
}

/// Goal: an administrator who changes something through a node that many ask sees it there at once.
#[tokio::test]
async fn who_changes_something_lists_it_at_once() {
    let (app, node) = shop().await;
    let over = AtomicBool::new(false);
    let others = async |_| {
        while !over.load(Ordering::Relaxed) {
            for path in ["/products", "/products/top", "/coupons"] {
                node.get(path, &[]).await;
            }
        }
    };
    let administrator = async {
        for round in 1..=50u64 {
            let name = format!("name {round}");
            let body = json!({"name": name, "price": 1});
            let put = node.send(Method::PUT, "/admin/products/1", None, &body).await;
            assert_eq!(put.status, StatusCode::OK, "{put:?}");
            for path in ["/products", "/products/top"] {
                assert_eq!(node.get(path, &[]).await.body[0]["name"], name, "{path}");
            }
            let added = node.post("/admin/products/2/stock", json!({"delta": 1})).await;
            assert_eq!(node.get("/products", &[]).await.body[1]["stock"], added.body["stock"]);
            let campaign = json!({
                "name": name, "discount": {"kind": "fixed", "value": 1}, "quantity": 10 + round,
                "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
            });
            assert_eq!(
                node.send(Method::PUT, "/admin/coupons/1", None, &campaign).await.status,
                StatusCode::OK
            );
            assert_eq!(node.get("/coupons", &[]).await.body[0]["remaining"], 10 + round);
        }
        app.product_with(9, 1, 1).await;
        eventually!(node.get("/products", &[]).await.entries().len() == 4);
        let gone = node.send(Method::DELETE, "/admin/products/9", None, &Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(node.get("/products", &[]).await.entries().len(), 3);
        over.store(true, Ordering::Relaxed);
    };
    futures::join!(join_all((0..8).map(others)), administrator);
    app.finish().await;
}

/// Goal: while the cell is closed lists are refused, no later than the stated time, and not a moment longer than it is.
#[tokio::test]
async fn a_refusal_is_not_kept() {
    let (app, node) = shop().await;
    let worker = app.connections().worker();
    assert_eq!(node.get("/products", &[]).await.status, StatusCode::OK);
    close(&worker, app.cell_of(1)).await.unwrap();
    let closed = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = node.get("/products", &[]).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.code(), "cell_closed", "{answer:?}");
            break;
        }
        assert!(asked < closed + STALENESS, "{:?} after it was closed", asked - closed);
    }
    reopen(&worker, app.cell_of(1), &Silent).await.unwrap();
    eventually!(
        node.post("/balance/charge", json!({"userId": 1, "amount": 1})).await.status == StatusCode::OK
    );
    assert_eq!(node.get("/products", &[]).await.status, StatusCode::OK);
    app.finish().await;
}
