//! What happens to every request: its id, limits, admission, who sent it, a safety net for panics, problems
//! rendered in the caller's language, and the time it took. One layer, because each layer costs an allocation; what few
//! requests need is boxed, so that the others do not carry its room.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::Either;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use uuid::Uuid;

use super::admission::Admission;
use super::caller::Caller;
use super::cors;
use super::language::Language;
use super::limits::Limits;
use super::problem::{Problem, ProblemKind};
use super::traced;
use super::wait_persisted::{WaitPersisted, is_wanted};
use crate::config::Settings;
use crate::identity::Tokens;
use crate::telemetry::scope::{self, Scope};
use crate::telemetry::timings::Timings;
use crate::telemetry::traces::Traces;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Stands for the route of what no route matches.
pub const NO_ROUTE: &str = "none";

/// Longest request id that is taken over, in characters.
const REQUEST_ID_MAX: usize = 128;

/// Answered whatever the load: an engine that is busy is not an engine that is dead.
pub const NEVER_SHED: [&str; 7] =
    ["/healthz", "/readyz", "/metrics", "/admin/overview", "/console", "/console/stream", "/console/{file}"];

/// Never told to come back later, however often a probe asks; some of those that are never shed.
const NEVER_LIMITED: [&str; 2] = ["/healthz", "/readyz"];

/// What all requests share.
pub struct Edge {
    admission: Admission,
    limits: Limits,
    /// `None`: nobody is asked for a token.
    tokens: Option<Arc<Tokens>>,
    /// `None`: no page of another origin may call.
    cors: Option<CorsLayer>,
    /// What stands before `/problems/<code>`.
    type_prefix: String,
    wait_persisted: Option<WaitPersisted>,
    /// `None`: nothing is traced.
    traces: Option<Traces>,
    /// How often each problem was told, in the order of [`ProblemKind::ALL`].
    told: Vec<metrics::Counter>,
    /// By route, method and status.
    answered: Timings<(&'static str, StatusCode)>,
}

impl Edge {
    pub fn new(settings: &Settings, tokens: Option<Arc<Tokens>>) -> Self {
        metrics::describe_histogram!(
            "firstcome_http_request_duration_seconds",
            metrics::Unit::Seconds,
            "Time from the end of a request's headers to its answer"
        );
        metrics::describe_counter!(
            "firstcome_http_problems_total",
            "Requests answered with a problem, by its code"
        );
        Self {
            admission: Admission::new(settings.max_in_flight),
            limits: Limits::new(settings),
            tokens,
            cors: cors::layer(&settings.cors_origins),
            type_prefix: settings.public_url.trim_end_matches('/').to_owned(),
            wait_persisted: None,
            traces: None,
            told: ProblemKind::ALL.iter().map(|it| count_of(*it)).collect(),
            answered: Timings::new(|route, (method, status)| {
                metrics::histogram!(
                    "firstcome_http_request_duration_seconds",
                    "route" => route.to_owned(),
                    "status" => status.as_str().to_owned(),
                    "method" => method,
                )
            }),
        }
    }

    /// With what successes wait for, where a client prefers that.
    pub fn waiting(self, wait_persisted: WaitPersisted) -> Self {
        Self { wait_persisted: Some(wait_persisted), ..self }
    }

    /// With what makes spans, where a collector is named.
    pub fn traced(self, traces: Option<Traces>) -> Self {
        Self { traces, ..self }
    }

    /// Writes a problem out, within the scope of its request; any other response passes as it is.
    fn render(&self, response: &mut Response, method: &Method, language: Language) {
        let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return };
        if method.is_safe() {
            problem.forget_outcome();
        }
        let kind = problem.kind();
        self.told[kind as usize].increment(1);
        let (code, cause) = (kind.row().code, problem.cause().unwrap_or_default());
        match kind {
            ProblemKind::InternalError => tracing::error!(code, cause, "a request failed"),
            // A dependency that is down fails thousands of requests a second alike; metrics count them.
            _ => tracing::debug!(code, cause, "a request was refused"),
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.append(header::VARY, HeaderValue::from_static("accept-language"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = kind.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Some((name, value)) = problem.header() {
            headers.insert(name, value.clone());
        }
        scope::with_span(|span| traced::note_problem(span, kind));
        let document = scope::look(|it| {
            let request_id = it.request_id.as_ref().and_then(|it| it.to_str().ok());
            problem.document(&self.type_prefix, language, request_id.unwrap_or_default())
        });
        *response.body_mut() = Body::from(document.unwrap_or_default());
    }
}

fn count_of(kind: ProblemKind) -> metrics::Counter {
    let count = metrics::counter!("firstcome_http_problems_total", "code" => kind.row().code);
    count.increment(0);
    count
}

/// The middleware around all routes.
pub async fn every_request(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let language = Language::of(request.headers());
    let request_id = request_id(request.headers());
    let span = edge.traces.as_ref().and_then(|it| traced::begin(it, &method, route, request.headers()));

    let answer = match &edge.cors {
        Some(layer) if method != Method::OPTIONS || cors::is_preflight(request.headers()) => {
            let service = layer.layer(service_fn(|request| async {
                Ok::<_, std::convert::Infallible>(edge.answer(route, request, next.clone()).await)
            }));
            Either::Left(Box::pin(async {
                let Ok(mut response) = service.oneshot(request).await;
                cors::hush_foreign(response.headers_mut());
                response
            }))
        }
        _ => Either::Right(edge.answer(route, request, next)),
    };
    let rendered = answer.map(|mut response| {
        edge.render(&mut response, &method, language);
        response
    });
    let mut answer = pin!(Scope { request_id: Some(request_id), span }.around(rendered));
    let mut response = answer.as_mut().await;
    // Taken back: a copy would cost an allocation.
    let Scope { request_id, span } = answer.take_value().expect("it is there until it is taken");

    if let Some(request_id) = request_id {
        response.headers_mut().insert(X_REQUEST_ID.clone(), request_id);
    }
    if let Some(span) = span {
        traced::end(&span, response.status());
    }
    edge.answered.record(route, (method_label(&method), response.status()), started.elapsed());
    response
}

impl Edge {
    /// Lets a request through to its handler, or refuses it.
    async fn answer(&self, route: &str, mut request: Request, next: Next) -> Response {
        if is_doubtfully_coded(request.headers()) {
            let refused = Problem::parameter("Transfer-Encoding", "must be chunked, and nothing else");
            // Where this body ends is anybody's guess; so nothing behind it is read.
            return ([(header::CONNECTION, "close")], refused).into_response();
        }
        if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
            return Problem::parameter("Host", "is required").into_response();
        }
        if NEVER_LIMITED.contains(&route) {
            return run(request, next).await;
        }
        if let Err(refused) = self.limits.count_address(&request) {
            return refused.into_response();
        }
        // Held until the answer is there.
        let place = if NEVER_SHED.contains(&route) { None } else { Some(self.admission.enter()) };
        if let Some(None) = place {
            return Problem::new(ProblemKind::Overloaded).into_response();
        }
        if let Some(tokens) = &self.tokens {
            let caller = Caller::of(request.headers(), tokens);
            if let Caller::User(user) = caller
                && let Err(refused) = self.limits.count_user(user)
            {
                return refused.into_response();
            }
            request.extensions_mut().insert(caller);
        }
        match self.wait_persisted.as_ref().filter(|_| is_wanted(request.headers())) {
            Some(wait) => Box::pin(wait.run(run(request, next))).await,
            None => run(request, next).await,
        }
    }
}

/// Whether a body is coded in more than chunks. The library looks at the last coding only: `chunked, chunked` would be
/// one pair of brackets here and two in a proxy, and `gzip, chunked` is nothing that a handler could read.
fn is_doubtfully_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |it: &HeaderValue| it.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|it| !is_chunked(it)) || codings.next().is_some()
}

/// Hands a request to its handler, and survives that.
async fn run(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        Problem::new(ProblemKind::InternalError).because("a handler panicked").into_response()
    })
}

/// The caller's id where it has one of at most 128 printable ASCII characters, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(&X_REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_request_id(id.as_bytes()) => id.clone(),
        _ => {
            let mut text = Uuid::encode_buffer();
            let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(id).expect("a UUID is ASCII")
        }
    }
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(|it| (0x20..=0x7e).contains(it))
}

/// A method as a label: bounded, whatever a client sends.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(edge: &Arc<Edge>, path: &str) -> Response {
        async fn panics() {
            panic!("on purpose");
        }
        let router = Router::new().route("/panics", get(panics)).route("/healthz", get(|| async {}));
        let router = router.layer(from_fn_with_state(edge.clone(), every_request));
        router
            .oneshot(Request::get(path).header(header::HOST, "test").body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    fn edge(max_in_flight: usize) -> Arc<Edge> {
        Arc::new(Edge::new(&Settings { max_in_flight, ..Settings::default() }, None))
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let response = answer(&edge(1), "/panics").await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert!(response.headers().contains_key(&X_REQUEST_ID));
    }

    #[tokio::test]
    async fn a_full_node_sheds_all_but_health() {
        let edge = edge(0);
        let shed = answer(&edge, "/panics").await;
        assert_eq!(
            (shed.status().as_u16(), &shed.headers()[header::RETRY_AFTER]),
            (503, &"1".parse().unwrap())
        );
        assert_eq!(answer(&edge, "/healthz").await.status(), 200);
    }

    #[test]
    fn request_ids_are_taken_over_only_when_short_and_printable() {
        let given = |texts: &[&[u8]]| {
            let name = X_REQUEST_ID.clone();
            let values = texts.iter().map(|it| (name.clone(), HeaderValue::from_bytes(it).unwrap()));
            let mut headers = HeaderMap::new();
            headers.extend(values);
            request_id(&headers)
        };
        assert_eq!(given(&[b"order 7/a"]), "order 7/a");
        assert_eq!(given(&[&[b'x'; 128]]).len(), 128);
        for texts in [&[] as &[&[u8]], &[b""], &[&[b'x'; 129]], &["é".as_bytes()], &[b"a\tb"], &[b"a", b"b"]]
        {
            assert_eq!(given(texts).len(), 36, "{texts:?}");
        }
    }
}
