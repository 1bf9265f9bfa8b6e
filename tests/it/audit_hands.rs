//! Promise: whatever somebody changes by hand, in Redis or in MySQL, the audit names it.

use std::collections::BTreeSet;

use super::audit::{Named, difference, fill, mysql_does, named, ranked_in, redis_does};
use super::test_app::TestApp;

/// Somebody's hand in Redis, and one that undoes it. Goal: each is named, and nothing else.
#[tokio::test]
async fn every_hand_in_redis_is_named() {
    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;
    let issues = |user: u64| app.key_of(user, "coupon:1:issues");
    let issue = async |user: u64| {
        let mut redis = app.redis_of(user).await;
        let text: String =
            redis::cmd("HGET").arg(issues(user)).arg(user).query_async(&mut redis).await.unwrap();
        text.replace(' ', "~")
    };
    let (used, issued) = (issue(1).await, issue(2).await);
    // The cell of user 1, which is the home of product 1 and coupon 1.
    let cell = app.key_of(1, "");
    let remaining: i64 = {
        let mut redis = app.redis_of(1).await;
        redis::cmd("HGET")
            .arg(app.key_of(1, "coupon:1"))
            .arg("remaining")
            .query_async(&mut redis)
            .await
            .unwrap()
    };
    let hour: i64 =
        app.count("SELECT CAST(MAX(TIMESTAMPDIFF(HOUR, '1970-01-01', paid_at)) AS SIGNED) FROM orders").await;
    let set = |user: u64, state: &str| format!("HSET {} {user} {state}", issues(user));
    let of_issue = |user: &str| difference("coupon_issue", &format!("1:{user}"));
    let (pool, product) = (difference("coupon", "1"), "0000000000000001");
    let ranked = |id: &str| difference("ranking", id);
    let hands: Vec<(String, String, Vec<Named>)> = vec![
        (
            format!("HINCRBY {cell}coupon:1 remaining 1"),
            format!("HINCRBY {cell}coupon:1 remaining -1"),
            vec![pool.clone()],
        ),
        (
            format!("HSET {cell}coupon:1 remaining x"),
            format!("HSET {cell}coupon:1 remaining {remaining}"),
            vec![pool.clone()],
        ),
        (set(1, &used.replace("used", "held")), set(1, &used), vec![of_issue("1")]),
        (set(1, "issued~5"), set(1, &used), vec![of_issue("1")]),
        (set(2, "used~5~1024"), set(2, &issued), vec![of_issue("2")]),
        (set(2, "lost"), set(2, &issued), vec![of_issue("2")]),
        (format!("HDEL {} 1", issues(1)), set(1, &used), vec![of_issue("1"), pool.clone()]),
        (set(5, "issued~5"), format!("HDEL {} 5", issues(5)), vec![of_issue("5"), pool.clone()]),
        (
            format!("HSET {} 0 issued~5", issues(1)),
            format!("HDEL {} 0", issues(1)),
            vec![of_issue("0"), pool.clone()],
        ),
        // Campaigns that MySQL does not know, or has as forgotten.
        (
            format!("HSET {cell}coupon:99 remaining 5"),
            format!("DEL {cell}coupon:99"),
            vec![difference("coupon", "99")],
        ),
        (
            format!("HSET {cell}coupon:99:issues 3 issued~5"),
            format!("DEL {cell}coupon:99:issues"),
            vec![difference("coupon", "99"), difference("coupon_issue", "99:3")],
        ),
        (format!("SET {cell}coupon:99 5"), format!("DEL {cell}coupon:99"), vec![difference("coupon", "99")]),
        (
            format!("HSET {cell}coupon:2 remaining 3"),
            format!("DEL {cell}coupon:2"),
            vec![difference("coupon", "2")],
        ),
        (
            format!("HSET {cell}coupon:2:issues 1 issued~5"),
            format!("DEL {cell}coupon:2:issues"),
            vec![difference("coupon", "2"), difference("coupon_issue", "2:1")],
        ),
        // An issue of the life before.
        (
            format!("HSET {cell}coupon:3:issues 1 issued~5"),
            format!("DEL {cell}coupon:3:issues"),
            vec![difference("coupon", "3"), difference("coupon_issue", "3:1")],
        ),
        // The ranking.
        (
            format!("ZINCRBY {cell}sales:rolling -1 {product}"),
            format!("ZINCRBY {cell}sales:rolling 1 {product}"),
            vec![ranked("1")],
        ),
        (
            format!("ZINCRBY {cell}sales:{hour} -1 {product}"),
            format!("ZINCRBY {cell}sales:{hour} 1 {product}"),
            vec![ranked("1")],
        ),
        (
            format!("ZINCRBY {cell}sales:{hour} 0.5 {product}"),
            format!("ZINCRBY {cell}sales:{hour} -0.5 {product}"),
            vec![ranked("1")],
        ),
        // Between two hours: the window is right, and would be wrong when one of them leaves it.
        (
            format!(
                "EVAL redis.call('ZINCRBY',KEYS[1],-1,ARGV[1])return~redis.call('ZINCRBY',KEYS[2],1,ARGV[1]) 2 {cell}sales:{} {cell}sales:{hour} {product}",
                hour - 5
            ),
            format!(
                "EVAL redis.call('DEL',KEYS[1])return~redis.call('ZINCRBY',KEYS[2],-1,ARGV[1]) 2 {cell}sales:{} {cell}sales:{hour} {product}",
                hour - 5
            ),
            vec![ranked("1")],
        ),
        (
            format!("ZADD {cell}sales:rolling -4 0000000000000066"),
            format!("ZREM {cell}sales:rolling 0000000000000066"),
            vec![ranked("66")],
        ),
        (
            format!("ZADD {cell}sales:{hour} -4 0000000000000066"),
            format!("ZREM {cell}sales:{hour} 0000000000000066"),
            vec![ranked("66")],
        ),
        (
            format!("ZADD {cell}sales:rolling -4 66"),
            format!("ZREM {cell}sales:rolling 66"),
            vec![ranked("66")],
        ),
        (
            format!("HSET {cell}sales rolled_to {hour}"),
            format!("HSET {cell}sales rolled_to {}", hour - 72),
            ranked_in(&app, app.cell_of(1)).iter().map(|it| ranked(&it.to_string())).collect(),
        ),
    ];
    for (does, undoes, expected) in hands {
        redis_does(&app, &does).await;
        assert_eq!(named(&app).await, expected.into_iter().collect(), "{does}");
        redis_does(&app, &undoes).await;
        assert_eq!(named(&app).await, BTreeSet::new(), "{undoes}");
    }
    app.finish().await;
}

/// Somebody's hand in MySQL. Goal: each is named.
#[tokio::test]
async fn every_hand_in_mysql_is_named() {
    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;
    let (pool, issue) = (difference("coupon", "1"), difference("coupon_issue", "1:1"));
    let both = vec![pool.clone(), difference("coupon_issue", "1:2")];
    // Each is undone by the second statement.
    let hands: Vec<(&str, &str, Vec<Named>)> = vec![
        (
            "UPDATE coupons SET remaining = remaining - 1 WHERE coupon_id = 1",
            "UPDATE coupons SET remaining = remaining + 1 WHERE coupon_id = 1",
            vec![pool.clone()],
        ),
        // Of a forgotten one, which Redis does not have.
        (
            "UPDATE coupons SET remaining = remaining - 1 WHERE coupon_id = 2",
            "UPDATE coupons SET remaining = remaining + 1 WHERE coupon_id = 2",
            vec![difference("coupon", "2")],
        ),
        (
            "UPDATE coupon_issues SET state = 'issued' WHERE coupon_id = 1 AND user_id = 1",
            "UPDATE coupon_issues SET state = 'used' WHERE coupon_id = 1 AND user_id = 1",
            vec![issue.clone()],
        ),
        (
            "UPDATE coupon_issues SET state = 'held' WHERE coupon_id = 1 AND user_id = 1",
            "UPDATE coupon_issues SET state = 'used' WHERE coupon_id = 1 AND user_id = 1",
            vec![issue.clone()],
        ),
        (
            "UPDATE coupon_issues SET order_id = order_id + 1024 WHERE coupon_id = 1 AND user_id = 1",
            "UPDATE coupon_issues SET order_id = order_id - 1024 WHERE coupon_id = 1 AND user_id = 1",
            vec![issue.clone()],
        ),
        // Of a forgotten one, and of an earlier life.
        (
            "UPDATE coupon_issues SET order_id = order_id + 1024 WHERE coupon_id IN (2, 3) AND user_id = 1",
            "UPDATE coupon_issues SET order_id = order_id - 1024 WHERE coupon_id IN (2, 3) AND user_id = 1",
            vec![difference("coupon_issue", "2:1"), difference("coupon_issue", "3:1")],
        ),
        (
            "UPDATE coupon_issues SET user_id = 999 WHERE coupon_id = 1 AND user_id = 2",
            "UPDATE coupon_issues SET user_id = 2 WHERE coupon_id = 1 AND user_id = 999",
            // User 2's has become unknown; the count is right, and only a walk tells.
            vec![difference("coupon_issue", "1:2"), difference("coupon_issue", "1:999")],
        ),
        (
            "UPDATE coupon_issues SET coupon_id = 500 WHERE coupon_id = 1 AND user_id = 2",
            "UPDATE coupon_issues SET coupon_id = 1 WHERE coupon_id = 500 AND user_id = 2",
            both.into_iter().chain([difference("coupon_issue", "500:2")]).collect(),
        ),
        // The order's side.
        (
            "UPDATE orders SET coupon_id = NULL WHERE coupon_id = 1",
            "UPDATE orders SET coupon_id = 1 WHERE user_id = 1 AND coupon_id IS NULL ORDER BY id DESC LIMIT 1",
            vec![issue.clone()],
        ),
        (
            "UPDATE orders SET coupon_id = 1 WHERE user_id = 2 ORDER BY id DESC LIMIT 1",
            "UPDATE orders SET coupon_id = NULL WHERE user_id = 2",
            vec![difference("coupon_issue", "1:2")],
        ),
        (
            "UPDATE orders SET coupon_id = 1 WHERE user_id = 9",
            "UPDATE orders SET coupon_id = NULL WHERE user_id = 9",
            vec![difference("coupon_issue", "1:9")],
        ),
        (
            "UPDATE coupon_issues SET issued_seq = 1 WHERE coupon_id = 4 AND user_id = 1",
            "UPDATE coupon_issues SET issued_seq = seq WHERE coupon_id = 4 AND user_id = 1",
            vec![difference("coupon", "4"), difference("coupon_issue", "4:1")],
        ),
    ];
    for (does, undoes, expected) in hands {
        mysql_does(&app, does).await;
        assert_eq!(named(&app).await, expected.into_iter().collect(), "{does}");
        mysql_does(&app, undoes).await;
        assert_eq!(named(&app).await, BTreeSet::new(), "{undoes}");
    }
    // What a ranking is computed from: nothing else is said about the hour of an order.
    mysql_does(&app, "UPDATE orders SET paid_at = paid_at - INTERVAL 2 HOUR ORDER BY id DESC LIMIT 1").await;
    assert_eq!(named(&app).await, BTreeSet::from([difference("ranking", "1")]));
    mysql_does(&app, "UPDATE orders SET paid_at = paid_at + INTERVAL 2 HOUR ORDER BY id DESC LIMIT 1").await;
    app.finish().await;
}

/// An order that waits for its payment holds its coupon. Goal: that is right, and a pending order with a coupon
/// that it does not hold is not.
#[tokio::test]
async fn a_pending_order_holds_its_coupon() {
    let app = TestApp::start().await;
    fill(&app).await;
    app.drain_events().await;
    let of_coupons = |named: BTreeSet<Named>| -> Vec<String> {
        named.into_iter().filter(|(kind, _)| kind.starts_with("coupon")).map(|(_, id)| id).collect()
    };
    // No script of this release places an order for later payment; its rows would be these.
    mysql_does(&app, "UPDATE orders SET status = 'pending' WHERE coupon_id = 1").await;
    assert_eq!(of_coupons(named(&app).await), ["1:1"]);
    mysql_does(&app, "UPDATE coupon_issues SET state = 'held' WHERE coupon_id = 1 AND user_id = 1").await;
    assert_eq!(of_coupons(named(&app).await), ["1:1"], "Redis has it used");
    let mut redis = app.redis_of(1).await;
    let issues = app.key_of(1, "coupon:1:issues");
    let used: String = redis::cmd("HGET").arg(&issues).arg(1).query_async(&mut redis).await.unwrap();
    let held = used.replace("used", "held").replace(' ', "~");
    redis_does(&app, &format!("HSET {issues} 1 {held}")).await;
    assert_eq!(of_coupons(named(&app).await), [""; 0]);
    app.abandon().await;
}
