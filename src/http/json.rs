//! JSON bodies: our own extractor, so that bad input has the same shape as every error and names the
//! field by its JSON pointer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use super::AppState;
use super::fields::Object;
use super::problem::{Problem, ProblemKind};
use crate::telemetry::scope;

/// Largest body.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How much of a body that is too large is read and thrown away, and for how long.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest field name that is told back, in bytes.
const NAME_SHOWN_BYTES_MAX: usize = 64;

/// A JSON object as the body of a request, or any JSON as that of an answer.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<AppState>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<AppState>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let timeout_ms = app.settings.body_timeout_ms;
        let received = read_body(&parts.headers, body);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), received).await {
            Ok(bytes) => parse(&bytes?).map(Self),
            Err(_) => Err(Problem::at("#", format!("did not arrive within {timeout_ms} ms"))),
        }
    }
}

/// Of a call that takes no body: nothing, or an empty object.
pub struct NoBody;

/// An object without fields.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl FromRequest<Arc<AppState>> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<AppState>) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self);
        }
        Json::<Nothing>::from_request(request, app).await.map(|_| Self)
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    let mut chunks = body.into_data_stream();
    if announced.is_some_and(|it: u64| it > BODY_BYTES_MAX as u64) {
        // A client that waits for "100 Continue" sends nothing if it is not asked to.
        if !headers.contains_key(header::EXPECT) {
            discard(chunks);
        }
        return Err(ProblemKind::PayloadTooLarge.into());
    }
    if !is_json(headers) || is_encoded(headers) {
        return Err(ProblemKind::UnsupportedMediaType.into());
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default() as usize);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::at("#", "could not be read to its end"))?;
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            discard(chunks);
            return Err(ProblemKind::PayloadTooLarge.into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads the rest of a body beside the answer: the client need not wait for the 413, and one that
/// sends everything before it reads meets no reset connection.
fn discard(mut chunks: BodyDataStream) {
    scope::spawn(tokio::time::timeout(DISCARD_TIMEOUT, async move {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            discarded += chunk.len();
            if discarded > DISCARDED_BYTES_MAX {
                return;
            }
        }
    }));
}

/// `application/json` or `application/<anything>+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(given), None) = (types.next(), types.next()) else { return false };
    let Ok(given) = given.to_str() else { return false };
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|it| it == "json" || it.strip_suffix("+json").is_some_and(|it| !it.is_empty()))
}

/// Whether the body is in a coding, such as gzip: none is taken.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Parses a body. Paths are tracked only in a second go, where there is something to tell.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::at("#", "is not UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(Problem::at("#", "is missing: a JSON object is required"));
    }
    match serde_json::from_str(text) {
        Ok(Object(body)) => Ok(body),
        Err(error) => Err(explain::<T>(text, &error)),
    }
}

fn explain<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> Problem {
    let mut input = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Object<T>>(&mut input) {
        Ok(_) => Problem::at("#", "must be one JSON object with nothing behind it"),
        Err(traced) => match error.classify() {
            Category::Data => field_problem(traced.path(), &error.to_string()),
            // The one syntax error that is about a value: it is well formed, but no number holds it.
            Category::Syntax if error.to_string().starts_with("number out of range") => {
                Problem::at(pointer(traced.path()), "is out of range")
            }
            Category::Syntax | Category::Eof | Category::Io => {
                let (line, column) = (error.line(), error.column());
                Problem::at("#", format!("is not JSON: line {line}, column {column}"))
            }
        },
    }
}

/// Turns serde's words into ours, without any text of the caller's.
fn field_problem(path: &Path, message: &str) -> Problem {
    let message = message.rsplit_once(" at line ").map_or(message, |(it, _)| it);
    let quoted = |prefix| message.strip_prefix(prefix).and_then(|it: &str| it.split('`').next());
    if let Some(field) = quoted("missing field `") {
        return Problem::at(format!("{}/{field}", pointer(path)), "is required");
    }
    if let Some(field) = quoted("duplicate field `") {
        return Problem::at(format!("{}/{field}", pointer(path)), "is given more than once");
    }
    if message.starts_with("unknown field ") {
        return unknown_field(path);
    }
    let detail = match message.rsplit_once(", expected ") {
        Some((_, "u64" | "u32" | "i64")) => "must be a positive integer in plain digits".to_owned(),
        Some((_, "a string")) => "must be a text".to_owned(),
        Some((_, "a sequence")) => "must be an array".to_owned(),
        Some((_, expected)) => format!("must be {expected}"),
        None => message.to_owned(),
    };
    Problem::at(pointer(path), detail)
}

fn unknown_field(path: &Path) -> Problem {
    let segments: Vec<&Segment> = path.iter().collect();
    match segments.split_last() {
        Some((Segment::Map { key }, parents)) if key.len() > NAME_SHOWN_BYTES_MAX => {
            let detail = format!("has an unknown field with a name of {} bytes", key.len());
            Problem::at(pointer_of(parents.iter().copied()), detail)
        }
        _ => Problem::at(pointer_of(segments.into_iter()), "is not a known field"),
    }
}

fn pointer(path: &Path) -> String {
    pointer_of(path.iter())
}

/// A JSON pointer as a URI fragment (RFC 6901 §6): `#/items/0/quantity`.
fn pointer_of<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    let mut pointer = "#".to_owned();
    for segment in segments {
        match segment {
            Segment::Seq { index } => pointer += &format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                key.bytes().for_each(|byte| push_escaped(&mut pointer, byte));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

fn push_escaped(pointer: &mut String, byte: u8) {
    match byte {
        b'~' => *pointer += "~0",
        b'/' => *pointer += "~1",
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => pointer.push(byte.into()),
        b'-' | b'.' | b'_' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' => pointer.push(byte.into()),
        b'+' | b',' | b';' | b'=' | b':' | b'@' | b'?' => pointer.push(byte.into()),
        other => *pointer += &format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::super::fields::{Int, Integer, present};
    use super::super::language::Language;
    use super::*;
    use crate::ids::{OptionId, UserId};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code)]
    struct Sample {
        user_id: UserId,
        #[serde(default, deserialize_with = "present")]
        amount: Option<Integer>,
        #[serde(default)]
        items: Vec<Object<SampleItem>>,
        #[serde(default, deserialize_with = "present")]
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code)]
    struct SampleItem {
        quantity: Int<1, 1_000>,
        option_id: Option<OptionId>,
    }

    /// The pointer and detail of the first fault; `None` where the body is accepted.
    fn fault(body: &[u8]) -> Option<(String, String)> {
        let problem = parse::<Sample>(body).err()?;
        let document: serde_json::Value =
            serde_json::from_slice(&problem.document("", Language::English, "")).unwrap();
        let text = |member: &str| document["errors"][0][member].as_str().unwrap().to_owned();
        Some((text("pointer"), text("detail")))
    }

    #[test]
    fn every_kind_of_bad_json_names_its_field() {
        let deep = "[".repeat(16 * 1024);
        let deep_field = format!(r#"{{"userId":1,"amount":{}"#, "[".repeat(16 * 1024));
        let long_name = format!(r#"{{"userId":1,"{}":1}}"#, "x".repeat(100));
        for (body, pointer) in [
            (r#""#, "#"),
            (r#"  "#, "#"),
            (r#"{"#, "#"),
            (r#"{"userId":1"#, "#"),
            (r#"{"userId":1}}"#, "#"),
            (r#"{"userId":1} x"#, "#"),
            (r#"{"userId":1}{"userId":1}"#, "#"),
            (r#"{"userId":1,}"#, "#"),
            (r#"{userId:1}"#, "#"),
            (r#"{"userId":01}"#, "#"),
            (r#"{"userId":NaN}"#, "#"),
            (r#"[1]"#, "#"),
            (r#"[]"#, "#"),
            (r#"1"#, "#"),
            (r#""text""#, "#"),
            (r#"null"#, "#"),
            (deep.as_str(), "#"),
            (deep_field.as_str(), "#"),
            (r#"{}"#, "#/userId"),
            (r#"{"userId":null}"#, "#/userId"),
            (r#"{"userId":"1"}"#, "#/userId"),
            (r#"{"userId":1.0}"#, "#/userId"),
            (r#"{"userId":1e3}"#, "#/userId"),
            (r#"{"userId":1e999}"#, "#/userId"),
            (r#"{"userId":-1}"#, "#/userId"),
            (r#"{"userId":-0}"#, "#/userId"),
            (r#"{"userId":0}"#, "#/userId"),
            (r#"{"userId":9007199254740992}"#, "#/userId"),
            (r#"{"userId":99999999999999999999999}"#, "#/userId"),
            (r#"{"userId":true}"#, "#/userId"),
            (r#"{"userId":[1]}"#, "#/userId"),
            (r#"{"userId":{}}"#, "#/userId"),
            (r#"{"userId":1,"userId":2}"#, "#/userId"),
            (r#"{"userId":1,"user_id":2}"#, "#/user_id"),
            (r#"{"userId":1,"a/b~c d":2}"#, "#/a~1b~0c%20d"),
            (r#"{"userId":1,"é":2}"#, "#/%C3%A9"),
            (long_name.as_str(), "#"),
            (r#"{"userId":1,"name":5}"#, "#/name"),
            (r#"{"userId":1,"name":null}"#, "#/name"),
            (r#"{"userId":1,"amount":1.0}"#, "#/amount"),
            (r#"{"userId":1,"amount":1e3}"#, "#/amount"),
            (r#"{"userId":1,"amount":"5"}"#, "#/amount"),
            (r#"{"userId":1,"amount":null}"#, "#/amount"),
            (r#"{"userId":1,"amount":[5]}"#, "#/amount"),
            (r#"{"userId":1,"amount":{"$serde_json::private::RawValue":"5"}}"#, "#/amount"),
            (r#"{"userId":1,"items":null}"#, "#/items"),
            (r#"{"userId":1,"items":{}}"#, "#/items"),
            (r#"{"userId":1,"items":[[1,null]]}"#, "#/items/0"),
            (r#"{"userId":1,"items":[{"quantity":1},7]}"#, "#/items/1"),
            (r#"{"userId":1,"items":[{"quantity":1},{}]}"#, "#/items/1/quantity"),
            (r#"{"userId":1,"items":[{"quantity":0}]}"#, "#/items/0/quantity"),
            (r#"{"userId":1,"items":[{"quantity":1001}]}"#, "#/items/0/quantity"),
            (r#"{"userId":1,"items":[{"quantity":1.5}]}"#, "#/items/0/quantity"),
            (r#"{"userId":1,"items":[{"quantity":"1"}]}"#, "#/items/0/quantity"),
            (r#"{"userId":1,"items":[{"quantity":1,"x":1}]}"#, "#/items/0/x"),
            (r#"{"userId":1,"items":[{"quantity":1,"quantity":1}]}"#, "#/items/0/quantity"),
            (r#"{"userId":1,"items":[{"quantity":1,"optionId":0}]}"#, "#/items/0/optionId"),
        ] {
            let found = fault(body.as_bytes()).unwrap_or_else(|| panic!("accepted: {body}"));
            let shown = &body[..body.len().min(80)];
            assert_eq!(found.0, pointer, "{shown}: {}", found.1);
            assert!(!found.1.contains("serde") && !found.1.contains("u64"), "{shown}: {}", found.1);
        }
        assert_eq!(fault(b"{\"userId\":1,\"name\":\"\xff\"}").unwrap().0, "#");
        assert_eq!(fault(b"\xef\xbb\xbf{\"userId\":1}").unwrap().0, "#");
    }

    #[test]
    fn details_say_what_is_allowed() {
        for (body, detail) in [
            (r#"{"userId":0}"#, "must be an integer from 1 to 9007199254740991"),
            (r#"{"userId":"1"}"#, "must be a positive integer in plain digits"),
            (r#"{"userId":1,"items":[{"quantity":"1, expected u64"}]}"#, "must be an integer from 1 to 1000"),
            (r#"{"userId":1,"items":[[1]]}"#, "must be an object"),
            (r#"{"userId":1,"items":3}"#, "must be an array"),
            (r#"{"userId":1,"name":3}"#, "must be a text"),
            (r#"{"userId":1,"amount":"3"}"#, "must be an integer in plain digits"),
            (r#"[]"#, "must be an object"),
        ] {
            assert_eq!(fault(body.as_bytes()).unwrap().1, detail, "{body}");
        }
    }

    #[test]
    fn good_bodies_are_accepted() {
        for body in [
            r#" {"userId":9007199254740991} "#,
            r#"{"userId":1,"amount":-99999999999999999999999999999999999999}"#,
            r#"{"items":[{"optionId":null,"quantity":1000}],"userId":1}"#,
            r#"{"userId":1}"#,
        ] {
            assert_eq!(fault(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn only_json_types_are_read() {
        let is = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        for text in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/merge-patch+json",
        ] {
            assert!(is(text), "{text}");
        }
        for text in
            ["", "text/json", "text/plain", "application/jsonp", "application/+json", "json", "application/é"]
        {
            assert!(!is(text), "{text}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
