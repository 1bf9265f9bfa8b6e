//! Promise: a real Prometheus understands what the engine tells: every panel of the dashboard has something to show, every
//! alert fires when its fault is there, and is silent before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use firstcome::config::{Secret, Settings};
use firstcome::dev::{
    MysqlOptions, PrivateMysql, PrivateRabbitmq, PrivateRedis, RabbitmqOptions, ports, reaper,
};
use firstcome::mysql;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use url::Url;

use super::cell_dump::connect;
use super::commands::{firstcome, text};
use super::engine_process::EngineProcess;
use super::operations_files::texts_under;
use super::test_app::{eventually, fresh_settings};
use super::test_servers;

const ALERTS: &str = include_str!("../../ops/alerts.yml");
const DASHBOARD: &str = include_str!("../../ops/grafana/dashboards/firstcome.json");

/// What `promtool test rules` runs, in operations_files.rs.
const TESTS: [&str; 2] =
    [include_str!("../../ops/alerts.test.yml"), include_str!("../../ops/alerts-of-days.test.yml")];

/// Alerts whose fault a test of this file makes on a real engine.
const MADE_HERE: [&str; 16] = [
    "FirstcomeAuditDifferences",
    "FirstcomeBacklogFull",
    "FirstcomeBacklogGrowing",
    "FirstcomeBacklogHalfFull",
    "FirstcomeDeadEvents",
    "FirstcomeDown",
    "FirstcomeGateClosed",
    "FirstcomeLostEvents",
    "FirstcomeMessagesRefused",
    "FirstcomeOutboxGrowing",
    "FirstcomePersistFailing",
    "FirstcomePersistLag",
    "FirstcomePublishFailing",
    "FirstcomeRequestsShed",
    "FirstcomeSoldOutShare",
    "FirstcomeWeakSettings",
];

/// Alerts whose fault takes a day, or a memory bound that the private servers do not have.
const PROMTOOL_ONLY: [&str; 2] = ["FirstcomeAuditOld", "FirstcomeRedisMemory"];

/// The shared servers write to the disk every second, not at every commit: a weakness that the engine tells truly.
const SET_UP: &str = "FirstcomeWeakSettings";

/// What is told of events that wait for MySQL.
const WAITS: [&str; 3] = ["FirstcomeBacklogGrowing", "FirstcomeBacklogHalfFull", "FirstcomePersistLag"];

/// How long Prometheus may take to see something. Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(120);

/// Goal: no alert is untested, be it new.
#[test]
fn every_alert_has_been_seen_firing() {
    let alerts = alerts();
    let known: BTreeSet<String> = MADE_HERE.iter().chain(&PROMTOOL_ONLY).map(|it| it.to_string()).collect();
    assert_eq!(alerts, known, "each alert's fault is made here, or is a matter of promtool alone");
    for alert in &alerts {
        let expected = format!("alertname=\"{alert}\"");
        assert!(TESTS.iter().any(|it| it.contains(&expected)), "no test of promtool expects {alert}");
    }
}

/// Goal: where people buy, pay, claim and are refused, no panel is empty, and nobody is woken.
#[tokio::test]
async fn the_dashboard_shows_a_shop_that_sells() {
    let shop = Shop::start(|_| ()).await;
    shop.stocked().await;
    let prometheus = Prometheus::watch(&shop).await;
    let mut empty = panels();
    assert!(empty.len() >= 45, "{}", empty.len());
    // Marks a recovery: there was none yet.
    let recovery = empty.iter().position(|it| it.contains("delta(firstcome_epoch")).expect("the mark");
    let recovery = empty.remove(recovery);
    let deadline = Instant::now() + PATIENCE;
    while !empty.is_empty() {
        shop.live().await;
        let mut still = Vec::new();
        for expression in empty {
            if !prometheus.shows(&expression).await {
                still.push(expression);
            }
        }
        empty = still;
        assert!(Instant::now() < deadline, "these panels stay empty: {empty:#?}");
    }
    for (metric, label) in variables() {
        assert!(!prometheus.values_of(&metric, &label).await.is_empty(), "{metric} has no {label}");
    }
    prometheus.evaluated_again().await;
    prometheus.assert_rules_evaluate().await;
    prometheus.assert_fired_so_far(&[SET_UP]).await;
    assert!(!prometheus.shows(&recovery).await, "no recovery is marked");
    shop.command(&["cell", "close", "0"]);
    shop.command(&["cell", "open", "0"]);
    eventually!(prometheus.shows(&recovery).await);
}

/// Faults that leave the servers as they are. Goal: each alert tells its own, and none tells another's.
#[tokio::test]
async fn what_goes_wrong_in_the_engine_is_told() {
    let mut shop = Shop::start(|it| it.push(("FIRSTCOME_MAX_IN_FLIGHT", "1".to_owned()))).await;
    shop.with_one_order().await;
    let prometheus = Prometheus::watch(&shop).await;
    let mut fired = vec![SET_UP];
    prometheus.evaluated_again().await;
    prometheus.fires(&fired, async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;

    let shed = async || {
        futures::future::join_all((0..16).map(|_| shop.send(Method::GET, "/products", Value::Null))).await;
    };
    fired.push("FirstcomeRequestsShed");
    prometheus.fires(&["FirstcomeRequestsShed"], shed).await;
    prometheus.assert_fired_so_far(&fired).await;

    shop.product(2, 0).await;
    let sold_out = async || {
        for _ in 0..100 {
            assert_eq!(shop.order(2).await.0, 400);
        }
    };
    fired.push("FirstcomeSoldOutShare");
    prometheus.fires(&["FirstcomeSoldOutShare"], sold_out).await;
    prometheus.assert_fired_so_far(&fired).await;

    let mut redis = connect(&shop.redis.url()).await;
    let garbage = ["{c0}:events", "1-*", "nonsense:7", "x"];
    let _: String = redis::cmd("XADD").arg(&garbage).query_async(&mut redis).await.unwrap();
    fired.push("FirstcomeDeadEvents");
    prometheus.fires(&["FirstcomeDeadEvents"], async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;

    sqlx::query("UPDATE wallets SET balance = balance + 7").execute(&shop.mysql).await.unwrap();
    assert_eq!(shop.run(&["audit"]).status.code(), Some(1));
    fired.push("FirstcomeAuditDifferences");
    prometheus.fires(&["FirstcomeAuditDifferences"], async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;

    shop.command(&["cell", "close", "0"]);
    fired.push("FirstcomeGateClosed");
    prometheus.fires(&["FirstcomeGateClosed"], async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;

    shop.engine.kill();
    fired.push("FirstcomeDown");
    prometheus.fires(&["FirstcomeDown"], async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;
}

/// Somebody's transaction holds the row that every commit needs, until the backlog is full; then Redis loses what MySQL
/// could not take. Goal: both are told.
#[tokio::test]
async fn a_full_backlog_and_a_loss_are_told() {
    let shop = Shop::start(|it| it.extend(small_backlog())).await;
    shop.with_one_order().await;
    let prometheus = Prometheus::watch(&shop).await;
    prometheus.evaluated_again().await;
    prometheus.assert_fired_so_far(&[SET_UP]).await;

    let mut holder = shop.mysql.begin().await.unwrap();
    // However slow the machine is, it holds on.
    sqlx::query("SET SESSION wait_timeout = 3600").execute(&mut *holder).await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    prometheus.fires(&["FirstcomeBacklogFull"], async || drop(shop.order(1).await)).await;
    let mut fired = [&[SET_UP, "FirstcomeBacklogFull"][..], &WAITS].concat();
    prometheus.assert_fired_so_far(&fired).await;

    let mut redis = connect(&shop.redis.url()).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.unwrap();
    holder.rollback().await.unwrap();
    prometheus.fires(&["FirstcomeLostEvents"], async || ()).await;
    // The gate is shut until the cell is recovered, and the batch that hung fails.
    fired.extend(["FirstcomeLostEvents", "FirstcomeGateClosed", "FirstcomePersistFailing"]);
    prometheus.assert_fired_so_far(&fired).await;
}

/// Goal: while somebody's transaction holds the row that every commit needs, one sees how much waits.
#[tokio::test]
async fn what_waits_for_a_mysql_that_hangs_is_told() {
    let shop = Shop::start(|it| it.extend(small_backlog())).await;
    shop.with_one_order().await;
    let prometheus = Prometheus::watch(&shop).await;
    let mut holder = shop.mysql.begin().await.unwrap();
    // However slow the machine is, it holds on.
    sqlx::query("SET SESSION wait_timeout = 3600").execute(&mut *holder).await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await.unwrap();
    shop.orders(60).await;
    prometheus.fires(&WAITS, async || ()).await;
    prometheus.assert_fired_so_far(&[&WAITS[..], &[SET_UP]].concat()).await;
    holder.rollback().await.unwrap();
    prometheus.is_silent_again(&["FirstcomeBacklogHalfFull", "FirstcomePersistLag"]).await;
}

/// Goal: a MySQL that is gone is told for what it is, and how much waits for it.
#[tokio::test]
async fn a_mysql_that_is_gone_is_told() {
    let (folder, port) = (test_servers::fresh_folder(), ports::free().unwrap());
    let binaries = test_servers::binaries();
    let mut mysql = PrivateMysql::start(&binaries, &folder, port, MysqlOptions::default()).await.unwrap();
    let url = Secret::new(format!("{}firstcome", mysql.url()));
    let shop = Shop::start_on(|it| it.mysql_url = url, |it| it.extend(small_backlog())).await;
    shop.with_one_order().await;
    let prometheus = Prometheus::watch(&shop).await;
    prometheus.evaluated_again().await;
    prometheus.assert_fired_so_far(&[SET_UP]).await;

    mysql.kill().await;
    shop.orders(60).await;
    // The publisher reads the outbox there.
    let gone = ["FirstcomePersistFailing", "FirstcomePublishFailing"];
    let fired = [&gone[..], &WAITS, &[SET_UP]].concat();
    prometheus.fires(&gone, async || ()).await;
    prometheus.fires(&WAITS, async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;
    mysql.restart().await.unwrap();
    prometheus.is_silent_again(&["FirstcomeBacklogHalfFull", "FirstcomePersistLag"]).await;
}

/// Goal: a RabbitMQ that has nowhere to put messages, and one that is gone, are told apart; so are messages that wait.
#[tokio::test]
async fn a_rabbitmq_that_takes_nothing_is_told() {
    let (folder, port) = (test_servers::fresh_folder(), ports::free().unwrap());
    let binaries = test_servers::binaries();
    let mut rabbitmq =
        PrivateRabbitmq::start(&binaries, &folder, port, RabbitmqOptions::default()).await.unwrap();
    let url = Secret::new(rabbitmq.url());
    let shop = Shop::start_on(|it| it.amqp_url = url, |_| ()).await;
    shop.with_one_order().await;
    eventually!(shop.count("SELECT COUNT(*) FROM outbox").await == 0);
    let prometheus = Prometheus::watch(&shop).await;
    prometheus.evaluated_again().await;
    let mut fired = vec![SET_UP];
    prometheus.assert_fired_so_far(&fired).await;

    let options = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(shop.settings.amqp_url.expose(), options).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange) = (shop.settings.amqp_queue.as_str(), shop.settings.amqp_exchange.as_str());
    // Again and again: a worker that was refused for a while connects anew, and binds the queue.
    let unroutable = async || {
        let unbound =
            channel.queue_unbind(queue.into(), exchange.into(), "order.*".into(), Default::default());
        unbound.await.unwrap();
        assert_eq!(shop.order(1).await.0, 201);
    };
    fired.push("FirstcomeMessagesRefused");
    prometheus.fires(&["FirstcomeMessagesRefused"], unroutable).await;
    prometheus.assert_fired_so_far(&[&fired[..], &["FirstcomeOutboxGrowing"]].concat()).await;

    rabbitmq.stop().await;
    assert_eq!(shop.order(1).await.0, 201);
    fired.extend(["FirstcomePublishFailing", "FirstcomeOutboxGrowing"]);
    prometheus.fires(&["FirstcomePublishFailing"], async || ()).await;
    prometheus.fires(&["FirstcomeOutboxGrowing"], async || ()).await;
    prometheus.assert_fired_so_far(&fired).await;
    rabbitmq.restart().await.unwrap();
    prometheus.is_silent_again(&["FirstcomeOutboxGrowing"]).await;
}

/// A bound that a few orders reach.
fn small_backlog() -> [(&'static str, String); 2] {
    [("FIRSTCOME_KEEP_EVENTS", "10".to_owned()), ("FIRSTCOME_BACKLOG_BOUND", "100".to_owned())]
}

/// The names of all alerts.
fn alerts() -> BTreeSet<String> {
    let names = ALERTS.lines().filter_map(|it| it.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Every expression of the dashboard, as Grafana would send it.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    texts_under(&dashboard, &["expr"], &mut found);
    let filled = found.into_iter().map(|it| {
        let filled = it.replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$route", ".*");
        assert!(!filled.contains('$'), "a variable that this test does not know: {it}");
        filled
    });
    filled.collect()
}

/// What the dashboard's variables ask for: the values of a metric's label.
fn variables() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let all = dashboard["templating"]["list"].as_array().unwrap();
    let asked = all.iter().filter(|it| it["type"] == "query").map(|it| {
        let query = it["query"]["query"].as_str().unwrap();
        let inner = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
        let (metric, label) = inner.and_then(|it| it.split_once(", ")).expect("values of a label");
        (metric.to_owned(), label.to_owned())
    });
    let asked: Vec<_> = asked.collect();
    assert!(!asked.is_empty());
    asked
}

/// An engine as a process, so that its metrics are its own, on a Redis and a database of its own.
struct Shop {
    settings: Settings,
    redis: PrivateRedis,
    _folder: PathBuf,
    engine: EngineProcess,
    mysql: MySqlPool,
    client: reqwest::Client,
}

impl Shop {
    async fn start(change: impl FnOnce(&mut Vec<(&'static str, String)>)) -> Self {
        Self::start_on(|_| (), change).await
    }

    /// On servers that differ from the shared ones, and with further variables.
    async fn start_on(
        servers: impl FnOnce(&mut Settings),
        change: impl FnOnce(&mut Vec<(&'static str, String)>),
    ) -> Self {
        let (redis, folder) = test_servers::redis().await;
        let mut settings = fresh_settings(redis.url()).await;
        servers(&mut settings);
        settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();
        mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
        let mut variables = vec![
            ("FIRSTCOME_RATE_LIMIT_USER_PER_SECOND", "0".to_owned()),
            ("FIRSTCOME_PUBLISH_TIMEOUT_MS", "3000".to_owned()),
            // A slow machine fails no test.
            ("FIRSTCOME_REDIS_REPLY_TIMEOUT_MS", "20000".to_owned()),
        ];
        change(&mut variables);
        let engine = EngineProcess::start_with(&settings, "all", |command| {
            command.envs(variables);
        });
        let mysql = mysql::connect(&settings.mysql_url, &settings.tls_ca_file, 2).await.unwrap();
        let client = reqwest::Client::new();
        let shop = Self { settings, redis, _folder: folder, engine, mysql, client };
        let ready = async || {
            let probe = shop.client.get(format!("http://{}/readyz", shop.settings.listen)).send().await;
            probe.is_ok_and(|it| it.status().is_success())
        };
        eventually!(ready().await);
        shop
    }

    /// Sends a request; its status and body.
    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = self.client.request(method, format!("http://{}{path}", self.settings.listen));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.timeout(PATIENCE).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// The same, and it must succeed.
    async fn does(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn product(&self, product: u64, stock: i64) {
        let body = json!({"name": format!("Product {product}"), "price": 1, "stock": stock});
        self.does(Method::PUT, &format!("/admin/products/{product}"), body).await;
    }

    async fn campaign(&self, coupon: u64, quantity: u64) {
        let body = json!({
            "name": format!("Campaign {coupon}"), "discount": {"kind": "fixed", "value": 1}, "quantity": quantity,
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
        });
        self.does(Method::PUT, &format!("/admin/coupons/{coupon}"), body).await;
    }

    /// A user with money.
    async fn user(&self, user: u64) {
        self.does(Method::POST, "/balance/charge", json!({"userId": user, "amount": 100_000})).await;
    }

    /// User 1 orders one unit.
    async fn order(&self, product: u64) -> (u16, Value) {
        let order = json!({"userId": 1, "items": [{"productId": product, "quantity": 1}]});
        self.send(Method::POST, "/orders", order).await
    }

    /// What [`Self::live`] needs.
    async fn stocked(&self) {
        self.product(1, 100_000).await;
        self.product(2, 0).await;
        self.campaign(1, 100_000).await;
        self.campaign(2, 1).await;
    }

    /// One of each that people do, and are refused.
    async fn live(&self) {
        self.user(1).await;
        self.does(Method::POST, "/users/1/balance", json!({"amount": 1})).await;
        assert_eq!(self.order(1).await.0, 201);
        assert_eq!(self.order(2).await.0, 400, "nothing is left");
        assert_eq!(self.order(99).await.0, 404);
        let pending = async || -> u64 {
            let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}], "payment": "later"});
            self.does(Method::POST, "/orders", order).await["orderId"].as_u64().expect("an id")
        };
        self.does(Method::POST, "/payments", json!({"orderId": pending().await})).await;
        self.does(Method::POST, &format!("/orders/{}/cancel", pending().await), Value::Null).await;
        for coupon in [1, 2] {
            // The first round issues; each later one is refused.
            let (status, _) =
                self.send(Method::POST, "/coupons", json!({"couponId": coupon, "userId": 1})).await;
            assert!([201, 409].contains(&status), "{status}");
        }
        self.send(Method::POST, "/coupons/2/issue", json!({"userId": 2})).await;
        self.does(Method::POST, "/admin/audit", Value::Null).await;
        self.does(Method::GET, "/products", Value::Null).await;
    }

    /// Places this many orders.
    async fn orders(&self, orders: usize) {
        for _ in 0..orders {
            assert_eq!(self.order(1).await.0, 201);
        }
    }

    /// A product, a user, and an order that MySQL has.
    async fn with_one_order(&self) {
        self.product(1, 100_000).await;
        self.user(1).await;
        self.orders(1).await;
        eventually!(self.count("SELECT COUNT(*) FROM orders").await == 1);
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.mysql).await.unwrap()
    }

    /// A command of the engine's, as an operator runs it.
    fn run(&self, arguments: &[&str]) -> Output {
        firstcome()
            .args(arguments)
            .env("FIRSTCOME_CELLS", self.settings.cells.to_string())
            .env("FIRSTCOME_REDIS_URL", self.settings.redis_url.expose())
            .env("FIRSTCOME_MYSQL_URL", self.settings.mysql_url.expose())
            .env("FIRSTCOME_AMQP_URL", self.settings.amqp_url.expose())
            .output()
            .unwrap()
    }

    /// The same, and it must succeed.
    fn command(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }
}

/// A Prometheus that looks at one engine, and at the rules, every second.
struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
}

impl Prometheus {
    async fn watch(shop: &Shop) -> Self {
        let (folder, port) = (test_servers::fresh_folder(), ports::free().unwrap());
        // No alert waits: whether it waits as long as it says is a matter of promtool. All ranges stay as they are.
        let hurried: Vec<String> = ALERTS
            .lines()
            .map(|line| match line.split_once("for: ") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 0s"),
                Some(_) | None => line.to_owned(),
            })
            .collect();
        fs::write(folder.join("alerts.yml"), hurried.join("\n")).unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{
                "job_name": "firstcome",
                "static_configs": [{"targets": [shop.settings.listen.to_string()]}],
            }],
        });
        // JSON is YAML.
        fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is there: `ops/setup.sh test` installs it");
        if let Some(reaper) = reaper::installed() {
            reaper.watch(process.id()).unwrap();
        }
        let prometheus =
            Self { process, url: format!("http://127.0.0.1:{port}"), client: reqwest::Client::new() };
        let ready = async || {
            let probe = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await;
            probe.is_ok_and(|it| it.status().is_success())
        };
        eventually!(ready().await);
        // What is scraped from here on is the engine's.
        eventually!(prometheus.shows("up == 1").await);
        prometheus
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), parameters).unwrap();
        let answer = self.client.get(url).timeout(PATIENCE).send().await.expect("Prometheus answers");
        let mut answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].take()
    }

    /// The samples of an expression at this moment.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask("query", &[("query", expression)]).await;
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// Whether an expression has a sample that is a number.
    async fn shows(&self, expression: &str) -> bool {
        let samples = self.query(expression).await;
        samples
            .iter()
            .any(|it| it["value"][1].as_str().and_then(|it| it.parse().ok()).is_some_and(f64::is_finite))
    }

    async fn values_of(&self, metric: &str, label: &str) -> Vec<Value> {
        let data = self.ask(&format!("label/{label}/values"), &[("match[]", metric)]).await;
        data.as_array().expect("a list").clone()
    }

    /// The rules as Prometheus sees them now.
    async fn rules(&self) -> Vec<Value> {
        let data = self.ask("rules", &[]).await;
        let groups = data["groups"].as_array().expect("groups");
        groups.iter().flat_map(|it| it["rules"].as_array().expect("rules")).cloned().collect()
    }

    /// The state of each alert: `inactive`, `pending` or `firing`.
    async fn states(&self) -> BTreeMap<String, String> {
        let rules = self.rules().await;
        let alerts = rules.iter().filter(|it| it["type"] == "alerting");
        alerts.map(|it| (field(it, "name"), field(it, "state"))).collect()
    }

    /// Goal: no expression fails, of a rule or of an alert.
    async fn assert_rules_evaluate(&self) {
        let rules = self.rules().await;
        assert_eq!(rules.iter().filter(|it| it["type"] == "alerting").count(), alerts().len());
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }

    /// Waits until every rule has been evaluated on what was scraped after this call.
    async fn evaluated_again(&self) {
        let scraped = async || {
            let samples = self.query("timestamp(up)").await;
            samples.first().and_then(|it| it["value"][1].as_str()?.parse().ok()).unwrap_or(0.0)
        };
        let before: f64 = scraped().await;
        eventually!(scraped().await.total_cmp(&(before + 1.5)).is_gt());
        let last = async || {
            let rules = self.rules().await;
            rules.iter().map(|it| field(it, "lastEvaluation")).min().expect("rules")
        };
        // Two of them in a row: the first may have begun before that scrape.
        for _ in 0..2 {
            let before = last().await;
            eventually!(last().await != before);
        }
    }

    /// Waits until these alerts have fired, and does something meanwhile.
    async fn fires(&self, names: &[&str], mut meanwhile: impl AsyncFnMut()) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            meanwhile().await;
            let fired = self.fired().await;
            let silent: Vec<_> = names.iter().filter(|it| !fired.contains(**it)).collect();
            if silent.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                let gauges =
                    "{__name__=~\"firstcome_.*(_events|_messages|_lag_seconds|_open|_failures_total)\"}";
                panic!("silent: {silent:?}; {:#?}", self.query(gauges).await);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until none of these fires.
    async fn is_silent_again(&self, names: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let states = self.states().await;
            if names.iter().all(|it| states[*it] == "inactive") {
                return;
            }
            assert!(Instant::now() < deadline, "{names:?} of {states:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The alerts that have fired, at whatever moment since the start.
    async fn fired(&self) -> BTreeSet<String> {
        let fired =
            self.query("count by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[1h]))").await;
        fired.iter().map(|it| field(&it["metric"], "alertname")).collect()
    }

    /// Fails when any other alert has fired.
    async fn assert_fired_so_far(&self, expected: &[&str]) {
        let fired = self.fired().await;
        let others: Vec<_> = fired.iter().filter(|it| !expected.contains(&it.as_str())).collect();
        assert!(others.is_empty(), "{others:?} fired too");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
