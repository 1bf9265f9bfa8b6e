//! Promise: in a rush a node says "sold out" by itself, never for longer than it was told to, never to who bought, and
//! who asks one by one hears the first refusal in the contract's order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::beside::{Node, Told};
use super::test_app::{TestApp, eventually};
use super::tokens;

/// The default of the setting.
const MEMORY: Duration = Duration::from_millis(100);

/// Buyers at once; user 1 to this exist.
const LANES: u64 = 64;

/// Runs `story` while all lanes send one request after the other, told by lane and round. All that they were told.
async fn during_rush<S>(
    ask: impl AsyncFn(u64, u64) -> Told,
    story: impl Future<Output = S>,
) -> (Vec<Told>, S) {
    let over = AtomicBool::new(false);
    let lane = async |lane: u64| {
        let mut told = Vec::new();
        while !over.load(Ordering::Relaxed) {
            told.push(ask(lane, told.len() as u64).await);
        }
        told
    };
    let story = async {
        let end = story.await;
        over.store(true, Ordering::Relaxed);
        end
    };
    let (told, end) = futures::join!(join_all((1..=LANES).map(lane)), story);
    (told.into_iter().flatten().collect(), end)
}

async fn shop() -> (TestApp, Node) {
    let app = TestApp::start().await;
    for user in 1..=LANES {
        app.user_with(user, 1_000_000).await;
    }
    let node = Node::beside(&app).await;
    (app, node)
}

fn order(user: u64, product: u64) -> Value {
    json!({"userId": user, "items": [{"productId": product, "quantity": 1}]})
}

/// Waits until each lane has asked, or nearly, when the memory of what was before this must be over.
async fn until_asked_late(asked: &AtomicU64) {
    tokio::time::sleep(2 * MEMORY).await;
    let before = asked.load(Ordering::Relaxed);
    eventually!(asked.load(Ordering::Relaxed) >= before + LANES);
}

/// Those of the answers that a request asked for after `since` got.
fn asked_after(told: &[Told], since: Instant) -> Vec<&Told> {
    told.iter().filter(|it| it.sent > since).collect()
}

/// Goal: a rush is sent away without Redis in the words of the script, and exactly what was there is sold.
#[tokio::test]
async fn a_rush_hears_from_memory_what_the_script_said() {
    let (app, node) = shop().await;
    app.product_with(1, 1, 20).await;
    let keys = AtomicU64::new(0);
    // Each other one with a key, which is looked up.
    let buy = async |lane: u64, round: u64| {
        let mut body = order(lane, 1);
        body["payment"] = json!(if round.is_multiple_of(3) { "later" } else { "now" });
        let key = keys.fetch_add(1, Ordering::Relaxed).to_string();
        let key = lane.is_multiple_of(2).then_some(key.as_str());
        node.send(Method::POST, "/orders", key, &body).await
    };
    let story = async {
        node.remembers("stock", 200).await;
        // What comes first in the contract's order, of an order of several products.
        for _ in 0..20 {
            let items = json!([{"productId": 1, "quantity": 1}, {"productId": 99, "quantity": 1}]);
            let told = node.post("/orders", json!({"userId": 1, "items": items})).await;
            assert_eq!(told.code(), "product_not_found", "{told:?}");
        }
        node.remembers("stock", 200).await;
    };
    let (told, ()) = during_rush(buy, story).await;
    let (sold, refused): (Vec<Told>, Vec<Told>) =
        told.into_iter().partition(|it| it.status == StatusCode::CREATED);
    assert_eq!(sold.len(), 20);
    let refusal = json!({
        "type": "/problems/out_of_stock", "title": "Out of stock", "status": 400, "detail": "Out of stock",
        "code": "out_of_stock", "productId": 1, "remaining": 0
    });
    for told in &refused {
        let mut body = told.body.clone();
        assert!(body.as_object_mut().unwrap().remove("requestId").is_some());
        assert_eq!((told.status, &body), (StatusCode::BAD_REQUEST, &refusal));
    }
    let (by_script, by_memory) =
        (node.told_by_script("order_place", "OUT_OF_STOCK").await, node.told_by_memory("stock").await);
    println!("sold out: {by_script} from the script, {by_memory} from memory");
    // Where it cannot be that another cell has units, the script's answer is the last word.
    assert!(by_script + by_memory >= refused.len() as u64);
    assert!(app.settings.cells > 1 || by_script + by_memory == refused.len() as u64);
    assert_eq!(app.stock(1).await, 0);
    app.finish().await;
}

/// Units come back in the middle of a rush, through another node or the same one. Goal: nobody who asks later than the
/// stated time after that is sent away, and through the same node nobody at all.
#[tokio::test]
async fn after_a_restock_it_sells_again() {
    let (app, node) = shop().await;
    for product in 1..=6 {
        app.product_with(product, 1, 0).await;
        let through_same = u64::is_multiple_of(product, 2);
        let (path, asked) = (format!("/admin/products/{product}/stock"), AtomicU64::new(0));
        let story = async {
            node.remembers("stock", 100).await;
            let delta = json!({"delta": 1_000_000});
            let status = match through_same {
                true => node.post(&path, delta).await.status,
                false => app.post(&path, delta).await.status,
            };
            assert_eq!(status, StatusCode::OK);
            let answered = Instant::now();
            until_asked_late(&asked).await;
            answered
        };
        let buy = async |lane: u64, _| {
            asked.fetch_add(1, Ordering::Relaxed);
            node.post("/orders", order(lane, product)).await
        };
        let (told, answered) = during_rush(buy, story).await;
        let late = asked_after(&told, answered).into_iter().filter(|it| it.status != StatusCode::CREATED);
        let late = late.map(|it| it.sent - answered).max().unwrap_or_default();
        println!(
            "product {product}: the last one sent away had asked {late:?} after the restock was answered"
        );
        let bound = if through_same { Duration::ZERO } else { MEMORY };
        let told = asked_after(&told, answered + bound);
        assert!(!told.is_empty());
        for told in told {
            assert_eq!(told.status, StatusCode::CREATED, "{:?} after: {told:?}", told.sent - answered);
        }
    }
    app.finish().await;
}

/// The rush is over, its memory is not. Goal: a refund through the node is known there at once.
#[tokio::test]
async fn a_refund_is_known_at_once() {
    let (app, node) = shop().await;
    app.product_with(1, 1, 5).await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        let bought = node.post("/orders", order(1, 1)).await;
        orders.push(bought.body["orderId"].as_u64().expect("an order"));
    }
    for id in orders {
        let buy = async |lane: u64, _| node.post("/orders", order(lane, 1)).await;
        during_rush(buy, node.remembers("stock", 100)).await;
        let refunded = node.post(&format!("/orders/{id}/refund"), json!({})).await;
        assert_eq!(refunded.status, StatusCode::OK, "{refunded:?}");
        let bought = node.post("/orders", order(2, 1)).await;
        assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
    }
    app.finish().await;
}

/// The buyer of the last unit did not hear of it, and asks again in the rush. Goal: they are told every time that it is
/// theirs, and another request under their key is refused as such.
#[tokio::test]
async fn who_bought_the_last_unit_hears_so_in_the_rush() {
    let (app, node) = shop().await;
    app.product_with(1, 1, 1).await;
    app.campaign(7, 1, json!({})).await;
    let last = node.send(Method::POST, "/orders", Some("last"), &order(1, 1)).await;
    let claim = json!({"userId": 1, "couponId": 7});
    let issued = node.send(Method::POST, "/coupons", Some("issued"), &claim).await;
    for told in [&last, &issued] {
        assert_eq!((told.status, told.replayed), (StatusCode::CREATED, false), "{told:?}");
    }
    let ask = async |lane: u64, round: u64| match round % 2 {
        0 => node.post("/orders", order(lane, 1)).await,
        _ => node.post("/coupons/7/issue", json!({"userId": 100 + lane})).await,
    };
    let story = async {
        for _ in 0..50 {
            node.remembers("stock", 10).await;
            node.remembers("coupon", 10).await;
            let again = node.send(Method::POST, "/orders", Some("last"), &order(1, 1)).await;
            assert_eq!((again.status, again.replayed, &again.body), (StatusCode::CREATED, true, &last.body));
            let again = node.send(Method::POST, "/coupons", Some("issued"), &claim).await;
            assert_eq!(
                (again.status, again.replayed, &again.body),
                (StatusCode::CREATED, true, &issued.body)
            );
            let mut other = order(1, 1);
            other["items"][0]["quantity"] = json!(2);
            let other = node.send(Method::POST, "/orders", Some("last"), &other).await;
            assert_eq!(other.code(), "idempotency_key_reused", "{other:?}");
        }
    };
    let (told, ()) = during_rush(ask, story).await;
    assert!(told.iter().all(|it| ["out_of_stock", "coupon_sold_out"].contains(&it.code())));
    app.finish().await;
}

/// One request after the other, as fast as they go. Goal: what applies first is told, and nothing from memory.
#[tokio::test]
async fn who_asks_one_by_one_hears_the_first_refusal() {
    let (app, node) = shop().await;
    let limited = json!({"name": "limited", "price": 1, "stock": 1, "limitPerUser": 1});
    assert_eq!(app.put("/admin/products/1", limited).await.status, StatusCode::CREATED);
    app.campaign(7, 1, json!({})).await;
    assert_eq!(node.post("/orders", order(1, 1)).await.status, StatusCode::CREATED);
    assert_eq!(node.post("/coupons", json!({"userId": 1, "couponId": 7})).await.status, StatusCode::CREATED);
    for round in 0..10 {
        for user in 2..=30 {
            assert_eq!(node.post("/orders", order(user, 1)).await.code(), "out_of_stock", "{round}");
            let claim = node.post("/coupons", json!({"userId": user, "couponId": 7})).await;
            assert_eq!(claim.code(), "coupon_sold_out", "{round}");
        }
        assert_eq!(node.post("/orders", order(999, 1)).await.code(), "user_not_found");
        assert_eq!(node.post("/orders", order(1, 1)).await.code(), "purchase_limit_exceeded");
        let claim = async |user: u64| node.post("/coupons", json!({"userId": user, "couponId": 7})).await;
        assert_eq!(claim(999).await.code(), "user_not_found");
        assert_eq!(claim(1).await.code(), "coupon_already_issued");
    }
    assert_eq!((node.told_by_memory("stock").await, node.told_by_memory("coupon").await), (0, 0));
    app.finish().await;
}

/// Claims of new users all the time. Goal: as many units as there are, the rest is sent away from memory, and once the
/// campaign has more, nobody is who asks later than the stated time.
#[tokio::test]
async fn coupons_are_remembered_alike() {
    let (app, node) = shop().await;
    app.campaign(7, 20, json!({})).await;
    let next = AtomicU64::new(1_000);
    let claim = async |_, _| {
        let user = next.fetch_add(1, Ordering::Relaxed);
        node.post("/coupons/7/issue", json!({ "userId": user })).await
    };
    let story = async {
        node.remembers("coupon", 200).await;
        let before = Instant::now();
        app.campaign(7, 1_000_000, json!({})).await;
        let answered = Instant::now();
        until_asked_late(&next).await;
        (before, answered)
    };
    let (told, (before, answered)) = during_rush(claim, story).await;
    let of_first = told.iter().filter(|it| it.sent < before && it.status == StatusCode::CREATED);
    assert!(of_first.count() >= 20);
    assert!(told.iter().all(|it| it.status == StatusCode::CREATED || it.code() == "coupon_sold_out"));
    let late = asked_after(&told, answered + MEMORY);
    assert!(!late.is_empty());
    for told in late {
        assert_eq!(told.status, StatusCode::CREATED, "{:?} after: {told:?}", told.sent - answered);
    }
    let issued = told.iter().filter(|it| it.status == StatusCode::CREATED).count();
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM coupon_issues").await, issued as i64);
    app.finish().await;
}

/// Goal: who may not ask is told that, however much the node knows.
#[tokio::test]
async fn who_may_not_ask_is_not_told() {
    let mut app = TestApp::start_with(tokens::trust_secret).await;
    app.present(&tokens::admin());
    app.user_with(1, 100).await;
    app.product_with(1, 1, 0).await;
    let asked = AtomicU64::new(0);
    let ask = async |_, _| {
        let sent = Instant::now();
        let answer = app.post("/orders", order(1, 1)).await;
        asked.fetch_add(1, Ordering::Relaxed);
        Told { sent, status: answer.status, body: answer.body, replayed: false }
    };
    let story = async {
        for round in 1..=20 {
            eventually!(asked.load(Ordering::Relaxed) > round * 50);
            let other = format!("Bearer {}", tokens::user(2));
            for (token, code) in [(other.as_str(), "user_not_found"), ("Bearer x", "unauthenticated")] {
                let headers = [("authorization", token), ("content-type", "application/json")];
                let answer = app.send(Method::POST, "/orders", &headers, order(1, 1).to_string()).await;
                assert_eq!(answer.code(), code, "{answer:?}");
            }
        }
    };
    let (told, ()) = during_rush(ask, story).await;
    assert!(told.iter().all(|it| it.code() == "out_of_stock"));
    app.finish().await;
}
