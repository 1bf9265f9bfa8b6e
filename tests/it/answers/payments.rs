//! Payments of orders that were placed for later.

use serde_json::{Value, json};

use super::endings::{cancel, refund};
use super::pending::{later, later_with, placed};
use super::{Call, Request, Table, changed, issue, order, set_campaign};
use crate::test_app::Answer;

pub const CALLS: &[Call] = &[Call::new(
    "POST /payments",
    "200 order_not_found insufficient_balance invalid_coupon order_not_payable",
)
.taking(r#"{"orderId":1024}"#)];

/// A payment of an order as it was answered.
pub fn pay(order: &Value) -> Request {
    Request::post("/payments", json!({"orderId": order["orderId"]}))
}

/// The same with a coupon.
pub fn pay_with(order: &Value, coupon: u64) -> Request {
    Request::post("/payments", json!({"orderId": order["orderId"], "couponId": coupon}))
}

/// A pending order once it is paid.
pub fn paid(order: &Value, balance: u64) -> Value {
    let amount = order["total"].as_u64().unwrap() - order["discount"].as_u64().unwrap();
    changed(order.clone(), json!({"status": "paid", "paid": amount, "paidAt": "~time", "balance": balance}))
}

/// What is no order: of this cell and yet to come, of another event than one that places an order, of no cell.
pub fn no_orders(order: &Value) -> [Value; 3] {
    let id = order["orderId"].as_u64().unwrap();
    [id + 1_024 * 1_000_000, id - 1_024, 9_007_199_254_740_991].map(|id| json!({"orderId": id}))
}

/// Pays for an order. Goal: the answer, the same order when it is looked up, and the same answer to whoever pays again.
pub async fn pays(table: &mut Table, story: &str, request: Request, order: Value) -> Answer {
    let answer = table.gives(story, request, 200, order).await;
    let looked_up = changed(answer.body.clone(), json!({"balance": null}));
    let path = format!("/orders/{}", answer.body["orderId"]);
    table.gives(story, Request::get(path), 200, looked_up).await;
    for again in [pay(&answer.body), pay_with(&answer.body, 1), pay_with(&answer.body, 99)] {
        table.gives("it is paid", again, 200, answer.body.clone()).await;
    }
    answer
}

/// Goal: payments answer as listed, and move the money once.
#[tokio::test]
async fn payments_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    for (user, balance) in [(1, 10_000), (2, 999), (3, 0)] {
        table.app.user_with(user, balance).await;
    }
    table.app.product_with(1, 1_000, 100).await;
    table.app.product_with(2, 0, 10).await;
    set_campaign(&table.app, 1, json!({})).await;
    set_campaign(&table.app, 2, json!({"discount": {"kind": "percent", "value": 100}})).await;
    issue(&table.app, 1, 1).await;
    issue(&table.app, 3, 2).await;

    let one = placed(&table.app, later(1, &[(1, 2)])).await;
    pays(&mut table, "without a coupon", pay(&one), paid(&one, 8_000)).await;
    let held = placed(&table.app, later_with(1, &[(1, 1)], 1)).await;
    pays(&mut table, "with the coupon it holds", pay(&held), paid(&held, 7_300)).await;
    for order in [later(3, &[(2, 3)]), later_with(3, &[(1, 5)], 2)] {
        let free = placed(&table.app, order).await;
        pays(&mut table, "nothing to pay", pay(&free), paid(&free, 0)).await;
    }
    let null = placed(&table.app, later(1, &[(1, 1)])).await;
    let request = pay(&null).changing(&json!({"couponId": null}));
    pays(&mut table, "null for a coupon", request, paid(&null, 6_300)).await;
    // Orders that are paid at once were paid when they were placed.
    for (request, balance) in [(order(1, &[(1, 1)]), 5_300), (order(3, &[(2, 1)]), 0)] {
        let at_once = placed(&table.app, request).await;
        assert_eq!(at_once["balance"], balance);
        pays(&mut table, "paid when it was placed", pay(&at_once), at_once.clone()).await;
    }
    assert_eq!((table.app.balance(1).await, table.app.stock(1).await), (5_300, 90));

    wrong_payments(&mut table).await;
    table.finish_complete().await;
}

async fn wrong_payments(table: &mut Table) {
    // The event before it is to be none that places an order.
    table.app.user_with(4, 0).await;
    let dear = placed(&table.app, later(2, &[(1, 1)])).await;
    for nobodys in no_orders(&dear) {
        table.refuses("nobody placed it", pay(&nobodys), "order_not_found").await;
    }
    table.refuses("one short", pay(&dear), "insufficient_balance").await;
    let path = format!("/orders/{}", dear["orderId"]);
    table.gives("it stays pending", Request::get(path), 200, dear.clone()).await;
    let not_issued = json!({"reason": "not_issued"});
    table.refuses_with("no such coupon", pay_with(&dear, 1), "invalid_coupon", not_issued).await;

    // The same request under the same key, once there is money.
    let request = pay(&dear).under("k");
    table.refuses("a key changes nothing", request.clone(), "insufficient_balance").await;
    assert_eq!(table.app.post("/users/2/balance", json!({"amount": 1})).await.status, 201);
    let replayed = [("idempotency-replayed", "true")];
    let told = table.gives("to the last unit", request.clone(), 200, paid(&dear, 0)).await.body;
    table.gives_with("once more", request, 200, &replayed, told).await;
    table.refuses("another request", pay_with(&dear, 1).under("k"), "idempotency_key_reused").await;

    let [cancelled, refunded] =
        [placed(&table.app, later(1, &[(1, 1)])).await, placed(&table.app, order(1, &[(1, 1)])).await];
    assert_eq!(cancel(&cancelled).accepting(&table.app, None).await.status, 200);
    assert_eq!(refund(&refunded).accepting(&table.app, None).await.status, 200);
    for order in [cancelled, refunded] {
        table.refuses("over", pay(&order), "order_not_payable").await;
        table.refuses("over", pay_with(&order, 99), "order_not_payable").await;
    }
    for id in
        [json!(0), json!("1024"), json!(1024.0), json!(null), json!(9_007_199_254_740_992_u64), json!([1024])]
    {
        table.invalid("no order id", pay(&json!({"orderId": id})), "#/orderId").await;
        if !id.is_null() {
            table.invalid("no coupon id", pay(&dear).changing(&json!({"couponId": id})), "#/couponId").await;
        }
    }
    table.invalid("no order", Request::post("/payments", json!({"couponId": 1})), "#/orderId").await;
    table
        .invalid("whose it is, the order says", pay(&dear).changing(&json!({"userId": 2})), "#/userId")
        .await;
}

/// What a payment is told, in the contract's order. A key is of the user whose order it is, so that an order that
/// nobody placed has none.
const ORDER: [&str; 5] = [
    "invalid_request",
    "idempotency_key_reused",
    "order_not_payable",
    "invalid_coupon",
    "insufficient_balance",
];

/// Goal: of two refusals that both apply, the first is told.
#[tokio::test]
async fn of_two_refusals_of_a_payment_the_first_is_told() {
    let mut table = Table::of(CALLS).await;
    table.app.user_with(1, 10).await;
    table.app.product_with(1, 1_000, 10).await;
    table.app.product_with(2, 1, 10).await;
    let cheap = placed(&table.app, later(1, &[(2, 1)]).under("used")).await;
    let dear = placed(&table.app, later(1, &[(1, 1)])).await;
    let over = placed(&table.app, later(1, &[(1, 1)])).await;
    assert_eq!(cancel(&over).accepting(&table.app, None).await.status, 200);
    let none = || json!({});
    let at = |pointer: &str| json!({"errors": [{"pointer": pointer, "detail": "~text"}]});
    let no_coupon = pay(&dear).changing(&json!({"couponId": 0}));
    let nobody = json!({"orderId": 1_048_576});
    let cases = [
        ("invalid_request", "idempotency_key_reused", no_coupon.under("used"), at("#/couponId")),
        ("invalid_request", "order_not_found", pay_with(&nobody, 0), at("#/couponId")),
        ("order_not_found", "invalid_coupon", pay_with(&nobody, 99), none()),
        ("idempotency_key_reused", "order_not_payable", pay(&over).under("used"), none()),
        ("idempotency_key_reused", "invalid_coupon", pay_with(&cheap, 99).under("used"), none()),
        ("idempotency_key_reused", "insufficient_balance", pay(&dear).under("used"), none()),
        ("order_not_payable", "invalid_coupon", pay_with(&over, 99), none()),
        ("order_not_payable", "insufficient_balance", pay(&over), none()),
        ("invalid_coupon", "insufficient_balance", pay_with(&dear, 99), json!({"reason": "not_issued"})),
    ];
    for pair in ORDER.windows(2) {
        assert!(cases.iter().any(|it| [it.0, it.1] == *pair), "no case for {pair:?}");
    }
    for (first, second, request, members) in cases {
        table.refuses_with(&format!("{first} before {second}"), request, first, members).await;
    }
    // Each second one does apply, where the first does not.
    table.refuses("a balance", pay(&dear), "insufficient_balance").await;
    let reason = json!({"reason": "not_issued"});
    table.refuses_with("a coupon", pay_with(&cheap, 99), "invalid_coupon", reason).await;
    table.finish().await;
}
