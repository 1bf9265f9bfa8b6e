//! Coupons in orders: when one is valid, what it takes off, and which refusal is told first.

use serde_json::{Value, json};

use super::orders::CALLS;
use super::pending::{placed, to_pay_later};
use super::{
    FUTURE, PAST, Request, Table, changed, claim, issue, order, order_with, set_campaign, set_product,
};

/// Why a coupon is not valid.
pub const REASONS: [&str; 5] = ["not_issued", "held", "used", "expired", "below_minimum"];

/// Goal: a coupon is refused for every reason there is, and told why; the user keeps it.
#[tokio::test]
async fn an_invalid_coupon_is_told_why() {
    let mut table = Table::of(CALLS).await;
    table.app.product_with(1, 1_000, 100).await;
    for user in [1, 2] {
        table.app.user_with(user, 100_000).await;
    }
    for (coupon, changes) in [
        (1, json!({})),
        (2, json!({})),
        (3, json!({"expiresAt": PAST})),
        (4, json!({"minOrderAmount": 2_001})),
        (5, json!({"minOrderAmount": 2_000})),
        (7, json!({})),
    ] {
        set_campaign(&table.app, coupon, changes).await;
    }
    for coupon in [1, 3, 4, 5, 7] {
        issue(&table.app, 1, coupon).await;
    }
    issue(&table.app, 2, 2).await;
    placed(&table.app, to_pay_later(&order_with(1, &[(1, 1)], 7))).await;
    let bought = order_with(1, &[(1, 1)], 1).accepting(&table.app, None).await;
    assert_eq!(bought.body["discount"], 300, "{bought:?}");

    let two = &[(1, 2)];
    let cases = [
        ("not_issued", "a campaign nobody opened", order_with(1, two, 99)),
        ("not_issued", "another user's", order_with(1, two, 2)),
        ("not_issued", "the other user's", order_with(2, two, 1)),
        ("held", "another order has it", order_with(1, two, 7)),
        ("used", "used before", order_with(1, two, 1)),
        ("expired", "its time is over", order_with(1, two, 3)),
        ("below_minimum", "one short of the minimum", order_with(1, two, 4)),
    ];
    for reason in REASONS {
        assert!(cases.iter().any(|it| it.0 == reason), "no case for {reason}");
    }
    for (reason, story, request) in cases {
        for request in [to_pay_later(&request), request] {
            table.refuses_with(story, request, "invalid_coupon", json!({"reason": reason})).await;
        }
    }

    // The minimum met exactly; and each user's own, which the refusals left alone.
    for (user, coupon) in [(1, 5), (2, 2)] {
        let order = order_with(user, two, coupon).accepting(&table.app, None).await;
        assert_eq!(
            (&order.body["discount"], &order.body["couponId"]),
            (&json!(300), &json!(coupon)),
            "{order:?}"
        );
    }
    // What was refused only for the campaign's sake is valid once the campaign says so.
    for (coupon, changes) in [(3, json!({"expiresAt": FUTURE})), (4, json!({"minOrderAmount": 2_000}))] {
        set_campaign(&table.app, coupon, changes).await;
        let order = order_with(1, two, coupon).accepting(&table.app, None).await;
        assert_eq!(order.body["paid"], 1_700, "{order:?}");
    }
    // And the other way round: one that was issued while it was still valid.
    issue(&table.app, 2, 5).await;
    set_campaign(&table.app, 5, json!({"expiresAt": PAST, "quantity": 2})).await;
    let over = json!({"reason": "expired"});
    table.refuses_with("its time was cut short", order_with(2, two, 5), "invalid_coupon", over).await;
    // No coupon of a claim that was refused.
    set_campaign(&table.app, 6, json!({"quantity": 0})).await;
    assert_eq!(claim(1, 6).accepting(&table.app, None).await.code(), "coupon_sold_out");
    let none = json!({"reason": "not_issued"});
    table.refuses_with("never had", order_with(1, two, 6), "invalid_coupon", none).await;
    table.finish().await;
}

/// Goal: what is taken off is exact, rounded down, capped, and never more than the total.
#[tokio::test]
async fn a_discount_covers_the_whole_order_and_never_more() {
    let mut table = Table::of(CALLS).await;
    let (fixed, percent) = (
        |value: u64| json!({"kind": "fixed", "value": value}),
        |value: u64| json!({"kind": "percent", "value": value}),
    );
    let capped = |value: u64, cap: u64| json!({"kind": "percent", "value": value, "maxAmount": cap});
    // Discount, price and quantity of one item, what is taken off.
    let cases = [
        ("fixed", fixed(300), (1_000, 2), 300),
        ("fixed, the total exactly", fixed(2_000), (1_000, 2), 2_000),
        ("fixed, one less", fixed(1_999), (1_000, 2), 1_999),
        ("fixed above the total", fixed(9_999_999_999_999), (1_000, 2), 2_000),
        ("fixed off nothing", fixed(300), (0, 5), 0),
        ("percent", percent(10), (1_000, 2), 200),
        ("percent of the whole order, not of each unit", percent(1), (50, 3), 1),
        ("percent rounded down", percent(15), (333, 1), 49),
        ("percent rounded down, from just below", percent(33), (299, 1), 98),
        ("percent rounded down to nothing", percent(1), (99, 1), 0),
        ("1 percent of a hundred", percent(1), (100, 1), 1),
        ("99 percent of one", percent(99), (1, 1), 0),
        ("all of it", percent(100), (777, 3), 2_331),
        ("all of nothing", percent(100), (0, 1), 0),
        ("a cap above", capped(50, 501), (1_000, 1), 500),
        ("a cap met", capped(50, 500), (1_000, 1), 500),
        ("a cap below", capped(50, 499), (1_000, 1), 499),
        ("a cap above the total", capped(100, 9_999), (1_000, 1), 1_000),
        ("percent of much", percent(33), (1_000_000_000, 9), 2_970_000_000),
        ("all but a little of much", percent(99), (999_999_999, 9), 8_909_999_991),
    ];
    for ((story, discount, (price, quantity), off), id) in cases.into_iter().zip(1_u64..) {
        table.app.product_with(id, price, 1_000).await;
        table.app.user_with(id, 0).await;
        set_campaign(&table.app, id, json!({"discount": discount})).await;
        issue(&table.app, id, id).await;
        // To the last unit of money that it costs: one less does not do.
        let paid = price as u64 * quantity - off;
        let request = order_with(id, &[(id, quantity)], id);
        let mut left = paid.saturating_sub(1);
        while left > 0 {
            let amount = left.min(1_000_000_000);
            let charge = table.app.post(&format!("/users/{id}/balance"), json!({"amount": amount})).await;
            assert_eq!(charge.status, 201, "{story}: {charge:?}");
            left -= amount;
        }
        if paid > 0 {
            table.refuses(story, request.clone(), "insufficient_balance").await;
            table.app.post(&format!("/users/{id}/balance"), json!({"amount": 1})).await;
        }
        let total = price as u64 * quantity;
        let order = json!({"orderId": "~id", "userId": id, "status": "paid", "couponId": id, "total": total,
            "discount": off, "paid": paid, "placedAt": "~time", "paidAt": "~time", "balance": 0,
            "items": [{"productId": id, "quantity": quantity, "unitPrice": price}]});
        super::orders::places(&mut table, story, request, order).await;
    }
    table.finish().await;
}

/// Two items of different products. Goal: the discount is of their sum, and of what the campaign says now.
#[tokio::test]
async fn a_changed_discount_applies_to_issues_not_yet_used() {
    let mut table = Table::of(CALLS).await;
    table.app.product_with(1, 150, 10).await;
    table.app.product_with(2, 150, 10).await;
    set_campaign(&table.app, 1, json!({"discount": {"kind": "percent", "value": 1}})).await;
    for user in [1, 2, 3] {
        table.app.user_with(user, 1_000).await;
        issue(&table.app, user, 1).await;
    }
    let buy = async |user: u64| order_with(user, &[(1, 1), (2, 1)], 1).accepting(&table.app, None).await.body;
    let first = buy(1).await;
    assert_eq!((&first["discount"], &first["paid"]), (&json!(3), &json!(297)), "{first}");
    set_campaign(&table.app, 1, json!({"discount": {"kind": "percent", "value": 50, "maxAmount": 100}}))
        .await;
    assert_eq!(buy(2).await["discount"], 100);
    set_campaign(&table.app, 1, json!({"discount": {"kind": "fixed", "value": 7}})).await;
    assert_eq!(buy(3).await["discount"], 7);
    let path = format!("/orders/{}", first["orderId"]);
    let placed = changed(first, json!({"balance": null}));
    table.gives("an order keeps its discount", Request::get(path), 200, placed).await;
    assert_eq!(table.app.balance(1).await, 703);
    table.finish().await;
}

/// What an order is told, in the contract's order. A product, and an option of it that is missing, share a place.
const ORDER: [&str; 9] = [
    "invalid_request",
    "idempotency_key_reused",
    "user_not_found",
    "product_not_found",
    "sale_not_open",
    "purchase_limit_exceeded",
    "out_of_stock",
    "invalid_coupon",
    "insufficient_balance",
];

/// Goal: of two refusals that both apply, the first is told: for one item, and where the second one's item comes
/// before the first one's.
#[tokio::test]
async fn of_two_refusals_of_an_order_the_first_is_told() {
    let mut table = Table::of(CALLS).await;
    let app = &table.app;
    let limited = |window: &str, stock: u64| json!({"name": "A", "price": 1_000, "stock": stock, "limitPerUser": 2, window: PAST});
    // 1 and 5: over, at most 2 a user; 2 and 6: on sale, at most 2; of 1, 2 and 3 none is left. 4: too dear.
    // 7: over, none left, and an option to be named. 8: nothing wrong with it.
    set_product(app, 1, limited("saleEndsAt", 0)).await;
    set_product(app, 2, limited("saleStartsAt", 0)).await;
    app.product_with(3, 1_000, 0).await;
    app.product_with(4, 1_000, 10).await;
    set_product(app, 5, limited("saleEndsAt", 10)).await;
    set_product(app, 6, limited("saleStartsAt", 10)).await;
    let shirt = json!({"name": "Shirt", "saleEndsAt": PAST, "options": [{"id": 1, "name": "S", "price": 1, "stock": 0}]});
    set_product(app, 7, shirt).await;
    app.user_with(1, 10).await;
    app.product_with(8, 1, 10).await;
    assert_eq!(order(1, &[(8, 1)]).under("used").accepting(app, None).await.status, 201);

    let about = |product: u64| json!({"productId": product});
    let left = |product: u64, remaining: u64| json!({"productId": product, "remaining": remaining});
    let at = |pointer: &str| json!({"errors": [{"pointer": pointer, "detail": "~text"}]});
    let (not_issued, none) = (json!({"reason": "not_issued"}), json!({}));
    // First, second, request, members. Coupon 9 is not issued; user 1 has 9, user 99 is nobody.
    let cases: [(&str, &str, Request, Value); 16] = [
        (
            "invalid_request",
            "idempotency_key_reused",
            order(1, &[(8, 0)]).under("used"),
            at("#/items/0/quantity"),
        ),
        // A key is of a user, so that a user whom nobody made has none: the pair is tried with what comes next.
        ("idempotency_key_reused", "product_not_found", order(1, &[(99, 1)]).under("used"), none.clone()),
        ("idempotency_key_reused", "insufficient_balance", order(1, &[(4, 1)]).under("used"), none.clone()),
        ("user_not_found", "product_not_found", order(99, &[(99, 1)]), none.clone()),
        ("product_not_found", "sale_not_open", order(1, &[(5, 1), (99, 1)]), about(99)),
        ("invalid_request", "sale_not_open", order(1, &[(5, 1), (7, 1)]), at("#/items/1/optionId")),
        ("user_not_found", "invalid_request", order(99, &[(7, 1)]), none.clone()),
        ("sale_not_open", "purchase_limit_exceeded", order(1, &[(5, 3)]), about(5)),
        ("sale_not_open", "purchase_limit_exceeded", order(1, &[(6, 3), (5, 1)]), about(5)),
        ("purchase_limit_exceeded", "out_of_stock", order(1, &[(2, 3)]), left(2, 2)),
        ("purchase_limit_exceeded", "out_of_stock", order(1, &[(3, 1), (6, 3)]), left(6, 2)),
        ("out_of_stock", "invalid_coupon", order_with(1, &[(3, 1)], 9), left(3, 0)),
        ("out_of_stock", "invalid_coupon", order_with(1, &[(4, 1), (3, 1)], 9), left(3, 0)),
        ("invalid_coupon", "insufficient_balance", order_with(1, &[(4, 1)], 9), not_issued),
        ("sale_not_open", "out_of_stock", order(1, &[(1, 3)]), about(1)),
        ("out_of_stock", "insufficient_balance", order(1, &[(4, 1), (3, 1)]), left(3, 0)),
    ];
    for pair in ORDER.windows(2) {
        let told = cases.iter().any(|it| [it.0, it.1] == *pair);
        let cannot_meet = *pair == ["idempotency_key_reused", "user_not_found"];
        assert!(told || cannot_meet, "no case for {pair:?}");
    }
    for (first, second, request, members) in cases {
        let story = format!("{first} before {second}");
        table.refuses_with(&story, to_pay_later(&request), first, members.clone()).await;
        table.refuses_with(&story, request, first, members).await;
    }
    // Each second one does apply, where the first does not.
    table.refuses_with("a product", order(1, &[(99, 1)]), "product_not_found", about(99)).await;
    table.refuses_with("a window", order(1, &[(5, 1)]), "sale_not_open", about(5)).await;
    table.refuses_with("a limit", order(1, &[(6, 3)]), "purchase_limit_exceeded", left(6, 2)).await;
    table.refuses_with("a stock", order(1, &[(2, 2)]), "out_of_stock", left(2, 0)).await;
    let coupon = json!({"reason": "not_issued"});
    table.refuses_with("a coupon", order_with(1, &[(8, 1)], 9), "invalid_coupon", coupon).await;
    table.refuses("a balance", order(1, &[(4, 1)]), "insufficient_balance").await;
    table.finish().await;
}
