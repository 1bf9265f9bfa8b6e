//! The API as an OpenAPI 3.1 document: schemas derived from the types that handlers read and write, calls told
//! in tables beside the route table (a test compares them), statuses and problems from the one catalogue.

mod answer;
mod call;
mod calls;
pub mod docs;
mod refine;
mod schemas;

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::problem::Fault;
use crate::config::Settings;
use call::{Access, Body, Call, Noun, Parameter};
pub use schemas::{AmountOrDiscount, name};

#[cfg(test)]
mod tests;

const VERSION: &str = "3.1.0";

const DESCRIPTION: &str = "\
JSON in camelCase. Ids are integers from 1 to 9007199254740991; integers are plain digits (`1.0` and `1e3` are refused). \
Money is in minor units. Times are RFC 3339: any offset in requests, UTC with milliseconds in answers. Unknown fields \
and parameters are refused.

Errors are problem documents (RFC 9457) with a stable `code`; `detail` is in the language of `Accept-Language` (`en`, \
`ko`). Every answer has `X-Request-Id`.

Where several refusals apply, the first is told of: syntax, token, idempotency, user, product and option, sale window, \
purchase limit, stock, coupon, balance.";

/// The document, written once at the start.
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    pub fn of(settings: &Settings) -> Self {
        Self(document(settings).to_string().into())
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
        (headers, self.0).into_response()
    }
}

/// The document of an engine with these settings.
pub fn document(settings: &Settings) -> Value {
    let calls = calls::all();
    let prefix = settings.public_url.trim_end_matches('/');
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for call in &calls {
        paths.entry(call.path).or_default().insert(call.method.to_owned(), operation(call));
    }
    let tags = Noun::ALL.map(|it| json!({"name": it.told().0, "description": it.told().1}));
    let mut document = json!({
        "openapi": VERSION,
        "info": {
            "title": "firstcome",
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": if prefix.is_empty() { "/" } else { prefix }}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas(&calls),
            "parameters": parameters(),
            "headers": answer::headers(),
            "examples": answer::problem_examples(prefix),
            "securitySchemes": {"bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "Needed where the setting `auth` is `jwt`: `sub` is the user; scope `admin` acts for anyone",
            }},
        },
    });
    refine::refine(&mut document, settings);
    document
}

fn operation(call: &Call) -> Value {
    let mut operation = json!({
        "tags": [call.noun.told().0],
        "summary": call.summary,
        "operationId": call.id,
        "responses": answer::responses(call),
        "security": match call.access {
            Access::Everybody => json!([]),
            // Optional: only some engines ask for a token.
            Access::Known | Access::Owner | Access::Buyer | Access::Charger | Access::Refunder | Access::Admin => {
                json!([{}, {"bearer": []}])
            }
        },
    });
    if let Some(says) = call.says {
        operation["description"] = says.into();
    }
    let parameters = parameters_of(call);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(Body { schema, required, examples, .. }) = &call.body {
        let examples = examples.iter().map(|(shows, value)| ((*shows).to_owned(), json!({"value": value})));
        let examples: Map<String, Value> = examples.collect();
        let content = json!({"application/json": {"schema": schema, "examples": examples}});
        operation["requestBody"] = json!({"required": required, "content": content});
    }
    operation
}

fn parameters_of(call: &Call) -> Vec<Value> {
    let mut parameters: Vec<Value> = call.ids().map(in_path).collect();
    for Parameter { name, required, says, schema, example } in &call.query {
        let mut parameter =
            json!({"name": name, "in": "query", "required": required, "description": says, "schema": schema});
        if !example.is_null() {
            parameter["example"] = example.clone();
        }
        parameters.push(parameter);
    }
    let shared = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
    if call.is_keyed() {
        parameters.push(shared("IdempotencyKey"));
    }
    if call.changes() {
        parameters.push(shared("Prefer"));
    }
    if call.is_conditional {
        parameters.push(shared("IfNoneMatch"));
    }
    if call.noun != Noun::Operations {
        parameters.push(shared("AcceptLanguage"));
    }
    parameters
}

fn in_path(name: &str) -> Value {
    let (schema, example) = match name {
        "userId" => ("UserId", 1),
        "productId" => ("ProductId", 1),
        "couponId" => ("CouponId", 1),
        "orderId" => ("OrderId", 6_144),
        _ => {
            let schema = json!({"enum": docs::FILES.map(|it| it.0)});
            return json!({"name": name, "in": "path", "required": true, "schema": schema});
        }
    };
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    json!({"name": name, "in": "path", "required": true, "schema": schema, "example": example})
}

/// Headers of requests that many calls take.
fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Makes a retry safe: the same key with the same request has the first answer again, \
                            with another request it is refused. 1 to 255 printable ASCII characters, kept 24 hours by default",
            // HTTP takes spaces at both ends away.
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
            "example": "order-2026-11-20-0001",
        },
        "Prefer": {
            "name": "Prefer", "in": "header",
            "description": "`wait=persisted`: answer once the change is committed in MySQL, or 202 when that takes too long",
            "schema": {"type": "string"}, "example": "wait=persisted",
        },
        "IfNoneMatch": {
            "name": "If-None-Match", "in": "header",
            "description": "`ETag` of an answer that the client has: while it is the same, 304 comes in its place",
            "schema": {"type": "string"}, "example": "\"9f86d081884c7d659a2feaa0c55ad015\"",
        },
        "AcceptLanguage": {
            "name": "Accept-Language", "in": "header",
            "description": "Language of a problem's `detail`: `en` or `ko`, default `en`",
            "schema": {"type": "string"}, "example": "ko-KR,ko;q=0.9,en;q=0.8",
        },
    })
}

fn schemas(calls: &[Call]) -> Map<String, Value> {
    let mut collected = Vec::new();
    let bodies = calls.iter().filter_map(|it| it.body.as_ref()?.collect);
    let answers = calls.iter().flat_map(|it| &it.successes).filter_map(|it| it.collect);
    for collect in bodies.chain(answers) {
        collect(&mut collected);
    }
    for id in schemas::IDS {
        id(&mut collected);
    }
    let written = |(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default());
    let mut schemas: Map<String, Value> = collected.into_iter().map(written).collect();
    schemas.insert("Problem".to_owned(), answer::problem_schema());
    schemas
        .insert("Fault".to_owned(), written((String::new(), <Fault as utoipa::PartialSchema>::schema())).1);
    schemas
}
