//! The span of a request, by OpenTelemetry's conventions for HTTP servers. It names the route and never the path, which has
//! ids of users in it; nothing of it is what a client wrote, but the ids in `traceparent`.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::edge::{NO_ROUTE, method_label};
use super::problem::ProblemKind;
use crate::telemetry::traces::{Description, Span, Traces};

/// Begins it; `None`: it is not sampled.
pub fn begin(traces: &Traces, method: &Method, route: &str, headers: &HeaderMap) -> Option<Arc<Span>> {
    let mut parents = headers.get_all("traceparent").iter();
    let parent = match (parents.next(), parents.next()) {
        (Some(parent), None) => parent.to_str().ok(),
        (_, _) => None,
    };
    traces.begin_for(parent, SpanKind::Server, || {
        let (method, name) = match method_label(method) {
            "other" => ("_OTHER", "HTTP"),
            label => (label, label),
        };
        let mut attributes = vec![KeyValue::new("http.request.method", method)];
        if route == NO_ROUTE {
            return Description { name: name.into(), attributes };
        }
        attributes.push(KeyValue::new("http.route", route.to_owned()));
        Description { name: format!("{name} {route}").into(), attributes }
    })
}

/// A refusal is an answer; only what is the engine's own fault, or that of its servers, is an error.
pub fn note_problem(span: &Span, problem: ProblemKind) {
    let row = problem.row();
    span.set(KeyValue::new("firstcome.problem", row.code));
    if row.status >= 500 {
        span.fail(row.code);
    }
}

pub fn end(span: &Span, status: StatusCode) {
    span.set(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    span.end();
}
