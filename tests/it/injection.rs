//! Promise: what a client writes is data. It becomes no part of a key, a script, a statement or a path.

use std::collections::BTreeSet;

use percent::encoded;
use redis::AsyncCommands;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::documented::Documented;
use super::test_app::{Answer, TestApp};
use super::wire::{ask, request};

const JSON: &[u8] = b"Content-Type: application/json";

/// Texts that mean something to Redis, its cluster, Lua, SQL, a path, a log, a shell, or a browser.
const TEXTS: [&str; 26] = [
    "{c0}:gate",
    "}:gate",
    "1}",
    "{c1}:user:1",
    "{c0}:user:1",
    "1:2",
    "*",
    "1\0",
    "\0",
    "%2F",
    "1%2F..%2F2",
    "../../admin/products/1",
    "1\r\nSET x 1",
    "1\r\n\r\nGET /admin HTTP/1.1",
    "'; DROP TABLE wallets; -- ",
    "1 OR 1=1",
    "\" OR \"\"=\"",
    "1' UNION SELECT password FROM mysql.user -- ",
    "\\'; SELECT SLEEP(9); -- ",
    "]] .. redis.call('FLUSHALL') -- ",
    "'); redis.call('FLUSHALL') -- ",
    "$(reboot) `id` ${jndi:ldap://x}",
    "%s%n%x",
    "\u{2028}\u{202e}gnp.exe",
    "<script>alert(1)</script>",
    "😀 '\"\\ 상품",
];

mod percent {
    /// As it stands in a path or a query: every byte but letters and digits.
    pub fn encoded(text: &str) -> String {
        let byte = |it: u8| match it {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(it).to_string(),
            other => format!("%{other:02X}"),
        };
        text.bytes().map(byte).collect()
    }
}

/// A shop where ids 1 to 3 exist.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    for id in 1..=3 {
        app.product_with(id, 10, 100).await;
        app.user_with(id, 1_000).await;
        app.campaign(id, 50, json!({})).await;
    }
    app
}

/// Sends a request as it is; bytes of the path are not put right by a client.
async fn send(app: &TestApp, method: &Method, target: &str, body: &Value) -> Answer {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    ask(app, &request(&format!("{method} {target}"), &[JSON], text.as_bytes())).await
}

/// A path with 1 for each id, but for one of them.
fn path_with(path: &str, name: &str, value: &str) -> String {
    let parts =
        path.split('/').map(|part| match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some(it) if it == name => value,
            Some("file") => "start.js",
            Some(_) => "1",
            None => part,
        });
    parts.collect::<Vec<_>>().join("/")
}

/// Pointers to everything in a body that is no object and no list.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, it)| leaves(it, &format!("{at}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, it)| leaves(it, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The tables of the schema.
async fn tables(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1",
    )
    .fetch_all(&app.connections().mysql)
    .await
    .unwrap()
}

/// Whether a key is one of docs/architecture.md.
fn is_known(key: &str) -> bool {
    let is_id = |it: &str| it.parse().is_ok_and(|id: u64| id.to_string() == it);
    let Some((cell, rest)) = key.strip_prefix("{c").and_then(|it| it.split_once("}:")) else { return false };
    if !is_id(cell) {
        return false;
    }
    match rest.split(':').collect::<Vec<_>>()[..] {
        ["gate" | "events" | "products" | "coupons" | "sales" | "due" | "settled"] | ["sales", "rolling"] => {
            true
        }
        ["user" | "product" | "bought" | "coupon" | "order" | "sales", id] | ["coupon", id, "issues"] => {
            is_id(id)
        }
        ["sku", product, option] => is_id(product) && is_id(option),
        ["gifts" | "uncopied"] => true,
        ["quota" | "asks", "s", product, option] => is_id(product) && is_id(option),
        ["quota" | "asks", "c", coupon] => is_id(coupon),
        ["idem", user, ..] => is_id(user),
        _ => false,
    }
}

/// Goal: after whatever was sent, Redis has the engine's keys only, MySQL its tables, both agree, and a rebuild makes of
/// MySQL what Redis had.
async fn assert_untouched(app: TestApp, tables_before: &[String]) {
    app.assert_clean().await;
    let keys = app.redis.keys("*").await;
    let strangers: Vec<&String> = keys.iter().filter(|it| !is_known(it)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert_eq!(tables(&app).await, tables_before);
    let before = app.redis.dump().await;
    app.redis.flush_all().await;
    app.wait_until_all_sell().await;
    assert_eq!(app.redis.dump().await, before);
    app.finish().await;
}

/// Goal: no path parameter and no query parameter of any documented call takes such a text.
#[tokio::test]
async fn no_path_and_no_query_takes_more_than_its_kind() {
    let app = shop().await;
    let tables_before = tables(&app).await;
    let documented = Documented::by(&app).await;
    let mut asked = BTreeSet::new();
    for (method, path) in documented.calls() {
        let operation = &documented.document()["paths"][&path][method.as_str().to_lowercase()];
        let body = example_bodies(operation).into_iter().next().unwrap_or_default();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let shared =
                parameter["$ref"].as_str().map(|it| documented.document().pointer(&it[1..]).unwrap());
            let parameter = shared.unwrap_or(parameter);
            let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            for text in TEXTS {
                let target = match place {
                    "path" => path_with(&path, name, &encoded(text)),
                    "query" => format!("{}?{name}={}", path_with(&path, "", ""), encoded(text)),
                    _ => continue,
                };
                let answer = send(&app, &method, &target, &body).await;
                let story = format!("{method} {path}: {name} = {text:?}");
                // A ticket stands for a token: whatever it is not, it is none.
                let is_refused = matches!(answer.status.as_u16(), 400 | 404);
                let is_no_token = name == "ticket" && answer.code() == "unauthenticated";
                assert!(is_refused || is_no_token, "{story}: {answer:?}");
                asked.insert((path.clone(), name.to_owned()));
                // A name is no better than a value.
                let target = format!("{}?{}=1", path_with(&path, "", ""), encoded(text));
                if place == "query" {
                    assert_eq!(send(&app, &method, &target, &body).await.status, 400, "{story}, as a name");
                }
            }
        }
    }
    assert!(asked.len() > 25, "{asked:?}");
    assert_untouched(app, &tables_before).await;
}

fn example_bodies(operation: &Value) -> Vec<Value> {
    let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
    examples.as_object().into_iter().flat_map(|it| it.values()).map(|it| it["value"].clone()).collect()
}

/// Goal: in a body such a text is refused wherever it stands, but for names: they come back as they were sent, from
/// Redis and from MySQL.
#[tokio::test]
async fn in_bodies_only_names_are_free_text() {
    let app = shop().await;
    let tables_before = tables(&app).await;
    let documented = Documented::by(&app).await;
    let (mut refused, mut named) = (0, BTreeSet::new());
    for (method, path) in documented.calls() {
        let operation = &documented.document()["paths"][&path][method.as_str().to_lowercase()];
        for body in example_bodies(operation) {
            let mut pointers = Vec::new();
            leaves(&body, "", &mut pointers);
            for (pointer, text) in pointers.iter().flat_map(|it| TEXTS.map(|text| (it, text))) {
                let mut changed = body.clone();
                *changed.pointer_mut(pointer).unwrap() = json!(text);
                let answer = send(&app, &method, &path_with(&path, "", ""), &changed).await;
                let story = format!("{method} {path} {pointer} = {text:?}: {answer:?}");
                assert!(!answer.status.is_server_error(), "{story}");
                if answer.status.is_client_error() {
                    refused += 1;
                    continue;
                }
                assert!(pointer.ends_with("/name"), "{story}");
                assert_is_shown(&app, &path, pointer, text).await;
                named.insert((path.clone(), pointer.clone(), text));
            }
            for text in TEXTS {
                let mut changed = body.clone();
                changed.as_object_mut().unwrap().insert(text.to_owned(), json!(1));
                let answer = send(&app, &method, &path_with(&path, "", ""), &changed).await;
                assert_eq!(answer.status, 400, "{method} {path} with a field {text:?}: {answer:?}");
            }
        }
    }
    assert!(refused > 500, "{refused}");
    assert!(named.iter().any(|it| it.1 == "/name" && it.2.contains("DROP TABLE")), "{named:?}");
    assert!(named.iter().any(|it| it.1.starts_with("/options/")), "{named:?}");
    assert!(named.iter().any(|it| it.0.contains("coupons")), "{named:?}");
    assert_untouched(app, &tables_before).await;
}

/// Fails unless a name is told as it was sent, by the call that shows it and by MySQL.
async fn assert_is_shown(app: &TestApp, path: &str, pointer: &str, text: &str) {
    app.drain_events().await;
    let (shown, sql) = if path.contains("coupons") {
        let list = app.get("/coupons").await;
        let campaign = list.entries().iter().find(|it| it["couponId"] == 1).unwrap();
        (campaign.pointer(pointer).cloned(), "SELECT name FROM coupons WHERE coupon_id = 1")
    } else if pointer == "/name" {
        (
            app.get("/products/1").await.body.pointer(pointer).cloned(),
            "SELECT name FROM products WHERE product_id = 1",
        )
    } else {
        (app.get("/products/1").await.body.pointer(pointer).cloned(), "")
    };
    assert_eq!(shown, Some(json!(text)), "{path} {pointer}");
    if !sql.is_empty() {
        let kept: String = sqlx::query_scalar(sql).fetch_one(&app.connections().mysql).await.unwrap();
        assert_eq!(kept, text, "{path} {pointer}");
    }
}

/// Goal: an idempotency key is kept letter by letter, beside every other one, and is never the name of something else.
#[tokio::test]
async fn an_idempotency_key_is_only_itself() {
    let app = shop().await;
    let tables_before = tables(&app).await;
    let keys =
        TEXTS.iter().filter(|it| it.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && it.trim() == **it);
    let mut sent = 0;
    for key in keys.chain(&["2:x", "1:x", "gate", "%"]) {
        for user in [1, 2] {
            let charge = json!({"userId": user, "amount": 1});
            let first = app.post_once("/balance/charge", key, charge.clone()).await;
            assert_eq!((first.status, first.header("idempotency-replayed")), (StatusCode::OK, None), "{key}");
            let again = app.post_once("/balance/charge", key, charge).await;
            assert_eq!(
                (&again.body, again.header("idempotency-replayed")),
                (&first.body, Some("true")),
                "{key}"
            );
            let kept: bool = app
                .redis_of(user)
                .await
                .exists(app.key_of(user, &format!("idem:{user}:{key}")))
                .await
                .unwrap();
            assert!(kept, "{key}");
        }
        sent += 1;
    }
    assert!(sent > 15, "{sent}");
    assert_eq!((app.balance(1).await, app.balance(2).await), (1_000 + sent, 1_000 + sent));
    assert_untouched(app, &tables_before).await;
}
