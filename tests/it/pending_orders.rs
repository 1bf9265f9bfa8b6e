//! Orders that are paid later: the three ways in which shops use them, and what comes back when they are not paid.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::cell_dump::Dump;
use super::test_app::{Answer, TestApp, eventually};

pub fn later(user: u64, product: u64, quantity: u64, coupon: Option<u64>) -> Value {
    let items = json!([{"productId": product, "quantity": quantity}]);
    json!({"userId": user, "items": items, "couponId": coupon, "payment": "later"})
}

pub async fn place(app: &TestApp, body: Value) -> u64 {
    let answer = app.post("/orders", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.body["orderId"].as_u64().unwrap()
}

pub async fn pay(app: &TestApp, order: u64, coupon: Option<u64>) -> Answer {
    app.post("/payments", json!({"orderId": order, "couponId": coupon})).await
}

pub async fn own_coupon(app: &TestApp, user: u64) -> Value {
    let own = app.get(&format!("/users/{user}/coupons")).await;
    own.body[0].clone()
}

/// Order, then pay. Goal: stock and coupon are taken at once, the money at payment, and each reading says so.
#[tokio::test]
async fn an_order_is_placed_and_then_paid() {
    let app = TestApp::start().await;
    app.product_with(1, 100, 10).await;
    app.user_with(1, 150).await;
    app.campaign(7, 5, json!({"discount": {"kind": "fixed", "value": 30}})).await;
    assert_eq!(app.post("/coupons", json!({"userId": 1, "couponId": 7})).await.status, StatusCode::CREATED);

    let placed = app.post_once("/orders", "place", later(1, 1, 2, Some(7))).await;
    assert_eq!(
        (placed.status, &placed.body["status"]),
        (StatusCode::CREATED, &json!("pending")),
        "{placed:?}"
    );
    assert_eq!(
        (&placed.body["total"], &placed.body["discount"], &placed.body["paid"]),
        (&json!(200), &json!(30), &json!(0))
    );
    assert!(placed.body["expiresAt"].is_string() && placed.body.get("balance").is_none(), "{placed:?}");
    let again = app.post_once("/orders", "place", later(1, 1, 2, Some(7))).await;
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&placed.body, Some("true")));
    let id = placed.body["orderId"].as_u64().unwrap();
    assert_eq!((app.stock(1).await, app.balance(1).await), (8, 150));
    let held = own_coupon(&app, 1).await;
    assert_eq!((&held["status"], &held["orderId"]), (&json!("held"), &json!(id)));
    assert_eq!(app.get(&format!("/orders/{id}")).await.body, placed.body);

    assert_eq!(pay(&app, id, None).await.code(), "insufficient_balance");
    assert_eq!(own_coupon(&app, 1).await["status"], "held", "it stays held");
    assert_eq!(app.post("/users/1/balance", json!({"amount": 50})).await.status, StatusCode::CREATED);
    let body = json!({"orderId": id});
    let paid = app.post_once("/payments", "pay", body.clone()).await;
    assert_eq!((paid.status, &paid.body["status"]), (StatusCode::OK, &json!("paid")), "{paid:?}");
    assert_eq!((&paid.body["paid"], &paid.body["balance"]), (&json!(170), &json!(30)));
    let replay = app.post_once("/payments", "pay", body.clone()).await;
    assert_eq!((&replay.body, replay.header("idempotency-replayed")), (&paid.body, Some("true")));
    let second = app.post("/payments", body).await;
    assert_eq!(
        (second.status, &second.body, second.header("idempotency-replayed")),
        (StatusCode::OK, &paid.body, None)
    );
    assert_eq!(app.balance(1).await, 30);
    assert_eq!(own_coupon(&app, 1).await["status"], "used");

    app.drain().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM payments").await, 1);
    let messages = app.take_messages().await;
    assert_eq!((messages.len(), &messages[0]["data"]["status"]), (1, &json!("paid")));
    let mut shown = paid.body.clone();
    shown.as_object_mut().unwrap().remove("balance");
    assert_eq!(messages[0]["data"], shown);
    assert_eq!(app.get("/users/1/orders").await.body, json!([shown]));
    app.finish().await;
}

/// Pending first, with compensation. Goal: a payment that fails leaves the order payable and the coupon free, until the
/// deadline gives stock, limit and coupon back.
#[tokio::test]
async fn what_is_not_paid_comes_back_at_the_deadline() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    let limited = json!({"name": "limited", "price": 100, "stock": 3, "limitPerUser": 3});
    assert_eq!(app.put("/admin/products/1", limited).await.status, StatusCode::CREATED);
    app.user_with(1, 50).await;
    for (coupon, value) in [(7, 40), (8, 60)] {
        app.campaign(coupon, 5, json!({"discount": {"kind": "fixed", "value": value}})).await;
        let claimed = app.post("/coupons", json!({"userId": 1, "couponId": coupon})).await;
        assert_eq!(claimed.status, StatusCode::CREATED);
    }
    assert_eq!(app.get("/products/1/stock-check?quantity=3").await.body["available"], true);
    let id = place(&app, later(1, 1, 3, None)).await;
    assert_eq!(app.get("/products/1/stock-check").await.body["available"], false);
    let valid = app.get(&format!("/coupons/valid?orderId={id}")).await;
    let best = json!({"couponId": 8, "name": "Campaign 8", "discountAmount": 60, "payable": 240});
    let other = json!({"couponId": 7, "name": "Campaign 7", "discountAmount": 40, "payable": 260});
    assert_eq!(valid.body, json!([best, other]));

    // A coupon named only at the payment is free again when that fails; so is one that the order lets go of.
    assert_eq!(pay(&app, id, Some(8)).await.code(), "insufficient_balance");
    let statuses = async |query: &str| -> Vec<String> {
        let own = app.get(&format!("/users/1/coupons{query}")).await;
        own.body.as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses("").await, ["issued", "issued"]);
    app.product_with(2, 10, 5).await;
    let holder = place(&app, later(1, 2, 1, Some(8))).await;
    assert_eq!(statuses("?status=held").await, ["held"]);
    assert_eq!(app.post("/orders", later(1, 2, 1, Some(8))).await.body["reason"], "held");
    let release = async |coupon: u64, order: u64| {
        app.post_once(
            &format!("/coupons/{coupon}/cancel"),
            &format!("release {coupon}"),
            json!({"orderId": order}),
        )
        .await
    };
    assert_eq!(release(7, holder).await.code(), "coupon_not_found");
    let released = release(8, holder).await;
    assert_eq!(released.body, json!({"couponId": 8, "orderId": holder, "status": "issued"}));
    let replay = release(8, holder).await;
    assert_eq!((&replay.body, replay.header("idempotency-replayed")), (&released.body, Some("true")));
    assert_eq!(statuses("").await, ["issued", "issued"]);
    let order = app.get(&format!("/orders/{holder}")).await;
    assert_eq!((&order.body["discount"], order.body.get("couponId")), (&json!(0), None));
    assert_eq!(pay(&app, holder, Some(7)).await.body["paid"], 0, "a discount never exceeds the total");
    assert_eq!(release(7, holder).await.code(), "order_not_payable");
    assert_eq!(release(7, 1024).await.code(), "order_not_found");

    // It holds a coupon from now on, and its time runs out.
    let cancelled = place(&app, later(1, 2, 1, Some(8))).await;
    let cancel = async |order: u64| app.post(&format!("/orders/{order}/cancel"), json!({})).await;
    let answer = cancel(cancelled).await;
    assert_eq!(
        (&answer.body["status"], answer.body["cancelledAt"].is_string()),
        (&json!("cancelled"), true),
        "{answer:?}"
    );
    assert_eq!(app.stock(2).await, 4);
    assert_eq!(cancel(cancelled).await.code(), "order_not_cancellable");
    assert_eq!(pay(&app, cancelled, None).await.code(), "order_not_payable");
    let last = place(&app, later(1, 2, 4, Some(8))).await;
    clock.advance_seconds(10 * 60 - 60);
    assert_eq!(app.get(&format!("/orders/{id}")).await.body["status"], "pending");
    clock.advance_seconds(60);
    assert_eq!(pay(&app, last, None).await.code(), "order_not_payable");
    eventually!(app.get(&format!("/orders/{last}")).await.body["status"] == "expired");
    eventually!(app.get(&format!("/orders/{id}")).await.body["status"] == "expired");
    assert_eq!((app.stock(1).await, app.stock(2).await, app.balance(1).await), (3, 4, 50));
    assert_eq!(statuses("?status=issued").await, ["issued"]);
    assert_eq!(cancel(id).await.code(), "order_not_cancellable");
    assert_eq!(app.get(&format!("/coupons/valid?orderId={id}")).await.body, json!([]));
    assert_eq!(app.get("/coupons/valid?orderId=1024").await.code(), "order_not_found");
    assert_eq!(
        app.post("/orders", later(1, 1, 3, None)).await.status,
        StatusCode::CREATED,
        "its limit came back"
    );
    assert_eq!(app.expire().await, 0);
    app.finish().await;
}

/// Goal: a refund gives back money, stock, limit and coupon, corrects the ranking, and is told after the payment; for an
/// order in the log, one that only MySQL has, and one that was paid later.
#[tokio::test]
async fn a_refund_gives_everything_back() {
    let app = TestApp::start_with(|settings| settings.keep_events = 1).await;
    let limited = json!({"name": "limited", "price": 100, "stock": 9, "limitPerUser": 3});
    assert_eq!(app.put("/admin/products/1", limited).await.status, StatusCode::CREATED);
    app.user_with(1, 1_000).await;
    let top = async || app.get("/products/top").await.body;
    for trimmed in [false, true] {
        for at_once in [true, false] {
            let coupon = 10 + u64::from(trimmed) * 2 + u64::from(at_once);
            app.campaign(coupon, 1, json!({})).await;
            let claimed = app.post("/coupons", json!({"userId": 1, "couponId": coupon})).await;
            assert_eq!(claimed.status, StatusCode::CREATED);
            let mut body = later(1, 1, 3, Some(coupon));
            if at_once {
                body["payment"] = json!("now");
            }
            let id = place(&app, body).await;
            if !at_once {
                assert_eq!(pay(&app, id, None).await.status, StatusCode::OK);
            }
            assert_eq!((app.stock(1).await, app.balance(1).await), (6, 710));
            assert_eq!(top().await[0]["sold"], 3);
            if trimmed {
                app.drain().await;
                // Another event behind it, so that its own ones go.
                app.campaign(99, 1, json!({})).await;
                app.drain().await;
            }
            let before = app.get(&format!("/orders/{id}")).await;
            let refund = async || {
                app.post_once(&format!("/orders/{id}/refund"), &format!("refund {id}"), json!({})).await
            };
            let refunded = refund().await;
            assert_eq!(
                (refunded.status, &refunded.body["status"]),
                (StatusCode::OK, &json!("refunded")),
                "{refunded:?}"
            );
            assert_eq!((&refunded.body["balance"], &refunded.body["paid"]), (&json!(1_000), &json!(290)));
            assert_eq!(refunded.body["paidAt"], before.body["paidAt"]);
            assert_eq!((app.stock(1).await, app.balance(1).await), (9, 1_000));
            assert_eq!(top().await, json!([]));
            assert_eq!(own_coupon(&app, 1).await["status"], "issued");
            if trimmed {
                app.drain().await;
                app.campaign(99, 1, json!({})).await;
                app.drain().await;
            }
            let replay = refund().await;
            assert_eq!((&replay.body, replay.header("idempotency-replayed")), (&refunded.body, Some("true")));
            let second = app.post(&format!("/orders/{id}/refund"), json!({})).await;
            assert_eq!(second.code(), "order_not_refundable");
            assert_eq!(pay(&app, id, None).await.code(), "order_not_payable");
            let mut shown = refunded.body.clone();
            shown.as_object_mut().unwrap().remove("balance");
            assert_eq!(app.get(&format!("/orders/{id}")).await.body, shown);
            app.drain().await;
            let told = app.take_messages().await;
            let kinds: Vec<&str> = told.iter().map(|it| it["type"].as_str().unwrap()).collect();
            assert_eq!(kinds, ["com.firstcome.order.paid", "com.firstcome.order.refunded"]);
            assert_eq!(told[1]["data"], shown);
        }
    }
    let none = app.post("/orders/1024/refund", json!({})).await;
    assert_eq!(none.code(), "order_not_found");
    let history = app.get("/users/1/balance/history").await;
    let kinds: Vec<(&str, i64)> = history
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["kind"].as_str().unwrap(), it["amount"].as_i64().unwrap()))
        .collect();
    assert_eq!(kinds[..2], [("refund", 290), ("payment", -290)]);
    app.finish().await;
}

/// Orders whose last event is still in the log leave no trace in a rebuild: MySQL has them.
fn without_settled(dump: Dump) -> Dump {
    let pending = |key: &String, fields: &Vec<String>| {
        !key.contains(":order:") || fields.contains(&"status=pending".to_owned())
    };
    dump.into_iter()
        .filter(|(key, (_, fields, _))| !key.ends_with("}:settled") && pending(key, fields))
        .collect()
}

/// Goal: a rebuilt cell has the pending orders with their deadlines and held coupons; they can be paid, cancelled and
/// refunded as before, and keys are remembered.
#[tokio::test]
async fn pending_orders_survive_a_rebuild() {
    let app = TestApp::start().await;
    let limited = json!({"name": "limited", "price": 100, "limitPerUser": 5,
        "options": [{"id": 1, "name": "S", "price": 10, "stock": 9}, {"id": 2, "name": "L", "price": 20, "stock": 9}]});
    assert_eq!(
        app.put("/admin/products/1", json!({"name": "l", "limitPerUser": 5, "options": limited["options"]}))
            .await
            .status,
        StatusCode::CREATED
    );
    app.user_with(1, 1_000).await;
    app.campaign(7, 5, json!({})).await;
    assert_eq!(app.post("/coupons", json!({"userId": 1, "couponId": 7})).await.status, StatusCode::CREATED);
    let of = |option: u64, coupon: Option<u64>| {
        json!({"userId": 1, "couponId": coupon, "payment": "later",
        "items": [{"productId": 1, "optionId": option, "quantity": 1}, {"productId": 1, "optionId": 3 - option, "quantity": 1}]})
    };
    let first = place(&app, of(1, Some(7))).await;
    let second = place(&app, of(2, None)).await;
    let third = app
        .post_once(
            "/orders",
            "third",
            json!({"userId": 1, "items": [{"productId": 1, "optionId": 1, "quantity": 1}]}),
        )
        .await;
    let cancel =
        async |order: u64| app.post_once(&format!("/orders/{order}/cancel"), "cancel", json!({})).await;
    let cancelled = cancel(second).await;
    app.drain_events().await;
    let before = without_settled(app.redis.dump().await);
    app.redis.flush_all().await;
    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, before);

    assert_eq!(cancel(second).await.body, cancelled.body, "told again from MySQL's record");
    assert_eq!(
        app.post(&format!("/orders/{second}/cancel"), json!({})).await.code(),
        "order_not_cancellable"
    );
    assert_eq!(cancel(first).await.code(), "idempotency_key_reused");
    let paid = pay(&app, first, None).await;
    assert_eq!((&paid.body["discount"], &paid.body["balance"]), (&json!(10), &json!(970)), "{paid:?}");
    let id = third.body["orderId"].as_u64().unwrap();
    let known = pay(&app, id, None).await;
    assert_eq!((known.status, &known.body["balance"]), (StatusCode::OK, &third.body["balance"]));
    let refund = app.post(&format!("/orders/{id}/refund"), json!({})).await;
    assert_eq!((refund.status, &refund.body["balance"]), (StatusCode::OK, &json!(980)), "{refund:?}");
    app.finish().await;
}
