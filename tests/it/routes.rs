//! Every call of the API, each with a request that is good, and who may send it.

/// Who may send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Everybody, without a token.
    All,
    /// Everybody who has a token.
    Known,
    /// User 1, whose wallet, coupon or order it is; for others it does not exist, in these words.
    Owner(&'static str),
    /// User 1 where `self_service` is on; else administrators only. For others it does not exist, in these words.
    OwnerWithMoney(&'static str),
    Admin,
}

/// A request that is good in the shop of [`super::identity`].
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub method: &'static str,
    pub route: &'static str,
    pub target: &'static str,
    pub body: &'static str,
    pub whose: For,
}

const fn call(
    method: &'static str,
    route: &'static str,
    target: &'static str,
    body: &'static str,
    whose: For,
) -> Call {
    Call { method, route, target, body, whose }
}

const USER: For = For::Owner("user_not_found");
const MONEY: For = For::OwnerWithMoney("user_not_found");

/// In the order of the route table in `src/http/mod.rs`. `$` stands for the id of user 1's paid order, `$1` to `$3` for
/// those of pending ones; the first holds coupon 3.
#[rustfmt::skip]
pub const CALLS: [Call; 39] = [
    call("PUT",  "/users/{userId}",                 "/users/1",                 "", USER),
    call("GET",  "/users/{userId}/balance",         "/users/1/balance",         "", USER),
    call("POST", "/users/{userId}/balance",         "/users/1/balance",         r#"{"amount":1}"#, MONEY),
    call("GET",  "/users/{userId}/balance/history", "/users/1/balance/history", "", USER),
    call("GET",  "/users/{userId}/orders",          "/users/1/orders",          "", USER),
    call("GET",  "/balance",                        "/balance?userId=1",        "", USER),
    call("POST", "/balance/charge",                 "/balance/charge",          r#"{"userId":1,"amount":1}"#, MONEY),
    call("GET",  "/products",                       "/products?limit=1",        "", For::Known),
    call("GET",  "/products/top",                   "/products/top",            "", For::Known),
    call("GET",  "/products/rank",                  "/products/rank",           "", For::Known),
    call("GET",  "/products/{productId}",           "/products/1",              "", For::Known),
    call("GET",  "/products/{productId}/stock-check", "/products/1/stock-check", "", For::Known),
    call("GET",  "/coupons",                        "/coupons",                 "", For::Known),
    call("POST", "/coupons",                        "/coupons",                 r#"{"userId":1,"couponId":1}"#, USER),
    call("POST", "/coupons/{couponId}/issue",       "/coupons/2/issue",         r#"{"userId":1}"#, USER),
    call("GET",  "/users/{userId}/coupons",         "/users/1/coupons",         "", USER),
    call("POST", "/orders",                         "/orders",                  r#"{"userId":1,"items":[{"productId":1,"quantity":1}]}"#, USER),
    call("GET",  "/orders/{orderId}",               "/orders/$",                "", For::Owner("order_not_found")),
    call("POST", "/orders/{orderId}/cancel",        "/orders/$2/cancel",        "", For::Owner("order_not_found")),
    call("POST", "/orders/{orderId}/refund",        "/orders/$/refund",         "", For::OwnerWithMoney("order_not_found")),
    call("POST", "/payments",                       "/payments",                r#"{"orderId":$3}"#, For::Owner("order_not_found")),
    call("GET",  "/coupons/valid",                  "/coupons/valid?orderId=$1", "", For::Owner("order_not_found")),
    call("POST", "/coupons/{couponId}/cancel",      "/coupons/3/cancel",        r#"{"orderId":$1}"#, For::Owner("order_not_found")),
    call("PUT",  "/admin/products/{productId}",     "/admin/products/3",        r#"{"name":"Mug","price":1}"#, For::Admin),
    call("DELETE", "/admin/products/{productId}",   "/admin/products/2",        "", For::Admin),
    call("POST", "/admin/products/{productId}/stock", "/admin/products/1/stock", r#"{"delta":1}"#, For::Admin),
    call("PUT",  "/admin/coupons/{couponId}",       "/admin/coupons/1",         r#"{"name":"More","discount":{"kind":"fixed","value":10},"quantity":90,"startsAt":"2020-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z"}"#, For::Admin),
    call("POST", "/admin/audit",                   "/admin/audit",             "", For::Admin),
    call("GET",  "/admin/overview",                "/admin/overview",          "", For::Admin),
    call("GET",  "/healthz",                        "/healthz",                 "", For::All),
    call("GET",  "/readyz",                         "/readyz",                  "", For::All),
    call("GET",  "/metrics",                        "/metrics",                 "", For::All),
    call("GET",  "/openapi.json",                   "/openapi.json",            "", For::All),
    call("GET",  "/docs",                           "/docs",                    "", For::All),
    call("GET",  "/docs/{file}",                    "/docs/start.js",           "", For::All),
    call("GET",  "/console",                        "/console",                 "", For::All),
    call("GET",  "/console/stream",                 "/console/stream",          "", For::Admin),
    call("POST", "/console/ticket",                 "/console/ticket",          "", For::Admin),
    call("GET",  "/console/{file}",                 "/console/console.js",      "", For::All),
];

/// Method and route of all calls, by the route table as it is written: axum does not tell.
fn served() -> Vec<String> {
    let table = include_str!("../../src/http/mod.rs");
    let mut written = Vec::new();
    for line in table.lines().filter_map(|it| it.trim().strip_prefix(".route(\"")) {
        let (route, handlers) = line.split_once('"').unwrap();
        for method in ["get", "post", "put", "delete", "patch", "any", "on"] {
            let is_there =
                [", ", " ", "."].iter().any(|before| handlers.contains(&format!("{before}{method}(")));
            if is_there {
                written.push(format!("{} {route}", method.to_uppercase()));
            }
        }
    }
    // Whatever adds routes in another way must be looked at here too.
    for other in [".nest(", ".merge(", ".route_service(", ".nest_service("] {
        assert!(!table.contains(other), "{other}");
    }
    written
}

/// Goal: no route is forgotten.
#[test]
fn every_route_is_in_the_list() {
    let listed: Vec<String> = CALLS.iter().map(|it| format!("{} {}", it.method, it.route)).collect();
    assert_eq!(served(), listed);
}
