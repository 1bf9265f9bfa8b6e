//! Promise: of two requests about one order or one coupon at the same time one wins, the other is told so in the
//! contract's words, and money, stock and coupons add up afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{join, join_all};
use futures::{Future, StreamExt, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::pending_orders::{later, own_coupon, pay, place};
use super::test_app::{Answer, TestApp, eventually};

/// How often each race is run; each time by another user.
const ROUNDS: u64 = 200;

/// Rounds at the same time.
const AT_ONCE: usize = 8;

const PRICE: i64 = 100;
const MONEY: i64 = 1_000;

/// Sends two requests at once; each is the first to leave in half of the rounds.
async fn at_once<A, B>(round: u64, a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    if round.is_multiple_of(2) {
        join(a, b).await
    } else {
        let (b, a) = join(b, a).await;
        (a, b)
    }
}

/// Runs all rounds; how many of them the first request won.
async fn rounds<R: Future<Output = bool>>(round: impl Fn(u64) -> R) -> u64 {
    let won = stream::iter(1..=ROUNDS).map(round).buffer_unordered(AT_ONCE);
    won.filter(|it| std::future::ready(*it)).count().await as u64
}

/// A product that nobody can sell out, a user with money for each round, and campaigns 7 and 8.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    stock_up(&app).await;
    app
}

async fn stock_up(app: &TestApp) {
    let limited = json!({"name": "limited", "price": PRICE, "stock": 10 * ROUNDS, "limitPerUser": 2});
    assert_eq!(app.put("/admin/products/1", limited).await.status, StatusCode::CREATED);
    for (coupon, value) in [(7, 10), (8, 20)] {
        app.campaign(coupon, 2 * ROUNDS as i64, json!({"discount": {"kind": "fixed", "value": value}})).await;
    }
    let users = stream::iter(1..=ROUNDS).map(|user| app.user_with(user, MONEY));
    users.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn claim(app: &TestApp, user: u64, coupon: u64) -> Answer {
    app.post("/coupons", json!({"userId": user, "couponId": coupon})).await
}

async fn claimed(app: &TestApp, user: u64, coupon: u64) {
    let answer = claim(app, user, coupon).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

async fn cancel(app: &TestApp, order: u64) -> Answer {
    app.post(&format!("/orders/{order}/cancel"), json!({})).await
}

async fn refund(app: &TestApp, order: u64) -> Answer {
    app.post(&format!("/orders/{order}/refund"), json!({})).await
}

async fn status(app: &TestApp, order: u64) -> Value {
    app.get(&format!("/orders/{order}")).await.body["status"].clone()
}

fn is_refused(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
}

fn is_ok(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

/// What was paid and is not refunded has left the wallets and the stock, and nothing else has: in Redis and in MySQL.
async fn adds_up(app: &TestApp) {
    app.drain().await;
    let sold = app.count("SELECT COUNT(*) FROM orders WHERE status IN ('pending', 'paid')").await;
    let paid = app
        .count("SELECT CAST(COALESCE(SUM(total - discount), 0) AS SIGNED) FROM orders WHERE status = 'paid'")
        .await;
    let stock = 10 * ROUNDS as i64 - sold;
    let balances = ROUNDS as i64 * MONEY - paid;
    assert_eq!(app.count("SELECT CAST(SUM(balance) AS SIGNED) FROM wallets").await, balances);
    assert_eq!(app.count("SELECT CAST(SUM(remaining) AS SIGNED) FROM skus").await, stock);
    let held = stream::iter(1..=ROUNDS).map(|user| app.balance(user)).buffer_unordered(AT_ONCE);
    assert_eq!(held.fold(0, async |sum, it| sum + it).await, balances);
    assert_eq!(app.stock(1).await, stock);
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 0);
}

/// The deadline passes while 20 buyers pay, ten times. Goal: each order is paid or expired, as its buyer was told.
#[tokio::test]
async fn a_payment_meets_the_deadline() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    stock_up(&app).await;
    let (mut paid, mut late) = (0, 0);
    for round in 0..10u64 {
        let users: Vec<u64> = (round * 20 + 1..=round * 20 + 20).collect();
        let orders = join_all(users.iter().map(|user| place(&app, later(*user, 1, 1, None)))).await;
        let answered = AtomicU64::new(0);
        let lane = async |orders: &[u64]| {
            let mut answers = Vec::new();
            for order in orders {
                answers.push((*order, pay(&app, *order, None).await));
                answered.fetch_add(1, Ordering::SeqCst);
            }
            answers
        };
        let deadline = async {
            while answered.load(Ordering::SeqCst) < 2 + round {
                tokio::task::yield_now().await;
            }
            clock.advance_seconds(600);
            app.expire().await;
        };
        let (lanes, ()) = join(join_all(orders.chunks(5).map(lane)), deadline).await;
        for (order, answer) in lanes.into_iter().flatten() {
            if answer.status == StatusCode::OK {
                paid += 1;
                assert_eq!(status(&app, order).await, "paid");
            } else {
                late += 1;
                is_refused(&answer, StatusCode::CONFLICT, "order_not_payable");
                // Of one whose payment was late the worker may not have heard yet.
                while status(&app, order).await == "pending" {
                    app.expire().await;
                }
                assert_eq!(status(&app, order).await, "expired");
            }
        }
    }
    assert!(paid >= 20 && late >= 20, "{paid} paid, {late} too late");
    assert_eq!(paid + late, ROUNDS);
    adds_up(&app).await;
    app.finish().await;
}

/// Two payments at once, each with a coupon of its own. Goal: both are told of the one that was made, and the other
/// coupon is free.
#[tokio::test]
async fn two_payments_of_one_order_are_one() {
    let app = shop().await;
    let first_won = rounds(async |user| {
        let order = place(&app, later(user, 1, 1, None)).await;
        for coupon in [7, 8] {
            claimed(&app, user, coupon).await;
        }
        let (a, b) = at_once(user, pay(&app, order, Some(7)), pay(&app, order, Some(8))).await;
        is_ok(&a);
        assert_eq!(a.body, b.body);
        let seven = a.body["couponId"] == 7;
        let price = if seven { PRICE - 10 } else { PRICE - 20 };
        assert_eq!((&a.body["paid"], &a.body["balance"]), (&json!(price), &json!(MONEY - price)));
        // The list comes from MySQL, which may lag.
        let free = format!("/users/{user}/coupons?status=issued");
        let ids = async || {
            app.get(&free).await.entries().iter().map(|it| it["couponId"].clone()).collect::<Vec<_>>()
        };
        eventually!(ids().await == [if seven { 8 } else { 7 }]);
        seven
    })
    .await;
    assert!(first_won > 0 && first_won < ROUNDS, "{first_won}");
    adds_up(&app).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM payments").await, ROUNDS as i64);
    app.finish().await;
}

/// Goal: an order is cancelled or paid, never both.
#[tokio::test]
async fn a_cancellation_meets_a_payment() {
    let app = shop().await;
    let cancelled = rounds(async |user| {
        claimed(&app, user, 7).await;
        let order = place(&app, later(user, 1, 1, Some(7))).await;
        let (cancelled, paid) = at_once(user, cancel(&app, order), pay(&app, order, None)).await;
        let won = cancelled.status == StatusCode::OK;
        if won {
            is_refused(&paid, StatusCode::CONFLICT, "order_not_payable");
        } else {
            is_refused(&cancelled, StatusCode::CONFLICT, "order_not_cancellable");
            is_ok(&paid);
        }
        assert_eq!(status(&app, order).await, if won { "cancelled" } else { "paid" });
        let expected = if won { "issued" } else { "used" };
        eventually!(own_coupon(&app, user).await["status"] == expected);
        won
    })
    .await;
    assert!(cancelled > 0 && cancelled < ROUNDS, "{cancelled}");
    adds_up(&app).await;
    app.finish().await;
}

/// An order in turn paid at once and later, refunded twice at the same time. Goal: once.
#[tokio::test]
async fn two_refunds_of_one_order_are_one() {
    let app = shop().await;
    rounds(async |user| {
        claimed(&app, user, 7).await;
        let mut body = later(user, 1, 1, Some(7));
        if user % 4 < 2 {
            body["payment"] = json!("now");
        }
        let order = place(&app, body).await;
        if user % 4 >= 2 {
            is_ok(&pay(&app, order, None).await);
        }
        assert_eq!(app.balance(user).await, MONEY - 90);
        let (a, b) = at_once(user, refund(&app, order), refund(&app, order)).await;
        let won = a.status == StatusCode::OK;
        let (winner, loser) = if won { (a, b) } else { (b, a) };
        is_ok(&winner);
        assert_eq!(winner.body["balance"], MONEY);
        is_refused(&loser, StatusCode::CONFLICT, "order_not_refundable");
        eventually!(own_coupon(&app, user).await["status"] == "issued");
        won
    })
    .await;
    adds_up(&app).await;
    assert_eq!(app.get("/products/top").await.body, json!([]));
    assert_eq!(app.count("SELECT COUNT(*) FROM orders WHERE status = 'refunded'").await, ROUNDS as i64);
    app.finish().await;
}

/// A refund and a second payment of a paid order. Goal: the payment is told of the first one or that it cannot be; the
/// money is back either way.
#[tokio::test]
async fn a_refund_meets_a_second_payment() {
    let app = shop().await;
    let paid_before = rounds(async |user| {
        let order = place(&app, later(user, 1, 1, None)).await;
        let first = pay(&app, order, None).await;
        let (again, refunded) = at_once(user, pay(&app, order, None), refund(&app, order)).await;
        is_ok(&refunded);
        assert_eq!(
            (&refunded.body["status"], &refunded.body["balance"]),
            (&json!("refunded"), &json!(MONEY))
        );
        let won = again.status == StatusCode::OK;
        if won {
            assert_eq!(again.body, first.body);
        } else {
            is_refused(&again, StatusCode::CONFLICT, "order_not_payable");
        }
        won
    })
    .await;
    assert!(paid_before > 0 && paid_before < ROUNDS, "{paid_before}");
    adds_up(&app).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM payments").await, ROUNDS as i64);
    app.finish().await;
}

/// Goal: one of two pending orders holds the coupon; the other one was not placed.
#[tokio::test]
async fn one_of_two_pending_orders_holds_the_coupon() {
    let app = shop().await;
    rounds(async |user| {
        claimed(&app, user, 7).await;
        let order = || app.post("/orders", later(user, 1, 1, Some(7)));
        let (a, b) = at_once(user, order(), order()).await;
        let won = a.status == StatusCode::CREATED;
        let (winner, loser) = if won { (a, b) } else { (b, a) };
        assert_eq!(winner.status, StatusCode::CREATED, "{winner:?}");
        is_refused(&loser, StatusCode::BAD_REQUEST, "invalid_coupon");
        assert_eq!(loser.body["reason"], "held");
        eventually!(own_coupon(&app, user).await["status"] == "held");
        assert_eq!(own_coupon(&app, user).await["orderId"], winner.body["orderId"]);
        won
    })
    .await;
    adds_up(&app).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, ROUNDS as i64);
    app.finish().await;
}

/// Goal: a coupon is used if its claim came first; else the order is refused, and the coupon is there to be used.
#[tokio::test]
async fn a_claim_meets_an_order_with_the_coupon() {
    let app = shop().await;
    let used = rounds(async |user| {
        let mut body = later(user, 1, 1, Some(7));
        body["payment"] = json!("now");
        let (claim, order) = at_once(user, claim(&app, user, 7), app.post("/orders", body)).await;
        assert_eq!(claim.status, StatusCode::CREATED, "{claim:?}");
        let won = order.status == StatusCode::CREATED;
        if won {
            assert_eq!(order.body["paid"], PRICE - 10);
        } else {
            is_refused(&order, StatusCode::BAD_REQUEST, "invalid_coupon");
            assert_eq!(order.body["reason"], "not_issued");
        }
        let expected = if won { "used" } else { "issued" };
        eventually!(own_coupon(&app, user).await["status"] == expected);
        won
    })
    .await;
    assert!(used > 0 && used < ROUNDS, "{used}");
    adds_up(&app).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM coupon_issues WHERE state = 'used'").await, used as i64);
    app.finish().await;
}

/// Goal: an order is paid without the coupon that it let go of first, or with it and then keeps it.
#[tokio::test]
async fn a_release_meets_a_payment() {
    let app = shop().await;
    let released = rounds(async |user| {
        claimed(&app, user, 7).await;
        let order = place(&app, later(user, 1, 1, Some(7))).await;
        let release = app.post("/coupons/7/cancel", json!({"orderId": order}));
        let (released, paid) = at_once(user, release, pay(&app, order, None)).await;
        is_ok(&paid);
        let won = released.status == StatusCode::OK;
        if !won {
            is_refused(&released, StatusCode::CONFLICT, "order_not_payable");
        }
        assert_eq!(paid.body["paid"], if won { PRICE } else { PRICE - 10 });
        let expected = if won { "issued" } else { "used" };
        eventually!(own_coupon(&app, user).await["status"] == expected);
        won
    })
    .await;
    assert!(released > 0 && released < ROUNDS, "{released}");
    adds_up(&app).await;
    app.finish().await;
}
