//! Coupons that pending orders hold: which ones an order could use, and how it lets go of one.

use serde_json::{Value, json};

use super::endings::{cancel, refund};
use super::payments::{no_orders, pay, pay_with};
use super::pending::{later, later_with, placed};
use super::{Call, FUTURE, PAST, Request, Table, changed, issue, order, order_with, set_campaign};
use crate::test_app::TestApp;

pub const CALLS: &[Call] = &[
    Call::new("GET /coupons/valid", "200 order_not_found").asking(&["orderId"]),
    Call::new("POST /coupons/{couponId}/cancel", "200 order_not_found coupon_not_found order_not_payable")
        .taking(r#"{"orderId":1024}"#),
];

/// Which coupons an order could use.
pub fn valid_for(order: &Value) -> Request {
    Request::get(format!("/coupons/valid?orderId={}", order["orderId"]))
}

/// Lets an order go of its coupon.
pub fn release(order: &Value, coupon: u64) -> Request {
    Request::post(format!("/coupons/{coupon}/cancel"), json!({"orderId": order["orderId"]}))
}

pub fn released(order: &Value, coupon: u64) -> Value {
    json!({"couponId": coupon, "orderId": order["orderId"], "status": "issued"})
}

fn usable(coupon: u64, discount: u64, payable: u64) -> Value {
    json!({"couponId": coupon, "name": "Opening", "discountAmount": discount, "payable": payable})
}

/// Goal: what an order could use, and letting go of it, answer as listed.
#[tokio::test]
async fn held_coupons_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    for user in [1, 2] {
        table.app.user_with(user, 10_000).await;
    }
    table.app.product_with(1, 1_000, 100).await;
    usable_ones(&mut table).await;
    releases(&mut table).await;
    table.app.user_with(3, 0).await;
    for nobodys in no_orders(&placed(&table.app, later(1, &[(1, 1)])).await) {
        table.refuses("nobody placed it", valid_for(&nobodys), "order_not_found").await;
        table.refuses("nobody placed it", release(&nobodys, 1), "order_not_found").await;
    }
    table.invalid("which order", Request::get("/coupons/valid"), "orderId").await;
    for id in ["", "0", "-1", "01", "1.0", "1e3", "abc", "9007199254740992", "1024,2048"] {
        table.invalid("no order id", Request::get(format!("/coupons/valid?orderId={id}")), "orderId").await;
    }
    for id in [json!(0), json!("1024"), json!(1024.0), json!(null), json!(9_007_199_254_740_992_u64)] {
        table.invalid("no order id", release(&json!({"orderId": id}), 1), "#/orderId").await;
    }
    table.invalid("which order", Request::post("/coupons/1/cancel", json!({})), "#/orderId").await;
    let twice = Request::post("/coupons/1/cancel", json!({"orderId": 1_024, "couponId": 1}));
    table.invalid("the coupon is in the path", twice, "#/couponId").await;
    table.finish_complete().await;
}

/// Best first, of equals the lower id first; the one that it holds among them.
async fn usable_ones(table: &mut Table) {
    let (fixed, percent) =
        (|it: u64| json!({"kind": "fixed", "value": it}), |it: u64| json!({"kind": "percent", "value": it}));
    for (coupon, changes) in [
        (1, json!({"discount": fixed(200)})),
        (2, json!({"discount": percent(50)})),
        (3, json!({"discount": fixed(1_000)})),
        (4, json!({"discount": {"kind": "percent", "value": 90, "maxAmount": 200}})),
        (5, json!({"discount": fixed(9_999_999), "minOrderAmount": 2_001})),
        (6, json!({"discount": fixed(9_999_999), "expiresAt": PAST})),
        (7, json!({"discount": fixed(9_999_999)})),
        (8, json!({"discount": fixed(9_999_999)})),
        (9, json!({"discount": fixed(9_999_999)})),
        (10, json!({"discount": fixed(2_000), "minOrderAmount": 2_000})),
        (11, json!({"discount": fixed(5_000)})),
    ] {
        set_campaign(&table.app, coupon, changes).await;
    }
    let plain = placed(&table.app, later(1, &[(1, 2)])).await;
    table.gives("they have none", valid_for(&plain), 200, json!([])).await;
    // Issued in another order. 7 is used, 8 held by another order, 9 only another user's.
    for coupon in [11, 4, 3, 1, 2, 10, 8, 7, 6, 5] {
        issue(&table.app, 1, coupon).await;
    }
    issue(&table.app, 2, 9).await;
    placed(&table.app, order_with(1, &[(1, 1)], 7)).await;
    let other = placed(&table.app, later_with(1, &[(1, 1)], 8)).await;
    let best = |total: u64| {
        [(10, 2_000), (11, 5_000), (2, total / 2), (3, 1_000), (1, 200), (4, 200)]
            .map(|(coupon, off)| usable(coupon, off.min(total), total - off.min(total)))
    };
    table.gives("best first", valid_for(&plain), 200, json!(best(2_000))).await;
    let holding = placed(&table.app, later_with(1, &[(1, 2)], 3)).await;
    table.gives("the held one too", valid_for(&holding), 200, json!(best(2_000))).await;
    let mut rest = best(2_000).to_vec();
    rest.remove(3);
    table.gives("not what another holds", valid_for(&plain), 200, json!(rest)).await;
    // Of a smaller order, half is less; it holds the one that the others have not.
    let small = json!([
        usable(8, 1_000, 0),
        usable(11, 1_000, 0),
        usable(2, 500, 500),
        usable(1, 200, 800),
        usable(4, 200, 800)
    ]);
    table.gives("of a smaller order", valid_for(&other), 200, small).await;

    // The held one is good until the deadline, whatever its campaign says by now.
    let over = json!({"discount": fixed(1), "expiresAt": PAST, "minOrderAmount": 5_000});
    set_campaign(&table.app, 3, over).await;
    table.app.drain_events().await;
    table.gives("held before", valid_for(&holding), 200, json!(best(2_000))).await;
    let paid = pay(&holding).accepting(&table.app, None).await;
    assert_eq!(
        (&paid.body["discount"], &paid.body["paid"]),
        (&json!(1_000), &json!(1_000)),
        "as it was told"
    );
    for order in [&paid.body, &placed(&table.app, order(1, &[(1, 2)])).await] {
        table.gives("paid", valid_for(order), 200, json!([])).await;
    }
    assert_eq!(refund(&paid.body).accepting(&table.app, None).await.status, 200);
    assert_eq!(cancel(&plain).accepting(&table.app, None).await.status, 200);
    for order in [&holding, &plain] {
        table.gives("over", valid_for(order), 200, json!([])).await;
    }
    // Each that was told is taken at that price.
    for (coupon, off) in [(10, 2_000), (11, 2_000), (2, 1_000), (1, 200), (4, 200)] {
        let order = placed(&table.app, later(1, &[(1, 2)])).await;
        let first = valid_for(&order).accepting(&table.app, None).await;
        let told = first.entries().iter().find(|it| it["couponId"] == coupon).expect("it is told");
        let paid = pay_with(&order, coupon).accepting(&table.app, None).await.body;
        let same = (&told["discountAmount"], &told["payable"]);
        assert_eq!((&paid["discount"], &paid["paid"]), same, "{coupon}");
        assert_eq!(paid["discount"], off);
    }
}

async fn releases(table: &mut Table) {
    let replayed = [("idempotency-replayed", "true")];
    for coupon in [21, 22, 23] {
        set_campaign(&table.app, coupon, json!({})).await;
        issue(&table.app, 2, coupon).await;
    }
    let first = placed(&table.app, later_with(2, &[(1, 1)], 21)).await;
    let plain = placed(&table.app, later(2, &[(1, 1)])).await;
    for (story, order, coupon) in
        [("it holds none", &plain, 21), ("it holds another", &first, 22), ("nobody opened it", &first, 99)]
    {
        table.refuses(story, release(order, coupon), "coupon_not_found").await;
    }
    let request = release(&first, 21).under("k");
    table.gives("let go of", request.clone(), 200, released(&first, 21)).await;
    table.gives_with("once more", request.clone(), 200, &replayed, released(&first, 21)).await;
    table.refuses("it has none any more", release(&first, 21), "coupon_not_found").await;
    let bare = changed(first.clone(), json!({"couponId": null, "discount": 0}));
    table.gives("it is without", Request::get(format!("/orders/{}", first["orderId"])), 200, bare).await;
    let second = placed(&table.app, later_with(2, &[(1, 1)], 21)).await;
    table.gives_with("held by another since", request.clone(), 200, &replayed, released(&first, 21)).await;
    table.refuses("another order", release(&second, 21).under("k"), "idempotency_key_reused").await;
    table.refuses("another coupon", release(&first, 22).under("k"), "idempotency_key_reused").await;
    let paid = pay_with(&first, 22).accepting(&table.app, None).await;
    assert_eq!(paid.body["discount"], 300, "{paid:?}");
    table.gives_with("paid since", request, 200, &replayed, released(&first, 21)).await;

    // Whatever they hold, and whatever is asked for.
    assert_eq!(cancel(&second).accepting(&table.app, None).await.status, 200);
    let bought = placed(&table.app, order_with(2, &[(1, 1)], 23)).await;
    let given_back = placed(&table.app, order(2, &[(1, 1)])).await;
    assert_eq!(refund(&given_back).accepting(&table.app, None).await.status, 200);
    for (order, coupon) in
        [(&first, 22), (&first, 99), (&second, 21), (&bought, 23), (&bought, 99), (&given_back, 21)]
    {
        table.refuses("not pending", release(order, coupon), "order_not_payable").await;
    }
    // One whose time ended while it was held.
    let last = placed(&table.app, later_with(2, &[(1, 1)], 21)).await;
    set_campaign(&table.app, 21, json!({"expiresAt": PAST})).await;
    table.gives("over by now", release(&last, 21), 200, released(&last, 21)).await;
    table.app.drain_events().await;
    let own = table.app.get("/users/2/coupons?status=expired").await;
    assert_eq!((own.entries().len(), &own.body[0]["couponId"]), (1, &json!(21)), "{own:?}");
    let theirs = json!([usable(9, 1_000, 0)]);
    table.gives("what is left of theirs", valid_for(&last), 200, theirs).await;
}

/// What letting go is told, in the contract's order. A key is of the user whose order it is.
const ORDER: [&str; 4] =
    ["invalid_request", "idempotency_key_reused", "order_not_payable", "coupon_not_found"];

/// Goal: of two refusals that both apply, the first is told.
#[tokio::test]
async fn of_two_refusals_of_a_release_the_first_is_told() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 10_000).await;
    table.app.product_with(1, 1_000, 100).await;
    set_campaign(&table.app, 1, json!({"expiresAt": FUTURE})).await;
    issue(&table.app, 1, 1).await;
    let pending = placed(&table.app, later_with(1, &[(1, 1)], 1).under("used")).await;
    let over = placed(&table.app, order(1, &[(1, 1)])).await;
    let nobody = json!({"orderId": 1_048_576});
    let at = |part: Value| json!({"errors": [changed(part, json!({"detail": "~text"}))]});
    let none = || json!({});
    let cases = [
        (
            "invalid_request",
            "idempotency_key_reused",
            release(&pending, 0).under("used"),
            at(json!({"parameter": "couponId"})),
        ),
        ("invalid_request", "order_not_found", release(&nobody, 0), at(json!({"parameter": "couponId"}))),
        ("order_not_found", "coupon_not_found", release(&nobody, 99), none()),
        ("idempotency_key_reused", "order_not_payable", release(&over, 1).under("used"), none()),
        ("idempotency_key_reused", "coupon_not_found", release(&pending, 99).under("used"), none()),
        ("order_not_payable", "coupon_not_found", release(&over, 99), none()),
    ];
    for pair in ORDER.windows(2) {
        assert!(cases.iter().any(|it| [it.0, it.1] == *pair), "no case for {pair:?}");
    }
    for (first, second, request, members) in cases {
        table.refuses_with(&format!("{first} before {second}"), request, first, members).await;
    }
    table.refuses("a coupon", release(&pending, 99), "coupon_not_found").await;
    table.finish().await;
}
