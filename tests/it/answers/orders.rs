//! Orders: placed and paid in one step, looked up, and listed.

use serde_json::{Value, json};

use super::pending::to_pay_later;
use super::{
    Call, FUTURE, PAST, Request, Table, changed, issue, order, order_with, set_campaign, set_product,
};
use crate::test_app::{Answer, TestApp};

pub const CALLS: &[Call] = &[
    Call::new(
        "POST /orders",
        "201 user_not_found product_not_found sale_not_open purchase_limit_exceeded out_of_stock \
         invalid_coupon insufficient_balance",
    )
    .taking(r#"{"userId":1,"items":[{"productId":1,"quantity":1}]}"#),
    Call::new("GET /orders/{orderId}", "200 order_not_found"),
    Call::new("GET /users/{userId}/orders", "200 user_not_found").asking(&["status", "limit", "cursor"]),
];

/// Goal: orders answer as listed, with options, window, limit and coupon.
#[tokio::test]
async fn orders_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    shop(&table.app).await;
    purchases(&mut table).await;
    refusals(&mut table).await;
    malformed(&mut table).await;
    keys(&mut table).await;
    lists(&mut table).await;
    table.finish_complete().await;
}

/// User 1 with money, 2 with none. Products: 1 a mug, 2 for nothing, 3 a shirt in two sizes and at most 5 a user,
/// 4 before and 5 after its sale, 6 the dearest. Campaign 1 takes 300 off.
async fn shop(app: &TestApp) {
    app.user_with(1, 100_000).await;
    app.user_with(2, 0).await;
    app.product_with(1, 1_000, 100).await;
    app.product_with(2, 0, 10).await;
    let shirt = json!({"name": "Shirt", "limitPerUser": 5, "options": [
        {"id": 1, "name": "S", "price": 10, "stock": 2}, {"id": 2, "name": "L", "price": 20, "stock": 9}]});
    set_product(app, 3, shirt).await;
    set_product(app, 4, json!({"name": "Later", "price": 1, "stock": 9, "saleStartsAt": FUTURE})).await;
    set_product(app, 5, json!({"name": "Over", "price": 1, "stock": 9, "saleEndsAt": PAST})).await;
    app.product_with(6, 1_000_000_000, 1_000_000).await;
    set_campaign(app, 1, json!({})).await;
}

/// The items of one product, as an order shows them.
pub fn line(product: u64, quantity: u64, unit_price: u64) -> Value {
    json!({"productId": product, "quantity": quantity, "unitPrice": unit_price})
}

/// A paid order without a coupon.
fn paid(user: u64, items: Value, total: u64, balance: u64) -> Value {
    json!({"orderId": "~id", "userId": user, "status": "paid", "items": items, "total": total, "discount": 0,
        "paid": total, "placedAt": "~time", "paidAt": "~time", "balance": balance})
}

/// Places an order. Goal: the answer, its place, and the same order when it is looked up.
pub async fn places(table: &mut Table, story: &str, request: Request, order: Value) -> Answer {
    let answer = table.gives_with(story, request, 201, &[("location", "*")], order).await;
    let path = format!("/orders/{}", answer.body["orderId"]);
    assert_eq!(answer.header("location"), Some(path.as_str()), "{story}");
    assert_eq!(answer.body["placedAt"], answer.body["paidAt"], "{story}");
    let looked_up = changed(answer.body.clone(), json!({"balance": null}));
    table.gives(story, Request::get(path), 200, looked_up).await;
    answer
}

async fn purchases(table: &mut Table) {
    places(table, "one item", order(1, &[(1, 2)]), paid(1, json!([line(1, 2, 1_000)]), 2_000, 98_000)).await;
    assert_eq!((table.app.balance(1).await, table.app.stock(1).await), (98_000, 98));
    places(table, "for nothing", order(2, &[(2, 3)]), paid(2, json!([line(2, 3, 0)]), 0, 0)).await;
    let added_up = paid(1, json!([line(2, 3, 0), line(1, 4, 1_000)]), 4_000, 94_000);
    places(table, "an item twice", order(1, &[(2, 1), (1, 4), (2, 2)]), added_up).await;

    let items = json!([{"productId": 3, "optionId": 2, "quantity": 2}, {"productId": 3, "optionId": 1, "quantity": 1},
        {"productId": 1, "optionId": null, "quantity": 1}]);
    let request =
        Request::post("/orders", json!({"userId": 1, "items": items, "couponId": null, "payment": "now"}));
    let lines = json!([{"productId": 3, "optionId": 2, "quantity": 2, "unitPrice": 20},
        {"productId": 3, "optionId": 1, "quantity": 1, "unitPrice": 10}, line(1, 1, 1_000)]);
    places(table, "options, null and now", request, paid(1, lines, 1_050, 92_950)).await;
    issue(&table.app, 1, 1).await;
    let discounted = json!({"couponId": 1, "discount": 300, "paid": 700, "balance": 92_250});
    let discounted = changed(paid(1, json!([line(1, 1, 1_000)]), 1_000, 0), discounted);
    places(table, "with a coupon", order_with(1, &[(1, 1)], 1), discounted).await;
}

async fn refusals(table: &mut Table) {
    let option = |option: u64, quantity: u64| {
        let items = json!([{"productId": 3, "optionId": option, "quantity": quantity}]);
        Request::post("/orders", json!({"userId": 1, "items": items}))
    };
    let about = |product: u64| json!({"productId": product});
    let left = |product: u64, remaining: u64| json!({"productId": product, "remaining": remaining});
    let of_option = |remaining: u64| json!({"productId": 3, "optionId": 1, "remaining": remaining});
    let unknown_option = json!({"productId": 3, "optionId": 7});
    let unneeded = json!({"userId": 1, "items": [{"productId": 1, "optionId": 7, "quantity": 1}]});
    let used = json!({"reason": "used"});
    let cases = [
        ("a user nobody made", order(99, &[(1, 1)]), "user_not_found", json!({})),
        ("an unknown product", order(1, &[(1, 1), (99, 1)]), "product_not_found", about(99)),
        ("an unknown option", option(7, 1), "product_not_found", unknown_option),
        (
            "an unneeded option",
            Request::post("/orders", unneeded),
            "product_not_found",
            json!({"productId": 1, "optionId": 7}),
        ),
        ("before the sale", order(1, &[(4, 1)]), "sale_not_open", about(4)),
        ("after the sale", order(1, &[(5, 1)]), "sale_not_open", about(5)),
        // They have bought 3 of 5, of both options.
        ("over the limit", option(1, 3), "purchase_limit_exceeded", of_option(2)),
        ("more than there is", order(1, &[(2, 1), (1, 93)]), "out_of_stock", left(1, 92)),
        ("more of a size than there is", option(1, 2), "out_of_stock", of_option(1)),
        ("a used coupon", order_with(1, &[(1, 1)], 1), "invalid_coupon", used),
        ("too dear", order(1, &[(6, 1)]), "insufficient_balance", json!({})),
        ("no money at all", order(2, &[(1, 1)]), "insufficient_balance", json!({})),
    ];
    for (story, request, code, members) in cases {
        if code != "insufficient_balance" {
            table.refuses_with(story, to_pay_later(&request), code, members.clone()).await;
        }
        table.refuses_with(story, request, code, members).await;
    }
}

async fn malformed(table: &mut Table) {
    let items = |items: Value| Request::post("/orders", json!({"userId": 1, "items": items}));
    let good = json!({"productId": 1, "quantity": 1});
    let item = |changes: Value| items(json!([good, changed(good.clone(), changes)]));
    let with =
        |changes: Value| Request::post("/orders", changed(json!({"userId": 1, "items": [good]}), changes));
    let many: Vec<Value> = (1..=51).map(|it| json!({"productId": it, "quantity": 1})).collect();
    let dear: Vec<(u64, u64)> = (100..110).map(|it| (it, 1_000)).collect();
    for (product, quantity) in &dear {
        table.app.product_with(*product, 1_000_000_000, *quantity as i64).await;
    }
    let cases = [
        ("no user", with(json!({"userId": null})), "#/userId"),
        ("a user as text", with(json!({"userId": "1"})), "#/userId"),
        ("no items", with(json!({"items": null})), "#/items"),
        ("not one item", items(json!([])), "#/items"),
        ("too many items", items(json!(many)), "#/items"),
        ("no product", item(json!({"productId": null})), "#/items/1/productId"),
        ("product 0", item(json!({"productId": 0})), "#/items/1/productId"),
        ("no quantity", item(json!({"quantity": null})), "#/items/1/quantity"),
        ("none of it", item(json!({"quantity": 0})), "#/items/1/quantity"),
        ("too many of it", item(json!({"quantity": 1_001})), "#/items/1/quantity"),
        ("too many, added up", item(json!({"quantity": 1_000})), "#/items/1/quantity"),
        ("half of it", item(json!({"quantity": 0.5})), "#/items/1/quantity"),
        ("option 0", item(json!({"optionId": 0})), "#/items/1/optionId"),
        ("an unknown field", item(json!({"unitPrice": 1})), "#/items/1/unitPrice"),
        ("which option", items(json!([good, {"productId": 3, "quantity": 1}])), "#/items/1/optionId"),
        ("coupon 0", with(json!({"couponId": 0})), "#/couponId"),
        ("a coupon as text", with(json!({"couponId": "1"})), "#/couponId"),
        ("an unknown payment", with(json!({"payment": "never"})), "#/payment"),
        ("a payment in capitals", with(json!({"payment": "Later"})), "#/payment"),
        ("a payment that is no text", with(json!({"payment": true})), "#/payment"),
        ("what it cannot set", with(json!({"discount": 5})), "#/discount"),
        ("a total above 13 digits", order(1, &dear), "#/items"),
    ];
    for (story, request, pointer) in cases {
        if pointer != "#/payment" {
            table.invalid(story, to_pay_later(&request), pointer).await;
        }
        table.invalid(story, request, pointer).await;
    }
    let most = order(1, &dear[..9]);
    table.refuses("the largest total is only too dear", most, "insufficient_balance").await;
}

/// Goal: a key repeats the first order, coupon and all; refusals are not kept.
async fn keys(table: &mut Table) {
    let replayed = [("location", "*"), ("idempotency-replayed", "true")];
    set_campaign(&table.app, 2, json!({"quantity": 1})).await;
    let balance = table.app.balance(1).await as u64;
    let request = order_with(1, &[(1, 1)], 2).under("k");
    let not_issued = json!({"reason": "not_issued"});
    table.refuses_with("no coupon yet", request.clone(), "invalid_coupon", not_issued).await;
    issue(&table.app, 1, 2).await;
    let discounted = json!({"couponId": 2, "discount": 300, "paid": 700});
    let discounted = changed(paid(1, json!([line(1, 1, 1_000)]), 1_000, balance - 700), discounted);
    let first = places(table, "the same under the same key", request.clone(), discounted).await;
    table.app.product_with(7, 1, 1).await;
    let other = order(1, &[(7, 1)]);
    places(table, "another one", other, paid(1, json!([line(7, 1, 1)]), 1, balance - 701)).await;
    set_campaign(&table.app, 2, json!({"quantity": 1, "discount": {"kind": "fixed", "value": 1}})).await;
    let again =
        table.gives_with("the first one again", request.clone(), 201, &replayed, first.body.clone()).await;
    assert_eq!(again.header("location"), first.header("location"));
    let items = r#"[{"quantity":1,"optionId":null,"productId":1}]"#;
    let same = format!(r#"{{"payment":"now","couponId":2,"items":{items},"userId":1}}"#);
    let same = request.saying(same);
    table.gives_with("written otherwise", same, 201, &replayed, first.body).await;

    for (story, other) in [
        ("no coupon", order(1, &[(1, 1)])),
        ("another coupon", order_with(1, &[(1, 1)], 1)),
        ("another quantity", order_with(1, &[(1, 2)], 2)),
    ] {
        table.refuses(story, other.under("k"), "idempotency_key_reused").await;
    }
    let theirs = order(2, &[(2, 1)]).under("k");
    places(table, "the key of another user", theirs, paid(2, json!([line(2, 1, 0)]), 0, 0)).await;
}

async fn lists(table: &mut Table) {
    table.app.drain_events().await;
    let path = "/users/1/orders";
    let whole = table.app.get(path).await;
    let mut looked_up = Vec::new();
    for order in whole.entries() {
        looked_up.push(table.app.get(&format!("/orders/{}", order["orderId"])).await.body);
    }
    assert_eq!(looked_up.len(), 6, "{looked_up:?}");
    table.gives("each as it is looked up", Request::get(path), 200, json!(looked_up)).await;
    table.gives("all are paid", Request::get(format!("{path}?status=paid")), 200, json!(looked_up)).await;
    for status in ["pending", "cancelled", "expired", "refunded"] {
        table.gives("none of these", Request::get(format!("{path}?status={status}")), 200, json!([])).await;
    }
    for limit in [1, 2, 5, 6] {
        assert_eq!(table.pages(path, "", limit).await, looked_up);
        assert_eq!(table.pages(path, "&status=paid", limit).await, looked_up);
    }
    for status in ["", "Paid", "done"] {
        table.invalid("no status", Request::get(format!("{path}?status={status}")), "status").await;
    }
    table.app.user_with(8, 0).await;
    table.gives("no order yet", Request::get("/users/8/orders"), 200, json!([])).await;
    table.refuses("a user nobody made", Request::get("/users/99/orders"), "user_not_found").await;
    // An order of this cell that never was, and one of a cell that there is not.
    for order in [1_048_576_u64, 9_007_199_254_740_991] {
        table
            .refuses("an order nobody placed", Request::get(format!("/orders/{order}")), "order_not_found")
            .await;
    }
}
