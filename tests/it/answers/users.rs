//! Users, wallets and what happened to them.

use serde_json::{Value, json};

use super::{Call, Request, Table, order};

pub const CALLS: &[Call] = &[
    Call::new("PUT /users/{userId}", "201 200"),
    Call::new("GET /users/{userId}/balance", "200 user_not_found"),
    Call::new("POST /users/{userId}/balance", "201 user_not_found invalid_amount balance_limit_exceeded")
        .taking(r#"{"amount":5}"#),
    Call::new("GET /balance", "200").asking(&["userId"]),
    Call::new("POST /balance/charge", "200 invalid_amount balance_limit_exceeded")
        .taking(r#"{"userId":1,"amount":5}"#),
    Call::new("GET /users/{userId}/balance/history", "200 user_not_found").asking(&["limit", "cursor"]),
];

fn wallet(user: u64, balance: i64) -> Value {
    json!({"userId": user, "balance": balance})
}

fn charge(user: u64, amount: Value) -> Request {
    Request::post(format!("/users/{user}/balance"), json!({"amount": amount}))
}

fn charge_or_create(user: u64, amount: Value) -> Request {
    Request::post("/balance/charge", json!({"userId": user, "amount": amount}))
}

/// Goal: wallets answer as listed, and their history is complete.
#[tokio::test]
async fn users_and_wallets_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    wallets(&mut table).await;
    charges_without_effect(&mut table).await;
    histories(&mut table).await;
    table.finish_complete().await;
}

async fn wallets(table: &mut Table) {
    let new = Request::new(reqwest::Method::PUT, "/users/1");
    table.gives("a new user", new.clone(), 201, wallet(1, 0)).await;
    table.gives("the same user again", new.clone(), 200, wallet(1, 0)).await;
    table.gives("a charge", charge(1, json!(700)), 201, wallet(1, 700)).await;
    table.gives("a user with money", new, 200, wallet(1, 700)).await;
    table.gives("a balance", Request::get("/users/1/balance"), 200, wallet(1, 700)).await;
    table.gives("a balance by query", Request::get("/balance?userId=1"), 200, wallet(1, 700)).await;
    table.gives("a user nobody made", Request::get("/balance?userId=9"), 200, wallet(9, 0)).await;
    table.refuses("a user nobody made", Request::get("/users/9/balance"), "user_not_found").await;
    table.refuses("a user nobody made", charge(9, json!(5)), "user_not_found").await;
    table.gives("the first charge makes a wallet", charge_or_create(2, json!(40)), 200, wallet(2, 40)).await;
    table.gives("the wallet it made", Request::get("/users/2/balance"), 200, wallet(2, 40)).await;
    table.gives("the second charge adds", charge_or_create(2, json!(2)), 200, wallet(2, 42)).await;

    for user in ["", "0", "01", "1.0", "abc", "9007199254740992"] {
        table.invalid("no user id", Request::get(format!("/balance?userId={user}")), "userId").await;
    }
    table.invalid("no user", Request::get("/balance"), "userId").await;
}

async fn charges_without_effect(table: &mut Table) {
    for charge in [charge, charge_or_create] {
        for amount in [json!(0), json!(-1), json!(1_000_000_001), json!(u64::MAX)] {
            table.refuses("out of bounds", charge(1, amount), "invalid_amount").await;
        }
        for amount in [json!("5"), json!(1.5), json!(true), json!(null), json!([5])] {
            table.invalid("no integer", charge(1, amount), "#/amount").await;
        }
    }
    for amount in ["1e3", "1.0"] {
        let body = format!(r#"{{"amount":{amount}}}"#);
        let request = Request::post("/users/1/balance", json!({})).saying(body);
        table.invalid("not in plain digits", request, "#/amount").await;
    }
    table.invalid("no amount", Request::post("/users/1/balance", json!({})), "#/amount").await;
    table.invalid("no user", Request::post("/balance/charge", json!({"amount": 5})), "#/userId").await;

    // The most that one charge may bring, until one more unit would pass the wallet's limit.
    for full in 1..10 {
        let balance = 1_000_000_000 * full + 42;
        table.gives("the largest charge", charge(2, json!(1_000_000_000)), 201, wallet(2, balance)).await;
    }
    table.gives("up to the limit", charge(2, json!(999_999_958)), 201, wallet(2, 10_000_000_000)).await;
    table.refuses("one more", charge(2, json!(1)), "balance_limit_exceeded").await;
    table.refuses("one more", charge_or_create(2, json!(1)), "balance_limit_exceeded").await;
    // The amount is looked at first.
    table.refuses("too much at once", charge(2, json!(1_000_000_001)), "invalid_amount").await;

    let first = charge(1, json!(10)).under("k");
    let replayed = [("idempotency-replayed", "true")];
    table.gives("a charge under a key", first.clone(), 201, wallet(1, 710)).await;
    table.gives("another charge", charge(1, json!(5)), 201, wallet(1, 715)).await;
    table.gives_with("the first one again", first, 201, &replayed, wallet(1, 710)).await;
    table.refuses("another amount", charge(1, json!(11)).under("k"), "idempotency_key_reused").await;
    table.refuses("another path", charge_or_create(1, json!(10)).under("k"), "idempotency_key_reused").await;
    let other = charge_or_create(3, json!(10)).under("k");
    table.gives("the key of another user", other.clone(), 200, wallet(3, 10)).await;
    table.gives_with("theirs again", other, 200, &replayed, wallet(3, 10)).await;
    table.refuses("not stored", charge(8, json!(5)).under("later"), "user_not_found").await;
    table.gives("now there is a user", charge_or_create(8, json!(1)), 200, wallet(8, 1)).await;
    table.gives("the key is still free", charge(8, json!(5)).under("later"), 201, wallet(8, 6)).await;
    assert_eq!(table.app.balance(1).await, 715);
}

async fn histories(table: &mut Table) {
    table.app.product_with(1, 300, 10).await;
    let bought = order(1, &[(1, 2)]).accepting(&table.app, None).await;
    let order_id = bought.body["orderId"].clone();
    table.app.drain_events().await;
    let charge = |amount: i64, balance: i64| json!({"seq": "~id", "kind": "charge", "amount": amount, "balance": balance, "at": "~time"});
    let payment = json!({"seq": "~id", "kind": "payment", "amount": -600, "balance": 115, "orderId": order_id, "at": "~time"});
    let told = json!([payment, charge(5, 715), charge(10, 710), charge(700, 700)]);
    let path = "/users/1/balance/history";
    let whole = table.gives("a whole history", Request::get(path), 200, told).await;
    assert_eq!(whole.body[0]["at"], bought.body["paidAt"]);
    assert_eq!(table.pages(path, "", 3).await, whole.entries());
    table.app.user_with(4, 0).await;
    table.gives("nothing yet", Request::get("/users/4/balance/history"), 200, json!([])).await;
    table.refuses("a user nobody made", Request::get("/users/9/balance/history"), "user_not_found").await;
}
