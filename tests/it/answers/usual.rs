//! What every call refuses alike, made from its row.

use reqwest::Method;

use super::{Call, Request, Table};

/// Asks every call of a table for ids, bodies, keys and parameters that no call takes.
pub async fn refusals(table: &mut Table) {
    for call in table.calls {
        ids(table, call).await;
        bodies(table, call).await;
        keys(table, call).await;
        parameters(table, call).await;
    }
}

async fn ids(table: &mut Table, call: &Call) {
    for name in call.ids() {
        for id in ["0", "-1", "01", "1.0", "1e3", "abc", "9007199254740992"] {
            let path = call.path().replace(&format!("{{{name}}}"), id);
            table.invalid("no id", call.sample().at(path), name).await;
        }
    }
}

async fn bodies(table: &mut Table, call: &Call) {
    let Some(body) = call.body else { return };
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = call.sample().typed(content_type);
        table.refuses("no JSON by its type", request, "unsupported_media_type").await;
    }
    let large = " ".repeat(16 * 1024 + 1 - body.len()) + body;
    table.refuses("one byte too long", call.sample().saying(large), "payload_too_large").await;
    // Where nothing is to be said, it may be said with no body at all.
    let nothing = body == "{}";
    for text in ["", "null", "[]", "{", "\"text\""].into_iter().filter(|it| !(nothing && it.is_empty())) {
        table.invalid("no object", call.sample().saying(text), "#").await;
    }
    let separator = if nothing { "" } else { "," };
    let unknown = format!(r#"{{"colour":"red"{separator}{}"#, &body[1..]);
    table.invalid("an unknown field", call.sample().saying(unknown), "#/colour").await;
}

async fn keys(table: &mut Table, call: &Call) {
    if call.method() == Method::POST && !call.only_reads {
        for key in ["", "tab\tkey", &"k".repeat(256)] {
            table.invalid("no key", call.sample().under(key), "Idempotency-Key").await;
        }
        let two = call.sample().under("a").under("b");
        table.invalid("two keys", two, "Idempotency-Key").await;
    }
}

async fn parameters(table: &mut Table, call: &Call) {
    if call.query.is_empty() {
        return;
    }
    let asking = |query: &str| {
        let path = call.sample_path();
        let separator = if path.contains('?') { '&' } else { '?' };
        Request::get(format!("{path}{separator}{query}"))
    };
    table.invalid("an unknown parameter", asking("colour=red"), "colour").await;
    for name in call.query {
        let twice =
            Request::get(format!("{}?{name}=1&{name}=1", call.sample_path().split('?').next().unwrap()));
        table.invalid("a parameter twice", twice, name).await;
    }
    if call.query.contains(&"limit") {
        for limit in ["", "0", "201", "-1", "1.0", "abc"] {
            table.invalid("no limit", asking(&format!("limit={limit}")), "limit").await;
        }
    }
    if call.is_list() {
        for cursor in ["", "1", "x00000000000001", "*"] {
            table.invalid("no cursor of this list", asking(&format!("cursor={cursor}")), "cursor").await;
        }
    }
}
