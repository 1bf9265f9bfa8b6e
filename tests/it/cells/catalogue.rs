//! What is listed is the same in all cells.

use firstcome::across::catalogue::{copy_coupon, copy_product, coupon_description, description};
use firstcome::ids::{CouponId, ProductId, UserId};
use firstcome::scripts::copies_due::copies_due;
use firstcome::scripts::coupon_forget::{CouponForget, Forgetting, coupon_forget};
use firstcome::scripts::coupon_list::coupon_to_copy;
use firstcome::scripts::product_list::product_to_copy;
use firstcome::time::Millis;
use reqwest::StatusCode;
use serde_json::json;

use super::super::commands::run;
use super::super::test_app::eventually;
use super::{CELLS, eight_cells, users_with};

/// Goal: a product can be bought in every cell as soon as it is listed, at the price that was said last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_sold_everywhere_at_its_last_price() {
    let app = eight_cells().await;
    users_with(&app, 40, 10_000).await;
    for round in 1..=5 {
        let body = json!({ "name": "Mug", "price": 10 * round, "stock": 1_000 });
        assert!(app.put("/admin/products/1", body).await.status.is_success());
        for user in 1..=40 {
            let order = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
            let bought = app.post("/orders", order).await;
            assert_eq!(
                (bought.status, &bought.body["total"]),
                (StatusCode::CREATED, &json!(10 * round)),
                "{bought:?}"
            );
        }
    }
    assert_eq!(app.stock(1).await, 1_000 - 5 * 40);
    app.finish().await;
}

/// Goal: a deleted product is sold nowhere, and its id begins a new life with a stock of its own in all cells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_product_is_gone_from_all_cells() {
    let app = eight_cells().await;
    users_with(&app, 30, 10_000).await;
    for stock in [100, 7, 40] {
        app.product_with(1, 10, stock).await;
        for user in 1..=30 {
            let order = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
            let bought = app.post("/orders", order).await;
            let expected = if user <= stock as u64 { "" } else { "out_of_stock" };
            assert_eq!(bought.code(), expected, "user {user} of {stock}: {bought:?}");
        }
        assert_eq!(app.stock(1).await, (stock - 30).max(0));
        let gone = app.send(reqwest::Method::DELETE, "/admin/products/1", &[], "").await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
        for user in 1..=30 {
            let order = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
            assert_eq!(app.post("/orders", order).await.code(), "product_not_found");
        }
    }
    app.finish().await;
}

/// Somebody reads what a home says of a product and of a campaign, and sleeps until all cells have deleted both; then the
/// copies are made. Goal: nothing of them is sold, and they are gone again. What came and went while a cell was closed is copied
/// nowhere, and not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_come_late_go_again() {
    let app = eight_cells().await;
    let (product, coupon) = (ProductId::new(1).unwrap(), CouponId::new(1).unwrap());
    let scripts = &app.connections().scripts;
    let (home, coupon_home) = (scripts.cells().home(product), scripts.cells().coupon_home(coupon));
    let late = scripts.cells().all().find(|it| *it != home && *it != coupon_home).unwrap();
    app.product_with(1, 10, 5).await;
    app.campaign(1, 5, json!({})).await;
    let (said, of) = product_to_copy(scripts, home, product).await.unwrap().expect("it is listed");
    let (coupon_said, coupon_of) =
        coupon_to_copy(scripts, coupon_home, coupon).await.unwrap().expect("it is open");
    let is_everywhere = async || {
        let due = async |cell| copies_due(scripts, cell, 10).await.unwrap().is_empty();
        due(home).await && due(coupon_home).await
    };
    eventually!(is_everywhere().await);
    let gone = app.send(reqwest::Method::DELETE, "/admin/products/1", &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    let ended = Forgetting::Ended { before_ms: Millis::MAX };
    assert_eq!(coupon_forget(scripts, coupon_home, coupon, ended).await.unwrap(), CouponForget::Forgotten);
    eventually!(is_everywhere().await);

    assert!(copy_product(scripts, late, &description(said), of).await.unwrap());
    assert!(copy_coupon(scripts, late, &coupon_description(coupon_said), coupon_of).await.unwrap());
    let user = (1..).find(|it| scripts.cells().of_user(UserId::new(*it).unwrap()) == late).unwrap();
    app.user_with(user, 1_000).await;
    let order = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
    assert_eq!(app.post("/orders", order.clone()).await.code(), "out_of_stock");
    let issued = app.post("/coupons/1/issue", json!({ "userId": user })).await;
    assert_eq!(issued.code(), "coupon_sold_out", "{issued:?}");
    eventually!(app.post("/orders", order.clone()).await.code() == "product_not_found");
    let issue = async || app.post("/coupons/1/issue", json!({ "userId": user })).await;
    eventually!(issue().await.code() == "coupon_not_found");

    let other =
        (2..).map(|it| ProductId::new(it).unwrap()).find(|it| scripts.cells().home(*it) != late).unwrap();
    assert!(run(&app, &["cell", "close", &late.to_string()]).status.success());
    // It is listed; how many there are in all cells cannot be told.
    let listed = json!({ "name": "Cup", "price": 10, "stock": 5 });
    assert_eq!(app.put(&format!("/admin/products/{other}"), listed).await.code(), "cell_closed");
    let gone = app.send(reqwest::Method::DELETE, &format!("/admin/products/{other}"), &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    assert!(run(&app, &["cell", "open", &late.to_string()]).status.success());
    let other_home = scripts.cells().home(other);
    let due = async || copies_due(scripts, other_home, 10).await;
    eventually!(due().await.is_ok_and(|it| it.is_empty()));
    app.finish().await;
}

/// Goal: units are put in and taken away wherever they are, and the answer counts all cells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_is_changed_wherever_it_is() {
    let app = eight_cells().await;
    users_with(&app, 50, 10_000).await;
    app.product_with(1, 1, 200).await;
    assert_eq!(super::tally(&super::all_buy(&app, 50, 1, 1).await), [((201, String::new()), 50)].into());
    let change = async |delta: i64, key: &str| {
        app.post_once("/admin/products/1/stock", key, json!({ "delta": delta })).await
    };
    let less = change(-145, "take").await;
    assert_eq!((less.status, &less.body["stock"]), (StatusCode::OK, &json!(5)), "{less:?}");
    let again = change(-145, "take").await;
    assert_eq!((&again.body["stock"], again.header("idempotency-replayed")), (&json!(5), Some("true")));
    assert_eq!(change(-6, "too many").await.status, StatusCode::BAD_REQUEST);
    let more = change(3, "put").await;
    assert_eq!(more.body["stock"], json!(8), "{more:?}");
    assert_eq!(change(4, "put").await.code(), "idempotency_key_reused");
    // Under the same key for another product, whose home may be another cell.
    for product in 2..=12 {
        app.product_with(product, 1, 5).await;
        let path = format!("/admin/products/{product}/stock");
        let reused = app.post_once(&path, "put", json!({ "delta": 3 })).await;
        assert_eq!(reused.code(), "idempotency_key_reused", "product {product}: {reused:?}");
    }
    assert_eq!(app.stock(1).await, 8);
    app.finish().await;
}

/// Goal: a campaign's quantity is changed, and never below what users have in all cells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_shrinks_to_what_was_issued() {
    let app = eight_cells().await;
    app.campaign(1, 100, json!({})).await;
    for user in 1..=40 {
        let issued = app.post("/coupons/1/issue", json!({ "userId": user })).await;
        assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    }
    let quantity = async |quantity: i64| {
        let body = json!({
            "name": "Campaign 1", "discount": {"kind": "fixed", "value": 10}, "quantity": quantity,
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
        });
        app.put("/admin/coupons/1", body).await
    };
    let refused = quantity(39).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains("at least 40"), "{refused:?}");
    let shrunk = quantity(45).await;
    assert_eq!((shrunk.status, &shrunk.body["remaining"]), (StatusCode::OK, &json!(5)), "{shrunk:?}");
    for user in 41..=45 {
        let issued = app.post("/coupons/1/issue", json!({ "userId": user })).await;
        assert_eq!(issued.status, StatusCode::CREATED, "{issued:?}");
    }
    assert_eq!(app.post("/coupons/1/issue", json!({ "userId": 46 })).await.code(), "coupon_sold_out");
    app.finish().await;
}

/// Goal: lists and the ranking are of all cells, exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_ranking_add_up_all_cells() {
    let app = eight_cells().await;
    users_with(&app, 60, 1_000_000).await;
    for product in 1..=12 {
        app.product_with(product, 10, 1_000).await;
    }
    // User n buys product n mod 12 + 1, so that each cell has its own favourites.
    let mut sold = [0; 13];
    for user in 1..=60u64 {
        let (product, quantity) = (user * 7 % 12 + 1, user % 5 + 1);
        let order = json!({ "userId": user, "items": [{ "productId": product, "quantity": quantity }] });
        assert_eq!(app.post("/orders", order).await.status, StatusCode::CREATED);
        sold[product as usize] += quantity as i64;
    }
    let mut expected: Vec<(i64, u64)> = (1..=12).map(|it| (sold[it as usize], it)).collect();
    expected.sort_by_key(|(sold, id)| (-sold, *id));
    eventually!(app.get("/products?limit=100").await.entries().len() == 12);
    for limit in [1, 3, 12, 50] {
        let top = app.get(&format!("/products/top?limit={limit}")).await;
        let top: Vec<(i64, u64)> = top
            .entries()
            .iter()
            .map(|it| (it["sold"].as_i64().unwrap(), it["id"].as_u64().unwrap()))
            .collect();
        let expected: Vec<_> = expected.iter().copied().filter(|it| it.0 > 0).take(limit).collect();
        assert_eq!(top, expected);
    }
    let listed = app.get("/products?limit=100").await;
    for (product, id) in listed.entries().iter().zip(1..) {
        let expected = json!({ "id": id, "stock": 1_000 - sold[id as usize] });
        assert_eq!(json!({ "id": product["id"], "stock": product["stock"] }), expected);
    }
    let from_orders = app.get("/products/top?limit=12&source=orders").await;
    assert_eq!(from_orders.body, app.get("/products/top?limit=12").await.body);
    assert_eq!(app.settings.cells, CELLS);
    app.finish().await;
}
