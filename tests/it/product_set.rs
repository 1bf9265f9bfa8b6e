//! Products: listing, changing, restocking.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::audit::{delete_product, difference, mysql_does, named};
use super::test_app::TestApp;

#[tokio::test]
async fn a_product_is_listed_and_changed() {
    let app = TestApp::start().await;
    let body = json!({"name": "컵", "price": 500, "stock": 3});
    assert_eq!(app.put("/admin/products/7", body.clone()).await.status, StatusCode::CREATED);
    assert_eq!(app.put("/admin/products/7", body.clone()).await.status, StatusCode::OK, "a retry is safe");
    let shown = json!({"id": 7, "name": "컵", "price": 500, "stock": 3, "options": []});
    assert_eq!(app.get("/products/7").await.body, shown);
    let other_stock = app.put("/admin/products/7", json!({"name": "컵", "price": 500, "stock": 4})).await;
    assert_eq!(
        (other_stock.code(), &other_stock.body["errors"][0]["pointer"]),
        ("invalid_request", &json!("#/stock"))
    );
    app.put("/admin/products/7", json!({"name": "Cup", "price": 600})).await;
    assert_eq!(app.get("/products/7").await.body["price"], json!(600));
    assert_eq!(app.get("/products/8").await.code(), "product_not_found");
    app.finish().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = TestApp::start().await;
    for product in 1..=7 {
        app.product_with(product, 10, i64::from(product % 2 == 0)).await;
    }
    let mut ids = Vec::new();
    let mut next = Some("/products?limit=3".to_owned());
    while let Some(path) = next {
        let page = app.get(&path).await;
        ids.extend(page.entries().iter().map(|it| it["id"].as_u64().unwrap()));
        next = page.next();
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    let available = app.get("/products?available=true").await.body;
    assert_eq!(available.as_array().unwrap().len(), 3);
    for bad in [
        "limit=0",
        "limit=201",
        "limit=1e1",
        "cursor=%00",
        "colour=red",
        "available=maybe",
        "limit=1&limit=2",
    ] {
        assert_eq!(app.get(&format!("/products?{bad}")).await.code(), "invalid_request", "{bad}");
    }
    app.finish().await;
}

/// Goal: units are added and taken away exactly, and never below zero.
#[tokio::test]
async fn restocking_never_goes_below_zero() {
    let app = TestApp::start().await;
    app.product_with(1, 10, 5).await;
    let answers = join_all((0..10).map(|_| app.post("/admin/products/1/stock", json!({"delta": -1})))).await;
    assert_eq!(answers.iter().filter(|it| it.status == StatusCode::OK).count(), 5);
    assert!(answers.iter().filter(|it| it.status != StatusCode::OK).all(|it| it.code() == "invalid_request"));
    let once = || app.post_once("/admin/products/1/stock", "k", json!({"delta": 7}));
    assert_eq!((once().await.body, once().await.body), (json!({"stock": 7}), json!({"stock": 7})));
    assert_eq!(app.post("/admin/products/2/stock", json!({"delta": 7})).await.code(), "product_not_found");
    app.finish().await;
}

/// Goal: a sale may begin and end in any year that the contract allows, and MySQL keeps it for a rebuild.
#[tokio::test]
async fn sales_of_all_years_are_kept() {
    let app = TestApp::start().await;
    let body = json!({"name": "Always", "price": 1, "stock": 1,
        "saleStartsAt": "1970-01-01T00:00:00Z", "saleEndsAt": "9999-12-31T23:59:59.999Z"});
    assert_eq!(app.put("/admin/products/1", body).await.status, StatusCode::CREATED);
    app.drain_events().await;
    let kept = "SELECT COUNT(*) FROM products \
        WHERE sale_starts_at = '1970-01-01' AND sale_ends_at = '9999-12-31 23:59:59.999'";
    assert_eq!(app.count(kept).await, i64::from(app.settings.cells), "in each cell");
    app.finish().await;
}

/// Sold, restocked, deleted and begun again, twice and in one batch or in many. Goal: the units of each SKU add up
/// through all lives, and one that does not is named.
#[tokio::test]
async fn stock_adds_up_through_all_lives_of_a_product() {
    for drains in [false, true] {
        let app = TestApp::start().await;
        app.user_with(1, 100_000).await;
        let step = || async {
            if drains {
                app.assert_clean().await;
            }
        };
        for life in 1..=3 {
            let options: Vec<Value> = (1..=life)
                .map(|id| json!({"id": id, "name": format!("Option {id}"), "price": 5, "stock": 10 * life + id}))
                .collect();
            let body = json!({"name": "A product", "options": options});
            assert_eq!(app.put("/admin/products/1", body).await.status, StatusCode::CREATED);
            step().await;
            for id in 1..=life {
                let items = json!([{"productId": 1, "optionId": id, "quantity": 2}]);
                let order = app.post("/orders", json!({"userId": 1, "items": items})).await;
                assert_eq!(order.status, StatusCode::CREATED, "{order:?}");
            }
            step().await;
            let restock = json!({"optionId": 1, "delta": 3 - 2 * life as i64});
            assert_eq!(app.post("/admin/products/1/stock", restock).await.status, StatusCode::OK);
            // The last option is left out; it leaves with the product all the same.
            let fewer = json!({"name": "A product", "options": [{"id": 1, "name": "S", "price": 5}]});
            assert_eq!(app.put("/admin/products/1", fewer).await.status, StatusCode::OK);
            step().await;
            assert_eq!(delete_product(&app, 1).await, StatusCode::NO_CONTENT);
            step().await;
        }
        app.assert_clean().await;
        assert_eq!(app.count("SELECT CAST(SUM(remaining) AS SIGNED) FROM skus").await, 0);
        mysql_does(&app, "UPDATE skus SET restocked = restocked + 1 WHERE option_id = 2").await;
        assert_eq!(named(&app).await, BTreeSet::from([difference("stock", "1:2")]));
        mysql_does(&app, "UPDATE skus SET restocked = restocked - 1 WHERE option_id = 2").await;
        app.finish().await;
    }
}
