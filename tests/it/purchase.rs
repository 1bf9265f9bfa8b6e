//! The main job: one purchase, from HTTP to Redis to MySQL to RabbitMQ.

use reqwest::StatusCode;
use serde_json::json;

use super::test_app::TestApp;

/// One buyer, two items of different products. Goal: the answer, MySQL and the message tell one story.
#[tokio::test]
async fn a_purchase_reaches_mysql_and_the_data_platform() {
    let app = TestApp::start().await;
    app.product_with(1, 1_000, 10).await;
    app.product_with(2, 250, 10).await;
    app.user_with(7, 5_000).await;

    let items = json!([{"productId": 1, "quantity": 2}, {"productId": 2, "quantity": 3}]);
    let bought = app.post("/orders", json!({"userId": 7, "items": items})).await;

    assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
    let order = &bought.body;
    assert_eq!(
        (&order["status"], &order["total"], &order["paid"]),
        (&json!("paid"), &json!(2_750), &json!(2_750))
    );
    assert_eq!(order["balance"], json!(2_250));
    let id = order["orderId"].as_u64().unwrap();
    assert_eq!(bought.header("location"), Some(format!("/orders/{id}").as_str()));
    let from_redis = app.get(&format!("/orders/{id}")).await;
    assert_eq!(from_redis.status, StatusCode::OK);
    assert_eq!(app.balance(7).await, 2_250);
    assert_eq!((app.stock(1).await, app.stock(2).await), (8, 7));

    app.drain().await;
    let row: (u64, String, i64, i64) =
        sqlx::query_as("SELECT user_id, status, total, paid FROM orders WHERE id = ?")
            .bind(id)
            .fetch_one(&app.connections().mysql)
            .await
            .unwrap();
    assert_eq!(row, (7, "paid".to_owned(), 2_750, 2_750));
    assert_eq!(app.count("SELECT COUNT(*) FROM order_lines").await, 2);
    assert_eq!(app.count("SELECT CAST(SUM(amount) AS SIGNED) FROM ledger").await, 2_250);
    assert_eq!(app.count("SELECT CAST(SUM(published) AS SIGNED) FROM publishing").await, 1);

    let messages = app.take_messages().await;
    assert_eq!(messages.len(), 1);
    let event = &messages[0];
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("com.firstcome.order.paid")));
    assert_eq!(event["source"], json!(format!("/firstcome/cells/{}", app.cell_of(7))));
    assert_eq!(event["data"], from_redis.body, "the message carries the order as the API shows it");
    app.finish().await;
}
