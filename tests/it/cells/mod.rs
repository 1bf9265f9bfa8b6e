//! Several cells: one product sells from all of them at once, and is sold exactly as often as there were units.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::{Answer, TestApp};

mod catalogue;
mod counts;
mod transfers;

/// Cells of these tests.
const CELLS: u16 = 8;

/// Buyers at once.
const AT_ONCE: usize = 128;

/// An engine with eight cells.
async fn eight_cells() -> TestApp {
    TestApp::start_with(|settings| {
        settings.cells = CELLS;
        settings.mysql_connections = 24;
        settings.max_in_flight = 4_096;
    })
    .await
}

/// Users 1 to `count`, each with money.
async fn users_with(app: &TestApp, count: u64, balance: i64) {
    let mut made = stream::iter(1..=count).map(|user| app.user_with(user, balance)).buffer_unordered(AT_ONCE);
    while made.next().await.is_some() {}
}

/// Each of `count` buyers asks for `quantity` units of a product, `AT_ONCE` of them at a time; their answers.
async fn all_buy(app: &TestApp, count: u64, product: u64, quantity: u64) -> Vec<Answer> {
    let order = |user: u64| {
        let body = json!({ "userId": user, "items": [{ "productId": product, "quantity": quantity }] });
        async move { app.post("/orders", body).await }
    };
    stream::iter(1..=count).map(order).buffer_unordered(AT_ONCE).collect().await
}

/// How many answers there are of each status and code.
fn tally(answers: &[Answer]) -> BTreeMap<(u16, String), usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry((answer.status.as_u16(), answer.code().to_owned())).or_default() += 1;
    }
    tally
}

/// Goal: one product sells from all cells at once, each unit once, and nobody hears "sold out" while there are units.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_product_sells_out_of_all_cells_exactly() {
    let app = eight_cells().await;
    users_with(&app, 1_500, 100).await;
    app.product_with(1, 100, 777).await;
    let answers = all_buy(&app, 1_500, 1, 1).await;
    let sold = [((201, String::new()), 777), ((400, "out_of_stock".to_owned()), 1_500 - 777)];
    assert_eq!(tally(&answers), sold.into());
    assert_eq!(app.stock(1).await, 0);
    let pairs = app.count("SELECT CAST(COUNT(*) AS SIGNED) FROM transfers WHERE given_number > 0").await;
    assert!(pairs > 0);
    app.finish().await;
}

/// Goal: the same for the units of a campaign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_is_issued_out_of_all_cells_exactly() {
    let app = Arc::new(eight_cells().await);
    app.campaign(1, 333, json!({})).await;
    let claim = |user: u64| {
        let app = app.clone();
        async move { app.post("/coupons/1/issue", json!({ "userId": user })).await }
    };
    let answers: Vec<Answer> = stream::iter(1..=800).map(claim).buffer_unordered(AT_ONCE).collect().await;
    let issued = [((201, String::new()), 333), ((409, "coupon_sold_out".to_owned()), 800 - 333)];
    assert_eq!(tally(&answers), issued.into());
    let listed = app.get("/coupons").await;
    assert_eq!(listed.entries()[0]["remaining"], json!(0), "{listed:?}");
    Arc::into_inner(app).unwrap().finish().await;
}

/// Goal: units that come back in one cell are found by a buyer in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_in_one_cell_is_sold_in_another() {
    let app = eight_cells().await;
    users_with(&app, 40, 100).await;
    app.product_with(1, 10, 3).await;
    let answers = all_buy(&app, 3, 1, 1).await;
    assert_eq!(tally(&answers), [((201, String::new()), 3)].into());
    // One of the three refunds, and each of the others in turn buys the unit and gives it back.
    let mut order = answers[0].body["orderId"].clone();
    for user in 4..=40 {
        let refunded = app.post(&format!("/orders/{order}/refund"), json!({})).await;
        assert_eq!(refunded.status, StatusCode::OK, "{refunded:?}");
        let body = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
        let bought = app.post("/orders", body).await;
        assert_eq!(bought.status, StatusCode::CREATED, "user {user}: {bought:?}");
        order = bought.body["orderId"].clone();
    }
    assert_eq!(app.stock(1).await, 0);
    app.finish().await;
}

/// Goal: a buyer who asks for more than any cell has gets them, where all cells together have them; and hears how many
/// there are where they have not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_gathers_units_of_all_cells() {
    let app = eight_cells().await;
    users_with(&app, 60, 10_000).await;
    app.product_with(1, 1, 160).await;
    // The first sales scatter units over the cells.
    assert_eq!(tally(&all_buy(&app, 60, 1, 1).await), [((201, String::new()), 60)].into());
    let too_many =
        app.post("/orders", json!({ "userId": 7, "items": [{ "productId": 1, "quantity": 101 }] })).await;
    assert_eq!((too_many.code(), &too_many.body["remaining"]), ("out_of_stock", &json!(100)), "{too_many:?}");
    let all =
        app.post("/orders", json!({ "userId": 8, "items": [{ "productId": 1, "quantity": 100 }] })).await;
    assert_eq!(all.status, StatusCode::CREATED, "{all:?}");
    assert_eq!(app.stock(1).await, 0);
    app.finish().await;
}
