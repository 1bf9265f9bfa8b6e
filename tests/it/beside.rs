//! A second node beside that of a test.

use std::time::{Duration, Instant};

use firstcome::dev::ports;
use firstcome::telemetry::samples::samples;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::engine_process::EngineProcess;
use super::test_app::{Answer, TestApp, eventually, read};

/// Another node on the same servers: a process, so that its metrics are its own.
pub struct Node {
    _process: EngineProcess,
    address: String,
    client: reqwest::Client,
}

/// An answer, and when it was asked for.
#[derive(Debug)]
pub struct Told {
    pub sent: Instant,
    pub status: StatusCode,
    pub body: Value,
    pub replayed: bool,
}

impl Told {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Node {
    pub async fn beside(app: &TestApp) -> Self {
        let mut settings = app.settings.clone();
        settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
        // A slow machine fails no test.
        let patient = |command: &mut std::process::Command| {
            command.env("FIRSTCOME_REDIS_REPLY_TIMEOUT_MS", "20000");
        };
        let process = EngineProcess::start_with(&settings, "api", patient);
        let client = reqwest::Client::builder().pool_max_idle_per_host(64).build().unwrap();
        let node = Self { _process: process, address: settings.listen.to_string(), client };
        let ready = async || {
            let probe = node.client.get(format!("http://{}/readyz", node.address)).send().await;
            probe.is_ok_and(|it| it.status() == StatusCode::OK)
        };
        eventually!(ready().await);
        node
    }

    pub async fn send(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Told {
        let request = self.client.request(method, format!("http://{}{path}", self.address)).json(body);
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let sent = Instant::now();
        let answer = request.timeout(Duration::from_secs(60)).send().await.expect("an answer");
        let (status, replayed) = (answer.status(), answer.headers().contains_key("idempotency-replayed"));
        Told { sent, status, replayed, body: answer.json().await.unwrap_or_default() }
    }

    pub async fn post(&self, path: &str, body: Value) -> Told {
        self.send(Method::POST, path, None, &body).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.get(format!("http://{}{path}", self.address));
        read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// One series of the node's metrics.
    pub async fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let answer = self.client.get(format!("http://{}/metrics", self.address)).send().await.unwrap();
        let rendered = answer.text().await.unwrap();
        let found = samples(&rendered)
            .find(|it| it.name == name && labels.iter().all(|(label, value)| it.label(label) == Some(value)));
        found.map_or(0, |it| it.value as u64)
    }

    pub async fn told_by_memory(&self, kind: &str) -> u64 {
        self.count("firstcome_sold_out_from_memory_total", &[("kind", kind)]).await
    }

    pub async fn told_by_script(&self, script: &str, outcome: &str) -> u64 {
        let labels = [("script", script), ("outcome", outcome)];
        self.count("firstcome_script_duration_seconds_count", &labels).await
    }

    /// Waits until callers has heard this many more answers from memory.
    pub async fn remembers(&self, kind: &str, more: u64) {
        let before = self.told_by_memory(kind).await;
        eventually!(self.told_by_memory(kind).await >= before + more);
    }
}
