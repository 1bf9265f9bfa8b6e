//! What sells: both sources, both names of the call.

use serde_json::{Value, json};

use super::{Call, Request, Table, issue, order, order_with, set_campaign, set_product};

pub const CALLS: &[Call] = &[
    Call::new("GET /products/top", "200 304").asking(&["limit", "source"]),
    Call::new("GET /products/rank", "200 304").asking(&["limit", "source"]),
];

/// All ways to ask for the same ranking.
const WAYS: [&str; 6] = [
    "/products/top?",
    "/products/top?source=ranking&",
    "/products/top?source=orders&",
    "/products/rank?",
    "/products/rank?source=ranking&",
    "/products/rank?source=orders&",
];

/// Products that sold are ranked however they are asked for. `ranked` is id, price, units left, units sold.
async fn ranks(table: &mut Table, story: &str, ranked: &[(u64, u64, u64, u64)]) {
    table.app.drain_events().await;
    let rows = ranked.iter().zip(1..).map(|((id, price, stock, sold), rank)| {
        json!({"rank": rank, "id": id, "name": format!("Product {id}"), "price": price, "stock": stock, "sold": sold})
    });
    let rows: Vec<Value> = rows.collect();
    for way in WAYS {
        let five = json!(rows[..rows.len().min(5)]);
        table.gives(story, Request::get(way.trim_end_matches(['?', '&'])), 200, five).await;
        for limit in [1, 2, 100] {
            let first = json!(rows[..rows.len().min(limit)]);
            table.gives(story, Request::get(format!("{way}limit={limit}")), 200, first).await;
        }
    }
}

/// Goal: units rank, not orders or money; of equals the lower id comes first; what is not listed has no place.
#[tokio::test]
async fn rankings_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    ranks(&mut table, "nothing was sold", &[]).await;
    table.app.user_with(1, 1_000_000).await;
    for product in [1, 2, 3, 9, 10, 11, 12] {
        table.app.product_with(product, 100 * product as i64, 20).await;
    }
    let shirt = json!({"name": "Product 20", "options": [
        {"id": 1, "name": "S", "price": 30, "stock": 5}, {"id": 2, "name": "L", "price": 20, "stock": 6}]});
    set_product(&table.app, 20, shirt).await;
    let buy = async |table: &Table, items: &[(u64, u64)]| {
        assert_eq!(order(1, items).accepting(&table.app, None).await.status, 201);
    };
    buy(&table, &[(10, 4)]).await;
    buy(&table, &[(9, 1), (11, 3)]).await;
    buy(&table, &[(9, 3)]).await;
    buy(&table, &[(2, 3)]).await;
    let both = json!([{"productId": 20, "optionId": 1, "quantity": 2}, {"productId": 20, "optionId": 2, "quantity": 3}]);
    assert_eq!(table.app.post("/orders", json!({"userId": 1, "items": both})).await.status, 201);
    // What was refused was not sold.
    assert_eq!(order(1, &[(3, 5), (1, 21)]).accepting(&table.app, None).await.code(), "out_of_stock");
    let (shirt, nine, ten) = ((20, 20, 6, 5), (9, 900, 16, 4), (10, 1_000, 16, 4));
    let (two, eleven) = ((2, 200, 17, 3), (11, 1_100, 17, 3));
    ranks(&mut table, "by units, then by id", &[shirt, nine, ten, two, eleven]).await;

    // Units count in full whatever a coupon takes off, and once however often a key is sent.
    set_campaign(&table.app, 1, json!({"discount": {"kind": "percent", "value": 100}})).await;
    issue(&table.app, 1, 1).await;
    let free = order_with(1, &[(12, 6)], 1).under("k");
    for _ in 0..2 {
        assert_eq!(free.accepting(&table.app, None).await.status, 201);
    }
    let twelve = (12, 1_200, 14, 6);
    ranks(&mut table, "one more than by default", &[twelve, shirt, nine, ten, two, eleven]).await;

    assert_eq!(table.app.post("/admin/products/10/stock", json!({"delta": -16})).await.status, 200);
    let delete = Request::delete("/admin/products/9");
    assert_eq!(delete.accepting(&table.app, None).await.status, 204);
    let one = json!({"name": "Product 20", "options": [{"id": 1, "name": "S", "price": 30, "stock": 5}]});
    set_product(&table.app, 20, one).await;
    let (shirt, ten) = ((20, 30, 3, 5), (10, 1_000, 0, 4));
    ranks(&mut table, "one deleted, one sold out", &[twelve, shirt, ten, two, eleven]).await;

    for way in WAYS {
        table.unchanged(&format!("{way}limit=3")).await;
        for limit in ["0", "101", "-1", "1.0", "01", "abc"] {
            let request = Request::get(format!("{way}limit={limit}"));
            table.invalid("no limit of a ranking", request, "limit").await;
        }
    }
    for call in ["/products/top", "/products/rank"] {
        for source in ["", "Orders", "mysql", "ranking,orders"] {
            let request = Request::get(format!("{call}?source={source}"));
            table.invalid("an unknown source", request, "source").await;
        }
        table.invalid("no list", Request::get(format!("{call}?cursor=p00000000000001")), "cursor").await;
    }
    table.finish_complete().await;
}
