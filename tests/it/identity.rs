//! Promise: a token says who calls; nobody reaches what is another's, and what is refused changes nothing.

use serde_json::{Value, json};

use super::routes::{CALLS, Call, For};
use super::test_app::{Answer, TestApp};
use super::tokens::{self, Signer, claims, sign_with_secret};
use super::wire::{Wire, ask, assert_problem, request};

const JSON: &[u8] = b"Content-Type: application/json";

/// A shop that trusts one key: users 1 and 2, what all calls of the list need, and an order of user 1.
struct Shop {
    app: TestApp,
    signer: Signer,
    order: u64,
    /// The first holds coupon 3.
    pending: [u64; 3],
}

impl Shop {
    async fn open(change: impl FnOnce(&mut firstcome::config::Settings)) -> Self {
        let signer = Signer::rsa();
        let mut app = TestApp::start_with(|settings| {
            signer.trusted_by(settings);
            change(settings);
        })
        .await;
        app.present(&signer.admin());
        app.user_with(1, 1_000).await;
        app.user_with(2, 1_000).await;
        app.product_with(1, 10, 1_000).await;
        app.product_with(2, 10, 1_000).await;
        app.campaign(1, 80, json!({})).await;
        app.campaign(2, 80, json!({})).await;
        app.campaign(3, 80, json!({})).await;
        app.post("/coupons", json!({"userId": 1, "couponId": 3})).await;
        let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
        let order = app.post("/orders", order).await.body["orderId"].as_u64().expect("an order");
        let mut pending = [0; 3];
        for (index, id) in pending.iter_mut().enumerate() {
            let coupon = (index == 0).then_some(3);
            *id = super::pending_orders::place(&app, super::pending_orders::later(1, 1, 1, coupon)).await;
        }
        app.drain().await;
        Self { app, signer, order, pending }
    }

    /// Sends a request with these headers beside those that its body needs.
    async fn send(&self, call: &Call, headers: &[String]) -> Answer {
        let fill = |text: &str| {
            let pending = (1..).zip(self.pending);
            let text = pending.fold(text.to_owned(), |text, (number, id)| {
                text.replace(&format!("${number}"), &id.to_string())
            });
            text.replace('$', &self.order.to_string())
        };
        let (target, body) = (fill(call.target), fill(call.body));
        let headers: Vec<&[u8]> = [JSON].into_iter().chain(headers.iter().map(|it| it.as_bytes())).collect();
        ask(&self.app, &request(&format!("{} {target}", call.method), &headers, body.as_bytes())).await
    }

    async fn send_as(&self, call: &Call, token: &str) -> Answer {
        self.send(call, &[bearer(token)]).await
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A token whose header is written by hand.
fn with_header(header: &Value, token: &str) -> String {
    let rest = token.split_once('.').unwrap().1;
    format!("{}.{rest}", base64url(header.to_string().as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letters = (0..=chunk.len()).map(|it| ALPHABET[(bits >> (18 - 6 * it)) as usize & 63]);
        text.extend(letters.map(char::from));
    }
    text
}

/// What comes in the place of a valid token of user 1, each an administrator's too where it can be.
fn bad_authorisations(signer: &Signer) -> Vec<(&'static str, Vec<String>)> {
    let now = jsonwebtoken::get_current_timestamp();
    let with = |changes: Value| {
        let mut all = json!({"scope": "admin"});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        vec![bearer(&signer.sign(&claims("1", all)))]
    };
    let good = signer.admin();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let public = signer.public_pem().as_bytes();
    let admin = claims("1", json!({"scope": "admin"}));
    let none = with_header(&json!({"alg": "none", "typ": "JWT"}), &good);
    vec![
        ("nothing", vec![]),
        ("expired", with(json!({"exp": now - 60}))),
        ("no exp", with(json!({"exp": null}))),
        ("exp as text", with(json!({"exp": (now + 3_600).to_string()}))),
        ("a negative exp", with(json!({"exp": -1}))),
        ("not yet valid", with(json!({"nbf": now + 3_600}))),
        ("nbf as text", with(json!({"nbf": "0"}))),
        ("another audience", with(json!({"aud": "another shop"}))),
        ("no audience", with(json!({"aud": null}))),
        ("an empty audience", with(json!({"aud": []}))),
        ("another issuer", with(json!({"iss": "https://elsewhere.example"}))),
        ("no issuer", with(json!({"iss": null}))),
        ("a scope that is no text", with(json!({"scope": ["admin"]}))),
        ("no user", vec![bearer(&signer.sign(&claims("nobody", json!({}))))]),
        ("a number as sub", vec![bearer(&signer.sign(&claims("1", json!({"sub": 1}))))]),
        ("alg none", vec![bearer(&none)]),
        ("alg none without a signature", vec![bearer(&format!("{}.", none.rsplit_once('.').unwrap().0))]),
        ("the public key as a secret", vec![bearer(&sign_with_secret(public, &admin))]),
        (
            "an extension",
            vec![bearer(&signer.sign_with(|it| it.crit = Some(vec!["exp".to_owned()]), &admin))],
        ),
        ("another key", vec![bearer(&Signer::rsa().sign(&admin))]),
        ("no signature", vec![bearer(signed)]),
        ("an empty signature", vec![bearer(&format!("{signed}."))]),
        ("other claims", vec![bearer(&format!("{}x.{signature}", signed))]),
        ("garbage", vec![bearer("garbage")]),
        ("dots", vec![bearer("..")]),
        ("an empty token", vec!["Authorization: Bearer".to_owned()]),
        ("no scheme", vec![format!("Authorization: {good}")]),
        ("Basic", vec!["Authorization: Basic MTpwYXNzd29yZA==".to_owned()]),
        ("two tokens", vec![bearer(&good), bearer(&good)]),
        ("two tokens in one", vec![format!("{}, Bearer {good}", bearer(&good))]),
    ]
}

/// Goal: without a valid token every call is 401, says how to do better, and does nothing.
#[tokio::test]
async fn whoever_has_no_valid_token_is_refused_by_every_call() {
    let shop = Shop::open(|_| ()).await;
    let before = shop.app.redis.everything().await;
    let bad = bad_authorisations(&shop.signer);
    for call in &CALLS {
        for (story, headers) in &bad {
            let answer = shop.send(call, headers).await;
            let story = format!("{} {} with {story}", call.method, call.route);
            if call.whose == For::All {
                assert_eq!(answer.status, 200, "{story}: {answer:?}");
                continue;
            }
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (401, "unauthenticated"),
                "{story}: {answer:?}"
            );
            assert_problem(&answer, &story);
            let challenge = if headers.is_empty() { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{story}");
        }
    }
    assert_eq!(shop.app.redis.everything().await, before);
    println!("{} calls, each with {} authorisations", CALLS.len(), bad.len());
    shop.app.finish().await;
}

/// Goal: asking for the head alone is no way around a token.
#[tokio::test]
async fn a_head_needs_a_token_too() {
    let shop = Shop::open(|_| ()).await;
    let readings =
        CALLS.iter().filter(|it| it.method == "GET" && it.whose != For::All && !it.target.contains('$'));
    let mut asked = 0;
    for call in readings {
        for (token, accepted) in [(None, false), (Some(shop.signer.user(2)), call.whose == For::Known)] {
            let header = token.map(|it| bearer(&it));
            let headers: Vec<&[u8]> = header.iter().map(|it| it.as_bytes()).collect();
            let mut wire = Wire::connect(&shop.app).await;
            wire.write(&request(&format!("HEAD {}", call.target), &headers, b"")).await;
            let answer = wire.head().await.unwrap();
            assert_eq!(answer.status.is_success(), accepted, "{call:?}: {answer:?}");
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked}");
    shop.app.finish().await;
}

/// Goal: what is another's does not exist, money and administration are forbidden, and nothing happens.
#[tokio::test]
async fn a_user_reaches_only_their_own() {
    let shop = Shop::open(|_| ()).await;
    let before = shop.app.redis.everything().await;
    let (owner, other) = (shop.signer.user(1), shop.signer.user(2));
    for call in &CALLS {
        for (who, token) in [("user 1", &owner), ("user 2", &other)] {
            let refusal = match call.whose {
                For::Owner(code) if who == "user 2" => (404, code),
                For::OwnerWithMoney(_) | For::Admin => (403, "forbidden"),
                For::Owner(_) | For::Known | For::All => continue,
            };
            let answer = shop.send_as(call, token).await;
            let story = format!("{} {} by {who}", call.method, call.route);
            assert_eq!((answer.status.as_u16(), answer.code()), refusal, "{story}: {answer:?}");
            assert_problem(&answer, &story);
        }
    }
    // An order that nobody has is told in the same words as another's.
    let mut unknown = CALLS.into_iter().find(|it| it.route == "/orders/{orderId}").unwrap();
    unknown.target = "/orders/9007199254740000";
    assert_eq!(shop.send_as(&unknown, &other).await.code(), "order_not_found");
    assert_eq!(shop.app.redis.everything().await, before);

    for call in CALLS.iter().filter(|it| matches!(it.whose, For::Owner(_) | For::Known | For::All)) {
        let answer = shop.send_as(call, &owner).await;
        assert!(answer.status.is_success(), "{call:?}: {answer:?}");
    }
    shop.app.finish().await;
}

/// Goal: an administrator acts for anyone.
#[tokio::test]
async fn an_administrator_may_do_everything() {
    let shop = Shop::open(|_| ()).await;
    for call in &CALLS {
        let answer = shop.send_as(call, &shop.signer.admin()).await;
        assert!(answer.status.is_success(), "{call:?}: {answer:?}");
    }
    shop.app.finish().await;
}

/// Goal: with `self_service` users put money into their own wallets, and into no other.
#[tokio::test]
async fn self_service_is_for_ones_own_wallet() {
    let shop = Shop::open(|settings| settings.self_service = true).await;
    for call in &CALLS {
        let For::OwnerWithMoney(code) = call.whose else { continue };
        let answer = shop.send_as(call, &shop.signer.user(2)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, code), "{call:?}");
        let answer = shop.send_as(call, &shop.signer.user(1)).await;
        assert!(answer.status.is_success(), "{call:?}: {answer:?}");
    }
    // Its order is refunded, and two charges of 1 are added.
    assert_eq!(shop.app.balance(1).await, 1_000 + 2);
    shop.app.finish().await;
}

/// Goal: who is left out is the caller; an administrator is nobody by themself, and is told which field is missing.
#[tokio::test]
async fn a_user_need_not_say_who_they_are() {
    let shop = Shop::open(|settings| settings.self_service = true).await;
    let calls = [
        ("POST", "/balance/charge", r#"{"amount":5}"#, "#/userId"),
        ("POST", "/coupons", r#"{"couponId":1}"#, "#/userId"),
        ("POST", "/coupons/2/issue", "{}", "#/userId"),
        ("POST", "/orders", r#"{"items":[{"productId":1,"quantity":1}]}"#, "#/userId"),
        ("GET", "/balance", "", "userId"),
    ];
    for (method, target, body, part) in calls {
        let call = Call { method, route: target, target, body, whose: For::Known };
        let answer = shop.send_as(&call, &shop.signer.user(2)).await;
        assert!(answer.status.is_success(), "{call:?}: {answer:?}");
        assert_eq!(answer.body["userId"], 2, "{call:?}: {answer:?}");
        let answer = shop.send_as(&call, &shop.signer.admin()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_request"), "{call:?}: {answer:?}");
        let fault = &answer.body["errors"][0];
        assert_eq!(fault["pointer"].as_str().or(fault["parameter"].as_str()), Some(part), "{call:?}");
    }
    assert_eq!(shop.app.balance(2).await, 1_000 + 5 - 10);
    shop.app.finish().await;
}

/// Goal: a request is the same whether its user is named or left out, under the key of either.
#[tokio::test]
async fn a_named_user_is_the_same_request() {
    let shop = Shop::open(|settings| settings.self_service = true).await;
    for (target, left_out, named) in [
        ("/balance/charge", r#"{"amount":5}"#, r#"{"amount":5,"userId":2}"#),
        ("/coupons", r#"{"couponId":1}"#, r#"{"couponId":1,"userId":2}"#),
        ("/coupons/2/issue", "{}", r#"{"userId":2}"#),
        (
            "/orders",
            r#"{"items":[{"productId":1,"quantity":1}]}"#,
            r#"{"userId":2,"items":[{"productId":1,"quantity":1}]}"#,
        ),
    ] {
        let key = format!("Idempotency-Key: {target}");
        let mut told = Vec::new();
        for (body, token) in
            [(left_out, shop.signer.user(2)), (named, shop.signer.user(2)), (named, shop.signer.admin())]
        {
            let call = Call { method: "POST", route: target, target, body, whose: For::Known };
            let answer = shop.send(&call, &[bearer(&token), key.clone()]).await;
            assert!(answer.status.is_success(), "{call:?}: {answer:?}");
            told.push((answer.header("idempotency-replayed").map(str::to_owned), answer.body));
        }
        assert_eq!(told[0].0, None);
        for again in &told[1..] {
            assert_eq!((again.0.as_deref(), &again.1), (Some("true"), &told[0].1), "{target}");
        }
    }
    shop.app.finish().await;
}

/// Goal: the keys of administrators are their own: of each, and not those of the user of the same number.
#[tokio::test]
async fn each_administrator_has_keys_of_their_own() {
    let shop = Shop::open(|_| ()).await;
    let scope = json!({"scope": "admin"});
    let restock = async |sub: &str, delta: i64| {
        let body: &'static str = json!({"delta": delta}).to_string().leak();
        let target = "/admin/products/1/stock";
        let call = Call { method: "POST", route: target, target, body, whose: For::Admin };
        let token = shop.signer.sign(&claims(sub, scope.clone()));
        let answer = shop.send(&call, &[bearer(&token), "Idempotency-Key: k".to_owned()]).await;
        (answer.status.as_u16(), answer.header("idempotency-replayed").is_some())
    };
    let before = shop.app.stock(1).await;
    assert_eq!(restock("11", 1).await, (200, false));
    assert_eq!(restock("12", 2).await, (200, false));
    assert_eq!(restock("back office", 4).await, (200, false));
    assert_eq!(restock("11", 1).await, (200, true));
    assert_eq!(restock("12", 2).await, (200, true));
    assert_eq!(restock("back office", 4).await, (200, true));
    assert_eq!(restock("11", 2).await, (422, false));
    assert_eq!(shop.app.stock(1).await, before + 7);
    shop.app.finish().await;
}

/// Goal: the contract's order: syntax before 401 and 403, those before whatever depends on what is there.
#[tokio::test]
async fn syntax_comes_before_the_token_and_the_token_before_the_rest() {
    let shop = Shop::open(|_| ()).await;
    let user = bearer(&shop.signer.user(1));
    let charge = r#"{"userId":1,"amount":"5"}"#;
    let unknown = r#"{"userId":1,"items":[{"productId":99,"quantity":1}]}"#;
    for (method, target, body, token, status) in [
        ("GET", "/users/0/balance", "", None, 400),
        ("GET", "/products?limit=0", "", None, 400),
        ("GET", "/products/top?source=nowhere", "", None, 400),
        ("GET", "/coupons?colour=red", "", None, 400),
        ("GET", "/balance?userId=x", "", None, 400),
        ("POST", "/balance/charge", charge, None, 400),
        ("POST", "/balance/charge", charge, Some(&user), 400),
        ("PUT", "/admin/products/3", "{}", None, 400),
        ("PUT", "/admin/products/3", "{}", Some(&user), 400),
        ("GET", "/nope", "", None, 404),
        ("DELETE", "/orders", "", None, 405),
        ("GET", "/products/99", "", None, 401),
        ("GET", "/orders/1024", "", None, 401),
        ("GET", "/users/99/orders", "", None, 401),
        ("POST", "/orders", unknown, None, 401),
        ("POST", "/users/99/balance", r#"{"amount":0}"#, Some(&user), 403),
        ("DELETE", "/admin/products/99", "", Some(&user), 403),
    ] {
        let call = Call { method, route: target, target, body, whose: For::Known };
        let headers: Vec<String> = token.into_iter().cloned().collect();
        let answer = shop.send(&call, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{call:?}: {answer:?}");
    }
    shop.app.finish().await;
}

/// Goal: a scheme is written in any case, and a secret is as good as a key.
#[tokio::test]
async fn a_secret_makes_tokens_too() {
    let mut app = TestApp::start_with(tokens::trust_secret).await;
    app.present(&tokens::admin());
    app.user_with(1, 0).await;
    let mut wire = Wire::connect(&app).await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("Authorization: {scheme} {}", tokens::user(1));
        wire.write(&request("GET /balance", &[header.as_bytes()], b"")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body["userId"]), (200, &json!(1)), "{answer:?}");
    }
    app.finish().await;
}
