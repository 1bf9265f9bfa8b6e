//! Users and their balance.

use serde_json::json;

use crate::http::balance::{Balance, ChargeBody, ChargeUserBody};
use crate::http::openapi::call::{Access, Call, Noun, Parameter};
use crate::http::problem::ProblemKind::{BalanceLimitExceeded, InvalidAmount, UserNotFound};
use crate::ledger::LedgerEntry;

pub fn calls() -> Vec<Call> {
    let empty = || json!({"userId": 1, "balance": 0});
    let wallet = || json!({"userId": 1, "balance": 50_000});
    vec![
        Call::put("/users/{userId}", "create_user", "Make a user with an empty wallet")
            .of(Noun::Users, Access::Owner)
            .answers::<Balance>(201, "Made", empty())
            .answers::<Balance>(200, "They exist", wallet()),
        Call::get("/users/{userId}/balance", "get_balance", "What a user's wallet holds")
            .of(Noun::Users, Access::Owner)
            .answers::<Balance>(200, "The wallet", wallet())
            .refuses(&[UserNotFound]),
        Call::post("/users/{userId}/balance", "charge", "Put money into the wallet of a user who exists")
            .of(Noun::Users, Access::Charger)
            .takes::<ChargeBody>([("50,000", json!({"amount": 50_000}))])
            .answers::<Balance>(201, "Charged", wallet())
            .refuses(&[UserNotFound, InvalidAmount, BalanceLimitExceeded]),
        Call::get("/balance", "get_balance_by_query", "What a user's wallet holds, by query")
            .says("An unknown user has balance 0.")
            .of(Noun::Users, Access::Owner)
            .asks(
                Parameter::new("userId", "Whose", json!({"$ref": "#/components/schemas/UserId"}), 1)
                    .required(),
            )
            .answers::<Balance>(200, "The wallet", wallet()),
        Call::post(
            "/balance/charge",
            "charge_or_create",
            "Put money into a wallet; the first charge makes it",
        )
        .of(Noun::Users, Access::Charger)
        .takes::<ChargeUserBody>([("50,000", json!({"userId": 1, "amount": 50_000}))])
        .answers::<Balance>(200, "Charged", wallet())
        .refuses(&[InvalidAmount, BalanceLimitExceeded]),
        Call::get(
            "/users/{userId}/balance/history",
            "list_history",
            "What happened to a wallet, newest first",
        )
        .says("Read from MySQL: it may lag 100 ms.")
        .of(Noun::Users, Access::Owner)
        .pages::<LedgerEntry>(
            "One page",
            json!([
                {
                    "seq": 6, "kind": "payment", "amount": -12_000, "balance": 38_000, "orderId": 6_144,
                    "at": "2026-11-20T11:00:01.000Z"
                },
                {
                    "seq": 5, "kind": "charge", "amount": 50_000, "balance": 50_000,
                    "at": "2026-11-20T11:00:00.000Z"
                },
            ]),
        )
        .refuses(&[UserNotFound]),
    ]
}
