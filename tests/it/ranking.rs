//! What sells: the sorted sets in Redis and the order rows in MySQL are held against each other while time moves.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::test_app::TestApp;
use super::test_clock::TestClock;

async fn buy(app: &TestApp, product: u64, quantity: u64) {
    let order = json!({"userId": 1, "items": [{"productId": product, "quantity": quantity}]});
    assert_eq!(app.post("/orders", order).await.status, StatusCode::CREATED);
}

/// Both sources, which must agree: product and units, best first.
async fn ranking(app: &TestApp) -> Vec<(u64, i64)> {
    let from_set = app.get("/products/top?limit=100").await;
    let from_orders = app.get("/products/top?limit=100&source=orders").await;
    assert_eq!(from_set.status, StatusCode::OK, "{from_set:?}");
    assert_eq!(from_set.body, from_orders.body);
    let row = |it: &Value| (it["id"].as_u64().unwrap(), it["sold"].as_i64().unwrap());
    from_set.body.as_array().unwrap().iter().map(row).collect()
}

/// Sets the clock to the beginning of an hour, so that a few minutes of a test stay inside it.
async fn begin_of_hour(app: &TestApp, clock: &TestClock) {
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut app.redis_of(1).await).await.unwrap();
    clock.advance_seconds(3_600 - seconds % 3_600 + 1);
}

/// Sells in different hours and moves time past the window, hour by hour. Goal: a sale counts in its own hour and
/// the 71 after it, in both sources, whoever looks first.
#[tokio::test]
async fn a_sale_counts_for_72_hours_in_both_sources() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    app.user_with(1, 1_000_000).await;
    for product in 1..=4 {
        app.product_with(product, 1, 1_000).await;
    }
    begin_of_hour(&app, &clock).await;
    assert_eq!(ranking(&app).await, []);

    buy(&app, 2, 5).await;
    buy(&app, 1, 3).await;
    assert_eq!(ranking(&app).await, [(2, 5), (1, 3)]);
    clock.advance_hours(1);
    buy(&app, 1, 2).await;
    buy(&app, 4, 1).await;
    buy(&app, 3, 1).await;
    // Equal sales: the lower id first.
    assert_eq!(ranking(&app).await, [(1, 5), (2, 5), (3, 1), (4, 1)]);
    clock.advance_hours(70);
    assert_eq!(ranking(&app).await, [(1, 5), (2, 5), (3, 1), (4, 1)], "71 hours later all count");
    clock.advance_hours(1);
    assert_eq!(ranking(&app).await, [(1, 2), (3, 1), (4, 1)], "the first hour has left");
    buy(&app, 2, 1).await;
    clock.advance_hours(1);
    assert_eq!(ranking(&app).await, [(2, 1)]);
    let answer = app.get("/products/top?limit=1").await;
    assert_eq!(
        answer.body,
        json!([{"rank": 1, "id": 2, "name": "Product 2", "price": 1, "stock": 994, "sold": 1}])
    );
    app.finish().await;
}

/// The engine stops for days and several workers come back. Goal: each hour leaves the window once, and nothing is
/// left of it in Redis.
#[tokio::test]
async fn after_a_stop_of_days_the_window_moves_once() {
    let (mut app, clock) = TestApp::start_with_clock(|_| {}).await;
    app.user_with(1, 1_000_000).await;
    for product in 1..=3 {
        app.product_with(product, 1, 10_000).await;
    }
    begin_of_hour(&app, &clock).await;
    for hour in 0..10 {
        for product in 1..=3 {
            buy(&app, product, hour + product).await;
        }
        clock.advance_hours(1);
    }
    app.drain().await;
    app.stop_engine().await;
    // 66 hours after the first sale's: hours 0 to 3 leave while nobody is there.
    clock.advance_hours(65);
    app.start_engine().await;
    let scripts = &app.connections().scripts;
    let each = (0..8).flat_map(|_| app.settings.cells().all());
    let rolled =
        join_all(each.map(|cell| firstcome::scripts::ranking_roll::ranking_roll(scripts, cell))).await;
    assert!(rolled.iter().all(Result::is_ok), "{rolled:?}");
    let units = |product: u64| (4..10).map(|hour| (hour + product) as i64).sum::<i64>();
    assert_eq!(ranking(&app).await, [(3, units(3)), (2, units(2)), (1, units(1))]);
    // All sales were those of user 1.
    let sales = app.key_of(1, "sales:");
    let hours = |dump: &super::cell_dump::Dump| dump.keys().filter(|it| it.starts_with(&sales)).count();
    assert_eq!(hours(&app.redis.dump().await), 6 + 1, "six hours and their sum");

    app.drain().await;
    app.stop_engine().await;
    clock.advance_hours(24 * 365);
    app.start_engine().await;
    assert_eq!(ranking(&app).await, []);
    assert_eq!(hours(&app.redis.dump().await), 0);
    buy(&app, 1, 1).await;
    assert_eq!(ranking(&app).await, [(1, 1)]);
    app.finish().await;
}

/// Many products sell while the window moves, and readers look all the time. Goal: both sources agree at the end, and
/// a rebuild gives the same sets.
#[tokio::test]
async fn a_rebuilt_ranking_is_the_one_that_was() {
    let (app, clock) = TestApp::start_with_clock(|_| {}).await;
    app.user_with(1, 1_000_000).await;
    for product in 1..=40 {
        app.product_with(product, 1, 10_000).await;
    }
    begin_of_hour(&app, &clock).await;
    for hour in 0..80u64 {
        let orders = (1..=3).map(|it| buy(&app, (hour * 7 + it * 11) % 40 + 1, it));
        join_all(orders).await;
        clock.advance_hours(1);
        assert_eq!(app.get("/products/rank").await.status, StatusCode::OK);
    }
    let before_ranking = ranking(&app).await;
    app.drain_events().await;
    let before = app.redis.dump().await;
    app.redis.flush_all().await;
    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, before);
    assert_eq!(ranking(&app).await, before_ranking);
    app.finish().await;
}
