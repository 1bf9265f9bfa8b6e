//! `Prefer: wait=persisted`: a success is told once MySQL has it.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sqlx::MySqlPool;

use super::problem::Problem;
use super::reads::in_time;
use crate::cell::{CellId, Position};
use crate::mysql::cells::is_dead;
use crate::scripts::{ScriptError, acknowledged};
use crate::watermark::{Reached, Watermark};

const APPLIED: &str = "wait=persisted";
static PREFER: HeaderName = HeaderName::from_static("prefer");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Larger than any answer of a changing call: 50 lines of an order are some 6 KB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Whether a request asks for it, among whatever else it prefers.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(&PREFER).iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split([',', ';'])).any(|it| {
        let (name, value) = it.split_once('=').unwrap_or((it, ""));
        name.trim().eq_ignore_ascii_case("wait") && value.trim().trim_matches('"') == "persisted"
    })
}

/// What is needed to wait.
pub struct WaitPersisted {
    pub watermark: Watermark,
    /// Asked about dead events only.
    pub mysql: MySqlPool,
    pub patience: Duration,
}

impl WaitPersisted {
    /// Runs a request, and holds its success until MySQL has the event that it acknowledged, at most for the
    /// patience of the settings: then it is 202, and its body says `"persisted": false`.
    pub async fn run(&self, request: impl Future<Output = Response>) -> Response {
        let (mut response, event) = acknowledged::during(request).await;
        let Some((cell, position)) = event.filter(|_| response.status().is_success()) else {
            return response;
        };
        match self.reach(cell, position).await {
            Reached::Persisted => {
                let applied = HeaderValue::from_static(APPLIED);
                response.headers_mut().insert(PREFERENCE_APPLIED.clone(), applied);
                response
            }
            Reached::TimedOut => not_yet(response).await,
            // The cell was recovered, and nobody may vouch for what came before it.
            Reached::Unknown => {
                Problem::from(ScriptError::Unknown(format!("cell {cell} was recovered"))).into_response()
            }
        }
    }

    async fn reach(&self, cell: CellId, position: Position) -> Reached {
        match self.watermark.reach(cell, position, self.patience).await {
            // An event that MySQL could not record was parked, and the position moved past it.
            Reached::Persisted if self.watermark.has_dead_events(cell) => {
                match in_time(is_dead(&self.mysql, cell, position.seq)).await {
                    Ok(false) => Reached::Persisted,
                    Ok(true) | Err(_) => Reached::TimedOut,
                }
            }
            reached => reached,
        }
    }
}

/// The same answer as 202, with `"persisted": false`.
async fn not_yet(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let answer = to_bytes(body, ANSWER_BYTES_MAX).await.ok().and_then(|it| serde_json::from_slice(&it).ok());
    let mut answer = match answer {
        Some(Value::Object(answer)) => answer,
        Some(_) | None => serde_json::Map::new(),
    };
    answer.insert("persisted".to_owned(), json!(false));
    parts.status = StatusCode::ACCEPTED;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(Value::Object(answer).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_found_among_others() {
        let wanted = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.extend(texts.iter().map(|it| (PREFER.clone(), HeaderValue::from_str(it).unwrap())));
            is_wanted(&headers)
        };
        for texts in [
            &["wait=persisted"] as &[&str],
            &["respond-async", "Wait = \"persisted\""],
            &["a=b, wait=persisted; c"],
        ] {
            assert!(wanted(texts), "{texts:?}");
        }
        for texts in [&[] as &[&str], &["wait=10"], &["persisted"], &["wait"], &["await=persisted"]] {
            assert!(!wanted(texts), "{texts:?}");
        }
    }
}
