//! The `Idempotency-Key` header.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use serde::Serialize;

use super::problem::Problem;
use crate::idempotency::{Fingerprint, Idempotency, IdempotencyKey, Seen};

const HEADER: &str = "Idempotency-Key";
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one, and what its fingerprint needs besides the body.
pub struct Keyed(Option<Request>);

struct Request {
    key: IdempotencyKey,
    method: String,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Keyed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(Problem::parameter(HEADER, "is given more than once"));
        }
        let key = value.to_str().ok().and_then(IdempotencyKey::new);
        let key =
            key.ok_or_else(|| Problem::parameter(HEADER, "must be 1 to 255 printable ASCII characters"))?;
        let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
        Ok(Self(Some(Request { key, method, path })))
    }
}

impl Keyed {
    /// The key with the request's fingerprint. `body` is the body as parsed.
    pub fn with(self, body: &impl Serialize) -> Option<Idempotency> {
        let Request { key, method, path } = self.0?;
        let body = serde_json::to_vec(body).expect("parsed bodies are JSON");
        Some(Idempotency { key, fingerprint: Fingerprint::of(&method, &path, &body) })
    }
}

/// Part of an answer: says that it is the first one's again.
pub struct Replay(pub Seen);

impl IntoResponseParts for Replay {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut to: ResponseParts) -> Result<ResponseParts, Self::Error> {
        match self.0 {
            Seen::New => {}
            Seen::Replayed => {
                to.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
            }
        }
        Ok(to)
    }
}
