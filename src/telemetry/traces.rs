//! Traces: which spans there are is said where the work is done; how they leave is in `traces/export.rs`.
//!
//! The library's own interface is used, not a bridge from `tracing`: a request that is not sampled makes no span that
//! somebody else would have to filter out (docs/decisions/0025).

mod export;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanRef};
use opentelemetry::trace::{
    SpanBuilder, SpanId, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use super::scope;
use crate::cell::CellId;
use crate::config::Settings;

/// Longest time for the last spans to leave, at the end of an orderly life.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes spans. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A span that will leave, and under which others can be made. It ends when it is told to, or dropped.
#[derive(Debug)]
pub struct Span {
    tracer: SdkTracer,
    context: Context,
}

/// What a span is, as far as it is known at its beginning.
pub struct Description {
    pub name: Cow<'static, str>,
    pub attributes: Vec<KeyValue>,
}

impl Traces {
    /// `None`: `otlp_endpoint` is not set. `node` is this process's name among others. Call it inside a runtime.
    pub fn start(settings: &Settings, node: &str) -> anyhow::Result<Option<Self>> {
        let Some(url) = settings.otlp_endpoint.traces_url() else { return Ok(None) };
        let exported = export::processor(settings, url).context("cannot set up otlp_endpoint")?;
        let resource = Resource::builder()
            .with_service_name("firstcome")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(exported)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.otlp_sample_ratio.get(),
            ))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("firstcome");
        Ok(Some(Self { provider, tracer }))
    }

    /// Begins a trace of this process's own; `None`: it is not sampled.
    pub fn begin(&self, kind: SpanKind, describe: impl FnOnce() -> Description) -> Option<Arc<Span>> {
        self.begin_under(&Context::new(), kind, describe)
    }

    /// Begins what a caller's `traceparent` names as the parent, if it is a good one; the caller then decides whether it
    /// is sampled. A `tracestate` is not taken over: it is text of anybody's.
    pub fn begin_for(
        &self,
        traceparent: Option<&str>,
        kind: SpanKind,
        describe: impl FnOnce() -> Description,
    ) -> Option<Arc<Span>> {
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(traceparent));
        self.begin_under(&parent, kind, describe)
    }

    fn begin_under(
        &self,
        parent: &Context,
        kind: SpanKind,
        describe: impl FnOnce() -> Description,
    ) -> Option<Arc<Span>> {
        let mut span = self.tracer.build_with_context(SpanBuilder::from_name("").with_kind(kind), parent);
        // Most are not, and cost no texts.
        if !span.is_recording() {
            return None;
        }
        let Description { name, attributes } = describe();
        span.update_name(name);
        span.set_attributes(attributes);
        Some(Arc::new(Span { tracer: self.tracer.clone(), context: Context::new().with_span(span) }))
    }

    /// Has the last spans leave, for a bounded time.
    pub async fn end(self) {
        // It blocks until the exporter's thread has answered; that needs this runtime meanwhile.
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "stopping without the last spans");
        }
    }
}

/// Shows one header only.
struct Parent<'a>(Option<&'a str>);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.filter(|_| key == "traceparent")
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Span {
    pub fn ids(&self) -> (TraceId, SpanId) {
        let span = self.span();
        (span.span_context().trace_id(), span.span_context().span_id())
    }

    pub fn set(&self, attribute: KeyValue) {
        self.span().set_attribute(attribute);
    }

    /// What went wrong, by a word of the engine's own: never a text that quotes somebody.
    pub fn fail(&self, error: &'static str) {
        let span = self.span();
        span.set_attribute(KeyValue::new("error.type", error));
        span.set_status(Status::error(""));
    }

    pub fn end(&self) {
        self.span().end();
    }

    fn span(&self) -> SpanRef<'_> {
        self.context.span()
    }
}

/// Notes a call of a script that has just come to its end, where it is part of something that is traced.
pub fn note_script(script: &'static str, cell: CellId, outcome: &str, failed: bool, took: Duration) {
    scope::with_span(|parent| {
        let now = SystemTime::now();
        let attributes = [
            KeyValue::new("db.system.name", "redis"),
            KeyValue::new("db.operation.name", script),
            KeyValue::new("firstcome.cell", i64::from(cell.0)),
            KeyValue::new("firstcome.outcome", outcome.to_owned()),
        ];
        let builder = SpanBuilder::from_name(script)
            .with_kind(SpanKind::Client)
            .with_start_time(now - took)
            .with_attributes(attributes);
        let mut span = parent.tracer.build_with_context(builder, &parent.context);
        if failed {
            span.set_attribute(KeyValue::new("error.type", outcome.to_owned()));
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(now);
    });
}
