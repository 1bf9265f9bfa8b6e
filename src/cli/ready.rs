//! `firstcome ready`: asks a running engine whether it sells, for health checks where neither a shell nor curl is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Uri;
use clap::Args;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long the answer may take. The engine itself bounds what it asks its servers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Args)]
pub struct ReadyOptions {
    /// Where the engine answers [default: the `listen` setting, on this machine]
    #[arg(long, value_name = "URL", value_parser = base_url)]
    url: Option<String>,
}

/// `http://host:port`, without a slash at its end.
fn base_url(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    let authority = uri.authority().filter(|it| !it.as_str().contains('@') && !it.host().is_empty());
    match (uri.scheme_str(), authority, uri.path(), uri.query()) {
        (Some("http"), Some(authority), "/", None) => Ok(format!("http://{authority}")),
        _ => Err("allowed: http://host:port".to_owned()),
    }
}

/// Asks once. `Ok`: every cell sells.
///
/// # Errors
/// Says why not, in one line.
pub async fn run(options: ReadyOptions, listen: SocketAddr) -> Result<(), String> {
    let url = options.url.unwrap_or_else(|| format!("http://{}", reached_at(listen)));
    let asked = tokio::time::timeout(PATIENCE, ask(&url)).await;
    asked
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
        .map_err(|why| format!("{url}: {why}"))
}

/// Who listens on all addresses is reached on loopback.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(url: &str) -> Result<(), String> {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("{url}/readyz").parse().map_err(|_| "not a URL")?;
    let answer = client.get(uri).await.map_err(|error| {
        // The library only says that it could not connect; why is behind that.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        cause.to_string()
    })?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.unwrap_or_default();
    Err(why_not(&body).unwrap_or_else(|| format!("answers {status}")))
}

/// What an engine that is not ready says of its cells.
fn why_not(body: &[u8]) -> Option<String> {
    let told: Value = serde_json::from_slice(body).ok()?;
    let shut = told["checks"]["cells"].as_array()?.iter().filter(|it| it["sells"] == false);
    let shut: Vec<String> = shut
        .map(|it| format!("cell {}: {}", it["cell"], it["reason"].as_str().unwrap_or("does not sell")))
        .collect();
    Some(shut.join(", "))
}
