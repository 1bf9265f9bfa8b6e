//! What is in stock of a product: asked for, added and taken away.

use serde_json::{Value, json};

use super::{FUTURE, PAST, Request, Table, changed, set_product};

fn check(product: u64, query: &str) -> Request {
    Request::get(format!("/products/{product}/stock-check{query}"))
}

fn restock(product: u64, body: Value) -> Request {
    Request::post(format!("/admin/products/{product}/stock"), body)
}

/// A mug with three units, one that sells later, one that sold before, and a hat in two sizes.
async fn shelf(table: &Table) {
    let mug = json!({"name": "Mug", "price": 5, "stock": 3, "limitPerUser": 1});
    for (product, changes) in
        [(30, json!({})), (31, json!({"saleStartsAt": FUTURE})), (32, json!({"saleEndsAt": PAST}))]
    {
        set_product(&table.app, product, changed(mug.clone(), changes)).await;
    }
    let hat = json!({"name": "Hat", "options": [
        {"id": 1, "name": "S", "price": 5, "stock": 1}, {"id": 2, "name": "L", "price": 6, "stock": 1_000}]});
    set_product(&table.app, 33, hat).await;
}

pub async fn checks(table: &mut Table) {
    shelf(table).await;
    let told = |product: u64, quantity: u64, available: bool, stock: i64| json!({"productId": product, "quantity": quantity, "available": available, "stock": stock});
    for (story, product, query, answer) in [
        ("one unit", 30, "", told(30, 1, true, 3)),
        ("no option", 30, "?quantity=3&optionId=", told(30, 3, true, 3)),
        ("one too many", 30, "?quantity=4", told(30, 4, false, 3)),
        ("the most that can be asked for", 30, "?quantity=1000", told(30, 1_000, false, 3)),
        ("before the sale", 31, "", told(31, 1, false, 3)),
        ("after the sale", 32, "", told(32, 1, false, 3)),
    ] {
        table.gives(story, check(product, query), 200, answer).await;
    }
    for (option, quantity, available, stock) in [(1, 1, true, 1), (1, 2, false, 1), (2, 1_000, true, 1_000)] {
        let answer = changed(told(33, quantity, available, stock), json!({"optionId": option}));
        let request = check(33, &format!("?quantity={quantity}&optionId={option}"));
        table.gives("units of an option", request, 200, answer).await;
    }
    for quantity in ["", "0", "1001", "-1", "1.0", "1e1", "01", "abc"] {
        table.invalid("no quantity", check(30, &format!("?quantity={quantity}")), "quantity").await;
    }
    for option in ["0", "-1", "01", "abc", "9007199254740992"] {
        table.invalid("no option id", check(33, &format!("?optionId={option}")), "optionId").await;
    }
    table.invalid("which option", check(33, ""), "optionId").await;
    table.invalid("which option", check(33, "?optionId="), "optionId").await;
    table.refuses("an unknown option", check(33, "?optionId=3"), "product_not_found").await;
    table.refuses("an unneeded option", check(30, "?optionId=1"), "product_not_found").await;
    table.refuses("an unknown product", check(99, ""), "product_not_found").await;
    table.refuses("an unknown product", check(99, "?optionId=1"), "product_not_found").await;
}

pub async fn restocking(table: &mut Table) {
    let left = |stock: i64| json!({"stock": stock});
    table.gives("more", restock(30, json!({"delta": 7})), 200, left(10)).await;
    table.gives("null is no option", restock(30, json!({"delta": 1, "optionId": null})), 200, left(11)).await;
    table.gives("less", restock(30, json!({"delta": -10})), 200, left(1)).await;
    table.invalid("below zero", restock(30, json!({"delta": -2})), "#/delta").await;
    table.gives("down to zero", restock(30, json!({"delta": -1})), 200, left(0)).await;
    table.invalid("below zero", restock(30, json!({"delta": -1})), "#/delta").await;
    table.gives("of an option", restock(33, json!({"delta": 2, "optionId": 1})), 200, left(3)).await;
    table
        .gives(
            "as many as there may be",
            restock(30, json!({"delta": 1_000_000_000})),
            200,
            left(1_000_000_000),
        )
        .await;
    table.invalid("more than there may be", restock(30, json!({"delta": 1})), "#/delta").await;
    table.gives("of a closed sale", restock(31, json!({"delta": 1})), 200, left(4)).await;

    for delta in [json!("5"), json!(1.0), json!(null), json!(1_000_000_001), json!(-1_000_000_001)] {
        table.invalid("no number of units", restock(31, json!({"delta": delta})), "#/delta").await;
    }
    table.invalid("how many", restock(31, json!({})), "#/delta").await;
    for option in [json!(0), json!("1"), json!(1.5)] {
        table
            .invalid("no option id", restock(33, json!({"delta": 1, "optionId": option})), "#/optionId")
            .await;
    }
    table.invalid("which option", restock(33, json!({"delta": 1})), "#/optionId").await;
    let unknown = restock(33, json!({"delta": 1, "optionId": 3}));
    table.refuses("an unknown option", unknown, "product_not_found").await;
    let unneeded = restock(30, json!({"delta": 1, "optionId": 1}));
    table.refuses("an unneeded option", unneeded, "product_not_found").await;
    table.refuses("an unknown product", restock(99, json!({"delta": 1})), "product_not_found").await;

    let first = restock(32, json!({"delta": 5})).under("k");
    let replayed = [("idempotency-replayed", "true")];
    table.gives("under a key", first.clone(), 200, left(8)).await;
    table.gives("another one", restock(32, json!({"delta": 1})), 200, left(9)).await;
    table.gives_with("the first one again", first, 200, &replayed, left(8)).await;
    table.refuses("other units", restock(32, json!({"delta": 6})).under("k"), "idempotency_key_reused").await;
    table
        .refuses("another product", restock(31, json!({"delta": 5})).under("k"), "idempotency_key_reused")
        .await;
    table
        .refuses(
            "a key before a product",
            restock(99, json!({"delta": 5})).under("k"),
            "idempotency_key_reused",
        )
        .await;
    table.invalid("not stored", restock(32, json!({"delta": -10})).under("later"), "#/delta").await;
    table.gives("one more", restock(32, json!({"delta": 1})), 200, left(10)).await;
    table
        .gives("the key is still free", restock(32, json!({"delta": -10})).under("later"), 200, left(0))
        .await;
    assert_eq!(table.app.stock(32).await, 0);
}
