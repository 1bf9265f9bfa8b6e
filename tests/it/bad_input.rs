//! Promise: whatever a client sends, it hears a problem that names what is wrong, and nothing changes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::cell_dump::events;
use super::test_app::TestApp;
use super::wire::{ask, assert_problem, head, request};

const JSON: &[u8] = b"Content-Type: application/json";

/// Largest body of the contract, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// A request and the refusal that it must meet.
struct Row {
    story: String,
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
    /// The part that is at fault: a pointer (`#…`), a parameter, or nothing.
    part: String,
}

impl Row {
    fn new(story: impl Into<String>, bytes: Vec<u8>, status: u16, code: &'static str, part: &str) -> Self {
        Self { story: story.into(), bytes, status, code, part: part.to_owned() }
    }

    /// A body that is refused because of one of its parts.
    fn invalid(call: &str, body: &[u8], part: &str) -> Self {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        Self::new(format!("{call} {shown}"), request(call, &[JSON], body), 400, "invalid_request", part)
    }

    /// Sends the request and compares what comes back.
    async fn check(&self, app: &TestApp) {
        let answer = ask(app, &self.bytes).await;
        let story = &self.story;
        assert_eq!((answer.status.as_u16(), answer.code()), (self.status, self.code), "{story}: {answer:?}");
        assert_problem(&answer, story);
        let fault = &answer.body["errors"][0];
        let part = fault["pointer"].as_str().or(fault["parameter"].as_str()).unwrap_or_default();
        assert_eq!(part, self.part, "{story}: {answer:?}");
        assert_eq!(fault["pointer"].is_string(), self.part.starts_with('#'), "{story}: {answer:?}");
        assert_eq!(!fault["detail"].is_null(), !self.part.is_empty(), "{story}: {answer:?}");
    }
}

/// A shop with two users, a product, and one with options.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    app.product_with(1, 100, 1_000_000).await;
    let options = json!({"name": "Shirt", "options": [{"id": 1, "name": "S", "price": 5, "stock": 9}]});
    assert_eq!(app.put("/admin/products/2", options).await.status, 201);
    app.user_with(1, 1_000_000).await;
    app.user_with(2, 0).await;
    app
}

/// Sends all rows to one shop. Goal: each is refused as told, and not one of them changes anything.
async fn all_are_refused(rows: Vec<Row>) {
    let app = shop().await;
    let before = app.redis.everything().await;
    for row in &rows {
        row.check(&app).await;
        assert_eq!(events(&app.redis.url()).await, before.1, "{} wrote an event", row.story);
    }
    assert_eq!(app.redis.everything().await, before);
    println!("{} requests refused", rows.len());
    app.finish().await;
}

/// The calls that take a body, each with one that is good.
const BODIES: [(&str, &str); 5] = [
    ("POST /users/1/balance", r#"{"amount":5}"#),
    ("POST /balance/charge", r#"{"userId":1,"amount":5}"#),
    ("POST /orders", r#"{"userId":1,"items":[{"productId":1,"quantity":1}]}"#),
    ("PUT /admin/products/9", r#"{"name":"Mug","price":5,"stock":5}"#),
    ("POST /admin/products/1/stock", r#"{"delta":5}"#),
];

/// The first field of a good body that is missed where a body has none: `userId` may be the caller's.
fn first_required(good: &str) -> &str {
    good.split(['{', ',']).filter_map(|it| it.split('"').nth(1)).find(|it| *it != "userId").unwrap()
}

/// Well-formed JSON that is no number at all, or none in plain digits.
const NOT_PLAIN_DIGITS: [&str; 14] = [
    "1.0", "1.5", "1e3", "1E0", "-1.5", "1e999", "\"1\"", "\" 5 \"", "\"0x10\"", "\"NaN\"", "\"\"", "true",
    "[1]", "{}",
];

/// No JSON: the fault is the whole body's.
const NOT_JSON: [&str; 15] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "-01",
    "+1",
    ".5",
    "1.",
    "--1",
    "1 2",
    "1_000",
    "undefined",
    "'1'",
    "١",
    "",
];

/// Fields that hold ids: call, body with `$` in the id's place, the field.
const IDS: [(&str, &str, &str); 7] = [
    ("POST /balance/charge", r#"{"userId":$,"amount":5}"#, "#/userId"),
    ("POST /orders", r#"{"userId":$,"items":[{"productId":1,"quantity":1}]}"#, "#/userId"),
    ("POST /orders", r#"{"userId":1,"items":[{"productId":$,"quantity":1}]}"#, "#/items/0/productId"),
    (
        "POST /orders",
        r#"{"userId":1,"items":[{"productId":1,"quantity":1},{"productId":2,"optionId":$,"quantity":1}]}"#,
        "#/items/1/optionId",
    ),
    ("POST /orders", r#"{"userId":1,"items":[{"productId":1,"quantity":1}],"couponId":$}"#, "#/couponId"),
    ("POST /admin/products/2/stock", r#"{"delta":1,"optionId":$}"#, "#/optionId"),
    (
        "PUT /admin/products/9",
        r#"{"name":"Mug","options":[{"id":$,"name":"S","price":1}]}"#,
        "#/options/0/id",
    ),
];

/// Goal: an id is an integer in plain digits from 1 to 2^53 − 1, and nothing else is taken for one.
#[tokio::test]
async fn an_id_in_a_body_is_plain_digits_within_bounds() {
    const OUT_OF_BOUNDS: [&str; 7] = [
        "0",
        "-0",
        "-1",
        "9007199254740992",
        "18446744073709551616",
        "-9223372036854775809",
        "99999999999999999999999999999999",
    ];
    let mut rows = Vec::new();
    for (call, template, pointer) in IDS {
        let with = |value: &str| template.replace('$', value).into_bytes();
        for value in NOT_PLAIN_DIGITS.iter().chain(&OUT_OF_BOUNDS) {
            rows.push(Row::invalid(call, &with(value), pointer));
        }
        for value in NOT_JSON {
            rows.push(Row::invalid(call, &with(value), "#"));
        }
        // The zero is what is wrong first.
        rows.push(Row::invalid(call, &with("0x10"), pointer));
        // A coupon or an option that is `null` is one that was left out.
        if !pointer.ends_with("couponId") && !pointer.ends_with("optionId") {
            rows.push(Row::invalid(call, &with("null"), pointer));
        }
    }
    all_are_refused(rows).await;
}

/// Goal: money and units are integers in plain digits; a charge out of bounds is an `invalid_amount`.
#[tokio::test]
async fn money_and_units_are_plain_digits_within_bounds() {
    let mut rows = Vec::new();
    for (call, template) in
        [("POST /users/1/balance", r#"{"amount":$}"#), ("POST /balance/charge", r#"{"userId":1,"amount":$}"#)]
    {
        let with = |value: &str| template.replace('$', value).into_bytes();
        for value in NOT_PLAIN_DIGITS.iter().chain(&["null"]) {
            rows.push(Row::invalid(call, &with(value), "#/amount"));
        }
        for value in NOT_JSON {
            rows.push(Row::invalid(call, &with(value), "#"));
        }
        rows.push(Row::invalid(call, &with("0x10"), "#"));
        for value in [
            "0",
            "-0",
            "-1",
            "-5",
            "1000000001",
            "9007199254740993",
            "9223372036854775808",
            "-99999999999999999999999",
            "99999999999999999999999",
        ] {
            let bytes = request(call, &[JSON], &with(value));
            rows.push(Row::new(format!("{call} {value}"), bytes, 400, "invalid_amount", ""));
        }
    }
    // Call, body with `$`, field, what is out of its bounds.
    let bounded: [(&str, &str, &str, &[&str]); 7] = [
        (
            "POST /orders",
            r#"{"userId":1,"items":[{"productId":1,"quantity":$}]}"#,
            "#/items/0/quantity",
            &["0", "-0", "-1", "1001", "9007199254740992"],
        ),
        ("PUT /admin/products/9", r#"{"name":"Mug","price":$}"#, "#/price", &["-1", "1000000001"]),
        ("PUT /admin/products/9", r#"{"name":"Mug","price":1,"stock":$}"#, "#/stock", &["-1", "1000000001"]),
        (
            "PUT /admin/products/9",
            r#"{"name":"Mug","options":[{"id":1,"name":"S","price":$}]}"#,
            "#/options/0/price",
            &["-1", "1000000001"],
        ),
        (
            "PUT /admin/products/9",
            r#"{"name":"Mug","options":[{"id":1,"name":"S","price":1,"stock":$}]}"#,
            "#/options/0/stock",
            &["-1", "1000000001"],
        ),
        (
            "PUT /admin/products/9",
            r#"{"name":"Mug","price":1,"limitPerUser":$}"#,
            "#/limitPerUser",
            &["0", "-1", "1000001"],
        ),
        (
            "POST /admin/products/1/stock",
            r#"{"delta":$}"#,
            "#/delta",
            // The last two: fewer than none, more than a product may have.
            &["0", "-1000000001", "1000000001", "-1000001", "999000001"],
        ),
    ];
    for (call, template, pointer, out_of_bounds) in bounded {
        let with = |value: &str| template.replace('$', value).into_bytes();
        let beyond_all = ["-9007199254740993", "18446744073709551616", "-99999999999999999999999"];
        for value in NOT_PLAIN_DIGITS.iter().chain(out_of_bounds).chain(&beyond_all) {
            rows.push(Row::invalid(call, &with(value), pointer));
        }
        for value in NOT_JSON {
            rows.push(Row::invalid(call, &with(value), "#"));
        }
        // What is wrong first is the zero where it is out of bounds, and else the letter behind it.
        let zero_is_wrong = out_of_bounds.contains(&"0") && pointer != "#/delta";
        rows.push(Row::invalid(call, &with("0x10"), if zero_is_wrong { pointer } else { "#" }));
        // A limit that is `null` is one that was left out.
        if pointer != "#/limitPerUser" {
            rows.push(Row::invalid(call, &with("null"), pointer));
        }
    }
    all_are_refused(rows).await;
}

/// Goal: fields that are missing, unknown, repeated or of another kind are named.
#[tokio::test]
async fn every_field_is_known_given_once_and_of_its_kind() {
    let mut rows = Vec::new();
    let mut add = |call: &str, body: &str, part: &str| rows.push(Row::invalid(call, body.as_bytes(), part));
    for (call, body) in BODIES {
        let first = body.split('"').nth(1).unwrap();
        add(call, "{}", &format!("#/{}", first_required(body)));
        let inside = &body[1..];
        add(call, &format!(r#"{{"colour":"red",{inside}"#), "#/colour");
        add(call, &format!(r#"{{"__proto__":{{}},{inside}"#), "#/__proto__");
        add(call, &format!(r#"{{"":1,{inside}"#), "#/");
        add(call, &format!(r#"{{"a/b~c{{d}}":1,{inside}"#), "#/a~1b~0c%7Bd%7D");
        add(call, &format!(r#"{{"{}":1,{inside}"#, "x".repeat(5_000)), "#");
        // Twice, as it is and with its last letter escaped.
        let value = body.split_once(':').unwrap().1.trim_end_matches('}');
        let value = value.split(',').next().unwrap();
        add(call, &format!(r#"{{"{first}":{value},{inside}"#), &format!("#/{first}"));
        let (start, last) = first.split_at(first.len() - 1);
        let escaped = format!("{start}\\u{:04x}", u32::from(last.chars().next().unwrap()));
        add(call, &format!(r#"{{"{escaped}":{value},{inside}"#), &format!("#/{first}"));
        add(
            call,
            &format!(r#"{{{},"{escaped}":{value}}}"#, &inside[..inside.len() - 1]),
            &format!("#/{first}"),
        );
    }
    let charge = "POST /balance/charge";
    add(charge, r#"{"amount":5}"#, "#/userId");
    add(charge, r#"{"userId":1}"#, "#/amount");
    add(charge, r#"{"user_id":1,"amount":5}"#, "#/user_id");
    add(charge, r#"{"UserId":1,"amount":5}"#, "#/UserId");
    add(charge, r#"{"userId":1,"amount":5,"balance":99}"#, "#/balance");

    let orders = "POST /orders";
    let item = r#"{"productId":1,"quantity":1}"#;
    add(orders, r#"{"userId":1}"#, "#/items");
    add(orders, &format!(r#"{{"items":[{item}]}}"#), "#/userId");
    for items in ["null", "{}", "7", "\"[]\"", item] {
        add(orders, &format!(r#"{{"userId":1,"items":{items}}}"#), "#/items");
    }
    add(orders, r#"{"userId":1,"items":[]}"#, "#/items");
    add(orders, &format!(r#"{{"userId":1,"items":[{}]}}"#, vec!["1"; 8_000].join(",")), "#/items/0");
    for count in [51, 100, 500] {
        let items = vec![item; count].join(",");
        add(orders, &format!(r#"{{"userId":1,"items":[{items}]}}"#), "#/items");
    }
    for wrong in ["null", "7", "[1,null,1]", "[]", "\"1\"", "true"] {
        add(orders, &format!(r#"{{"userId":1,"items":[{item},{wrong}]}}"#), "#/items/1");
    }
    add(orders, r#"{"userId":1,"items":[{"quantity":1}]}"#, "#/items/0/productId");
    add(orders, r#"{"userId":1,"items":[{"productId":1}]}"#, "#/items/0/quantity");
    for (inside, name) in [
        (r#""price":0"#, "price"),
        (r#""unitPrice":1"#, "unitPrice"),
        (r#""quantity":2"#, "quantity"),
        (r#""quantit\u0079":2"#, "quantity"),
    ] {
        let body = format!(r#"{{"userId":1,"items":[{{"productId":1,"quantity":1,{inside}}}]}}"#);
        add(orders, &body, &format!("#/items/0/{name}"));
    }
    for (name, value) in [("status", "\"paid\""), ("total", "0"), ("discount", "5"), ("balance", "1")] {
        let body = format!(r#"{{"userId":1,"items":[{item}],"{name}":{value}}}"#);
        add(orders, &body, &format!("#/{name}"));
    }
    // Added up over 1,000: the item that goes over is told.
    let merged = r#"[{"productId":1,"quantity":600},{"productId":2,"optionId":1,"quantity":1},{"productId":1,"quantity":401}]"#;
    add(orders, &format!(r#"{{"userId":1,"items":{merged}}}"#), "#/items/2/quantity");
    for payment in ["\"never\"", "\"Now\"", "null", "1", "[\"now\"]", "{\"now\":null}", "\"\""] {
        add(orders, &format!(r#"{{"userId":1,"items":[{item}],"payment":{payment}}}"#), "#/payment");
    }
    add(orders, r#"{"userId":1,"items":[{"productId":2,"quantity":1}]}"#, "#/items/0/optionId");

    let product = "PUT /admin/products/9";
    add(product, r#"{"price":5}"#, "#/name");
    add(product, r#"{"name":"Mug"}"#, "#/price");
    for name in ["null", "7", "[]", "\"\"", "\"a\\u0000b\"", "\"a\\nb\"", "\"\\u007f\""] {
        add(product, &format!(r#"{{"name":{name},"price":5}}"#), "#/name");
    }
    add(product, &format!(r#"{{"name":"{}","price":5}}"#, "컵".repeat(201)), "#/name");
    add(product, r#"{"name":"\ud800","price":5}"#, "#");
    for time in
        ["1", "\"\"", "\"tomorrow\"", "\"2026-11-20\"", "\"2026-11-20T20:00:00\"", "\"2026-02-30T00:00:00Z\""]
    {
        for field in ["saleStartsAt", "saleEndsAt"] {
            add(product, &format!(r#"{{"name":"Mug","price":5,"{field}":{time}}}"#), &format!("#/{field}"));
        }
    }
    let window = r#""saleStartsAt":"2026-11-20T20:00:00+09:00","saleEndsAt":"2026-11-20T11:00:00Z""#;
    add(product, &format!(r#"{{"name":"Mug","price":5,{window}}}"#), "#/saleEndsAt");
    let option = |id: usize| format!(r#"{{"id":{id},"name":"o{id}","price":1}}"#);
    for options in ["null", "{}", "7"] {
        add(product, &format!(r#"{{"name":"Mug","options":{options}}}"#), "#/options");
    }
    add(product, r#"{"name":"Mug","options":[]}"#, "#/options");
    add(product, &format!(r#"{{"name":"Mug","price":1,"options":[{}]}}"#, option(1)), "#/price");
    add(product, &format!(r#"{{"name":"Mug","stock":1,"options":[{}]}}"#, option(1)), "#/stock");
    add(product, &format!(r#"{{"name":"Mug","options":[{},{}]}}"#, option(1), option(1)), "#/options/1/id");
    add(product, r#"{"name":"Mug","options":[{"id":1,"name":"","price":1}]}"#, "#/options/0/name");
    add(product, r#"{"name":"Mug","options":[{"id":1,"name":"S"}]}"#, "#/options/0/price");
    add(product, r#"{"name":"Mug","options":[{"id":1,"name":"S","price":1,"x":1}]}"#, "#/options/0/x");
    add("PUT /admin/products/1", r#"{"name":"Mug","price":5,"stock":7}"#, "#/stock");

    let restock = "POST /admin/products/1/stock";
    add(restock, r#"{"optionId":1}"#, "#/delta");
    add("POST /admin/products/2/stock", r#"{"delta":1}"#, "#/optionId");
    all_are_refused(rows).await;
}

/// Goal: a body is one JSON object in UTF-8, however it is broken.
#[tokio::test]
async fn a_body_is_one_json_object() {
    let mut rows = Vec::new();
    for (call, good) in BODIES {
        let around = |before: &str, after: &str| format!("{before}{good}{after}").into_bytes();
        let mut bodies: Vec<Vec<u8>> = [
            "",
            " ",
            "\r\n\t",
            "null",
            "true",
            "1",
            "\"text\"",
            "[]",
            "[1]",
            "{",
            "}",
            "{]",
            "{\"",
            "{,}",
            "{:1}",
            "{\"a\"}",
            "nul",
            "\0",
            "{}{}",
            "{userId:1}",
            "{'userId':1}",
            "<userId>1</userId>",
            "userId=1&amount=5",
        ]
        .map(|it| it.as_bytes().to_vec())
        .into();
        bodies.extend([
            good.as_bytes()[..good.len() - 1].to_vec(),
            good.replace(':', "=").into_bytes(),
            good.replacen('}', ",}", 1).into_bytes(),
            format!("[{good}]").into_bytes(),
            serde_json::to_vec(good).unwrap(),
            around("", "}"),
            around("", "x"),
            around("", "\0"),
            around("", ","),
            around("", good),
            around("", " // a comment"),
            around("/* a comment */", ""),
            around("\u{feff}", ""),
            around("\u{a0}", ""),
            around(")]}'\n", ""),
            // As UTF-16, little end first.
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            good.as_bytes().iter().copied().chain([0xff]).collect(),
            good.replace("{\"", "{\"\u{1}").into_bytes(),
            [b"{\"\xc3\x28\":1,".as_slice(), &good.as_bytes()[1..]].concat(),
            [b"{\"\xed\xa0\x80\":1,".as_slice(), &good.as_bytes()[1..]].concat(),
            "[".repeat(16_000).into_bytes(),
            "{\"a\":".repeat(3_000).into_bytes(),
        ]);
        rows.extend(bodies.iter().map(|body| {
            // What is wrong first is told: a field that is missing or unknown before what follows it.
            let field = first_required(good);
            let part = match body.as_slice() {
                b"{}{}" => format!("#/{field}"),
                body if body.starts_with(b"{\"a\"") => "#/a".to_owned(),
                _ => "#".to_owned(),
            };
            Row::invalid(call, body, &part)
        }));
    }
    all_are_refused(rows).await;
}

/// Goal: a body over 16 KiB is refused whether it says its length or comes in chunks, and one that says
/// it is no JSON is not read.
#[tokio::test]
async fn a_body_is_small_and_says_that_it_is_json() {
    let mut rows = Vec::new();
    for (call, good) in BODIES {
        let padded = |length: usize| [" ".repeat(length - good.len()).as_bytes(), good.as_bytes()].concat();
        for length in [BODY_BYTES_MAX + 1, 17 * 1024, 1024 * 1024] {
            let bytes = request(call, &[JSON], &padded(length));
            rows.push(Row::new(format!("{call} {length} bytes"), bytes, 413, "payload_too_large", ""));
            let bytes = chunked(call, &padded(length), 4_000);
            let story = format!("{call} {length} bytes in chunks");
            rows.push(Row::new(story, bytes, 413, "payload_too_large", ""));
        }
        let types: [&[&[u8]]; 13] = [
            &[],
            &[b"Content-Type:"],
            &[b"Content-Type: json"],
            &[b"Content-Type: text/json"],
            &[b"Content-Type: text/plain; x=application/json"],
            &[b"Content-Type: application/x-www-form-urlencoded"],
            &[b"Content-Type: multipart/form-data; boundary=x"],
            &[b"Content-Type: application/jsonp"],
            &[b"Content-Type: application/+json"],
            &[b"Content-Type: application/json\xc3\xa9"],
            &[JSON, JSON],
            &[JSON, b"Content-Encoding: gzip"],
            &[JSON, b"Content-Encoding: identity, gzip"],
        ];
        for headers in types {
            let bytes = request(call, headers, good.as_bytes());
            let story = format!("{call} {:?}", headers.iter().map(|it| String::from_utf8_lossy(it)));
            rows.push(Row::new(story, bytes, 415, "unsupported_media_type", ""));
        }
    }
    let items = vec![r#"{"productId":1,"quantity":1}"#; 10_000].join(",");
    let bytes = request("POST /orders", &[JSON], format!(r#"{{"userId":1,"items":[{items}]}}"#).as_bytes());
    rows.push(Row::new("10,000 items", bytes, 413, "payload_too_large", ""));
    // The largest body that is read: it is refused for what it says, not for its size.
    let largest = format!(r#"{}{{"amount":0}}"#, " ".repeat(BODY_BYTES_MAX - r#"{"amount":0}"#.len()));
    for bytes in [
        request("POST /users/1/balance", &[JSON], largest.as_bytes()),
        chunked("POST /users/1/balance", largest.as_bytes(), 1_000),
    ] {
        rows.push(Row::new("16 KiB", bytes, 400, "invalid_amount", ""));
    }
    all_are_refused(rows).await;
}

/// Goal: HTTP/1.1 names the host.
#[tokio::test]
async fn a_request_names_its_host() {
    let app = shop().await;
    let without = ask(&app, b"GET /products HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!((without.status.as_u16(), without.code()), (400, "invalid_request"), "{without:?}");
    assert_eq!(without.body["errors"][0]["parameter"], "Host");
    app.finish().await;
}

/// A request whose body comes in chunks and does not say its length.
fn chunked(call: &str, body: &[u8], chunk: usize) -> Vec<u8> {
    let mut bytes = head(call, &[JSON, b"Transfer-Encoding: chunked"]);
    for piece in body.chunks(chunk) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Goal: an id in a path is held to the same rules, whatever a path can carry.
#[tokio::test]
async fn an_id_in_a_path_is_plain_digits_within_bounds() {
    const CALLS: [(&str, &str, &str); 10] = [
        ("PUT /users/$", "", "userId"),
        ("GET /users/$/balance", "", "userId"),
        ("GET /users/$/balance/history", "", "userId"),
        ("GET /users/$/orders", "", "userId"),
        ("POST /users/$/balance", r#"{"amount":5}"#, "userId"),
        ("GET /products/$", "", "productId"),
        ("GET /orders/$", "", "orderId"),
        ("PUT /admin/products/$", r#"{"name":"Mug","price":5}"#, "productId"),
        ("POST /admin/products/$/stock", r#"{"delta":5}"#, "productId"),
        // The id is looked at before the body.
        ("POST /users/$/balance", "", "userId"),
    ];
    const IDS: [&str; 37] = [
        "0",
        "00",
        "-0",
        "-1",
        "+1",
        "01",
        "007",
        "1.0",
        "1e3",
        "0x10",
        "0b1",
        "1_000",
        "1,000",
        "NaN",
        "null",
        "me",
        "*",
        "%205%20",
        "%20",
        "1%20",
        "%2B1",
        "1%00",
        "%00",
        "1%0A",
        "%7Bc0%7D",
        "{c0}",
        "{userId}",
        "..",
        ".",
        "%2e%2e",
        "1%2F2",
        "1;x=1",
        "1:2",
        "%D9%A1",
        "%EF%BC%91",
        "9007199254740992",
        "18446744073709551617",
    ];
    let mut rows = Vec::new();
    for (template, body, parameter) in CALLS {
        let long = "9".repeat(5_000);
        for id in IDS.iter().copied().chain(["%FF", "%C3%28", long.as_str()]) {
            let call = template.replace('$', id);
            let bytes = request(&call, &[JSON], body.as_bytes());
            rows.push(Row::new(&call[..call.len().min(80)], bytes, 400, "invalid_request", parameter));
        }
    }
    for (call, parameter) in [
        ("GET /users//balance", "userId"),
        ("GET /users//balance/history", "userId"),
        ("GET /users//orders", "userId"),
        ("POST /users//balance", "userId"),
        ("POST /admin/products//stock", "productId"),
    ] {
        rows.push(Row::new(call, request(call, &[JSON], b"{}"), 400, "invalid_request", parameter));
    }
    all_are_refused(rows).await;
}

/// Goal: a query parameter that is unknown, repeated or out of its bounds is named.
#[tokio::test]
async fn every_query_parameter_is_known_given_once_and_within_bounds() {
    let mut rows = Vec::new();
    let mut add = |target: &str, parameter: &str| {
        let call = format!("GET {target}");
        rows.push(Row::new(&call, request(&call, &[], b""), 400, "invalid_request", parameter));
    };
    for (list, letter) in [("/products", 'p'), ("/users/1/balance/history", 'h'), ("/users/1/orders", 'o')] {
        for limit in
            ["", "0", "201", "-1", "%2B5", "+5", "1e2", "1.0", "05", "0x10", "NaN", "%205%20", "5%00"]
        {
            add(&format!("{list}?limit={limit}"), "limit");
        }
        add(&format!("{list}?limit=18446744073709551617"), "limit");
        add(&format!("{list}?limit"), "limit");
        for cursor in
            ["", "1", "$", "%00", "$0000000000000g", "P00000000000001", "$20000000000000", "%FF", "*"]
        {
            let cursor = cursor.replace('$', &letter.to_string());
            add(&format!("{list}?cursor={cursor}"), "cursor");
        }
        add(&format!("{list}?colour=red"), "colour");
        add(&format!("{list}?Limit=5"), "Limit");
        add(&format!("{list}?limit=5&limit=5"), "limit");
        add(&format!("{list}?limit=5&%6Cimit=6"), "limit");
    }
    for status in ["", "Paid", "paid%20", "done", "1", "paid,pending", "%FF"] {
        add(&format!("/users/1/orders?status={status}"), "status");
    }
    add("/users/1/orders?status=paid&status=paid", "status");
    add("/users/1/balance/history?status=paid", "status");
    for flag in ["", "1", "yes", "TRUE", "maybe", "%20true"] {
        add(&format!("/products?available={flag}"), "available");
    }
    add("/products?%7Bc0%7D=1", "{c0}");
    add(&format!("/products?{}=1", "x".repeat(5_000)), &"x".repeat(64));
    add("/balance", "userId");
    add("/balance?", "userId");
    add("/balance?userid=1", "userid");
    add("/balance?userId=1&userId=1", "userId");
    add("/balance?userId=1&x=1", "x");
    for id in
        ["", "0", "-1", "+1", "%2B1", "01", "1.0", "1e3", "0x10", "%205%20", "NaN", "%7B1%7D", "1%00", "%FF"]
    {
        add(&format!("/balance?userId={id}"), "userId");
    }
    add("/balance?userId=9007199254740992", "userId");
    all_are_refused(rows).await;
}

/// Goal: a key that could not be kept is refused before anything is done under it.
#[tokio::test]
async fn an_idempotency_key_is_one_header_of_printable_ascii() {
    let long = [b"Idempotency-Key: ".as_slice(), &[b'k'; 256]].concat();
    let keys: [&[&[u8]]; 9] = [
        &[b"Idempotency-Key:"],
        &[b"Idempotency-Key:    "],
        &[&long],
        &[b"Idempotency-Key: caf\xc3\xa9"],
        &[b"Idempotency-Key: \xed\x82\xa4"],
        &[b"Idempotency-Key: \xff"],
        &[b"Idempotency-Key: a\tb"],
        &[b"Idempotency-Key: a", b"Idempotency-Key: b"],
        &[b"Idempotency-Key: a", b"idempotency-key: a"],
    ];
    let mut rows = Vec::new();
    for (call, body) in BODIES.iter().filter(|it| it.0.starts_with("POST")) {
        for key in keys {
            let bytes = request(call, &[&[JSON], key].concat(), body.as_bytes());
            let story = format!("{call} {:?}", key.iter().map(|it| String::from_utf8_lossy(it)));
            rows.push(Row::new(story, bytes, 400, "invalid_request", "Idempotency-Key"));
        }
    }
    all_are_refused(rows).await;
}

/// Goal: a path that is none of the contract's is `not_found`, however near it comes to one.
#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let mut rows = Vec::new();
    for target in [
        "/nope",
        "/users",
        "/users/",
        "/users/1/",
        "/users/1/balance/",
        "/users/1/balance/histories",
        "/users/1/orders/1024",
        "/users/1/2/balance",
        "/users/1/../2/balance",
        "/Products",
        "/products/",
        "/products/1/",
        "/products%2F1",
        "//products",
        "/./products",
        "/orders/",
        "/orders%00",
        "/balance/",
        "/admin",
        "/admin/products",
        "/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "/%FF",
        "/{userId}",
        "/healthz/",
        "http://shop.example/nope",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "FROB"] {
            let call = format!("{method} {target}");
            rows.push(Row::new(&call, request(&call, &[JSON], b"{}"), 404, "not_found", ""));
        }
    }
    all_are_refused(rows).await;
}

/// One to three bytes are taken out, doubled, put in or replaced.
fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    const TELLING: &[u8] = b"0123456789-+.eE\"\\{}[]:, \0\n\xc3\xff";
    for _ in 0..[1, 1, 1, 2, 3][random.random_range(0..5)] {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        let new = match random.random_range(0..3) {
            0 => b'0' + random.random_range(0..10),
            1 => TELLING[random.random_range(0..TELLING.len())],
            _ => random.random_range(0..=255),
        };
        match random.random_range(0..4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, bytes[at]),
            2 => bytes.insert(at, new),
            _ => bytes[at] = new,
        }
    }
}

/// What a request, as it was sent and answered, does to the wallets.
fn book(wallets: &mut BTreeMap<u64, i64>, call: &str, sent: &[u8], answer: &Value) {
    let sent: Value = serde_json::from_slice(sent).expect("only JSON is accepted");
    assert!(sent.is_object(), "{call}: {sent}");
    match call {
        "/users/1/balance" => *wallets.entry(1).or_default() += sent["amount"].as_i64().unwrap(),
        "/balance/charge" => {
            *wallets.entry(sent["userId"].as_u64().unwrap()).or_default() += sent["amount"].as_i64().unwrap();
        }
        "/orders" => {
            let user = sent["userId"].as_u64().unwrap();
            assert_eq!(answer["userId"], user, "{sent} {answer}");
            let wanted = |items: &Value| {
                let items = items.as_array().unwrap().iter();
                items.map(|it| it["quantity"].as_u64().unwrap()).sum::<u64>()
            };
            assert_eq!(wanted(&answer["items"]), wanted(&sent["items"]), "{sent} {answer}");
            *wallets.get_mut(&user).unwrap() -= answer["total"].as_i64().unwrap();
        }
        _ => {}
    }
}

/// 600 good bodies, each with a few bytes changed at random. Goal: never a 5xx, a refusal is a problem,
/// and what is accepted does what it says: every wallet can be explained, and the books balance.
#[tokio::test]
async fn a_few_wrong_bytes_never_break_anything() {
    let seed = std::env::var("FIRSTCOME_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(20_261_121);
    println!("FIRSTCOME_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let app = shop().await;
    let mut wallets = BTreeMap::from([(1, 1_000_000), (2, 0)]);
    let good = [
        (Method::POST, "/users/1/balance", r#"{"amount":1234}"#),
        (Method::POST, "/balance/charge", r#"{"userId":1,"amount":1234}"#),
        (
            Method::POST,
            "/orders",
            r#"{"userId":1,"items":[{"productId":1,"quantity":1},{"productId":1,"quantity":2}],"couponId":null,"payment":"now"}"#,
        ),
        (
            Method::PUT,
            "/admin/products/3",
            r#"{"name":"컵","options":[{"id":1,"name":"S","price":5,"stock":9}],"saleEndsAt":"2999-01-01T00:00:00Z","limitPerUser":5}"#,
        ),
        (Method::POST, "/admin/products/1/stock", r#"{"delta":12,"optionId":null}"#),
    ];
    let mut accepted = 0;
    for _ in 0..600 {
        let (method, path, body) = &good[random.random_range(0..good.len())];
        let mut bytes = body.as_bytes().to_vec();
        mutate(&mut random, &mut bytes);
        let headers = [("content-type", "application/json")];
        let answer = app.send(method.clone(), path, &headers, bytes.clone()).await;
        let story = format!("{path} {:?}", String::from_utf8_lossy(&bytes));
        assert!(answer.status.as_u16() < 500, "{story}: {answer:?}");
        if answer.status.is_success() {
            accepted += 1;
            book(&mut wallets, path, &bytes, &answer.body);
        } else {
            assert_problem(&answer, &story);
        }
    }
    println!("{accepted} of 600 were still good");
    for (user, balance) in wallets {
        assert_eq!(app.balance(user).await, balance, "user {user}");
    }
    app.finish().await;
}
