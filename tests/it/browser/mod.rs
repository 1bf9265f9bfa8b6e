//! Promise: the pages for people work in a real browser, against a real `firstcome dev`.

mod console;
mod shop;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use firstcome::dev::{ports, reaper};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::Url;

use super::commands::Dev;
use super::test_servers::fresh_folder;

/// How long a page may take to show what it must.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's names; a Google Chrome with its driver would do too.
const DRIVER: &str = "chromedriver";

/// A browser without a window, on a page of a `firstcome dev` of its own.
pub struct Visit {
    dev: Dev,
    pub http: String,
    driver: Child,
    pub page: Client,
}

impl Visit {
    /// Starts both; `language` is what the browser says that its user reads.
    pub async fn start(language: &str) -> Self {
        let mut dev = Dev::start(&fresh_folder());
        let http = dev.endpoints().await["http"].as_str().unwrap().to_owned();
        let port = ports::free().unwrap();
        let mut command = Command::new(DRIVER);
        command
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null());
        let driver = command.spawn().expect("chromedriver is there: `make setup` installs it");
        if let Some(reaper) = reaper::installed() {
            reaper.watch(driver.id()).unwrap();
        }
        let profile = fresh_folder();
        let capabilities = json!({
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1400",
                format!("--lang={language}"), format!("--user-data-dir={}", profile.display()),
            ], "prefs": {"intl.accept_languages": language}},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let deadline = Instant::now() + PATIENCE;
        let page = loop {
            match builder.connect(&format!("http://127.0.0.1:{port}")).await {
                Ok(page) => break page,
                Err(error) => assert!(Instant::now() < deadline, "no browser: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        Self { dev, http, driver, page }
    }

    pub async fn open(&self, path: &str) {
        self.page.goto(&format!("{}{path}", self.http)).await.unwrap();
    }

    /// Waits until a script's expression is true, and returns its value.
    pub async fn until(&self, expression: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let script = format!("return ({expression});");
        loop {
            let value = self
                .page
                .execute(&script, Vec::new())
                .await
                .unwrap_or_else(|error| panic!("{expression}: {error}"));
            let is_true = !matches!(&value, Value::Null | Value::Bool(false))
                && value != json!(0)
                && value != json!("");
            if is_true {
                return value;
            }
            if Instant::now() > deadline {
                self.photograph("failed").await;
                let text = self.page.execute("return document.body.innerText", Vec::new()).await.unwrap();
                panic!("never true: {expression}; the page says: {}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks as soon as that is possible: what is told of the last click may lie above it for a moment.
    pub async fn click(&self, css: &str) {
        self.until(&format!("document.querySelector({css:?}) && !document.querySelector({css:?}).disabled"))
            .await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let script = format!("document.querySelector({css:?})?.scrollIntoView({{block: 'center'}})");
            self.page.execute(&script, Vec::new()).await.unwrap();
            let clicked = async { self.page.find(Locator::Css(css)).await?.click().await };
            match clicked.await {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "{css}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.page.find(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// What the engine itself says.
    pub async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.http));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ask(reqwest::Method::GET, path, None).await
    }

    /// Keeps what is seen, as output of the test: `target/tmp/screenshots/<name>.png`.
    pub async fn photograph(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), self.page.screenshot().await.unwrap()).unwrap();
    }

    /// Ends the visit. The browser's own log must have no error but those that answers of 400 and above leave there.
    pub async fn end(self) {
        let log = self.page.issue_cmd(BrowserLog).await.unwrap();
        for line in log.as_array().unwrap() {
            let is_answer = line["source"] == "network";
            assert!(line["level"] != "SEVERE" || is_answer, "{line}");
        }
        let Self { dev, mut driver, page, .. } = self;
        page.close().await.unwrap();
        let _ = driver.kill();
        let _ = driver.wait();
        drop(dev);
    }
}

/// Chromium's own command for what a page wrote to its console, errors of scripts and policies among it.
#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}
