//! Orders that come to an end because somebody says so: cancelled while pending, refunded once paid.

use firstcome::app::Role;
use reqwest::Method;
use serde_json::{Value, json};

use super::anywhere::{forget_orders, leave_redis};
use super::payments::{no_orders, paid, pay, pays};
use super::pending::{later, later_with, placed};
use super::{
    Call, FUTURE, PAST, Request, Table, changed, issue, order, order_with, set_campaign, set_product,
};
use crate::test_app::{Answer, TestApp};

pub const CALLS: &[Call] = &[
    Call::new("POST /orders/{orderId}/cancel", "200 order_not_found order_not_cancellable").taking("{}"),
    Call::new(
        "POST /orders/{orderId}/refund",
        "200 order_not_found order_not_refundable not_yet_persisted dependency_down",
    )
    .taking("{}"),
];

pub fn cancel(order: &Value) -> Request {
    Request::new(Method::POST, format!("/orders/{}/cancel", order["orderId"]))
}

pub fn refund(order: &Value) -> Request {
    Request::new(Method::POST, format!("/orders/{}/refund", order["orderId"]))
}

/// A pending order once it is cancelled.
pub fn cancelled(order: &Value) -> Value {
    changed(order.clone(), json!({"status": "cancelled", "cancelledAt": "~time"}))
}

/// A paid order once it is refunded.
pub fn refunded(order: &Value, balance: u64) -> Value {
    changed(order.clone(), json!({"status": "refunded", "refundedAt": "~time", "balance": balance}))
}

/// Ends an order. Goal: the answer, and the same order when it is looked up.
async fn ends(table: &mut Table, story: &str, request: Request, order: Value) -> Answer {
    let answer = table.gives(story, request, 200, order).await;
    let looked_up = changed(answer.body.clone(), json!({"balance": null}));
    table.gives(story, Request::get(format!("/orders/{}", answer.body["orderId"])), 200, looked_up).await;
    answer
}

/// Goal: cancelling and refunding answer as listed.
#[tokio::test]
async fn endings_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    table.app.user_with(1, 10_000).await;
    table.app.product_with(1, 1_000, 100).await;
    table.app.product_with(2, 0, 10).await;
    for coupon in [1, 2] {
        set_campaign(&table.app, coupon, json!({})).await;
        issue(&table.app, 1, coupon).await;
    }
    cancellations(&mut table).await;
    refunds(&mut table).await;
    malformed(&mut table).await;
    refunds_without_mysql(&mut table).await;
    table.finish_complete().await;
}

async fn cancellations(table: &mut Table) {
    let plain = placed(&table.app, later(1, &[(1, 2)])).await;
    let replayed = [("idempotency-replayed", "true")];
    let request = cancel(&plain).under("k");
    let first = ends(table, "two mugs", request.clone(), cancelled(&plain)).await.body;
    table.gives_with("once more", request.clone(), 200, &replayed, first.clone()).await;
    table.gives_with("with an empty object", request.saying(" {} "), 200, &replayed, first).await;
    let holding = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    ends(table, "what held a coupon", cancel(&holding).saying("{}"), cancelled(&holding)).await;
    assert_eq!((table.app.balance(1).await, table.app.stock(1).await), (10_000, 100));

    let [bought, given_back] =
        [placed(&table.app, order(1, &[(1, 1)])).await, placed(&table.app, later(1, &[(1, 1)])).await];
    assert_eq!(pay(&given_back).accepting(&table.app, None).await.status, 200);
    table.refuses("paid later", cancel(&given_back), "order_not_cancellable").await;
    assert_eq!(refund(&given_back).accepting(&table.app, None).await.status, 200);
    table.refuses("a key is another's", cancel(&bought).under("k"), "idempotency_key_reused").await;
    for (story, order) in
        [("repeated", &plain), ("repeated", &holding), ("paid at once", &bought), ("refunded", &given_back)]
    {
        table.refuses(story, cancel(order), "order_not_cancellable").await;
        table.refuses(story, cancel(order).under("another key"), "order_not_cancellable").await;
    }
    assert_eq!(refund(&bought).accepting(&table.app, None).await.status, 200);
}

async fn refunds(table: &mut Table) {
    let pending = placed(&table.app, later(1, &[(1, 1)])).await;
    table.refuses("not paid", refund(&pending), "order_not_refundable").await;
    let replayed = [("idempotency-replayed", "true")];
    let told = pays(table, "paid later", pay(&pending), paid(&pending, 9_000)).await.body;
    let request = refund(&pending).under("r");
    let first = ends(table, "paid later", request.clone(), refunded(&told, 10_000)).await.body;
    table.gives_with("once more", request.clone(), 200, &replayed, first.clone()).await;
    table.gives_with("with an empty object", request.saying("{}"), 200, &replayed, first).await;
    let at_once = placed(&table.app, order_with(1, &[(1, 3)], 2)).await;
    table.refuses("a key is another's", refund(&at_once).under("r"), "idempotency_key_reused").await;
    ends(table, "paid at once, with a coupon", refund(&at_once).saying("{}"), refunded(&at_once, 10_000))
        .await;
    let free = placed(&table.app, order(1, &[(2, 1)])).await;
    ends(table, "nothing was paid", refund(&free), refunded(&free, 10_000)).await;
    assert_eq!((table.app.balance(1).await, table.app.stock(1).await), (10_000, 100));
    let given_up = placed(&table.app, later(1, &[(1, 1)])).await;
    assert_eq!(cancel(&given_up).accepting(&table.app, None).await.status, 200);
    for (story, order) in [("repeated", &pending), ("repeated", &at_once), ("cancelled", &given_up)] {
        table.refuses(story, refund(order), "order_not_refundable").await;
        table.refuses(story, refund(order).under("another key"), "order_not_refundable").await;
    }
}

async fn malformed(table: &mut Table) {
    // The event before it is to be none that places an order.
    table.app.user_with(3, 0).await;
    let pending = placed(&table.app, later(1, &[(1, 1)])).await;
    for nobodys in no_orders(&pending) {
        table.refuses("nobody placed it", cancel(&nobodys), "order_not_found").await;
        table.refuses("nobody placed it", refund(&nobodys), "order_not_found").await;
    }
    for end in [cancel, refund] {
        for field in ["userId", "amount", "orderId"] {
            let request = end(&pending).saying(json!({field: 1}).to_string());
            table.invalid("there is nothing to say", request, &format!("#/{field}")).await;
        }
        let before = end(&json!({"orderId": 1_048_576})).saying("[]");
        table.invalid("before the order is looked for", before, "#").await;
        table.invalid("before its key is looked at", end(&pending).saying("[]").under("k"), "#").await;
    }
    assert_eq!(cancel(&pending).accepting(&table.app, None).await.status, 200);
}

/// An order that Redis does not have any more is refunded with what MySQL knows, or not now.
async fn refunds_without_mysql(table: &mut Table) {
    let bought = placed(&table.app, order(1, &[(1, 1)])).await;
    leave_redis(&mut table.app).await;
    // Nobody persists from here on.
    table.app.stop_engine().await;
    table.app.start_engine_as(Role::Api).await;
    let mysql = table.app.connections().mysql.clone();
    let mut holder = mysql.acquire().await.unwrap();
    sqlx::raw_sql("LOCK TABLES orders WRITE").execute(&mut *holder).await.unwrap();
    table.refuses("MySQL does not answer", refund(&bought), "dependency_down").await;
    sqlx::raw_sql("UNLOCK TABLES").execute(&mut *holder).await.unwrap();
    // As after a failover to a replica that is behind.
    sqlx::raw_sql("UPDATE cells SET persisted_seq = persisted_seq - 10").execute(&mut *holder).await.unwrap();
    table.refuses("MySQL is behind", refund(&bought), "not_yet_persisted").await;
    sqlx::raw_sql("UPDATE cells SET persisted_seq = persisted_seq + 10").execute(&mut *holder).await.unwrap();
    drop(holder);
    ends(table, "MySQL has it", refund(&bought), refunded(&bought, 10_000)).await;
    table.app.stop_engine().await;
    table.app.start_engine().await;
    forget_orders(&table.app).await;
}

/// Goal: a refund gives the coupon back as it now is, passes the wallet's limit, and is told wherever coupons, orders
/// and changes of the wallet are listed.
#[tokio::test]
async fn a_refund_gives_back_what_the_order_took() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 1_000).await;
    table.app.product_with(1, 1_000, 10).await;
    for coupon in [1, 2, 3] {
        set_campaign(&table.app, coupon, json!({})).await;
        issue(&table.app, 1, coupon).await;
    }
    let at_once = placed(&table.app, order_with(1, &[(1, 1)], 1)).await;
    let held = placed(&table.app, later_with(1, &[(1, 1)], 2)).await;
    let dropped = placed(&table.app, later_with(1, &[(1, 1)], 3)).await;
    assert_eq!(table.app.post("/users/1/balance", json!({"amount": 400})).await.status, 201);
    let paid_later = pays(&mut table, "with what it holds", pay(&held), paid(&held, 0)).await.body;
    // The time of two of them ends; while they are used or held, that does not matter.
    set_campaign(&table.app, 2, json!({"expiresAt": PAST})).await;
    set_campaign(&table.app, 3, json!({"expiresAt": PAST})).await;
    let own = |coupon: u64, status: &str, order: Option<&Value>, expires_at: &str| {
        let discount = json!({"kind": "fixed", "value": 300});
        let own = json!({"couponId": coupon, "name": "Opening", "discount": discount, "status": status,
            "orderId": order.map(|it| &it["orderId"]), "issuedAt": "~time", "expiresAt": expires_at});
        changed(own, if order.is_none() { json!({"orderId": null}) } else { json!({}) })
    };
    let list = |query: &str| Request::get(format!("/users/1/coupons{query}"));
    table.app.drain_events().await;
    let all = json!([
        own(3, "held", Some(&dropped), PAST),
        own(2, "used", Some(&held), PAST),
        own(1, "used", Some(&at_once), FUTURE)
    ]);
    table.gives("one held, two used", list(""), 200, all.clone()).await;
    table.gives("only the held one", list("?status=held"), 200, json!([all[0]])).await;
    table.gives("both used ones", list("?status=used"), 200, json!([all[1], all[2]])).await;

    ends(&mut table, "it keeps its coupon's id", refund(&at_once), refunded(&at_once, 700)).await;
    ends(&mut table, "it keeps its coupon's id", refund(&paid_later), refunded(&paid_later, 1_400)).await;
    ends(&mut table, "it keeps its coupon's id", cancel(&dropped), cancelled(&dropped)).await;
    table.app.drain_events().await;
    let [three, two, one] =
        [own(3, "expired", None, PAST), own(2, "expired", None, PAST), own(1, "issued", None, FUTURE)];
    table.gives("none has an order", list(""), 200, json!([three, two, one])).await;
    table.gives("over by now", list("?status=expired"), 200, json!([three, two])).await;
    table.gives("good again", list("?status=issued"), 200, json!([one])).await;
    for status in ["held", "used"] {
        table.gives("none", list(&format!("?status={status}")), 200, json!([])).await;
    }
    let reason = json!({"reason": "expired"});
    table.refuses_with("over", order_with(1, &[(1, 1)], 2), "invalid_coupon", reason).await;
    let again = placed(&table.app, order_with(1, &[(1, 1)], 1)).await;
    assert_eq!(again["discount"], 300, "{again}");

    // 700 are spent, and the wallet is filled to its limit.
    let mut room = 10_000_000_000 - table.app.balance(1).await;
    while room > 0 {
        let charge = json!({"amount": room.min(1_000_000_000)});
        assert_eq!(table.app.post("/users/1/balance", charge).await.status, 201);
        room -= 1_000_000_000;
    }
    ends(&mut table, "beyond the limit", refund(&again), refunded(&again, 10_000_000_700)).await;
    let one_more = Request::post("/users/1/balance", json!({"amount": 1}));
    table.refuses("no charge passes it", one_more, "balance_limit_exceeded").await;
    table.app.drain_events().await;
    let newest = json!([{"seq": "~id", "kind": "refund", "amount": 700, "balance": 10_000_000_700_u64,
        "orderId": again["orderId"], "at": "~time"}]);
    let history = Request::get("/users/1/balance/history?limit=1");
    table.gives_with("told in the wallet's history", history, 200, &[("link", "*")], newest).await;
    table.finish().await;
}

/// Goal: both sources of the ranking count what is paid and not refunded, and nothing that is pending or cancelled.
#[tokio::test]
async fn a_ranking_counts_what_is_paid_and_not_refunded() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 100_000).await;
    for product in [1, 2] {
        table.app.product_with(product, 100, 100).await;
    }
    let shirt = json!({"name": "Product 3", "options": [
        {"id": 1, "name": "S", "price": 100, "stock": 50}, {"id": 2, "name": "L", "price": 100, "stock": 50}]});
    set_product(&table.app, 3, shirt).await;
    async fn ranks(table: &mut Table, story: &str, ranked: &[(u64, u64, u64)]) {
        table.app.drain_events().await;
        let rows = ranked.iter().zip(1..).map(|((id, stock, sold), rank)| {
            json!({"rank": rank, "id": id, "name": format!("Product {id}"), "price": 100, "stock": stock, "sold": sold})
        });
        let rows: Value = rows.collect();
        for path in ["/products/top", "/products/top?source=orders", "/products/rank"] {
            table.gives(story, Request::get(path), 200, rows.clone()).await;
        }
    }
    let items = json!([{"productId": 3, "optionId": 1, "quantity": 4}, {"productId": 1, "quantity": 1},
        {"productId": 3, "optionId": 2, "quantity": 2}]);
    let shirts = json!({"userId": 1, "items": items, "payment": "later"});
    let shirts = placed(&table.app, Request::post("/orders", shirts)).await;
    let given_up = placed(&table.app, later(1, &[(2, 50)])).await;
    let twos = placed(&table.app, order(1, &[(2, 3)])).await;
    let more_twos = placed(&table.app, order(1, &[(2, 2), (1, 1)])).await;
    ranks(&mut table, "pending orders sold nothing", &[(2, 45, 5), (1, 98, 1)]).await;
    assert_eq!(pay(&shirts).accepting(&table.app, None).await.status, 200);
    ranks(&mut table, "paid", &[(3, 94, 6), (2, 45, 5), (1, 98, 2)]).await;
    assert_eq!(cancel(&given_up).accepting(&table.app, None).await.status, 200);
    assert_eq!(refund(&shirts).accepting(&table.app, None).await.status, 200);
    ranks(&mut table, "one refunded, one cancelled", &[(2, 95, 5), (1, 99, 1)]).await;
    assert_eq!(refund(&twos).accepting(&table.app, None).await.status, 200);
    ranks(&mut table, "a part of its sales", &[(2, 98, 2), (1, 99, 1)]).await;
    assert_eq!(refund(&more_twos).accepting(&table.app, None).await.status, 200);
    ranks(&mut table, "nothing is left", &[]).await;
    table.finish().await;
}
