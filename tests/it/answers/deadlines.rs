//! The time there is to pay: what may happen until then, and what is over afterwards.

use chrono::{SecondsFormat, TimeDelta, Utc};
use firstcome::app::Role;
use serde_json::{Value, json};

use super::endings::{cancel, refund};
use super::held_coupons::{release, valid_for};
use super::payments::{paid, pay, pay_with, pays};
use super::pending::{later, later_with, placed};
use super::{FUTURE, PAST, Request, Table, changed, issue, order, order_with, set_campaign, set_product};
use crate::test_app::{TestApp, eventually};
use crate::test_clock::TestClock;

/// Time to pay in these tests: enough for the slowest machine to be in time.
const MINUTES: i64 = 60;

/// User 1 with 10 000; 10 mugs of 1 000, at most 9 a user; coupons 1, 2 and 3, of which the time of 2 ends in five
/// minutes.
async fn shop() -> (Table, TestClock) {
    let window_ms = MINUTES as u64 * 60_000;
    let (app, clock) = TestApp::start_with_clock(|settings| settings.payment_window_ms = window_ms).await;
    app.user_with(1, 10_000).await;
    set_product(&app, 1, json!({"name": "Mug", "price": 1_000, "stock": 10, "limitPerUser": 9})).await;
    for coupon in [1, 2, 3] {
        let expires_at = if coupon == 2 { soon() } else { FUTURE.to_owned() };
        set_campaign(&app, coupon, json!({"expiresAt": expires_at})).await;
        issue(&app, 1, coupon).await;
    }
    (Table::on(app), clock)
}

/// In five minutes.
fn soon() -> String {
    (Utc::now() + TimeDelta::minutes(5)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Moves the clock on; and the ranking, so that nobody does it while it is looked whether anything changes.
pub async fn advance(app: &TestApp, clock: &TestClock, minutes: i64) {
    clock.advance_seconds(minutes * 60);
    assert_eq!(app.get("/products/top").await.status, 200);
}

fn look_up(order: &Value) -> Request {
    Request::get(format!("/orders/{}", order["orderId"]))
}

/// What is over when the deadline has come.
async fn is_over(table: &mut Table, story: &str, order: &Value) {
    for request in
        [pay(order), pay(order).under("k"), pay_with(order, 1), pay_with(order, 3), pay_with(order, 99)]
    {
        table.refuses(story, request, "order_not_payable").await;
    }
    for coupon in [1, 2, 99] {
        table.refuses(story, release(order, coupon), "order_not_payable").await;
    }
    table.refuses(story, cancel(order), "order_not_cancellable").await;
    table.refuses(story, refund(order), "order_not_refundable").await;
    table.gives(story, valid_for(order), 200, json!([])).await;
}

/// Nobody looks for overdue orders at first. Goal: nothing is paid, cancelled or let go of from the deadline on; once
/// somebody looks, everything comes back.
#[tokio::test]
async fn at_the_deadline_an_order_is_over_before_anybody_sweeps_it() {
    let (mut table, clock) = shop().await;
    let in_time = placed(&table.app, later(1, &[(1, 1)])).await;
    let plain = placed(&table.app, later(1, &[(1, 2)]).under("place")).await;
    let holding = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    let of_soon = placed(&table.app, later_with(1, &[(1, 1)], 2)).await;
    table.app.drain_events().await;
    table.app.stop_engine().await;
    table.app.start_engine_as(Role::Api).await;
    advance(&table.app, &clock, MINUTES / 2).await;
    for order in [&in_time, &plain, &holding, &of_soon] {
        table.gives("until the deadline", look_up(order), 200, order.clone()).await;
    }
    let off = |coupon: u64, payable: u64| json!({"couponId": coupon, "name": "Opening", "discountAmount": 300, "payable": payable});
    table.gives("not the one of soon", valid_for(&plain), 200, json!([off(3, 1_700)])).await;
    table.gives("held before", valid_for(&of_soon), 200, json!([off(2, 700), off(3, 700)])).await;
    let told = pays(&mut table, "in time", pay(&in_time), paid(&in_time, 9_000)).await.body;

    advance(&table.app, &clock, MINUTES / 2).await;
    for order in [&plain, &holding, &of_soon] {
        is_over(&mut table, "not swept", order).await;
        table.gives("not swept", look_up(order), 200, order.clone()).await;
    }
    table.gives("it was paid in time", pay(&in_time), 200, told.clone()).await;
    assert_eq!((table.app.stock(1).await, table.app.balance(1).await), (5, 9_000));

    table.app.stop_engine().await;
    table.app.start_engine().await;
    for order in [&plain, &holding, &of_soon] {
        let path = format!("/orders/{}", order["orderId"]);
        eventually!(table.app.get(&path).await.body["status"] == "expired");
    }
    for order in [&plain, &holding, &of_soon] {
        let expired = changed(order.clone(), json!({"status": "expired"}));
        table.gives("swept", look_up(order), 200, expired).await;
        is_over(&mut table, "swept", order).await;
    }
    table.gives("it was paid in time", pay(&in_time), 200, told.clone()).await;
    let replayed = [("location", "*"), ("idempotency-replayed", "true")];
    let first = later(1, &[(1, 2)]).under("place");
    table.gives_with("as it was placed", first, 201, &replayed, plain.clone()).await;
    assert_eq!((table.app.stock(1).await, table.app.balance(1).await), (9, 9_000));
    table.app.drain_events().await;
    let statuses = async |query: &str| -> Vec<(u64, bool)> {
        let own = table.app.get(&format!("/users/1/coupons?status={query}")).await;
        own.entries().iter().map(|it| (it["couponId"].as_u64().unwrap(), it["orderId"].is_null())).collect()
    };
    assert_eq!(statuses("issued").await, [(3, true), (1, true)]);
    assert_eq!(statuses("expired").await, [(2, true)]);
    assert_eq!(statuses("held").await, []);
    // The one unit that was paid counts, and no other.
    let over = json!({"productId": 1, "remaining": 8});
    table.refuses_with("the limit", order(1, &[(1, 9)]), "purchase_limit_exceeded", over).await;
    let again = placed(&table.app, order_with(1, &[(1, 8)], 1)).await;
    assert_eq!((&again["discount"], &again["balance"]), (&json!(300), &json!(1_300)));
    let listed = table.app.get("/users/1/orders?status=expired").await;
    assert_eq!(listed.entries().len(), 3, "{listed:?}");
    for source in ["ranking", "orders"] {
        let top = table.app.get(&format!("/products/top?source={source}")).await;
        assert_eq!((top.entries().len(), &top.body[0]["sold"]), (1, &json!(9)), "{top:?}");
    }
    table.finish().await;
}

/// Goal: an order that was placed in time is payable after the sale, with the coupon it holds; nothing new is sold.
#[tokio::test]
async fn a_pending_order_is_payable_after_the_sale_and_with_the_coupon_it_holds() {
    let (mut table, clock) = shop().await;
    set_product(&table.app, 2, json!({"name": "Sale", "price": 500, "stock": 10, "saleEndsAt": soon()}))
        .await;
    let plain = placed(&table.app, later(1, &[(2, 2)])).await;
    let holding = placed(&table.app, later_with(1, &[(2, 2), (1, 1)], 2)).await;
    let given_up = placed(&table.app, later(1, &[(2, 1)])).await;
    advance(&table.app, &clock, 5).await;
    for request in [order(1, &[(2, 1)]), later(1, &[(2, 1)])] {
        table.refuses_with("the sale is over", request, "sale_not_open", json!({"productId": 2})).await;
    }
    let reason = json!({"reason": "expired"});
    table
        .refuses_with("its time is over", pay_with(&given_up, 2), "invalid_coupon", json!({"reason": "held"}))
        .await;
    pays(&mut table, "after the sale", pay(&plain), paid(&plain, 9_000)).await;
    let told = pays(&mut table, "what it holds", pay(&holding), paid(&holding, 7_300)).await.body;
    assert_eq!((&told["couponId"], &told["discount"]), (&json!(2), &json!(300)));
    assert_eq!(cancel(&given_up).accepting(&table.app, None).await.status, 200);
    assert_eq!(refund(&told).accepting(&table.app, None).await.status, 200);
    table.refuses_with("it came back too late", order_with(1, &[(1, 1)], 2), "invalid_coupon", reason).await;
    assert_eq!(
        (table.app.stock(1).await, table.app.stock(2).await, table.app.balance(1).await),
        (10, 8, 9_000)
    );
    // A window that is set afterwards does not matter either.
    let last = placed(&table.app, later(1, &[(1, 1)])).await;
    set_product(&table.app, 1, json!({"name": "Mug", "price": 1_000, "stock": 10, "saleStartsAt": PAST, "saleEndsAt": PAST.replace("00:00:00.000", "00:00:01.000")})).await;
    pays(&mut table, "after the sale", pay(&last), paid(&last, 8_000)).await;
    table.finish().await;
}

/// Goal: the time to pay is a setting.
#[tokio::test]
async fn the_time_to_pay_is_a_setting() {
    let app = TestApp::start_with(|settings| settings.payment_window_ms = 1_000).await;
    app.user_with(1, 100).await;
    app.product_with(1, 10, 5).await;
    let order = placed(&app, later(1, &[(1, 5)])).await;
    let at = |name: &str| chrono::DateTime::parse_from_rfc3339(order[name].as_str().unwrap()).unwrap();
    assert_eq!(at("expiresAt") - at("placedAt"), TimeDelta::seconds(1));
    eventually!(app.stock(1).await == 5);
    assert_eq!(pay(&order).accepting(&app, None).await.code(), "order_not_payable");
    app.finish().await;
}
