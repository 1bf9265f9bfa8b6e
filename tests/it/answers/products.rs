//! Products as they are listed, described and taken off the list.

use serde_json::{Value, json};

use super::{Call, FUTURE, PAST, Request, Table, changed, order, set_product};

pub const CALLS: &[Call] = &[
    Call::new("GET /products", "200 304").asking(&["available", "limit", "cursor"]),
    Call::new("GET /products/{productId}", "200 product_not_found"),
    Call::new("GET /products/{productId}/stock-check", "200 product_not_found")
        .asking(&["quantity", "optionId"]),
    Call::new("PUT /admin/products/{productId}", "201 200").taking(r#"{"name":"Mug","price":5}"#),
    Call::new("POST /admin/products/{productId}/stock", "200 product_not_found").taking(r#"{"delta":5}"#),
    Call::new("DELETE /admin/products/{productId}", "204 product_not_found"),
];

/// Goal: products answer as listed, whatever they have of options, window and limit.
#[tokio::test]
async fn products_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    descriptions(&mut table).await;
    wrong_descriptions(&mut table).await;
    options(&mut table).await;
    lists(&mut table).await;
    super::stock::checks(&mut table).await;
    super::stock::restocking(&mut table).await;
    deletion(&mut table).await;
    table.finish_complete().await;
}

fn put(product: u64, body: &Value) -> Request {
    Request::put(format!("/admin/products/{product}"), body.clone())
}

fn get(product: u64) -> Request {
    Request::get(format!("/products/{product}"))
}

async fn descriptions(table: &mut Table) {
    let mug = json!({"name": "컵", "price": 500, "stock": 3});
    let shown = json!({"id": 1, "name": "컵", "price": 500, "stock": 3, "options": []});
    let new = [("location", "/products/1")];
    table.gives_with("a new product", put(1, &mug), 201, &new, shown.clone()).await;
    table.gives("a retry", put(1, &mug), 200, shown.clone()).await;
    table.gives("as it was described", get(1), 200, shown.clone()).await;
    let other = changed(mug.clone(), json!({"stock": 4}));
    table.invalid("another stock", put(1, &other), "#/stock").await;

    let cheaper = json!({"name": "Mug", "price": 0, "limitPerUser": 2,
        "saleStartsAt": "2020-01-01T09:00:00.1239+09:00", "saleEndsAt": "2037-01-01T00:00:00Z"});
    let shown = json!({"id": 1, "name": "Mug", "price": 0, "stock": 3, "options": [], "limitPerUser": 2,
        "saleStartsAt": "2020-01-01T00:00:00.123Z", "saleEndsAt": FUTURE});
    table.gives("all else replaced", put(1, &cheaper), 200, shown.clone()).await;
    table.gives("as it was replaced", get(1), 200, shown).await;
    let plain =
        json!({"name": "Mug", "price": 500, "saleStartsAt": null, "saleEndsAt": null, "limitPerUser": null});
    let shown = json!({"id": 1, "name": "Mug", "price": 500, "stock": 3, "options": []});
    table.gives("null is left out", put(1, &plain), 200, shown).await;

    let bare = json!({"name": "Bare", "price": 1_000_000_000});
    let shown = json!({"id": 2, "name": "Bare", "price": 1_000_000_000, "stock": 0, "options": []});
    table.gives_with("no stock yet", put(2, &bare), 201, &[("location", "/products/2")], shown.clone()).await;
    let none = changed(bare.clone(), json!({"stock": 0}));
    table.gives("no stock, in words", put(2, &none), 200, shown).await;
    table.invalid("another stock", put(2, &changed(bare, json!({"stock": 1}))), "#/stock").await;
    // The initial stock is compared, not what is left of it.
    table.app.user_with(1, 10_000).await;
    assert_eq!(order(1, &[(1, 2)]).accepting(&table.app, None).await.status, 201);
    let shown = json!({"id": 1, "name": "컵", "price": 500, "stock": 1, "options": []});
    table.gives("a retry after a sale", put(1, &mug), 200, shown).await;
    table.invalid("what is left", put(1, &changed(mug, json!({"stock": 1}))), "#/stock").await;
    table.refuses("a product nobody described", get(99), "product_not_found").await;
}

async fn wrong_descriptions(table: &mut Table) {
    let option = |id: u64, name: &str| json!({"id": id, "name": name, "price": 1});
    let shirt = |options: Value| json!({"price": null, "options": options});
    let cases = [
        ("no name", json!({"name": null}), "#/name"),
        ("an empty name", json!({"name": ""}), "#/name"),
        ("a long name", json!({"name": "컵".repeat(201)}), "#/name"),
        ("no price", json!({"price": null}), "#/price"),
        ("a price below zero", json!({"price": -1}), "#/price"),
        ("a price too high", json!({"price": 1_000_000_001}), "#/price"),
        ("a price as text", json!({"price": "5"}), "#/price"),
        ("a price with a fraction", json!({"price": 1.0}), "#/price"),
        ("a stock below zero", json!({"stock": -1}), "#/stock"),
        ("a stock too large", json!({"stock": 1_000_000_001}), "#/stock"),
        ("a limit of none", json!({"limitPerUser": 0}), "#/limitPerUser"),
        ("a limit as text", json!({"limitPerUser": "1"}), "#/limitPerUser"),
        ("no time", json!({"saleStartsAt": "soon"}), "#/saleStartsAt"),
        ("a time without offset", json!({"saleEndsAt": "2026-11-20T11:00:00"}), "#/saleEndsAt"),
        ("an empty window", json!({"saleStartsAt": PAST, "saleEndsAt": PAST}), "#/saleEndsAt"),
        ("a window backwards", json!({"saleStartsAt": FUTURE, "saleEndsAt": PAST}), "#/saleEndsAt"),
        ("no options", shirt(json!([])), "#/options"),
        ("options that are none", shirt(json!({})), "#/options"),
        ("a price beside options", json!({"options": [option(1, "S")]}), "#/price"),
        (
            "a stock beside options",
            json!({"price": null, "stock": 1, "options": [option(1, "S")]}),
            "#/stock",
        ),
        ("an option without id", shirt(json!([{"name": "S", "price": 1}])), "#/options/0/id"),
        ("option 0", shirt(json!([option(0, "S")])), "#/options/0/id"),
        ("an id twice", shirt(json!([option(1, "S"), option(1, "L")])), "#/options/1/id"),
        ("a name twice", shirt(json!([option(1, "S"), option(2, "S")])), "#/options/1/name"),
        ("an option without price", shirt(json!([{"id": 1, "name": "S"}])), "#/options/0/price"),
        ("an unknown field", shirt(json!([{"id": 1, "name": "S", "price": 1, "x": 1}])), "#/options/0/x"),
    ];
    let good = json!({"name": "Mug", "price": 5});
    for (story, changes, pointer) in cases {
        table.invalid(story, put(50, &changed(good.clone(), changes)), pointer).await;
    }
    let many: Vec<Value> = (1..=51).map(|it| option(it, &it.to_string())).collect();
    table.invalid("too many options", put(50, &changed(good, shirt(json!(many)))), "#/options").await;
    table.refuses("none of these was listed", get(50), "product_not_found").await;
}

async fn options(table: &mut Table) {
    let option = |id: u64, name: &str, price: i64, stock: i64| json!({"id": id, "name": name, "price": price, "stock": stock});
    let (small, medium, large) = (option(3, "S", 30, 4), option(1, "M", 20, 0), option(2, "L", 40, 5));
    let shirt = |options: Value| json!({"name": "Shirt", "options": options});
    let shown = |price: i64, stock: i64, options: Value| json!({"id": 3, "name": "Shirt", "price": price, "stock": stock, "options": options});

    let all = json!([small, medium, large]);
    let new = [("location", "/products/3")];
    // The cheapest is out of stock, and its price is shown nevertheless.
    let whole = shown(20, 9, all.clone());
    table.gives_with("in the order described", put(3, &shirt(all.clone())), 201, &new, whole.clone()).await;
    table.gives("a retry", put(3, &shirt(all.clone())), 200, whole.clone()).await;
    table.gives("as it was described", get(3), 200, whole.clone()).await;
    let other = json!([small, medium, option(2, "L", 40, 6)]);
    table.invalid("another stock", put(3, &shirt(other)), "#/options/2/stock").await;

    let two = json!([large, small]);
    table.gives("one left out", put(3, &shirt(two.clone())), 200, shown(30, 9, two)).await;
    let one = json!([{"id": 2, "name": "L", "price": 35}]);
    let left = shown(35, 5, json!([option(2, "L", 35, 5)]));
    table.gives("two left out, one changed", put(3, &shirt(one)), 200, left.clone()).await;
    table.app.user_with(3, 10_000).await;
    let buy =
        |option: u64| json!({"userId": 3, "items": [{"productId": 3, "optionId": option, "quantity": 1}]});
    assert_eq!(table.app.post("/orders", buy(3)).await.code(), "product_not_found");
    assert_eq!(table.app.post("/orders", buy(2)).await.status, 201);
    let check = Request::get("/products/3/stock-check?optionId=3");
    table.refuses("an option left out", check, "product_not_found").await;
    let restock = Request::post("/admin/products/3/stock", json!({"delta": 1, "optionId": 3}));
    table.refuses("an option left out", restock, "product_not_found").await;
    let other = json!([option(3, "S", 30, 5)]);
    table.invalid("another stock of one left out", put(3, &shirt(other)), "#/options/0/stock").await;
    let all_left = shown(20, 8, json!([small, medium, option(2, "L", 40, 4)]));
    table.gives("they come back with their units", put(3, &shirt(all)), 200, all_left).await;

    let plain = json!({"name": "Shirt", "price": 7, "stock": 2});
    table.gives("no options any more", put(3, &plain), 200, shown(7, 2, json!([]))).await;
    assert_eq!(table.app.post("/orders", buy(2)).await.code(), "product_not_found");
    assert_eq!(order(3, &[(3, 1)]).accepting(&table.app, None).await.status, 201);
}

async fn lists(table: &mut Table) {
    let first = json!({"id": 1, "name": "컵", "price": 500, "stock": 1, "options": []});
    let bare = json!({"id": 2, "name": "Bare", "price": 1_000_000_000, "stock": 0, "options": []});
    let shirt = json!({"id": 3, "name": "Shirt", "price": 7, "stock": 1, "options": []});
    let mug = |changes: Value| changed(json!({"name": "Mug", "price": 5, "stock": 3}), changes);
    set_product(&table.app, 12, mug(json!({"saleStartsAt": FUTURE}))).await;
    set_product(&table.app, 11, mug(json!({"saleEndsAt": PAST}))).await;
    set_product(&table.app, 10, mug(json!({"saleStartsAt": PAST, "saleEndsAt": FUTURE, "limitPerUser": 1})))
        .await;
    let shown = |id: u64, changes: Value| {
        changed(json!({"id": id, "name": "Mug", "price": 5, "stock": 3, "options": []}), changes)
    };
    let open = shown(10, json!({"saleStartsAt": PAST, "saleEndsAt": FUTURE, "limitPerUser": 1}));
    let (over, later) = (shown(11, json!({"saleEndsAt": PAST})), shown(12, json!({"saleStartsAt": FUTURE})));

    let all = json!([first, bare, shirt, open, over, later]);
    let available = json!([first, shirt, open]);
    table.gives("all, by id", Request::get("/products"), 200, all.clone()).await;
    table.gives("all, in words", Request::get("/products?available=false"), 200, all.clone()).await;
    table.gives("what can be bought", Request::get("/products?available=true"), 200, available.clone()).await;
    for limit in 1..=6 {
        assert_eq!(json!(table.pages("/products", "", limit).await), all);
    }
    for limit in 1..=3 {
        assert_eq!(json!(table.pages("/products", "&available=true", limit).await), available);
    }
    table.gives("the longest page", Request::get("/products?limit=200"), 200, all).await;
    table.unchanged("/products?available=true&limit=2").await;
    for flag in ["", "1", "TRUE", "yes"] {
        let request = Request::get(format!("/products?available={flag}"));
        table.invalid("neither true nor false", request, "available").await;
    }
}

async fn deletion(table: &mut Table) {
    let poster = json!({"name": "Poster", "price": 10, "stock": 2, "limitPerUser": 2});
    set_product(&table.app, 20, poster.clone()).await;
    table.app.user_with(2, 1_000).await;
    let bought = order(2, &[(20, 2)]).accepting(&table.app, None).await;
    let old = Request::get(format!("/orders/{}", bought.body["orderId"]));
    let as_it_was = old.accepting(&table.app, None).await.body;
    let delete = Request::delete("/admin/products/20");

    table.gives("off the list", delete.clone(), 204, Value::Null).await;
    table.refuses("off the list already", delete.clone(), "product_not_found").await;
    table
        .refuses("a product nobody described", Request::delete("/admin/products/99"), "product_not_found")
        .await;
    table.refuses("off the list", get(20), "product_not_found").await;
    let check = Request::get("/products/20/stock-check");
    table.refuses("off the list", check, "product_not_found").await;
    let restock = Request::post("/admin/products/20/stock", json!({"delta": 1}));
    table.refuses("off the list", restock, "product_not_found").await;
    let buy = order(2, &[(20, 1)]).accepting(&table.app, None).await;
    assert_eq!((buy.code(), &buy.body["productId"]), ("product_not_found", &json!(20)));
    let listed = table.pages("/products", "", 200).await;
    assert!(listed.iter().all(|it| it["id"] != 20), "{listed:?}");

    // Another stock and a limit that counts from zero: nothing of the former life is left.
    let again = changed(poster, json!({"stock": 9}));
    let shown =
        json!({"id": 20, "name": "Poster", "price": 10, "stock": 9, "options": [], "limitPerUser": 2});
    table.gives_with("a new life", put(20, &again), 201, &[("location", "/products/20")], shown).await;
    assert_eq!(order(2, &[(20, 2)]).accepting(&table.app, None).await.status, 201);
    let over = order(2, &[(20, 1)]).accepting(&table.app, None).await;
    assert_eq!((over.code(), &over.body["remaining"]), ("purchase_limit_exceeded", &json!(0)));
    assert_eq!(old.accepting(&table.app, None).await.body, as_it_was);
    table.app.drain_events().await;
    let orders = table.app.get("/users/2/orders").await;
    assert_eq!(orders.entries()[1], as_it_was);

    let options = json!({"name": "Cap", "options": [{"id": 1, "name": "S", "price": 5, "stock": 1}]});
    set_product(&table.app, 21, options).await;
    table.gives("with its options", Request::delete("/admin/products/21"), 204, Value::Null).await;
    let check = Request::get("/products/21/stock-check?optionId=1");
    table.refuses("off the list", check, "product_not_found").await;
    let without = json!({"id": 21, "name": "Cap", "price": 5, "stock": 0, "options": []});
    let cap = json!({"name": "Cap", "price": 5});
    table.gives_with("without options", put(21, &cap), 201, &[("location", "/products/21")], without).await;
}
