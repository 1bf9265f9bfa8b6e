//! Nobody can tell where an order is served from: from Redis, or from MySQL once its events were trimmed.

use serde_json::{Value, json};

use super::deadlines::advance;
use super::endings::{cancel, cancelled, refund, refunded};
use super::held_coupons::{release, released, valid_for};
use super::payments::{paid, pay, pay_with};
use super::pending::{later, later_with, placed};
use super::{Request, Table, changed, issue, order, order_with, set_campaign};
use crate::cell_dump::longest_log;
use crate::test_app::{TestApp, eventually};
use crate::test_clock::TestClock;

/// Starts an engine that keeps nothing in Redis which MySQL has, and waits until it is gone.
pub async fn leave_redis(app: &mut TestApp) {
    app.drain_events().await;
    app.stop_engine().await;
    app.settings.keep_events = 1;
    app.start_engine().await;
    forget_orders(app).await;
}

/// Waits until Redis has no hash but those of pending orders, and the log one event of something else: nothing is
/// trimmed any more until the next event.
pub async fn forget_orders(app: &TestApp) {
    set_campaign(app, 999, json!({})).await;
    app.drain_events().await;
    eventually!(longest_log(&app.redis.url()).await == 1);
    let held = app.redis.dump().await.into_iter().filter(|(key, _)| key.contains(":order:"));
    for (key, (_, fields, _)) in held {
        assert!(fields.contains(&"status=pending".to_owned()), "{key} {fields:?}");
    }
}

/// Waits until an engine that keeps nothing has trimmed what it has just appended.
pub async fn settle(app: &TestApp) {
    if app.settings.keep_events == 1 {
        app.drain_events().await;
        eventually!(longest_log(&app.redis.url()).await == 1);
    }
}

/// An order that will be served from two places.
struct Case {
    story: &'static str,
    /// As it is shown.
    shown: Value,
    /// What a payment of it answers, where it is paid.
    payment: Option<Value>,
}

/// Orders of every status, each with and without a coupon. The clock is moved so that some expire.
async fn orders_of_every_status(app: &TestApp, clock: &TestClock) -> Vec<Case> {
    app.user_with(1, 100_000).await;
    app.product_with(1, 1_000, 100).await;
    app.product_with(2, 0, 100).await;
    for coupon in 1..=8 {
        set_campaign(app, coupon, json!({})).await;
        issue(app, 1, coupon).await;
    }
    let items = &[(1, 1), (2, 2)];
    let mut cases = Vec::new();
    let mut add = |story, answer: &Value| {
        let is_paid = answer["status"] == "paid";
        let shown = changed(answer.clone(), json!({"balance": null}));
        cases.push(Case { story, shown, payment: is_paid.then(|| answer.clone()) });
    };
    let done = async |request: Request| -> Value {
        let answer = request.accepting(app, None).await;
        assert_eq!(answer.status, 200, "{request}: {answer:?}");
        answer.body
    };
    let expired = [placed(app, later(1, items)).await, placed(app, later_with(1, items, 1)).await];
    advance(app, clock, 10).await;
    for order in expired {
        let path = format!("/orders/{}", order["orderId"]);
        eventually!(app.get(&path).await.body["status"] == "expired");
        add("expired", &changed(order, json!({"status": "expired"})));
    }
    add("paid at once", &placed(app, order(1, items)).await);
    add("paid at once with a coupon", &placed(app, order_with(1, items, 2)).await);
    add("paid at once, nothing to pay", &placed(app, order(1, &[(2, 1)])).await);
    for (story, request) in [
        ("paid later", later(1, items)),
        ("paid later with what it held", later_with(1, items, 3)),
        ("paid later, nothing to pay", later(1, &[(2, 1)])),
    ] {
        add(story, &done(pay(&placed(app, request).await)).await);
    }
    let bare = placed(app, later(1, items)).await;
    add("paid later with a coupon", &done(pay_with(&bare, 4)).await);
    let held = placed(app, later_with(1, items, 5)).await;
    add("paid later with another coupon", &done(pay_with(&held, 6)).await);
    for (story, request) in
        [("cancelled", later(1, items)), ("cancelled with a coupon", later_with(1, items, 5))]
    {
        add(story, &done(cancel(&placed(app, request).await)).await);
    }
    for (story, request) in
        [("refunded, paid at once", order(1, items)), ("refunded with a coupon", order_with(1, items, 5))]
    {
        add(story, &done(refund(&placed(app, request).await)).await);
    }
    for (story, request) in
        [("refunded, paid later", later(1, items)), ("refunded, held a coupon", later_with(1, items, 5))]
    {
        add(story, &done(refund(&done(pay(&placed(app, request).await)).await)).await);
    }
    add("pending", &placed(app, later(1, items)).await);
    add("pending with a coupon", &placed(app, later_with(1, items, 7)).await);
    let bare = placed(app, later_with(1, items, 8)).await;
    assert_eq!(done(release(&bare, 8)).await, released(&bare, 8));
    add("pending, let go of its coupon", &changed(bare, json!({"couponId": null, "discount": 0})));
    cases
}

/// What an order is shown as and what each call answers for it, but for what would change it.
async fn asks(table: &mut Table, Case { story, shown, payment }: &Case) {
    table.gives(story, Request::get(format!("/orders/{}", shown["orderId"])), 200, shown.clone()).await;
    let status = shown["status"].as_str().unwrap();
    let new_key = format!("new {}", table.cases);
    for request in [pay(shown), pay_with(shown, 1), pay_with(shown, 99), pay(shown).under(&new_key)] {
        match (payment, status) {
            (Some(first), _) => _ = table.gives(story, request, 200, first.clone()).await,
            (None, "pending") => {}
            (None, _) => table.refuses(story, request, "order_not_payable").await,
        }
    }
    // A payment under a new key is noted in the log.
    settle(&table.app).await;
    if status != "pending" {
        table.refuses(story, cancel(shown), "order_not_cancellable").await;
        table.refuses(story, release(shown, 1), "order_not_payable").await;
        table.gives(story, valid_for(shown), 200, json!([])).await;
    }
    if status != "paid" {
        table.refuses(story, refund(shown), "order_not_refundable").await;
    }
}

/// Asks for each order, and for the lists: each order as it is shown, newest first.
async fn asks_everything(table: &mut Table, cases: &[Case]) {
    for case in cases {
        asks(table, case).await;
    }
    let all: Vec<&Value> = cases.iter().map(|it| &it.shown).collect();
    for status in ["", "pending", "paid", "cancelled", "expired", "refunded"] {
        let mut listed: Vec<&Value> =
            all.iter().copied().filter(|it| status.is_empty() || it["status"] == status).collect();
        listed.sort_by_key(|it| std::cmp::Reverse(it["orderId"].as_u64()));
        assert!(listed.len() >= 2, "{status}");
        let filter = if status.is_empty() { String::new() } else { format!("&status={status}") };
        let path = format!("/users/1/orders?limit=200{filter}");
        table.gives("each as it is shown", Request::get(path), 200, json!(listed)).await;
        let listed: Vec<Value> = listed.into_iter().cloned().collect();
        assert_eq!(table.pages("/users/1/orders", &filter, 2).await, listed);
    }
}

/// Goal: an order answers the same to every call before and after its events were trimmed, also once it has changed
/// again.
#[tokio::test]
async fn nobody_can_tell_where_an_order_is_served_from() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    let mut table = Table::on(app);
    let cases = orders_of_every_status(&table.app, &clock).await;
    table.app.drain_events().await;
    asks_everything(&mut table, &cases).await;
    leave_redis(&mut table.app).await;
    asks_everything(&mut table, &cases).await;

    // From here on everything is trimmed at once: what is paid is refunded, and what is pending is paid or cancelled.
    let mut changed_cases = Vec::new();
    let mut balance = table.app.balance(1).await as u64;
    for (index, Case { story, shown, .. }) in cases.into_iter().enumerate() {
        let status = shown["status"].as_str().unwrap().to_owned();
        let told = match (status.as_str(), index % 2) {
            ("paid", _) => {
                balance += shown["paid"].as_u64().unwrap();
                let request = refund(&shown).under(&format!("refund {index}"));
                let body = refunded(&shown, balance);
                let first = table.gives(story, request.clone(), 200, body).await.body;
                forget_orders(&table.app).await;
                let replayed = [("idempotency-replayed", "true")];
                table.gives_with(story, request, 200, &replayed, first.clone()).await;
                first
            }
            ("pending", 0) => table.gives(story, cancel(&shown), 200, cancelled(&shown)).await.body,
            ("pending", _) => {
                balance -= shown["total"].as_u64().unwrap() - shown["discount"].as_u64().unwrap();
                table.gives(story, pay(&shown), 200, paid(&shown, balance)).await.body
            }
            _ => shown,
        };
        let is_paid = told["status"] == "paid";
        let shown = changed(told.clone(), json!({"balance": null}));
        changed_cases.push(Case { story, shown, payment: is_paid.then_some(told) });
    }
    forget_orders(&table.app).await;
    for case in &changed_cases {
        asks(&mut table, case).await;
    }
    table.finish().await;
}
