//! Claims of coupons: who gets a unit, what is told first, and what a key makes safe.

use serde_json::{Value, json};

use super::campaigns::CALLS;
use super::{BEGINS, ENDED, FUTURE, PAST, Request, Table, claim, issue, set_campaign};

/// The other call that gives a unit, and makes a missing user.
fn issue_to(user: u64, coupon: u64) -> Request {
    Request::post(format!("/coupons/{coupon}/issue"), json!({"userId": user}))
}

fn claimed(user: u64, coupon: u64, discount: Value) -> Value {
    json!({"couponId": coupon, "userId": user, "discount": discount, "status": "issued", "issuedAt": "~time", "expiresAt": FUTURE})
}

/// Every listed answer of both calls; campaigns 1 to 10 are there.
pub async fn claims(table: &mut Table) {
    let capped = json!({"kind": "percent", "value": 100, "maxAmount": 500});
    let percent = json!({"kind": "percent", "value": 1});
    for user in [21, 22] {
        table.app.user_with(user, 0).await;
    }
    for (user, way) in [(21, claim as fn(u64, u64) -> Request), (22, issue_to)] {
        table.gives("a fixed one", way(user, 1), 201, claimed(user, 1, json!(300))).await;
        table.gives("percent with a cap", way(user, 3), 201, claimed(user, 3, capped.clone())).await;
        table.gives("percent without", way(user, 4), 201, claimed(user, 4, percent.clone())).await;
        table.refuses("a second one", way(user, 1), "coupon_already_issued").await;
        table.refuses("a campaign nobody opened", way(user, 99), "coupon_not_found").await;
        let ended = json!({"endsAt": ENDED});
        table.refuses_with("too late", way(user, 5), "coupon_expired", ended).await;
        let starts = json!({"startsAt": BEGINS});
        table.refuses_with("too early", way(user, 6), "coupon_not_started", starts).await;
        table.refuses("too slow", way(user, 9), "coupon_sold_out").await;
    }
    table.refuses("a user nobody made", claim(29, 1), "user_not_found").await;
    // A refusal makes no user either.
    let starts = json!({"startsAt": BEGINS});
    table.refuses_with("too early", issue_to(29, 6), "coupon_not_started", starts).await;
    assert_eq!(table.app.get("/users/29/balance").await.code(), "user_not_found");
    table.gives("the claim makes the user", issue_to(29, 1), 201, claimed(29, 1, json!(300))).await;
    assert_eq!(table.app.balance(29).await, 0);

    for id in [json!(0), json!("1"), json!(1.0), json!(null), json!(9_007_199_254_740_992_u64)] {
        let user = |path: &str| Request::post(path, json!({"couponId": 1, "userId": id}));
        table.invalid("no user id", user("/coupons"), "#/userId").await;
        let alias = Request::post("/coupons/1/issue", json!({"userId": id}));
        table.invalid("no user id", alias, "#/userId").await;
        let coupon = Request::post("/coupons", json!({"userId": 21, "couponId": id}));
        table.invalid("no coupon id", coupon, "#/couponId").await;
    }
    table.invalid("no user", Request::post("/coupons", json!({"couponId": 1})), "#/userId").await;
    table.invalid("no coupon", Request::post("/coupons", json!({"userId": 1})), "#/couponId").await;
    table.invalid("no user", Request::post("/coupons/1/issue", json!({})), "#/userId").await;
    let twice = Request::post("/coupons/1/issue", json!({"userId": 21, "couponId": 1}));
    table.invalid("the coupon is in the path", twice, "#/couponId").await;

    let (first, alias) = (claim(21, 2).under("k"), issue_to(22, 2).under("k"));
    let replayed = [("idempotency-replayed", "true")];
    for (user, request) in [(21, first), (22, alias)] {
        let body = claimed(user, 2, json!(300));
        let answer = table.gives("under a key", request.clone(), 201, body.clone()).await;
        let again = table.gives_with("once more", request, 201, &replayed, body).await;
        assert_eq!(again.body, answer.body);
    }
    table.refuses("another coupon", claim(21, 7).under("k"), "idempotency_key_reused").await;
    table.refuses("the other call", issue_to(21, 2).under("k"), "idempotency_key_reused").await;
    table.refuses("the other call", claim(22, 2).under("k"), "idempotency_key_reused").await;
}

/// What a claim is told, in the contract's order. `coupon_not_started` and `coupon_expired` share a place.
const ORDER: [&[&str]; 7] = [
    &["invalid_request"],
    &["idempotency_key_reused"],
    &["coupon_not_found"],
    &["user_not_found"],
    &["coupon_not_started", "coupon_expired"],
    &["coupon_already_issued"],
    &["coupon_sold_out"],
];

/// Goal: of two refusals that both apply, the first is told.
#[tokio::test]
async fn of_two_refusals_of_a_claim_the_first_is_told() {
    let mut table = Table::of(CALLS).await;
    let (user, stranger) = (1, 99);
    table.app.user_with(user, 0).await;
    // One who has a unit of each; then the campaigns are changed so that it matters.
    for coupon in [1, 2, 3, 4] {
        set_campaign(&table.app, coupon, json!({"quantity": 1})).await;
    }
    for coupon in [1, 2, 3] {
        issue(&table.app, user, coupon).await;
    }
    assert_eq!(claim(user, 4).under("used").accepting(&table.app, None).await.status, 201);
    let past = json!({"quantity": 1, "endsAt": ENDED});
    let future = json!({"quantity": 1, "startsAt": BEGINS});
    set_campaign(&table.app, 1, past).await;
    set_campaign(&table.app, 2, future).await;
    set_campaign(&table.app, 5, json!({})).await;

    let ended = json!({"endsAt": ENDED});
    let starts = json!({"startsAt": BEGINS});
    let none = || json!({});
    let errors = json!({"errors": [{"pointer": "#/couponId", "detail": "~text"}]});
    // Both of a pair apply to its request: the first is told.
    let cases = [
        ("invalid_request", "idempotency_key_reused", claim(user, 0).under("used"), errors),
        ("idempotency_key_reused", "coupon_not_found", claim(user, 98).under("used"), none()),
        ("coupon_not_found", "user_not_found", claim(stranger, 98), none()),
        ("user_not_found", "coupon_not_started", claim(stranger, 2), none()),
        ("user_not_found", "coupon_expired", claim(stranger, 1), none()),
        ("coupon_not_started", "coupon_already_issued", claim(user, 2), starts),
        ("coupon_expired", "coupon_already_issued", claim(user, 1), ended),
        ("coupon_already_issued", "coupon_sold_out", claim(user, 3), none()),
    ];
    for pair in ORDER.windows(2) {
        for (first, second) in pair[0].iter().flat_map(|first| pair[1].iter().map(move |it| (first, it))) {
            let case = cases.iter().find(|it| (it.0, it.1) == (*first, *second));
            let (_, _, request, members) = case.unwrap_or_else(|| panic!("no case for {first}, {second}"));
            // "A node that knows the pool is empty may say `coupon_sold_out` first."
            let may_know = *second == "coupon_sold_out";
            let knows = may_know && request.accepting(&table.app, None).await.code() == *second;
            let story = format!("{first} before {second}");
            let told = if knows { second } else { first };
            table.refuses_with(&story, request.clone(), told, members.clone()).await;
        }
    }
    // Each second one does apply, where the first does not.
    table.refuses("no such coupon", claim(user, 98), "coupon_not_found").await;
    table.refuses("no such user", claim(stranger, 5), "user_not_found").await;
    table.app.user_with(2, 0).await;
    table.refuses("no unit is left", claim(2, 3), "coupon_sold_out").await;
    table.finish().await;
}

/// Goal: a key makes one claim safe to repeat, whatever became of the campaign since, and keeps no refusal.
#[tokio::test]
async fn a_key_repeats_the_first_claim_whatever_happened_since() {
    let mut table = Table::of(CALLS).await;
    let replayed = [("idempotency-replayed", "true")];
    for user in [1, 2] {
        table.app.user_with(user, 0).await;
    }
    set_campaign(&table.app, 1, json!({"quantity": 1})).await;
    let request = claim(1, 1).under("k");
    let first = table.gives("the only unit", request.clone(), 201, claimed(1, 1, json!(300))).await.body;
    table.refuses("no key, no unit", claim(2, 1), "coupon_sold_out").await;
    table.gives_with("sold out since", request.clone(), 201, &replayed, first.clone()).await;
    let percent = json!({"kind": "percent", "value": 5});
    for (story, changes) in [
        ("another discount", json!({"discount": percent, "expiresAt": PAST})),
        ("not yet begun", json!({"startsAt": BEGINS})),
        ("over", json!({"endsAt": ENDED})),
    ] {
        set_campaign(&table.app, 1, changes).await;
        table.gives_with(story, request.clone(), 201, &replayed, first.clone()).await;
    }
    // White space and the order of fields are not the request.
    let same = request.clone().saying(r#"{ "couponId": 1, "userId": 1 }"#);
    table.gives_with("written otherwise", same, 201, &replayed, first).await;

    // A refusal is not kept: neither for the same request, nor against another one.
    set_campaign(&table.app, 2, json!({"startsAt": BEGINS})).await;
    let early = claim(1, 2).under("early");
    let starts = json!({"startsAt": BEGINS});
    table.refuses_with("not yet", early.clone(), "coupon_not_started", starts.clone()).await;
    set_campaign(&table.app, 2, json!({})).await;
    table.gives("now, under the same key", early.clone(), 201, claimed(1, 2, json!(300))).await;
    table.gives_with("and again", early, 201, &replayed, claimed(1, 2, json!(300))).await;
    set_campaign(&table.app, 3, json!({"startsAt": BEGINS})).await;
    table.refuses_with("not yet", claim(2, 3).under("free"), "coupon_not_started", starts).await;
    table.gives("another under that key", claim(2, 2).under("free"), 201, claimed(2, 2, json!(300))).await;
    table.refuses("now it is used", claim(2, 3).under("free"), "idempotency_key_reused").await;

    // A key is its user's: whose wallet it is, not who asks, and not for which call.
    set_campaign(&table.app, 4, json!({})).await;
    table.gives("the key of user 1", claim(1, 4).under("mine"), 201, claimed(1, 4, json!(300))).await;
    table.gives("the same of user 2", claim(2, 4).under("mine"), 201, claimed(2, 4, json!(300))).await;
    let charge = Request::post("/users/1/balance", json!({"amount": 5})).under("mine");
    assert_eq!(charge.accepting(&table.app, None).await.code(), "idempotency_key_reused");
    let as_administrator = Request::post("/admin/products/1/stock", json!({"delta": 5})).under("mine");
    assert_eq!(as_administrator.accepting(&table.app, None).await.code(), "product_not_found");
    table.finish().await;
}
