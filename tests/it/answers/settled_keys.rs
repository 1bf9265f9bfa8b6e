//! Keys of what becomes of an order: a replay has the first answer, whatever became of the order since, and wherever
//! it is by then.

use serde_json::{Value, json};

use super::anywhere::{leave_redis, settle};
use super::endings::{cancel, cancelled, refund, refunded};
use super::held_coupons::{release, released};
use super::payments::{paid, pay, pay_with};
use super::pending::{later, later_with, placed};
use super::{Request, Table, changed, issue, order, set_campaign};
use crate::test_app::TestApp;

/// A request and what it was told the first time.
struct First {
    story: &'static str,
    request: Request,
    status: u16,
    body: Value,
}

impl First {
    /// Asks for the first time.
    async fn of(table: &mut Table, story: &'static str, request: Request, status: u16, body: Value) -> Self {
        let location: &[_] = if status == 201 { &[("location", "*")] } else { &[] };
        let body = table.gives_with(story, request.clone(), status, location, body).await.body;
        Self { story, request, status, body }
    }
}

/// Goal: every replay has the first answer's status and body; before and after the order has left Redis.
#[tokio::test]
async fn a_replay_has_the_first_answer_whatever_became_of_the_order() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 10_000).await;
    table.app.user_with(2, 10_000).await;
    table.app.product_with(1, 1_000, 100).await;
    for coupon in [1, 2, 3] {
        set_campaign(&table.app, coupon, json!({})).await;
        issue(&table.app, 1, coupon).await;
    }
    let items = json!([{"productId": 1, "quantity": 1, "unitPrice": 1_000}]);
    let pending = json!({"orderId": "~id", "userId": 1, "status": "pending", "items": items, "total": 1_000,
        "discount": 0, "paid": 0, "placedAt": "~time", "expiresAt": "~time"});
    let with = |coupon: u64| json!({"couponId": coupon, "discount": 300});
    let t = &mut table;
    let mut firsts = Vec::new();
    // Placed, paid with another coupon, refunded.
    let place = later_with(1, &[(1, 1)], 1).under("place a");
    let a = First::of(t, "placed", place, 201, changed(pending.clone(), with(1))).await;
    let told = paid(&changed(a.body.clone(), with(2)), 9_300);
    let payment = First::of(t, "paid", pay_with(&a.body, 2).under("pay a"), 200, told).await;
    let told = refunded(&payment.body, 10_000);
    let end = First::of(t, "refunded", refund(&a.body).under("refund a"), 200, told).await;
    firsts.extend([a, payment, end]);
    // Placed, let go of its coupon, cancelled.
    let place = later_with(1, &[(1, 1)], 3).under("place b");
    let b = First::of(t, "placed", place, 201, changed(pending.clone(), with(3))).await;
    let told = released(&b.body, 3);
    let let_go = First::of(t, "let go of", release(&b.body, 3).under("release b"), 200, told).await;
    let bare = changed(b.body.clone(), json!({"couponId": null, "discount": 0}));
    let end = First::of(t, "cancelled", cancel(&b.body).under("cancel b"), 200, cancelled(&bare)).await;
    firsts.extend([b, let_go, end]);
    // Paid at once, refunded. And one that stays as it is.
    let bought =
        json!({"status": "paid", "paid": 1_000, "expiresAt": null, "paidAt": "~time", "balance": 9_000});
    let place = order(1, &[(1, 1)]).under("place c");
    let c = First::of(t, "bought", place, 201, changed(pending.clone(), bought)).await;
    let told = refunded(&c.body, 10_000);
    let end = First::of(t, "refunded", refund(&c.body).under("refund c"), 200, told).await;
    firsts.extend([c, end]);
    let place = later(1, &[(1, 1)]).under("place d");
    let d = First::of(t, "placed", place, 201, pending).await;
    let told = paid(&d.body, 9_000);
    let payment = First::of(t, "paid", pay(&d.body).under("pay d"), 200, told).await;
    firsts.extend([d, payment]);
    // User 2 has orders, and one of these keys.
    let theirs = placed(&table.app, later(2, &[(1, 1)]).under("place a")).await;
    let their_end = cancel(&theirs).under("pay a");

    for place in ["in Redis", "in MySQL"] {
        for First { story, request, status, body } in &firsts {
            let story = format!("{story}, {place}");
            let location: &[_] = if *status == 201 { &[("location", "*")] } else { &[] };
            let headers = [location, &[("idempotency-replayed", "true")]].concat();
            table.gives_with(&story, request.clone(), *status, &headers, body.clone()).await;
        }
        // Each key with each other request of that user's orders.
        let orders = [&firsts[0].body, &firsts[3].body, &firsts[6].body, &firsts[8].body];
        for key in ["place a", "pay a", "refund a", "release b", "cancel b", "place c", "pay d"] {
            for order in orders {
                for request in
                    [pay(order), pay_with(order, 3), cancel(order), refund(order), release(order, 1)]
                {
                    let same = |it: &First| it.request.to_string() == request.to_string();
                    if !firsts.iter().any(|it| it.request.is_under(key) && same(it)) {
                        table.refuses(place, request.under(key), "idempotency_key_reused").await;
                    }
                }
            }
        }
        if place == "in Redis" {
            leave_redis(&mut table.app).await;
        }
    }
    table.gives("the key of another user", their_end.clone(), 200, cancelled(&theirs)).await;
    let replayed = [("idempotency-replayed", "true")];
    table.gives_with("theirs again", their_end, 200, &replayed, cancelled(&theirs)).await;
    table.finish().await;
}

/// Goal: one key is of one request: neither white space nor the order of fields, but the path and each value.
#[tokio::test]
async fn a_key_is_of_one_request_on_one_order() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 10_000).await;
    table.app.product_with(1, 1_000, 100).await;
    set_campaign(&table.app, 1, json!({})).await;
    issue(&table.app, 1, 1).await;
    let [a, b, c] = [
        placed(&table.app, later(1, &[(1, 1)])).await,
        placed(&table.app, later(1, &[(1, 1)])).await,
        placed(&table.app, later(1, &[(1, 1)])).await,
    ];
    let replayed = [("idempotency-replayed", "true")];
    let first = table.gives("paid", pay(&a).under("k"), 200, paid(&a, 9_000)).await.body;
    let id = &a["orderId"];
    for same in [format!(r#"{{ "orderId" : {id} }}"#), format!(r#"{{"couponId":null,"orderId":{id}}}"#)] {
        let same = pay(&a).saying(same).under("k");
        table.gives_with("written otherwise", same, 200, &replayed, first.clone()).await;
    }
    let charge = Request::post("/users/1/balance", json!({"amount": 5}));
    for other in [
        pay_with(&a, 1),
        pay(&b),
        cancel(&a),
        refund(&a),
        cancel(&b),
        release(&a, 1),
        charge,
        order(1, &[(1, 1)]),
    ] {
        table.refuses("another request", other.under("k"), "idempotency_key_reused").await;
    }
    let with_coupon = pay_with(&b, 1).under("l");
    let told = paid(&changed(b.clone(), json!({"couponId": 1, "discount": 300})), 8_300);
    let first = table.gives("paid with a coupon", with_coupon.clone(), 200, told).await.body;
    let turned = format!(r#"{{"couponId":1,"orderId":{}}}"#, b["orderId"]);
    table.gives_with("turned round", with_coupon.saying(turned), 200, &replayed, first).await;
    table.refuses("without it", pay(&b).under("l"), "idempotency_key_reused").await;

    // What was refused leaves its key free: for itself, and for another request.
    table.refuses("not paid", refund(&c).under("free"), "order_not_refundable").await;
    table.refuses("not held", release(&c, 1).under("free"), "coupon_not_found").await;
    let reason = json!({"reason": "used"});
    table.refuses_with("used", pay_with(&c, 1).under("free"), "invalid_coupon", reason).await;
    table.refuses("paid", cancel(&a).under("free"), "order_not_cancellable").await;
    table.gives("free", cancel(&c).under("free"), 200, cancelled(&c)).await;
    table.refuses("taken", pay(&c).under("free"), "idempotency_key_reused").await;
    table.finish().await;
}

/// A paid order is paid once more, under a key of its own. Goal: the key is that request's from then on, wherever the order
/// is; and after a rebuild.
#[tokio::test]
async fn a_further_payment_has_its_key_too() {
    let mut table = Table::on(TestApp::start().await);
    table.app.user_with(1, 10_000).await;
    table.app.product_with(1, 1_000, 100).await;
    let bought = placed(&table.app, order(1, &[(1, 1)])).await;
    let pending = placed(&table.app, later(1, &[(1, 1)])).await;
    let settled = table.gives("paid", pay(&pending), 200, paid(&pending, 8_000)).await.body;
    let replayed = [("idempotency-replayed", "true")];
    let mut keyed = Vec::new();
    for place in ["in Redis", "in MySQL", "after a rebuild"] {
        for (kind, body) in [("bought", &bought), ("settled", &settled)] {
            let key = format!("{place}, {kind}");
            keyed.push((key.clone(), body));
            let request = pay(body).under(&key);
            table.gives("once more", request.clone(), 200, body.clone()).await;
            table.gives_with("and again", request, 200, &replayed, body.clone()).await;
        }
        settle(&table.app).await;
        for (key, body) in &keyed {
            let other = if body["orderId"] == bought["orderId"] { &settled } else { &bought };
            table.gives_with(place, pay(body).under(key), 200, &replayed, (*body).clone()).await;
            for request in [pay(other), pay_with(body, 1), refund(body), order(1, &[(1, 1)])] {
                table.refuses(place, request.under(key), "idempotency_key_reused").await;
            }
        }
        match place {
            "in Redis" => leave_redis(&mut table.app).await,
            "in MySQL" => {
                table.app.drain_events().await;
                table.app.redis.flush_all().await;
                table.app.wait_until_all_sell().await;
            }
            _ => {}
        }
    }
    assert_eq!(table.app.count("SELECT COUNT(*) FROM payments").await, 2);
    table.finish().await;
}
