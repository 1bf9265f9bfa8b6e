//! What pages of other origins may do in a browser.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::{List, Origin};

/// How long a browser may remember the answer to its preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// `None` where no origin is allowed.
pub fn layer(origins: &List<Origin>) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins.iter().filter_map(|it| HeaderValue::from_str(it.as_str()).ok());
    let name = HeaderName::from_static;
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::ACCEPT_LANGUAGE,
                name("idempotency-key"),
                name("prefer"),
                name("x-request-id"),
            ])
            .expose_headers([
                header::LINK,
                header::ETAG,
                header::LOCATION,
                header::RETRY_AFTER,
                name("x-request-id"),
                name("idempotency-replayed"),
                name("preference-applied"),
            ])
            .max_age(MAX_AGE),
    )
}

/// Whether these are the headers of an `OPTIONS` by which a browser asks what it may send. It has no token.
pub fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Takes away what is said to an origin that is not allowed: nothing but that answers differ by origin.
pub fn hush_foreign(headers: &mut HeaderMap) {
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
}
