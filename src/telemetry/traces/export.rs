//! How spans leave: over HTTP, from a thread of their own, out of a bounded queue. A collector that is away, slow or hangs
//! costs spans, which are counted, and nothing else.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::Context;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use crate::config::Settings;

/// Spans that wait or are on their way, at most; more are dropped. Some megabytes.
const QUEUE: usize = 4_096;

/// Spans of one request to the collector, at most.
const BATCH: usize = 512;

/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What takes ended spans.
pub(super) fn processor(settings: &Settings, url: String) -> anyhow::Result<impl SpanProcessor + use<>> {
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_http_client(Collector::new(settings)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(TIMEOUT)
        .build()?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(GATHER)
        .build();
    let counted = Counted { next: exporter, waiting: waiting.clone() };
    let next = BatchSpanProcessor::builder(counted).with_batch_config(config).build();
    Ok(Bounded { next, waiting })
}

fn count(outcome: &'static str, spans: usize) {
    metrics::counter!("firstcome_spans_total", "outcome" => outcome).increment(spans as u64);
}

/// Drops what finds no room, and counts it: the library would only log that, and only its first time.
#[derive(Debug)]
struct Bounded {
    next: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE {
            return self.next.on_end(span);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        count("dropped", 1);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Counts what came of each batch.
#[derive(Debug)]
struct Counted {
    next: OtlpExporter,
    waiting: Arc<AtomicUsize>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.next.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        count(if result.is_ok() { "exported" } else { "failed" }, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Where spans go. The exporter's thread has no runtime, so requests are sent on the engine's.
#[derive(Debug)]
struct Collector {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
    /// Its URL, without what is secret in it.
    shown: String,
    failing: AtomicBool,
}

impl Collector {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for certificate in settings.tls_ca_file.certificates() {
            roots.add(certificate).context("tls_ca_file")?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let endpoint = &settings.otlp_endpoint;
        Ok(Self {
            client: HyperClient::new(connector, TIMEOUT, endpoint.authorization()),
            runtime: Handle::current(),
            shown: endpoint.to_string(),
            failing: AtomicBool::new(false),
        })
    }

    /// Said once, until it takes spans again: a batch fails each second, or more often.
    fn tell(&self, error: Option<String>) {
        let was_failing = self.failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                tracing::warn!(
                    collector = self.shown,
                    error,
                    "the collector takes no spans; they are dropped"
                );
            }
            None if was_failing => tracing::info!(collector = self.shown, "the collector takes spans again"),
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move { client.send_bytes(request).await }).await?;
        self.tell(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(deepest(&**error).to_string()),
        });
        answer
    }
}

/// The first cause: the errors around it only say that something failed.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
