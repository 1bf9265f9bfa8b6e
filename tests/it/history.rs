//! Promise: users find what they did, newest first, as soon as they have done it.

use std::time::{Duration, Instant};

use firstcome::worker::recover::{close, reopen};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::test_app::{Answer, TestApp};
use super::wire::assert_problem;

/// How long a list waits for MySQL to have what was acknowledged.
const LIST_WAITS: Duration = Duration::from_millis(500);

/// Buys one unit of a product; the order as the buyer is told.
async fn buy(app: &TestApp, user: u64, product: u64) -> Value {
    let body = json!({"userId": user, "items": [{"productId": product, "quantity": 1}]});
    let answer = app.post("/orders", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body
}

/// A user with money, and a product that costs 100.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    app.product_with(1, 100, 1_000).await;
    app.user_with(1, 100_000).await;
    app
}

fn ids(page: &Answer) -> Vec<u64> {
    page.entries().iter().map(|it| it["orderId"].as_u64().expect("an order")).collect()
}

/// Two charges and a purchase, and what somebody else does. Goal: the history explains the balance, entry by
/// entry, and tells of nobody else.
#[tokio::test]
async fn a_history_explains_the_balance() {
    let app = shop().await;
    app.user_with(2, 0).await;
    assert_eq!(app.get("/users/2/balance/history").await.body, json!([]));
    app.post("/users/2/balance", json!({"amount": 700})).await;
    let order = buy(&app, 2, 1).await;
    buy(&app, 1, 1).await;
    app.post("/balance/charge", json!({"userId": 2, "amount": 50})).await;
    app.drain_events().await;

    let history = app.get("/users/2/balance/history").await;

    assert_eq!((history.status, history.next()), (StatusCode::OK, None), "{history:?}");
    let [charge, payment, first] = history.entries() else { panic!("{history:?}") };
    let told = |entry: &Value| (entry["kind"].clone(), entry["amount"].clone(), entry["balance"].clone());
    assert_eq!(told(charge), (json!("charge"), json!(50), json!(650)));
    assert_eq!(told(payment), (json!("payment"), json!(-100), json!(600)));
    assert_eq!(told(first), (json!("charge"), json!(700), json!(700)));
    assert_eq!((&payment["orderId"], &payment["at"]), (&order["orderId"], &order["paidAt"]));
    for entry in [charge, first] {
        let fields: Vec<&String> = entry.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["amount", "at", "balance", "kind", "seq"]);
        assert!(entry["at"].as_str().unwrap().ends_with('Z'), "{entry}");
    }
    let numbers: Vec<u64> = history.entries().iter().map(|it| it["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|newer, older| newer > older), "{numbers:?}");
    app.finish().await;
}

/// Orders with several lines and options. Goal: the list shows each as `GET /orders/{id}` does.
#[tokio::test]
async fn the_list_shows_orders_as_they_are() {
    let app = shop().await;
    app.product_with(2, 7, 1_000).await;
    let shirt = json!({"name": "Shirt", "options": [
        {"id": 1, "name": "S", "price": 5, "stock": 9}, {"id": 2, "name": "L", "price": 6, "stock": 9}]});
    assert_eq!(app.put("/admin/products/3", shirt).await.status, StatusCode::CREATED);
    app.user_with(2, 1_000).await;
    assert_eq!(app.get("/users/2/orders").await.body, json!([]));
    let mut shown = Vec::new();
    for items in [
        json!([{"productId": 2, "quantity": 3}, {"productId": 1, "quantity": 1}]),
        json!([{"productId": 1, "quantity": 2}]),
        json!([{"productId": 3, "optionId": 2, "quantity": 1}, {"productId": 3, "optionId": 1, "quantity": 2}]),
    ] {
        let order = app.post("/orders", json!({"userId": 2, "items": items})).await.body;
        shown.insert(0, app.get(&format!("/orders/{}", order["orderId"])).await.body);
        buy(&app, 1, 1).await;
    }
    app.drain_events().await;

    let list = app.get("/users/2/orders").await;

    assert_eq!((list.status, list.next()), (StatusCode::OK, None));
    assert_eq!(list.body, json!(shown));
    assert_eq!(app.get("/users/1/orders").await.entries().len(), 3);
    app.finish().await;
}

/// The buyer asks for both lists the moment the 201 is there, 50 times, in two epochs. Goal: nobody has to
/// look twice for what they just bought.
#[tokio::test]
async fn a_purchase_is_listed_right_after_its_201() {
    let app = shop().await;
    for round in 0..50 {
        if round == 25 {
            let worker = app.connections().worker();
            close(&worker, app.cell_of(1)).await.unwrap();
            reopen(&worker, app.cell_of(1), &firstcome::worker::Silent).await.unwrap();
            assert!(app.engine().wait_until_open(Duration::from_secs(60)).await);
        }
        let order = buy(&app, 1, 1).await;
        // One list each time: the second would find what the first has waited for.
        let path =
            if round % 2 == 0 { "/users/1/orders?limit=1" } else { "/users/1/balance/history?limit=1" };
        let began = Instant::now();
        let mut newest = app.get(path).await;
        // A slow machine fails no test: a MySQL that takes longer than a list waits is an excuse.
        if newest.body[0]["orderId"] != order["orderId"] && began.elapsed() >= LIST_WAITS {
            app.drain_events().await;
            newest = app.get(path).await;
        }
        assert_eq!(newest.body[0]["orderId"], order["orderId"], "round {round}, {path}");
    }
    app.finish().await;
}

/// Somebody reads page after page while more is bought and charged. Goal: each entry that was there at the
/// beginning comes exactly once, and the first page does not move the later ones.
#[tokio::test]
async fn pages_give_each_entry_exactly_once_while_new_ones_arrive() {
    let app = shop().await;
    let mut orders = Vec::new();
    for _ in 0..7 {
        orders.insert(0, buy(&app, 1, 1).await["orderId"].clone());
    }
    for (path, expected) in [("/users/1/orders", 7), ("/users/1/balance/history", 8 + 4)] {
        app.drain_events().await;
        let (mut entries, mut pages, mut next) = (Vec::new(), 0, Some(format!("{path}?limit=2")));
        while let Some(path) = next {
            let page = app.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            entries.extend_from_slice(page.entries());
            (pages, next) = (pages + 1, page.next());
            assert_eq!(page.entries().len(), if next.is_some() { 2 } else { expected - 2 * (pages - 1) });
            buy(&app, 1, 1).await;
        }
        let numbers: Vec<u64> = entries
            .iter()
            .map(|it| it.get("seq").unwrap_or(&it["orderId"]).as_u64().expect("a number"))
            .collect();
        assert_eq!(numbers.len(), expected, "{path}: {entries:?}");
        assert!(numbers.is_sorted_by(|newer, older| newer > older), "{path}: {numbers:?}");
        let told: Vec<Value> = entries.iter().filter_map(|it| it.get("orderId").cloned()).collect();
        assert!(told.ends_with(&orders), "{path}: {told:?}");
    }
    app.finish().await;
}

/// MySQL is given orders of all statuses by hand, since this release only makes paid ones. Goal: the filter
/// holds on every page.
#[tokio::test]
async fn a_status_filters_all_pages() {
    const STATUSES: [&str; 5] = ["pending", "paid", "cancelled", "expired", "refunded"];
    let app = shop().await;
    let mut orders = Vec::new();
    for _ in 0..15 {
        orders.push(buy(&app, 1, 1).await["orderId"].as_u64().unwrap());
    }
    app.drain_events().await;
    let mysql = &app.connections().mysql;
    for (order, status) in orders.iter().zip(STATUSES.iter().cycle()) {
        let change = sqlx::query("UPDATE orders SET status = ? WHERE id = ?").bind(status).bind(order);
        change.execute(mysql).await.unwrap();
    }

    for (index, status) in STATUSES.iter().enumerate() {
        let first = app.get(&format!("/users/1/orders?status={status}&limit=2")).await;
        let last = app.get(&first.next().expect("a third one")).await;
        assert_eq!(last.next(), None);
        let found: Vec<u64> = [ids(&first), ids(&last)].concat();
        assert_eq!(found, [orders[10 + index], orders[5 + index], orders[index]], "{status}");
        let all = first.entries().iter().chain(last.entries());
        assert!(all.into_iter().all(|it| it["status"] == *status && it["items"][0]["productId"] == 1));
    }
    assert_eq!(app.get("/users/1/orders").await.entries().len(), 15);

    sqlx::query("UPDATE orders SET status = 'paid'").execute(mysql).await.unwrap();
    assert_eq!(app.get("/users/1/orders?status=paid").await.entries().len(), 15);
    assert_eq!(app.get("/users/1/orders?status=refunded").await.body, json!([]));
    app.finish().await;
}

/// The position is locked, so that nothing is persisted. Goal: a list waits for a while, and then says what
/// MySQL has.
#[tokio::test]
async fn a_mysql_that_is_behind_does_not_stop_the_lists() {
    let app = shop().await;
    let old = buy(&app, 1, 1).await["orderId"].as_u64().unwrap();
    app.drain_events().await;
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    let new = buy(&app, 1, 1).await["orderId"].as_u64().unwrap();

    let began = Instant::now();
    let behind = app.get("/users/1/orders").await;
    assert_eq!(ids(&behind), [old]);
    assert!(began.elapsed() >= LIST_WAITS, "it did not wait: {:?}", began.elapsed());
    let behind = app.get("/users/1/balance/history").await;
    assert_eq!(behind.body[0]["orderId"], old, "{behind:?}");

    holder.rollback().await.unwrap();
    app.drain_events().await;
    assert_eq!(ids(&app.get("/users/1/orders").await), [new, old]);
    app.finish().await;
}

/// The tables are locked, so that no read ends. Goal: callers are told to come back.
#[tokio::test]
async fn a_mysql_that_does_not_answer_is_told() {
    let app = shop().await;
    app.drain_events().await;
    let mut holder = app.connections().mysql.acquire().await.unwrap();
    sqlx::raw_sql("LOCK TABLES ledger WRITE, orders WRITE").execute(&mut *holder).await.unwrap();
    for path in ["/users/1/orders", "/users/1/balance/history"] {
        let answer = app.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "dependency_down"), "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        assert_problem(&answer, path);
    }
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut *holder).await.unwrap();
    drop(holder);
    assert_eq!(app.get("/users/1/balance/history").await.entries().len(), 1);
    app.finish().await;
}

/// Goal: a wrong parameter is named, an unknown user is not found, in the caller's language.
#[tokio::test]
async fn lists_refuse_in_the_callers_language() {
    const INVALID: (u16, &str, &str, &str) =
        (400, "invalid_request", "The request is invalid", "요청이 올바르지 않습니다");
    const UNKNOWN: (u16, &str, &str, &str) =
        (404, "user_not_found", "User not found", "사용자를 찾을 수 없습니다");
    let app = shop().await;
    app.product_with(2, 100, 1).await;
    for product in [1, 2] {
        buy(&app, 1, product).await;
    }
    app.drain_events().await;
    let cursor_of = async |list: &str| {
        let next = app.get(&format!("{list}?limit=1")).await.next().expect("a second page");
        next.rsplit_once("cursor=").unwrap().1.to_owned()
    };
    let (orders, history) = ("/users/1/orders", "/users/1/balance/history");
    let cursors = [cursor_of(orders).await, cursor_of(history).await, cursor_of("/products").await];

    let mut refused = Vec::new();
    for (index, list) in [orders, history].into_iter().enumerate() {
        for limit in ["", "0", "201", "abc", "-1", "1.0"] {
            refused.push((format!("{list}?limit={limit}"), INVALID, "limit"));
        }
        for cursor in ["", "1", "o", "h0000000000000g", "%00", "p00000000000001"] {
            refused.push((format!("{list}?cursor={cursor}"), INVALID, "cursor"));
        }
        for (_, other) in cursors.iter().enumerate().filter(|it| it.0 != index) {
            refused.push((format!("{list}?cursor={other}"), INVALID, "cursor"));
        }
        refused.push((format!("{list}?colour=red"), INVALID, "colour"));
        refused.push((format!("{list}?limit=1&limit=1"), INVALID, "limit"));
        for user in ["0", "abc", "9007199254740992"] {
            refused.push((list.replace('1', user), INVALID, "userId"));
        }
        refused.push((list.replace('1', "99"), UNKNOWN, ""));
        // Syntax comes first.
        refused.push((list.replace('1', "99") + "?limit=0", INVALID, "limit"));
    }
    for status in ["", "Paid", "done", "paid%20", "paid,pending"] {
        refused.push((format!("{orders}?status={status}"), INVALID, "status"));
    }
    refused.push((format!("{orders}?status=paid&status=paid"), INVALID, "status"));
    refused.push((format!("{history}?status=paid"), INVALID, "status"));

    for (path, (status, code, english, korean), parameter) in refused {
        for (language, detail) in [("en", english), ("ko", korean)] {
            let answer = app.send(Method::GET, &path, &[("accept-language", language)], "").await;
            assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path}: {answer:?}");
            assert_eq!(answer.body["detail"], detail, "{path}");
            assert_eq!(
                answer.body["errors"][0]["parameter"].as_str().unwrap_or_default(),
                parameter,
                "{path}"
            );
            assert_problem(&answer, &path);
        }
    }
    // A user who was only just made is found, whether MySQL knows them or not.
    app.user_with(99, 0).await;
    assert_eq!(app.get("/users/99/orders").await.body, json!([]));
    app.finish().await;
}
