//! Campaigns as they are described and listed, claims, and what a user has.

use serde_json::{Value, json};

use super::{
    BEGINS, Call, ENDED, FUTURE, PAST, Request, Table, campaign, changed, claim, issue, order_with,
    set_campaign,
};

pub const CALLS: &[Call] = &[
    Call::new("GET /coupons", "200 304").asking(&["limit", "cursor"]),
    Call::new(
        "POST /coupons",
        "201 coupon_not_found user_not_found coupon_not_started coupon_expired coupon_already_issued coupon_sold_out",
    )
    .taking(r#"{"userId":1,"couponId":1}"#),
    Call::new(
        "POST /coupons/{couponId}/issue",
        "201 coupon_not_found coupon_not_started coupon_expired coupon_already_issued coupon_sold_out",
    )
    .taking(r#"{"userId":1}"#),
    Call::new("GET /users/{userId}/coupons", "200 user_not_found").asking(&["status", "limit", "cursor"]),
    Call::new("PUT /admin/coupons/{couponId}", "201 200").taking(
        r#"{"name":"A","discount":{"kind":"fixed","value":1},"quantity":1,"startsAt":"2020-01-01T00:00:00Z","endsAt":"2037-01-01T00:00:00Z"}"#,
    ),
];

/// Goal: campaigns, claims and a user's coupons answer as listed.
#[tokio::test]
async fn coupons_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    descriptions(&mut table).await;
    wrong_descriptions(&mut table).await;
    quantities(&mut table).await;
    lists(&mut table).await;
    super::claims::claims(&mut table).await;
    coupons_of_a_user(&mut table).await;
    table.finish_complete().await;
}

pub fn put(coupon: u64, body: Value) -> Request {
    Request::put(format!("/admin/coupons/{coupon}"), body)
}

/// A campaign of [`campaign`] as it is shown before anybody has a unit.
fn shown(coupon: u64, changes: Value) -> Value {
    let all = json!({"couponId": coupon, "remaining": 10, "expiresAt": FUTURE});
    changed(changed(campaign(json!({})), all), changes)
}

async fn descriptions(table: &mut Table) {
    let fixed = campaign(json!({}));
    table.gives("a new campaign", put(1, fixed.clone()), 201, shown(1, json!({}))).await;
    table.gives("the same again", put(1, fixed), 200, shown(1, json!({}))).await;

    let offsets = json!({"minOrderAmount": 1_000, "startsAt": "2020-01-01T09:00:00+09:00",
        "endsAt": "2037-01-01T00:00:00.0009Z", "expiresAt": "2037-06-01T00:00:00.5-05:30"});
    let utc = json!({"minOrderAmount": 1_000, "expiresAt": "2037-06-01T05:30:00.500Z"});
    table.gives("any offset, told in UTC", put(2, campaign(offsets)), 201, shown(2, utc.clone())).await;
    let named = json!({"name": "개업", "quantity": 5, "minOrderAmount": null, "expiresAt": null});
    let all_replaced = shown(2, json!({"name": "개업", "quantity": 5, "remaining": 5}));
    table.gives("all replaced", put(2, campaign(named)), 200, all_replaced).await;

    let capped = json!({"discount": {"kind": "percent", "value": 100, "maxAmount": 500}});
    table.gives("percent with a cap", put(3, campaign(capped.clone())), 201, shown(3, capped)).await;
    let percent = json!({"discount": {"kind": "percent", "value": 1}});
    table.gives("percent without", put(4, campaign(percent.clone())), 201, shown(4, percent)).await;

    // A past window is accepted, and use ends with issuing where nothing else is said.
    let over = json!({"startsAt": PAST, "endsAt": ENDED});
    let ended = shown(5, changed(over.clone(), json!({"expiresAt": ENDED})));
    table.gives("a past window", put(5, campaign(over)), 201, ended).await;
    let later = json!({"startsAt": BEGINS});
    table.gives("a window to come", put(6, campaign(later.clone())), 201, shown(6, later)).await;
    let used_up = json!({"expiresAt": PAST});
    table.gives("use over, issuing not", put(7, campaign(used_up.clone())), 201, shown(7, used_up)).await;
    let most = json!({"discount": {"kind": "fixed", "value": 9_999_999_999_999_u64}, "minOrderAmount": 9_999_999_999_999_u64,
        "quantity": 1_000_000_000});
    let remaining = json!({"remaining": 1_000_000_000});
    table
        .gives(
            "as much as there may be",
            put(8, campaign(most.clone())),
            201,
            shown(8, changed(most, remaining)),
        )
        .await;
}

async fn wrong_descriptions(table: &mut Table) {
    let discount = |discount: Value| json!({"discount": discount});
    let cases = [
        ("no name", json!({"name": null}), "#/name"),
        ("an empty name", json!({"name": ""}), "#/name"),
        ("a long name", json!({"name": "n".repeat(201)}), "#/name"),
        ("no discount", json!({"discount": null}), "#/discount"),
        ("a discount that is a number", json!({"discount": 300}), "#/discount"),
        ("no kind", discount(json!({"value": 1})), "#/discount/kind"),
        ("an unknown kind", discount(json!({"kind": "gift", "value": 1})), "#/discount/kind"),
        ("no value", discount(json!({"kind": "fixed"})), "#/discount/value"),
        ("nothing off", discount(json!({"kind": "fixed", "value": 0})), "#/discount/value"),
        ("a value as text", discount(json!({"kind": "fixed", "value": "5"})), "#/discount/value"),
        ("0 percent", discount(json!({"kind": "percent", "value": 0})), "#/discount/value"),
        ("101 percent", discount(json!({"kind": "percent", "value": 101})), "#/discount/value"),
        ("half a percent", discount(json!({"kind": "percent", "value": 0.5})), "#/discount/value"),
        (
            "a cap of a fixed one",
            discount(json!({"kind": "fixed", "value": 5, "maxAmount": 5})),
            "#/discount/maxAmount",
        ),
        (
            "a cap of nothing",
            discount(json!({"kind": "percent", "value": 5, "maxAmount": 0})),
            "#/discount/maxAmount",
        ),
        ("an unknown field", discount(json!({"kind": "fixed", "value": 5, "x": 1})), "#/discount/x"),
        ("a minimum below zero", json!({"minOrderAmount": -1}), "#/minOrderAmount"),
        ("no quantity", json!({"quantity": null}), "#/quantity"),
        ("a quantity as text", json!({"quantity": "10"}), "#/quantity"),
        ("a quantity with a fraction", json!({"quantity": 1.0}), "#/quantity"),
        ("a quantity below zero", json!({"quantity": -1}), "#/quantity"),
        ("a quantity too large", json!({"quantity": 1_000_000_001}), "#/quantity"),
        ("no start", json!({"startsAt": null}), "#/startsAt"),
        ("no end", json!({"endsAt": null}), "#/endsAt"),
        ("no time", json!({"startsAt": "now"}), "#/startsAt"),
        ("a time without offset", json!({"expiresAt": "2026-11-20T11:00:00"}), "#/expiresAt"),
        ("a window of no length", json!({"endsAt": PAST}), "#/endsAt"),
        ("a window backwards", json!({"startsAt": FUTURE, "endsAt": PAST}), "#/endsAt"),
        ("what it cannot set", json!({"remaining": 5}), "#/remaining"),
    ];
    for (story, changes, pointer) in cases {
        table.invalid(story, put(50, campaign(changes)), pointer).await;
    }
}

/// Units are counted from those issued, whatever the quantity becomes.
async fn quantities(table: &mut Table) {
    set_campaign(&table.app, 9, json!({"quantity": 3})).await;
    for user in [11, 12] {
        table.app.user_with(user, 0).await;
        issue(&table.app, user, 9).await;
    }
    let quantity = |quantity: i64| put(9, campaign(json!({"quantity": quantity})));
    table.invalid("fewer than were issued", quantity(1), "#/quantity").await;
    table.invalid("none", quantity(0), "#/quantity").await;
    let told =
        |quantity: i64, remaining: i64| shown(9, json!({"quantity": quantity, "remaining": remaining}));
    table.gives("as many as were issued", quantity(2), 200, told(2, 0)).await;
    table.app.user_with(13, 0).await;
    table.refuses("no unit is left", claim(13, 9), "coupon_sold_out").await;
    table.gives("one more", quantity(3), 200, told(3, 1)).await;
    issue(&table.app, 13, 9).await;
    let none = campaign(json!({"quantity": 0}));
    table
        .gives("a campaign of none", put(10, none), 201, shown(10, json!({"quantity": 0, "remaining": 0})))
        .await;
    table.refuses("there never was one", claim(13, 10), "coupon_sold_out").await;
}

async fn lists(table: &mut Table) {
    let first = table.gives("a page", Request::get("/coupons?limit=200"), 200, whole_list()).await;
    table.gives("all, by id", Request::get("/coupons"), 200, whole_list()).await;
    for limit in [1, 3, 5, 9, 10] {
        assert_eq!(table.pages("/coupons", "", limit).await, first.entries());
    }
    table.invalid("another list's parameter", Request::get("/coupons?status=issued"), "status").await;
    table.unchanged("/coupons?limit=3").await;
}

fn whole_list() -> Value {
    let percent = |value: i64| json!({"kind": "percent", "value": value});
    let most = 9_999_999_999_999_u64;
    json!([
        shown(1, json!({})),
        shown(2, json!({"name": "개업", "quantity": 5, "remaining": 5})),
        shown(3, json!({"discount": changed(percent(100), json!({"maxAmount": 500}))})),
        shown(4, json!({"discount": percent(1)})),
        shown(5, json!({"endsAt": ENDED, "expiresAt": ENDED})),
        shown(6, json!({"startsAt": BEGINS})),
        shown(7, json!({"expiresAt": PAST})),
        shown(
            8,
            json!({"discount": {"kind": "fixed", "value": most}, "minOrderAmount": most,
            "quantity": 1_000_000_000, "remaining": 1_000_000_000})
        ),
        shown(9, json!({"quantity": 3, "remaining": 0})),
        shown(10, json!({"quantity": 0, "remaining": 0})),
    ])
}

/// One coupon of each status that there is so far, newest first.
async fn coupons_of_a_user(table: &mut Table) {
    table.app.user_with(31, 5_000).await;
    table.app.product_with(1, 1_000, 10).await;
    table.gives("none yet", Request::get("/users/31/coupons"), 200, json!([])).await;
    for coupon in [3, 7, 1, 2] {
        issue(&table.app, 31, coupon).await;
    }
    issue(&table.app, 11, 1).await;
    let bought = order_with(31, &[(1, 1)], 1).accepting(&table.app, None).await;
    assert_eq!(bought.status, 201, "{bought:?}");
    table.app.drain_events().await;

    let own = |coupon: u64, status: &str, changes: Value| {
        let fixed = json!({"kind": "fixed", "value": 300});
        let own = json!({"couponId": coupon, "name": "Opening", "discount": fixed, "status": status, "issuedAt": "~time", "expiresAt": FUTURE});
        changed(own, changes)
    };
    let newest = own(2, "issued", json!({"name": "개업"}));
    let used = own(1, "used", json!({"orderId": bought.body["orderId"]}));
    let expired = own(7, "expired", json!({"expiresAt": PAST}));
    let capped = own(3, "issued", json!({"discount": {"kind": "percent", "value": 100, "maxAmount": 500}}));
    let all = json!([newest, used, expired, capped]);
    let list = |query: &str| Request::get(format!("/users/31/coupons{query}"));
    let whole = table.gives("all, newest first", list(""), 200, all).await;
    for (status, entries) in [
        ("issued", json!([newest, capped])),
        ("used", json!([used])),
        ("expired", json!([expired])),
        ("held", json!([])),
    ] {
        table.gives("of one status", list(&format!("?status={status}")), 200, entries).await;
    }
    for limit in [1, 3, 4] {
        assert_eq!(table.pages("/users/31/coupons", "", limit).await, whole.entries());
    }
    let issued = table.pages("/users/31/coupons", "&status=issued", 1).await;
    assert_eq!(issued, [whole.body[0].clone(), whole.body[3].clone()]);
    // A coupon that was used stays used, and one that was not takes what its campaign says now.
    let percent = json!({"kind": "percent", "value": 50});
    set_campaign(&table.app, 1, json!({"expiresAt": PAST})).await;
    set_campaign(&table.app, 2, json!({"discount": percent, "expiresAt": BEGINS})).await;
    table.app.drain_events().await;
    let used = changed(used, json!({"expiresAt": PAST}));
    table.gives("still used", list("?status=used"), 200, json!([used])).await;
    let newest = own(2, "issued", json!({"discount": percent, "expiresAt": BEGINS}));
    table.gives("as it is now", list("?limit=3&status=issued"), 200, json!([newest, capped])).await;
    for status in ["", "Issued", "sold", "issued,used"] {
        table.invalid("no status", list(&format!("?status={status}")), "status").await;
    }
    let cursor = table.app.get("/coupons?limit=1").await.next().unwrap();
    let cursor = cursor.rsplit_once("cursor=").unwrap().1;
    table.invalid("a cursor of another list", list(&format!("?cursor={cursor}")), "cursor").await;
    table.refuses("a user nobody made", Request::get("/users/99/coupons"), "user_not_found").await;
}
