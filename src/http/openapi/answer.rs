//! The answers of a call, with their headers and examples.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::call::{Call, Content, Success};
use crate::http::language::Language;
use crate::http::problem::{Problem, ProblemKind};

/// A request id, in examples.
const REQUEST_ID: &str = "0196f0a2-7d5c-7c51-9d2e-0f6f6a1c9a53";

/// Headers of answers: name, whether each answer that lists it has it, schema, what it says.
pub fn headers() -> Value {
    let text = || json!({"type": "string", "minLength": 1});
    let header = |required: bool, says: &str, schema: Value| json!({"description": says, "required": required, "schema": schema});
    json!({
        "X-Request-Id": header(true, "The request's own id where it had one of at most 128 printable ASCII characters, else a new one", text()),
        "Location": header(false, "Path of what was made", text()),
        "Link": header(false, "`<…>; rel=\"next\"`: the next page, where there is one", text()),
        "ETag": header(true, "Names this answer for `If-None-Match`", text()),
        "Idempotency-Replayed": header(false, "This is the first answer to this key again", json!({"const": "true"})),
        "Preference-Applied": header(false, "What was asked for with `Prefer` was done", json!({"const": "wait=persisted"})),
        "Retry-After": header(true, "Seconds to wait before the next attempt", json!({"type": "integer", "minimum": 1})),
        "Content-Language": header(true, "Language of `detail`", json!({"enum": ["en", "ko"]})),
        "WWW-Authenticate": header(false, "How to authenticate", text()),
    })
}

/// Every answer of a call, by status.
pub fn responses(call: &Call) -> Value {
    let mut responses: BTreeMap<u16, Value> = BTreeMap::new();
    for success in &call.successes {
        let mut headers = success.headers.clone();
        if call.is_keyed() {
            headers.push("Idempotency-Replayed");
        }
        if call.changes() {
            headers.push("Preference-Applied");
        }
        let mut response = told(success.says, &headers, success.contents.clone());
        if !success.links.is_empty() {
            response["links"] = success.links.iter().map(link).collect();
        }
        responses.insert(success.status, response);
    }
    if let (true, Some(first)) = (call.changes(), call.successes.first()) {
        responses.insert(202, not_yet_persisted(call, first));
    }
    let mut kinds: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for kind in call.refusals() {
        kinds.entry(kind.row().status).or_default().push(kind);
    }
    for (status, kinds) in kinds {
        responses.insert(status, refused(&kinds));
    }
    let by_status = responses.into_iter().map(|(status, it)| (status.to_string(), it));
    Value::Object(by_status.collect())
}

fn told(says: &str, headers: &[&str], contents: Vec<Content>) -> Value {
    let mut response = json!({"description": says, "headers": header_references(headers)});
    for (content_type, schema, example) in contents {
        response["content"][content_type] = json!({"schema": schema, "example": example});
    }
    response
}

/// `pay` takes its order in the body, the others in the path.
fn link((call, name, pointer): &(&str, &str, &str)) -> (String, Value) {
    let value = format!("$response.body#/{pointer}");
    let link = match *call {
        "pay" => json!({"operationId": call, "requestBody": {*name: value}}),
        _ => json!({"operationId": call, "parameters": {*name: value}}),
    };
    ((*call).to_owned(), link)
}

fn header_references(headers: &[&str]) -> Value {
    let all = ["X-Request-Id"].iter().chain(headers);
    all.map(|it| ((*it).to_owned(), json!({"$ref": format!("#/components/headers/{it}")}))).collect()
}

/// The answer to `Prefer: wait=persisted` when the wait is over before MySQL has it.
fn not_yet_persisted(call: &Call, success: &Success) -> Value {
    let unsaid = json!({
        "type": "object", "required": ["persisted"], "properties": {"persisted": {"const": false}}
    });
    let content = match success.contents.first() {
        None => ("application/json", unsaid, json!({"persisted": false})),
        Some((content_type, schema, example)) => {
            let mut example = example.clone();
            example["persisted"] = false.into();
            (*content_type, json!({"allOf": [schema, unsaid]}), example)
        }
    };
    let mut headers = success.headers.clone();
    headers.push("Preference-Applied");
    if call.is_keyed() {
        headers.push("Idempotency-Replayed");
    }
    let says = "Done, as with `Prefer: wait=persisted` asked for, but not yet committed in MySQL";
    told(says, &headers, vec![content])
}

/// The answer for problems of one status.
fn refused(kinds: &[ProblemKind]) -> Value {
    let codes: Vec<&str> = kinds.iter().map(|it| it.row().code).collect();
    let status = kinds.first().map_or(0, |it| it.row().status);
    let mut headers = vec!["Content-Language"];
    if kinds.iter().any(|it| it.retry_after().is_some()) {
        headers.push("Retry-After");
    }
    if kinds.contains(&ProblemKind::Unauthenticated) {
        headers.push("WWW-Authenticate");
    }
    let examples: Map<String, Value> = codes
        .iter()
        .map(|it| ((*it).to_owned(), json!({"$ref": format!("#/components/examples/{it}")})))
        .collect();
    let shown: Vec<String> = codes.iter().map(|it| format!("`{it}`")).collect();
    json!({
        "description": shown.join(", "),
        "headers": header_references(&headers),
        "content": {"application/problem+json": {
            "schema": {
                "allOf": [{"$ref": "#/components/schemas/Problem"}],
                "properties": {"status": {"const": status}, "code": {"enum": codes}}
            },
            "examples": examples
        }}
    })
}

/// An example of each problem, by its code.
pub fn problem_examples(type_prefix: &str) -> Value {
    let examples = ProblemKind::ALL.iter().map(|kind| {
        let document = sample(*kind).document(type_prefix, Language::English, REQUEST_ID);
        let value: Value = serde_json::from_slice(&document).unwrap_or_default();
        (kind.row().code.to_owned(), json!({"summary": kind.row().title, "value": value}))
    });
    Value::Object(examples.collect())
}

/// A problem with the members that its kind has beside those of all.
fn sample(kind: ProblemKind) -> Problem {
    let problem = Problem::new(kind);
    match kind {
        ProblemKind::InvalidRequest => Problem::at("#/items/0/quantity", "must be an integer from 1 to 1000"),
        ProblemKind::OutOfStock => problem.with("productId", 1).with("optionId", 2).with("remaining", 0),
        ProblemKind::PurchaseLimitExceeded => problem.with("productId", 1).with("remaining", 1),
        ProblemKind::SaleNotOpen => problem.with("productId", 1),
        ProblemKind::InvalidCoupon => problem.with("reason", "used"),
        ProblemKind::CouponNotStarted => problem.with("startsAt", "2026-11-20T11:00:00.000Z"),
        ProblemKind::CouponExpired => problem.with("endsAt", "2026-11-20T12:00:00.000Z"),
        _ => problem,
    }
}

/// What every problem has, and what some have.
pub fn problem_schema() -> Value {
    let codes: Vec<&str> = ProblemKind::ALL.iter().map(|it| it.row().code).collect();
    let id = json!({"type": "integer", "minimum": 1});
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "description": "An error (RFC 9457). `code` is stable; codes are added, never renamed",
        "required": ["type", "title", "status", "detail", "code", "requestId"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "In the caller's language"},
            "code": {"enum": codes},
            "requestId": {"type": "string", "description": "As in `X-Request-Id`"},
            "errors": {
                "type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Fault"},
                "description": "Of `invalid_request`: what is wrong with it"
            },
            "productId": id, "optionId": id,
            "remaining": {"type": "integer", "minimum": 0},
            "reason": {"enum": ["not_issued", "held", "used", "expired", "below_minimum"]},
            "startsAt": time, "endsAt": time,
            "outcome": {"const": "unknown", "description": "Of `dependency_down`: the request may have been carried out"}
        }
    })
}
