//! Orders that are placed now and paid later: what they take at once, and what they are told. The refusals are those
//! of orders that are paid at once, and are tried together with them.

use serde_json::{Value, json};

use super::endings::{cancel, refund};
use super::orders::{CALLS, line};
use super::payments::{paid, pay, pays};
use super::{Request, Table, changed, issue, order, order_with, set_campaign, set_product};
use crate::test_app::{Answer, TestApp};

/// The same order, to be paid later.
pub fn to_pay_later(request: &Request) -> Request {
    request.clone().changing(&json!({"payment": "later"}))
}

/// An order to be paid later; each item is product, quantity.
pub fn later(user: u64, items: &[(u64, u64)]) -> Request {
    to_pay_later(&order(user, items))
}

/// The same with a coupon.
pub fn later_with(user: u64, items: &[(u64, u64)], coupon: u64) -> Request {
    to_pay_later(&order_with(user, items, coupon))
}

/// Places an order as a matter of course.
pub async fn placed(app: &TestApp, request: Request) -> Value {
    let answer = request.accepting(app, None).await;
    assert_eq!(answer.status, 201, "{request}: {answer:?}");
    answer.body
}

/// A pending order without a coupon, as it is answered and as it is shown.
fn pending(user: u64, items: Value, total: u64) -> Value {
    json!({"orderId": "~id", "userId": user, "status": "pending", "items": items, "total": total, "discount": 0,
        "paid": 0, "placedAt": "~time", "expiresAt": "~time"})
}

/// Places an order for later. Goal: the answer, its place, ten minutes to pay, and the same when it is looked up.
async fn places(table: &mut Table, story: &str, request: Request, order: Value) -> Answer {
    let answer = table.gives_with(story, request, 201, &[("location", "*")], order).await;
    let path = format!("/orders/{}", answer.body["orderId"]);
    assert_eq!(answer.header("location"), Some(path.as_str()), "{story}");
    let [placed_at, expires_at] = ["placedAt", "expiresAt"].map(|it| at_ms(&answer.body[it]));
    assert_eq!(expires_at - placed_at, 10 * 60 * 1_000, "{story}");
    table.gives(story, Request::get(path), 200, answer.body.clone()).await;
    answer
}

fn at_ms(time: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap().timestamp_millis()
}

/// Goal: an order for later takes stock and coupon at once, and no money.
#[tokio::test]
async fn an_order_for_later_takes_stock_and_coupon_but_no_money() {
    let mut table = Table::of(CALLS).await;
    table.app.user_with(1, 500).await;
    table.app.user_with(2, 0).await;
    table.app.product_with(1, 1_000, 10).await;
    table.app.product_with(2, 0, 10).await;
    let shirt = json!({"name": "Shirt", "options": [
        {"id": 1, "name": "S", "price": 10, "stock": 2}, {"id": 2, "name": "L", "price": 20, "stock": 9}]});
    set_product(&table.app, 3, shirt).await;
    for (coupon, discount) in
        [(1, json!({"kind": "fixed", "value": 300})), (2, json!({"kind": "percent", "value": 100}))]
    {
        set_campaign(&table.app, coupon, json!({"discount": discount})).await;
        issue(&table.app, 1, coupon).await;
    }
    places(
        &mut table,
        "more than the wallet has",
        later(1, &[(1, 2)]),
        pending(1, json!([line(1, 2, 1_000)]), 2_000),
    )
    .await;
    places(&mut table, "for nothing", later(2, &[(2, 3)]), pending(2, json!([line(2, 3, 0)]), 0)).await;
    let twice = pending(2, json!([line(2, 3, 0), line(1, 1, 1_000)]), 1_000);
    places(&mut table, "an item twice", later(2, &[(2, 1), (1, 1), (2, 2)]), twice).await;
    let items = json!([{"productId": 3, "optionId": 2, "quantity": 2}, {"productId": 3, "optionId": 1, "quantity": 1}]);
    let request =
        Request::post("/orders", json!({"userId": 1, "items": items, "couponId": null, "payment": "later"}));
    let lines = json!([{"productId": 3, "optionId": 2, "quantity": 2, "unitPrice": 20},
        {"productId": 3, "optionId": 1, "quantity": 1, "unitPrice": 10}]);
    places(&mut table, "options", request, pending(1, lines, 50)).await;
    let items = json!([line(1, 1, 1_000)]);
    let one = pending(1, items.clone(), 1_000);
    let fixed = changed(one.clone(), json!({"couponId": 1, "discount": 300}));
    places(&mut table, "a coupon", later_with(1, &[(1, 1)], 1), fixed).await;
    let free = changed(one.clone(), json!({"couponId": 2, "discount": 1_000}));
    places(&mut table, "a coupon over all of it", later_with(1, &[(1, 1)], 2), free).await;
    assert_eq!((table.app.balance(1).await, table.app.stock(1).await, table.app.stock(3).await), (500, 5, 8));
    // Nothing was sold, and nobody paid.
    table.app.drain().await;
    for source in ["ranking", "orders"] {
        assert_eq!(table.app.get(&format!("/products/top?source={source}")).await.body, json!([]));
    }
    assert_eq!(table.app.get("/users/1/balance/history").await.entries().len(), 1);
    assert_eq!(table.app.take_messages().await, Vec::<Value>::new());

    let replayed = [("location", "*"), ("idempotency-replayed", "true")];
    let request = later(1, &[(1, 1)]).under("k");
    let first = places(&mut table, "under a key", request.clone(), one).await.body;
    let again = table.gives_with("once more", request.clone(), 201, &replayed, first.clone()).await;
    assert_eq!(again.header("location"), Some(format!("/orders/{}", first["orderId"]).as_str()));
    let items = r#"[{"quantity":1,"optionId":null,"productId":1}]"#;
    let same = request
        .clone()
        .saying(format!(r#"{{"payment":"later","couponId":null,"items":{items},"userId":1}}"#));
    table.gives_with("written otherwise", same, 201, &replayed, first.clone()).await;
    for other in [order(1, &[(1, 1)]), later(1, &[(1, 2)]), later_with(1, &[(1, 1)], 1)] {
        table.refuses("another order", other.under("k"), "idempotency_key_reused").await;
    }
    // Told again as it was, whatever became of it.
    assert_eq!(cancel(&first).accepting(&table.app, None).await.status, 200);
    table.gives_with("cancelled since", request, 201, &replayed, first).await;
    let stock = json!({"productId": 1, "remaining": 5});
    table.refuses_with("more than is left", later(1, &[(1, 6)]), "out_of_stock", stock).await;
    table.finish().await;
}

/// Goal: a purchase limit counts pending and paid units of all options; what ends gives its units back.
#[tokio::test]
async fn a_purchase_limit_counts_pending_orders() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 1_000).await;
    table.app.user_with(2, 1_000).await;
    let shirt = json!({"name": "Shirt", "limitPerUser": 5, "options": [
        {"id": 1, "name": "S", "price": 10, "stock": 90}, {"id": 2, "name": "L", "price": 20, "stock": 90}]});
    set_product(&table.app, 1, shirt.clone()).await;
    let of = |user: u64, option: u64, quantity: u64, payment: &str| {
        let items = json!([{"productId": 1, "optionId": option, "quantity": quantity}]);
        Request::post("/orders", json!({"userId": user, "items": items, "payment": payment}))
    };
    let left =
        |option: u64, remaining: u64| json!({"productId": 1, "optionId": option, "remaining": remaining});
    let over = "purchase_limit_exceeded";
    let three = placed(&table.app, of(1, 1, 3, "later")).await;
    for payment in ["now", "later"] {
        table.refuses_with("pending units count", of(1, 2, 3, payment), over, left(2, 2)).await;
    }
    let two = placed(&table.app, of(1, 2, 2, "later")).await;
    table.refuses_with("none is left", of(1, 1, 1, "later"), over, left(1, 0)).await;
    placed(&table.app, of(2, 1, 5, "now")).await;
    pays(&mut table, "the three", pay(&three), paid(&three, 970)).await;
    table.refuses_with("paid ones count", of(1, 1, 1, "now"), over, left(1, 0)).await;
    assert_eq!(cancel(&two).accepting(&table.app, None).await.status, 200);
    table.refuses_with("cancelled ones do not", of(1, 1, 3, "now"), over, left(1, 2)).await;
    assert_eq!(refund(&three).accepting(&table.app, None).await.status, 200);
    table.refuses_with("nor do refunded ones", of(1, 1, 6, "now"), over, left(1, 5)).await;
    let four = placed(&table.app, of(1, 1, 4, "now")).await;
    // A smaller limit is no reason against what was placed before.
    let last = placed(&table.app, of(1, 2, 1, "later")).await;
    set_product(&table.app, 1, changed(shirt.clone(), json!({"limitPerUser": 2}))).await;
    table.refuses_with("far over it", of(1, 1, 1, "now"), over, left(1, 0)).await;
    pays(&mut table, "placed before", pay(&last), paid(&last, 940)).await;
    for order in [four, last] {
        assert_eq!(refund(&order).accepting(&table.app, None).await.status, 200);
    }
    table.refuses_with("nothing counts", of(1, 1, 3, "later"), over, left(1, 2)).await;
    table.finish().await;
}

/// Goal: what an order costs and holds is settled when it is placed; its products may change, or go.
#[tokio::test]
async fn a_pending_order_outlives_changes_of_its_products() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 10_000).await;
    let priced =
        |price: u64, stock: u64| json!({"name": "Mug", "price": price, "stock": stock, "limitPerUser": 5});
    for product in [1, 2] {
        set_product(&table.app, product, priced(1_000, 10)).await;
    }
    let two_sizes = |more: Value| {
        changed(
            json!({"name": "Shirt", "options": [
        {"id": 1, "name": "S", "price": 10, "stock": 5}, {"id": 2, "name": "L", "price": 20, "stock": 5}]}),
            more,
        )
    };
    set_product(&table.app, 3, two_sizes(json!({}))).await;
    let both = placed(&table.app, later(1, &[(1, 1), (2, 1)])).await;
    set_product(&table.app, 1, priced(1_500, 10)).await;
    set_product(&table.app, 2, priced(1, 10)).await;
    let told = pays(&mut table, "the old prices", pay(&both), paid(&both, 8_000)).await.body;
    assert_eq!(told["items"], json!([line(1, 1, 1_000), line(2, 1, 1_000)]));
    let delete = async |table: &Table, product: u64| {
        let deleted = Request::delete(format!("/admin/products/{product}")).accepting(&table.app, None).await;
        assert_eq!(deleted.status, 204);
    };
    // One that is paid and refunded, one that is cancelled; product 2 goes.
    let first = placed(&table.app, later(1, &[(1, 1), (2, 2)])).await;
    let second = placed(&table.app, later(1, &[(2, 2)])).await;
    delete(&table, 2).await;
    table.refuses_with("it is gone", later(1, &[(2, 1)]), "product_not_found", json!({"productId": 2})).await;
    for order in [&first, &second] {
        let path = format!("/orders/{}", order["orderId"]);
        table.gives("orders keep it", Request::get(path), 200, order.clone()).await;
    }
    let told = pays(&mut table, "with a product that is gone", pay(&first), paid(&first, 6_498)).await.body;
    let cancelled = changed(second.clone(), json!({"status": "cancelled", "cancelledAt": "~time"}));
    table.gives("of a product that is gone", cancel(&second), 200, cancelled).await;
    let refunded = changed(told, json!({"status": "refunded", "refundedAt": "~time", "balance": 8_000}));
    table.gives("of a product that is gone", refund(&first), 200, refunded).await;
    assert_eq!(table.app.stock(1).await, 9);
    table.refuses("it is gone", Request::get("/products/2"), "product_not_found").await;

    // One that is listed again counts anew: what was bought of the first one's takes nothing from its limit.
    let [bought, pending] =
        [placed(&table.app, order(1, &[(1, 2)])).await, placed(&table.app, later(1, &[(1, 2)])).await];
    delete(&table, 1).await;
    set_product(&table.app, 1, priced(1_000, 10)).await;
    placed(&table.app, later(1, &[(1, 4)])).await;
    assert_eq!(cancel(&pending).accepting(&table.app, None).await.status, 200);
    assert_eq!(refund(&bought).accepting(&table.app, None).await.status, 200);
    let left = json!({"productId": 1, "remaining": 1});
    table.refuses_with("four count", later(1, &[(1, 2)]), "purchase_limit_exceeded", left).await;

    // An option that is left out, and comes back.
    let items = json!([{"productId": 3, "optionId": 1, "quantity": 2}]);
    let shirts = Request::post("/orders", json!({"userId": 1, "items": items, "payment": "later"}));
    let paid_later = placed(&table.app, shirts.clone()).await;
    let given_up = placed(&table.app, shirts).await;
    let only_large = json!({"options": [{"id": 2, "name": "L", "price": 20}]});
    set_product(&table.app, 3, two_sizes(only_large)).await;
    pays(&mut table, "an option that is gone", pay(&paid_later), paid(&paid_later, 7_980)).await;
    assert_eq!(cancel(&given_up).accepting(&table.app, None).await.status, 200);
    assert_eq!(refund(&paid_later).accepting(&table.app, None).await.status, 200);
    assert_eq!((table.app.stock(3).await, table.app.balance(1).await), (5, 8_000));
    table.finish().await;
}
