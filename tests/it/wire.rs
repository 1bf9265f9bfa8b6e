//! HTTP as bytes on a socket: for requests that no HTTP client would send.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::test_app::{Answer, TestApp};

/// How long an answer may take before the test fails. Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection to an engine.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub async fn connect(app: &TestApp) -> Self {
        let address = app.engine().address().unwrap();
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Writes bytes as they are. `false`: the engine has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).await.is_ok()
    }

    /// Says that nothing more will come, and goes on listening.
    pub async fn end_writing(&mut self) {
        let _ = self.0.get_mut().shutdown().await;
    }

    /// Goes away at once: the engine meets a reset connection.
    pub fn reset(self) {
        let _ = self.0.into_inner().set_zero_linger();
    }

    /// The next answer; `None` where the engine has closed the connection instead.
    pub async fn answer(&mut self) -> Option<Answer> {
        let answer = async {
            let mut answer = self.head().await?;
            let length = answer.header("content-length").map_or(0, |it| it.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.expect("the whole body");
            if !body.is_empty() {
                let text = String::from_utf8(body).expect("answers are UTF-8");
                answer.body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            }
            Some(answer)
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer, or the end of the connection")
    }

    /// The next answer without its body: all there is to a `HEAD`, and to `100 Continue`.
    pub async fn head(&mut self) -> Option<Answer> {
        let first = self.line().await?;
        let mut words = first.split(' ');
        assert_eq!(words.next(), Some("HTTP/1.1"), "{first:?}");
        let status: StatusCode = words.next().unwrap().parse().expect("a status");
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await.expect("whole headers");
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let is_stream = headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        assert!(is_stream || !headers.contains_key("transfer-encoding"), "answers have a length");
        Some(Answer { status, body: Value::Null, headers })
    }

    /// Reads until the engine closes the connection; whatever still comes is thrown away.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        // An end and a reset are both a closed connection.
        assert!(end.is_ok(), "the connection stays open");
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8(line).expect("ASCII").trim_end().to_owned()),
        }
    }
}

/// A request's bytes: the head as given, `Host`, and the body's length.
pub fn request(line: &str, headers: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    let mut bytes = head(line, headers);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(length.as_bytes());
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A request's head, with `Host` and without a word about its body.
pub fn head(line: &str, headers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: shop.example\r\n").into_bytes();
    for header in headers {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Sends one request over a connection of its own.
pub async fn ask(app: &TestApp, bytes: &[u8]) -> Answer {
    let mut wire = Wire::connect(app).await;
    wire.write(bytes).await;
    wire.answer().await.expect("an answer")
}

/// Fails unless an answer is a problem document with all that the contract promises.
pub fn assert_problem(answer: &Answer, story: &str) {
    let text = |member: &str| answer.body[member].as_str().unwrap_or_default();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{story}: {answer:?}");
    assert_eq!(answer.body["status"], answer.status.as_u16(), "{story}: {answer:?}");
    assert_eq!(text("type"), format!("/problems/{}", text("code")), "{story}: {answer:?}");
    for member in ["title", "detail", "code", "requestId"] {
        assert!(!text(member).is_empty(), "{story}: no {member} in {answer:?}");
    }
    assert_eq!(answer.header("x-request-id"), Some(text("requestId")), "{story}: {answer:?}");
}
