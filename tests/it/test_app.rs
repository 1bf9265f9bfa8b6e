//! An engine of its own for each test: API and worker in this process, its own Redis, database and exchange.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use firstcome::app::{Connections, Engine, Role};
use firstcome::audit;
use firstcome::cell::CellId;
use firstcome::config::{Secret, Settings};
use firstcome::ids::UserId;
use firstcome::worker::{Forgotten, drain_events, drain_outbox, expire, forget};
use firstcome::{mysql, telemetry};
use lapin::options::BasicGetOptions;
use metrics_exporter_prometheus::PrometheusHandle;
use redis::aio::MultiplexedConnection;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::test_clock::TestClock;
use super::test_redis::{self, TestRedis};
use super::test_servers;

/// Waits for a condition that a recovery brings about.
macro_rules! eventually {
    ($condition:expr) => {{
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !$condition {
            assert!(std::time::Instant::now() < deadline, "never came true: {}", stringify!($condition));
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }};
}
pub(crate) use eventually;

/// The only cell of an engine that was started with one.
pub const CELL: CellId = CellId(0);

/// How long a drain may take before the test fails. Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestApp {
    pub settings: Settings,
    pub redis: TestRedis,
    /// Where this test's own Redis keeps its data.
    pub folder: PathBuf,
    engine: Option<Engine>,
    client: reqwest::Client,
    finished: bool,
}

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    pub headers: HeaderMap,
}

impl Answer {
    /// The `code` of a problem; empty for a success.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.to_str().unwrap())
    }

    /// The entries of a list.
    pub fn entries(&self) -> &[Value] {
        self.body.as_array().unwrap_or_else(|| panic!("no list: {self:?}"))
    }

    /// Where the next page of a list is.
    pub fn next(&self) -> Option<String> {
        let link = self.header("link")?;
        let path = link.strip_prefix('<').and_then(|it| it.strip_suffix(">; rel=\"next\""));
        Some(path.unwrap_or_else(|| panic!("no link to a next page: {link}")).to_owned())
    }
}

/// Settings of a fresh engine on the shared servers: its own database and exchange.
pub async fn fresh_settings(redis_url: String) -> Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let servers = test_servers::shared().await;
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        redis_url: Secret::new(redis_url),
        mysql_url: Secret::new(format!("{}fc_{number}", servers.mysql_url)),
        amqp_url: Secret::new(servers.amqp_url.clone()),
        amqp_exchange: format!("fc.{number}"),
        amqp_queue: format!("fc.{number}.data-platform"),
        mysql_connections: 8,
        cells: test_redis::cells(),
        // A slow machine fails no test.
        redis_reply_timeout_ms: 20_000,
        ..Settings::default()
    }
}

/// The cell of a user, and the home of the product and of the campaign with the same number.
pub fn cell_of(settings: &Settings, user: u64) -> CellId {
    settings.cells().of_user(UserId::new(user).unwrap())
}

/// A key of that cell.
pub fn key_of(settings: &Settings, user: u64, rest: &str) -> String {
    format!("{{c{}}}:{rest}", cell_of(settings, user))
}

/// The one recorder of this process; logs too, where `RUST_LOG` asks for them.
pub fn prometheus() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        if std::env::var_os("RUST_LOG").is_some() {
            telemetry::install_logs(telemetry::LogFormat::Text);
        }
        telemetry::install_metrics().unwrap()
    };
    HANDLE.get_or_init(install).clone()
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts an engine whose settings differ from the defaults.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        if test_redis::is_on_cluster() {
            let cluster = TestRedis::lent_cluster().await;
            return Self::start_on(cluster, test_servers::fresh_folder(), change).await;
        }
        Self::start_with_own_redis(change).await
    }

    /// Starts an engine of one cell, for a test of what is inside of a cell, whatever the run's other engines have.
    pub async fn start_with_one_cell(change: impl FnOnce(&mut Settings)) -> Self {
        let change = |settings: &mut Settings| {
            settings.cells = 1;
            change(settings);
        };
        Self::start_with(change).await
    }

    /// Starts an engine on a single Redis that the test kills, cuts off or configures, see [`TestRedis::own`].
    pub async fn start_with_own_redis(change: impl FnOnce(&mut Settings)) -> Self {
        let (redis, folder) = test_servers::redis().await;
        Self::start_on(redis, folder, change).await
    }

    /// Starts an engine on a single Redis whose clock the test can move.
    pub async fn start_with_clock(change: impl FnOnce(&mut Settings)) -> (Self, TestClock) {
        let (redis, folder, clock) = test_servers::redis_with_clock().await;
        (Self::start_on(redis, folder, change).await, clock)
    }

    /// Starts an engine on what the test has started.
    pub async fn start_on(
        redis: impl Into<TestRedis>,
        folder: PathBuf,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let redis = redis.into();
        let mut settings = fresh_settings(redis.url()).await;
        change(&mut settings);
        mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
        let client = reqwest::Client::builder().pool_max_idle_per_host(64).build().unwrap();
        let mut app = Self { settings, redis, folder, engine: None, client, finished: false };
        app.start_engine().await;
        app
    }

    /// Sends this token with every request from here on.
    pub fn present(&mut self, token: &str) {
        let token = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, token)]);
        self.client = reqwest::Client::builder().default_headers(headers).build().unwrap();
    }

    /// Starts an engine on the same servers and waits until it sells.
    pub async fn start_engine(&mut self) {
        self.start_engine_as(Role::All).await;
    }

    /// The same, with or without the worker's loops.
    pub async fn start_engine_as(&mut self, role: Role) {
        let engine = Engine::start(self.settings.clone(), role, false, prometheus()).await.unwrap();
        assert!(engine.wait_until_open(PATIENCE).await, "the cell opens");
        self.engine = Some(engine);
    }

    /// As [`Self::start_engine`], on another port: a process of the test has the first one.
    pub async fn start_engine_elsewhere(&mut self) {
        self.settings.listen.set_port(0);
        self.start_engine().await;
    }

    /// Stops the engine in good order; the servers stay.
    pub async fn stop_engine(&mut self) {
        self.engine.take().expect("the engine runs").stop().await;
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the engine runs")
    }

    pub fn connections(&self) -> &Connections {
        self.engine().connections()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.engine().address().unwrap())
    }

    pub async fn get(&self, path: &str) -> Answer {
        read(self.client.get(self.url(path))).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        read(self.client.post(self.url(path)).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        read(self.client.put(self.url(path)).json(&body)).await
    }

    /// A POST under an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Answer {
        read(self.client.post(self.url(path)).header("Idempotency-Key", key).json(&body)).await
    }

    /// Any request, its body as it is.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.client.request(method, self.url(path)).body(body);
        read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// A user with money.
    pub async fn user_with(&self, user: u64, balance: i64) {
        assert_eq!(self.put(&format!("/users/{user}"), json!({})).await.status, StatusCode::CREATED);
        if balance > 0 {
            let answer = self.post(&format!("/users/{user}/balance"), json!({ "amount": balance })).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        }
    }

    /// A product without options.
    pub async fn product_with(&self, product: u64, price: i64, stock: i64) {
        let body = json!({ "name": format!("Product {product}"), "price": price, "stock": stock });
        let answer = self.put(&format!("/admin/products/{product}"), body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    /// A campaign of fixed discounts that runs now; `changes` replace fields.
    pub async fn campaign(&self, coupon: u64, quantity: i64, changes: Value) {
        let mut body = json!({
            "name": format!("Campaign {coupon}"), "discount": {"kind": "fixed", "value": 10}, "quantity": quantity,
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
        });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = self.put(&format!("/admin/coupons/{coupon}"), body).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// The cell of a user, and the home of the product and of the campaign with the same number.
    pub fn cell_of(&self, user: u64) -> CellId {
        cell_of(&self.settings, user)
    }

    /// A key of that cell.
    pub fn key_of(&self, user: u64, rest: &str) -> String {
        key_of(&self.settings, user, rest)
    }

    /// A connection to the server that has that cell.
    pub async fn redis_of(&self, user: u64) -> MultiplexedConnection {
        self.redis.connect(self.cell_of(user)).await
    }

    /// Has all cells forget what nobody needs any more.
    pub async fn forget(&self) -> Forgotten {
        let mut all = Forgotten::default();
        for cell in self.settings.cells().all() {
            let gone = forget(&self.connections().worker(), cell).await.unwrap();
            all.products += gone.products;
            all.coupons += gone.coupons;
            all.records += gone.records;
        }
        all
    }

    /// Ends the orders of all cells whose time is over.
    pub async fn expire(&self) -> usize {
        let mut ended = 0;
        for cell in self.settings.cells().all() {
            ended += expire(&self.connections().worker(), cell).await.unwrap();
        }
        ended
    }

    pub async fn balance(&self, user: u64) -> i64 {
        self.get(&format!("/users/{user}/balance")).await.body["balance"].as_i64().expect("a balance")
    }

    pub async fn stock(&self, product: u64) -> i64 {
        self.get(&format!("/products/{product}")).await.body["stock"].as_i64().expect("a stock")
    }

    /// Waits until MySQL has every event.
    pub async fn drain_events(&self) {
        for cell in self.settings.cells().all() {
            drain_events(&self.connections().worker(), cell, PATIENCE).await.unwrap();
        }
    }

    /// Waits until MySQL has every event and RabbitMQ every message.
    pub async fn drain(&self) {
        self.drain_events().await;
        for cell in self.settings.cells().all() {
            drain_outbox(&self.connections().worker(), cell, PATIENCE).await.unwrap();
        }
    }

    /// One number out of MySQL.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.connections().mysql).await.unwrap()
    }

    /// One number of a user's cell out of MySQL; the statement's only parameter is the cell.
    pub async fn count_of(&self, user: u64, sql: &'static str) -> i64 {
        let query = sqlx::query_scalar(sql).bind(self.cell_of(user).0);
        query.fetch_one(&self.connections().mysql).await.unwrap()
    }

    /// Waits until MySQL has every event, and what was described, deleted or forgotten in its home is so in all cells.
    pub async fn wait_for_copies(&self) {
        self.drain_events().await;
        eventually!(self.redis.keys("{c*}:uncopied").await.is_empty());
        self.drain_events().await;
    }

    /// Waits until all cells answer, after something that shut them.
    pub async fn wait_until_all_sell(&self) {
        for cell in self.settings.cells().all() {
            let user = (1..).find(|it| self.cell_of(*it) == cell).unwrap();
            let path = format!("/users/{user}/balance");
            eventually!(!self.get(&path).await.status.is_server_error());
        }
    }

    /// Takes all messages out of the data platform's queue, oldest first.
    pub async fn take_messages(&self) -> Vec<Value> {
        take_messages(&self.settings).await
    }

    /// Drains everything and asks the audit; fails on any difference.
    pub async fn assert_clean(&self) {
        self.drain().await;
        let Connections { scripts, mysql, .. } = self.connections();
        let report = audit::audit(scripts, mysql, &audit::Silent).await.unwrap();
        assert!(report.clean(), "{report:#?}");
    }

    /// Ends a test: everything is recorded, nothing is dead, Redis, MySQL and the queue agree.
    pub async fn finish(mut self) {
        self.assert_clean().await;
        assert_eq!(self.count("SELECT COUNT(*) FROM dead_events").await, 0);
        self.stop_engine().await;
        self.finished = true;
    }

    /// Ends a test that leaves something broken on purpose.
    pub async fn abandon(mut self) {
        self.stop_engine().await;
        self.finished = true;
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "the test must end with finish() or abandon()");
    }
}

/// Sends a request, and reads its answer to the end.
pub async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.timeout(PATIENCE).send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let is_stream = headers.get("content-type").is_some_and(|it| it == "text/event-stream");
    let text = if is_stream { first_event(response).await } else { response.text().await.expect("a body") };
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    Answer { status, body, headers }
}

/// A stream has no end; its first event is its answer.
async fn first_event(mut response: reqwest::Response) -> String {
    let mut text = String::new();
    while !text.contains("\n\n") {
        let chunk = response.chunk().await.expect("a body").expect("an event");
        text += std::str::from_utf8(&chunk).expect("text");
    }
    text
}

/// Takes all messages out of a queue, oldest first.
pub async fn take_messages(settings: &Settings) -> Vec<Value> {
    let connection =
        lapin::Connection::connect(settings.amqp_url.expose(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut messages = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(settings.amqp_queue.as_str().into(), options).await.unwrap() {
        let body: Value = serde_json::from_slice(&message.delivery.data).unwrap();
        let id = message.delivery.properties.message_id().as_ref().map(|it| it.to_string());
        assert_eq!(id.as_deref(), body["id"].as_str(), "the AMQP message id is the event's id");
        messages.push(body);
    }
    connection.close(200, "done".into()).await.unwrap();
    messages
}
