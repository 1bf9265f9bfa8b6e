//! Coupons at payment: applied, replaced, refused; and what becomes of the one that the order held.

use serde_json::{Value, json};

use super::coupon_orders::REASONS;
use super::endings::cancel;
use super::held_coupons::{release, valid_for};
use super::payments::{CALLS, paid, pay, pay_with, pays};
use super::pending::{later, later_with, placed};
use super::{FUTURE, PAST, Request, Table, changed, issue, order_with, set_campaign};

/// Statuses of user 1's coupons, with the orders that have them, by coupon.
async fn own(table: &Table) -> Value {
    let list = table.app.get("/users/1/coupons?limit=200").await;
    let of = |it: &Value| (it["couponId"].to_string(), json!([it["status"], it["orderId"]]));
    Value::Object(list.entries().iter().map(of).collect())
}

/// Goal: a coupon that is named applies, replaces the one that is held, or is that one; the other is free again.
#[tokio::test]
async fn a_coupon_named_at_payment_is_the_one_that_is_used() {
    let mut table = Table::of(CALLS).await;
    table.app.user_with(1, 100_000).await;
    table.app.product_with(1, 1_000, 100).await;
    for (coupon, discount) in [
        (1, json!({"kind": "fixed", "value": 300})),
        (2, json!({"kind": "percent", "value": 25})),
        (3, json!({"kind": "fixed", "value": 5_000})),
        (4, json!({"kind": "fixed", "value": 1})),
    ] {
        set_campaign(&table.app, coupon, json!({"discount": discount, "minOrderAmount": 1_000})).await;
        issue(&table.app, 1, coupon).await;
    }
    let with = |order: &Value, coupon: u64, discount: u64, balance: u64| {
        paid(&changed(order.clone(), json!({"couponId": coupon, "discount": discount})), balance)
    };
    let (issued, by) = (json!(["issued", null]), |word: &str, order: &Value| json!([word, order["orderId"]]));
    let first = placed(&table.app, later(1, &[(1, 1)])).await;
    pays(&mut table, "applied", pay_with(&first, 2), with(&first, 2, 250, 99_250)).await;
    let second = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    let held = json!({"1": by("held", &second), "2": by("used", &first), "3": issued, "4": issued});
    assert_eq!(own(&table).await, held);
    pays(&mut table, "replaced", pay_with(&second, 3), with(&second, 3, 1_000, 99_250)).await;
    let replaced = json!({"1": issued, "2": by("used", &first), "3": by("used", &second), "4": issued});
    assert_eq!(own(&table).await, replaced);
    let third = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    let cheaper =
        pays(&mut table, "a worse one, as they say", pay_with(&third, 4), with(&third, 4, 1, 98_251)).await;
    assert_eq!(cheaper.body["couponId"], 4);
    let fourth = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    pays(&mut table, "the one it holds", pay_with(&fourth, 1), with(&fourth, 1, 300, 97_551)).await;
    let all = json!({"1": by("used", &fourth), "2": by("used", &first), "3": by("used", &second), "4": by("used", &third)});
    assert_eq!(own(&table).await, all);

    // What a campaign says afterwards does not matter for what is held: neither its time nor its minimum.
    for coupon in [5, 6] {
        set_campaign(&table.app, coupon, json!({"minOrderAmount": 1_000})).await;
        issue(&table.app, 1, coupon).await;
    }
    for (story, coupon, way) in
        [("not named", 5, (|order, _| pay(order)) as fn(&Value, u64) -> Request), ("named", 6, pay_with)]
    {
        let order = placed(&table.app, later_with(1, &[(1, 1)], coupon)).await;
        set_campaign(&table.app, coupon, json!({"minOrderAmount": 1_001, "expiresAt": PAST})).await;
        let balance = table.app.balance(1).await as u64 - 700;
        pays(&mut table, story, way(&order, coupon), paid(&order, balance)).await;
        assert_eq!(own(&table).await[coupon.to_string()], by("used", &order));
    }
    // Let go of, or named elsewhere, it is another matter.
    set_campaign(&table.app, 7, json!({})).await;
    issue(&table.app, 1, 7).await;
    let [holder, other] = [
        placed(&table.app, later_with(1, &[(1, 1)], 7)).await,
        placed(&table.app, later(1, &[(1, 1)])).await,
    ];
    set_campaign(&table.app, 7, json!({"expiresAt": PAST})).await;
    let reason = json!({"reason": "held"});
    table.refuses_with("another has it", pay_with(&other, 7), "invalid_coupon", reason).await;
    assert_eq!(release(&holder, 7).accepting(&table.app, None).await.status, 200);
    for order in [&holder, &other] {
        let reason = json!({"reason": "expired"});
        table.refuses_with("its time is over", pay_with(order, 7), "invalid_coupon", reason).await;
    }
    assert_eq!(own(&table).await["7"], json!(["expired", null]));
    table.finish().await;
}

/// Goal: a coupon is refused at payment for every reason there is, and nothing changes: the order stays pending, and
/// holds what it held.
#[tokio::test]
async fn a_coupon_that_is_refused_at_payment_changes_nothing() {
    let mut table = Table::of(CALLS).await;
    for user in [1, 2] {
        table.app.user_with(user, 10_000).await;
    }
    table.app.product_with(1, 1_000, 100).await;
    for (coupon, changes) in [
        (1, json!({})),
        (2, json!({})),
        (3, json!({"expiresAt": PAST})),
        // The total counts, whatever the coupon that is held would take off.
        (4, json!({"minOrderAmount": 2_001})),
        (5, json!({"minOrderAmount": 2_000})),
        (6, json!({})),
        (7, json!({})),
    ] {
        set_campaign(&table.app, coupon, changes).await;
        issue(&table.app, if coupon == 2 { 2 } else { 1 }, coupon).await;
    }
    placed(&table.app, order_with(1, &[(1, 1)], 6)).await;
    let other = placed(&table.app, later_with(1, &[(1, 1)], 7)).await;
    let cases = [
        ("not_issued", "a campaign nobody opened", 99),
        ("not_issued", "another user's", 2),
        ("held", "another order has it", 7),
        ("used", "used before", 6),
        ("expired", "its time is over", 3),
        ("below_minimum", "one short of the minimum", 4),
    ];
    for reason in REASONS {
        assert!(cases.iter().any(|it| it.0 == reason), "no case for {reason}");
    }
    let bare = placed(&table.app, later(1, &[(1, 2)])).await;
    let holding = placed(&table.app, later_with(1, &[(1, 2)], 1)).await;
    let before = own(&table).await;
    for order in [&bare, &holding] {
        for (reason, story, coupon) in cases {
            let members = json!({"reason": reason});
            table.refuses_with(story, pay_with(order, coupon), "invalid_coupon", members.clone()).await;
            table.refuses_with(story, pay_with(order, coupon).under("k"), "invalid_coupon", members).await;
        }
        let path = format!("/orders/{}", order["orderId"]);
        table.gives("it is as it was", Request::get(path), 200, order.clone()).await;
    }
    assert_eq!(own(&table).await, before);
    assert_eq!(before["1"], json!(["held", holding["orderId"]]));
    // What was refused for the campaign's sake, or because another order had it, is good once that is over.
    set_campaign(&table.app, 3, json!({"expiresAt": FUTURE})).await;
    assert_eq!(cancel(&other).accepting(&table.app, None).await.status, 200);
    let mut balance = table.app.balance(1).await as u64;
    for (order, coupon) in [(&bare, 3), (&holding, 7)] {
        balance -= 1_700;
        let told = changed(order.clone(), json!({"couponId": coupon, "discount": 300}));
        pays(&mut table, "valid by now", pay_with(order, coupon), paid(&told, balance)).await;
    }
    let met = placed(&table.app, later_with(1, &[(1, 2)], 1)).await;
    let told = changed(met.clone(), json!({"couponId": 5}));
    pays(&mut table, "the minimum met exactly", pay_with(&met, 5), paid(&told, balance - 1_700)).await;
    table.finish().await;
}

/// Goal: without the money an order stays pending; a coupon that was named only there is free, one held since the order
/// stays held.
#[tokio::test]
async fn a_payment_without_money_leaves_the_coupons_where_they_were() {
    let mut table = Table::of(CALLS).await;
    table.app.user_with(1, 699).await;
    table.app.product_with(1, 1_000, 100).await;
    for coupon in [1, 2] {
        set_campaign(&table.app, coupon, json!({})).await;
        issue(&table.app, 1, coupon).await;
    }
    let [bare, holding] = [
        placed(&table.app, later(1, &[(1, 1)])).await,
        placed(&table.app, later_with(1, &[(1, 1)], 1)).await,
    ];
    let before = own(&table).await;
    assert_eq!(before, json!({"1": ["held", holding["orderId"]], "2": ["issued", null]}));
    let requests =
        [pay(&bare), pay_with(&bare, 2), pay(&holding), pay_with(&holding, 1), pay_with(&holding, 2)];
    for request in requests {
        table.refuses("one short", request.clone(), "insufficient_balance").await;
        table.refuses("under a key", request.under("k"), "insufficient_balance").await;
    }
    for order in [&bare, &holding] {
        let path = format!("/orders/{}", order["orderId"]);
        assert_eq!(table.app.get(&path).await.body, *order);
    }
    assert_eq!(own(&table).await, before);
    let told = valid_for(&bare).accepting(&table.app, None).await;
    assert_eq!(told.entries().len(), 1, "{told:?}");
    // The one that was free is taken by the other order; the key is free, too.
    assert_eq!(table.app.post("/users/1/balance", json!({"amount": 1})).await.status, 201);
    let other = changed(holding.clone(), json!({"couponId": 2}));
    let request = pay_with(&holding, 2);
    pays(&mut table, "replaced", request, paid(&other, 0)).await;
    table.refuses("no money is left", pay_with(&bare, 1).under("k"), "insufficient_balance").await;
    assert_eq!(table.app.post("/users/1/balance", json!({"amount": 700})).await.status, 201);
    let told = paid(&changed(bare.clone(), json!({"couponId": 1, "discount": 300})), 0);
    table.gives("once there is money", pay_with(&bare, 1).under("k"), 200, told).await;
    assert_eq!(own(&table).await, json!({"1": ["used", bare["orderId"]], "2": ["used", holding["orderId"]]}));
    table.finish().await;
}
