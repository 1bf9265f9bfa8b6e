//! Promise: a collector hears which request did what and how long each step took, nothing that is secret or that a user
//! wrote, and never costs a sale, be it away or hung.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode as Status};
use axum::routing::post;
use firstcome::config::Settings;
use firstcome::dev::{PrivateRedis, ports};
use firstcome::mysql;
use futures::StreamExt;
use futures::stream;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::cell_dump;
use super::engine_process::EngineProcess;
use super::test_app::{Answer, eventually, fresh_settings, key_of, read};
use super::test_servers;
use super::tokens::{AUDIENCE, ISSUER, claims, sign_with_secret};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Collector {
    /// Starts it; its URL.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let got = collector.got.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            got.lock().unwrap().push((headers, body));
            Status::OK
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, format!("http://{address}"))
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.got.lock().unwrap().iter().map(|it| it.1.clone()).collect()
    }

    /// All spans so far, and what each resource says of itself.
    fn told(&self) -> (Vec<Span>, Vec<BTreeMap<String, String>>) {
        let (mut spans, mut resources) = (Vec::new(), Vec::new());
        for body in self.bodies() {
            for batch in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
                resources.push(texts(&batch.resource.unwrap().attributes));
                spans.extend(batch.scope_spans.into_iter().flat_map(|it| it.spans));
            }
        }
        (spans, resources)
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        self.told().0.into_iter().filter(|it| it.name == name).collect()
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |it: &KeyValue| match it.value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        Some(AnyValue::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|it| (it.key.clone(), text(it))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// An engine process with its own Redis and database.
struct Shop {
    settings: Settings,
    engine: EngineProcess,
    redis: PrivateRedis,
    log: PathBuf,
    url: String,
    client: reqwest::Client,
}

impl Shop {
    /// Starts it, with these in its environment, and waits until it sells.
    async fn open(environment: &[(&str, &str)]) -> Self {
        let (redis, folder) = test_servers::redis().await;
        let mut settings: Settings = fresh_settings(redis.url()).await;
        settings.listen.set_port(ports::free().unwrap());
        mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
        let log = folder.join("engine.log");
        let said = File::create(&log).unwrap();
        let engine = EngineProcess::start_with(&settings, "all", |command: &mut Command| {
            command.args(["--log-format", "json"]).stderr(said).env("RUST_LOG", "info,firstcome=debug");
            command.env("FIRSTCOME_REDIS_REPLY_TIMEOUT_MS", "20000");
            command.env("FIRSTCOME_RATE_LIMIT_USER_PER_SECOND", "0").envs(environment.iter().copied());
        });
        let (url, client) = (format!("http://{}", settings.listen), reqwest::Client::new());
        let mut shop = Self { settings, engine, redis, log, url, client };
        eventually!({
            assert_eq!(shop.engine.ended(), None, "{}", shop.log());
            let answer = shop.client.get(format!("{}/readyz", shop.url)).send().await;
            answer.is_ok_and(|it| it.status() == 200)
        });
        shop
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lines of the log with this message.
    fn lines(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        lines.filter(|it| it["fields"]["message"] == message).collect()
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.url)).json(&body);
        read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    async fn fill(&self, headers: &[(&str, &str)], product_name: &str) {
        let product = json!({"name": product_name, "price": 5, "stock": 1_000_000});
        for (method, path, body) in [
            (Method::PUT, "/admin/products/1", product),
            (Method::PUT, "/users/424242", json!({})),
            (Method::POST, "/users/424242/balance", json!({"amount": 1_000_000})),
        ] {
            let answer = self.send(method, path, headers, body).await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    }

    async fn metric(&self, series: &str) -> u64 {
        let text =
            self.client.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|it| it.strip_prefix(series));
        value.unwrap_or_else(|| panic!("no {series}")).trim().parse().unwrap()
    }

    /// SIGTERM; how long the end took.
    async fn close(&mut self) -> Duration {
        let asked = Instant::now();
        assert!(self.engine.terminate().await, "{}", self.log());
        asked.elapsed()
    }
}

fn order() -> Value {
    json!({"userId": 424242, "items": [{"productId": 1, "quantity": 1}]})
}

/// Someone buys now, and someone pays later; one request is refused, one fails. Goal: spans tell of each request under the
/// caller's parent, of each script under its request, and of what the worker did with it; at SIGTERM the last ones leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_is_told_step_by_step() {
    let (collector, url) = Collector::start().await;
    // Of one cell, in which a purchase is one script, always.
    let environment = [
        ("FIRSTCOME_OTLP_ENDPOINT", url.as_str()),
        ("FIRSTCOME_OTLP_SAMPLE_RATIO", "1"),
        ("FIRSTCOME_CELLS", "1"),
    ];
    let mut shop = Shop::open(&environment).await;
    shop.fill(&[], "Mug").await;
    let traced: &[(&str, &str)] = &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))];
    let bought = shop.send(Method::POST, "/orders", traced, order()).await;
    assert_eq!(bought.status, 201, "{bought:?}");
    let mut later = order();
    later["payment"] = json!("later");
    let placed = shop.send(Method::POST, "/orders", &[], later).await;
    let pay = json!({"orderId": placed.body["orderId"]});
    let paid = shop.send(Method::POST, "/payments", &[], pay).await;
    assert!(paid.status.is_success(), "{placed:?} {paid:?}");
    assert_eq!(shop.send(Method::GET, "/products/77", &[], json!({})).await.status, 404);
    assert_eq!(shop.send(Method::GET, "/nowhere/canary", &[], json!({})).await.status, 404);
    let mut redis = cell_dump::connect(&shop.redis.url()).await;
    let () = redis::cmd("SET").arg("{c0}:user:5").arg("no hash").query_async(&mut redis).await.unwrap();
    assert_eq!(shop.send(Method::GET, "/users/5/balance", traced, json!({})).await.status, 500);
    eventually!(!collector.spans("publish").is_empty());
    shop.close().await;

    let (spans, resources) = collector.told();
    let of = |name: &str| -> Vec<&Span> { spans.iter().filter(|it| it.name == name).collect() };
    let children = |of: &Span| -> Vec<&Span> {
        spans.iter().filter(|it| it.trace_id == of.trace_id && it.parent_span_id == of.span_id).collect()
    };
    for resource in &resources {
        assert_eq!(resource["service.name"], "firstcome");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(resource["service.instance.id"].len(), 36);
    }

    // The request and its script.
    let orders = of("POST /orders");
    let [now] = orders.iter().filter(|it| hex(&it.trace_id) == TRACE).collect::<Vec<_>>()[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(hex(&now.parent_span_id), PARENT);
    assert_eq!(now.kind(), SpanKind::Server);
    assert_eq!(
        texts(&now.attributes),
        BTreeMap::from(
            [
                ("http.request.method", "POST"),
                ("http.route", "/orders"),
                ("http.response.status_code", "201"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        )
    );
    let [script] = children(now)[..] else { panic!("{:?}", children(now)) };
    assert_eq!((script.name.as_str(), script.kind()), ("order_place", SpanKind::Client));
    let told = texts(&script.attributes);
    assert_eq!((&*told["db.system.name"], &*told["db.operation.name"]), ("redis", "order_place"));
    assert_eq!((&*told["firstcome.cell"], &*told["firstcome.outcome"]), ("0", "PAID"));
    assert!(now.start_time_unix_nano <= script.start_time_unix_nano);
    assert!(script.start_time_unix_nano < script.end_time_unix_nano);
    assert!(script.end_time_unix_nano <= now.end_time_unix_nano);
    assert!(orders.iter().any(|it| it.parent_span_id.is_empty()), "who sends no traceparent begins a trace");
    assert!(of("POST /payments").iter().any(|it| children(it).iter().any(|it| it.name == "order_pay")));

    // A refusal is no error; a failure is.
    let refused = texts(&of("GET /products/{productId}")[0].attributes);
    assert_eq!(refused["firstcome.problem"], "product_not_found");
    assert_eq!(of("GET /products/{productId}")[0].status.as_ref().map_or(0, |it| it.code), 0);
    assert!(of("GET").iter().all(|it| !texts(&it.attributes).contains_key("http.route")));
    assert_eq!(of("GET").len(), 1, "what no route matches");
    let failed = of("GET /users/{userId}/balance")[0];
    let is_error = |it: &Span| it.status.as_ref().is_some_and(|it| it.code() == StatusCode::Error);
    assert!(is_error(failed) && is_error(children(failed)[0]));
    assert_eq!(texts(&failed.attributes)["error.type"], "internal_error");
    assert_eq!(texts(&children(failed)[0].attributes)["error.type"], "FAILED");

    // The worker.
    let persisted: Vec<_> = of("persist").iter().map(|it| texts(&it.attributes)).collect();
    let events: usize =
        persisted.iter().map(|it| it["db.operation.batch.size"].parse::<usize>().unwrap()).sum();
    // A product, a user, a charge, an order paid at once, one placed and one paid.
    assert!(events >= 6 && persisted.iter().all(|it| it["firstcome.cell"] == "0"), "{persisted:?}");
    let published: Vec<_> = of("publish").iter().map(|it| texts(&it.attributes)).collect();
    let confirmed: usize =
        published.iter().map(|it| it["firstcome.confirmed"].parse::<usize>().unwrap()).sum();
    assert_eq!(confirmed, 2, "{published:?}");

    // What the log says of it.
    let [line] = &shop.lines("a request failed")[..] else { panic!("{}", shop.log()) };
    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), &json!(hex(&failed.span_id))));
}

/// Goal: of requests with a `traceparent` the caller decides, whatever the share is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_decides_what_is_sampled() {
    let (collector, url) = Collector::start().await;
    for (share, unasked) in [("0", false), ("1", true)] {
        let mut shop =
            Shop::open(&[("FIRSTCOME_OTLP_ENDPOINT", url.as_str()), ("FIRSTCOME_OTLP_SAMPLE_RATIO", share)])
                .await;
        let trace = |of: &str| format!("{of}{share}").repeat(16);
        for (id, flags) in [(trace("a"), "01"), (trace("b"), "00")] {
            let parent = format!("00-{id}-{PARENT}-{flags}");
            shop.send(Method::GET, "/products/1", &[("traceparent", &parent)], json!({})).await;
        }
        // No good parent: as if there were none.
        for bad in ["", "00-0-0-01", "canary", &format!("ff-{TRACE}-{PARENT}-01")] {
            shop.send(Method::GET, "/coupons", &[("traceparent", bad)], json!({})).await;
        }
        shop.close().await;
        let (spans, _) = collector.told();
        let has = |id: &str| spans.iter().any(|it| hex(&it.trace_id) == id);
        assert!(has(&trace("a")) && !has(&trace("b")), "{share}");
        assert_eq!(collector.spans("GET /coupons").len(), if unasked { 4 } else { 0 });
        assert!(spans.iter().all(|it| hex(&it.trace_id) != TRACE));
    }
}

/// Whatever a client sends has the canary in it. Goal: no byte of it reaches the collector, nor does a token or the
/// collector's own password, which only its header has; the log has none of the latter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_somebody_wrote_is_exported() {
    const CANARY: &str = "canary4e8b";
    const JWT: &str = "canary4e8b-4f1c2a8e9b7d6035a1e4c8f2b90d7e63";
    let (collector, url) = Collector::start().await;
    let with_user = url.replace("://", &format!("://shop:{CANARY}@"));
    let mut shop = Shop::open(&[
        ("FIRSTCOME_OTLP_ENDPOINT", &with_user),
        ("FIRSTCOME_OTLP_SAMPLE_RATIO", "1"),
        ("FIRSTCOME_AUTH", "jwt"),
        ("FIRSTCOME_JWT_SECRET", JWT),
        ("FIRSTCOME_JWT_AUDIENCE", AUDIENCE),
        ("FIRSTCOME_JWT_ISSUER", ISSUER),
    ])
    .await;
    let token = sign_with_secret(JWT.as_bytes(), &claims("424242", json!({"scope": "admin"})));
    let headers: &[(&str, &str)] = &[
        ("authorization", &format!("Bearer {token}")),
        ("idempotency-key", CANARY),
        ("x-request-id", CANARY),
        ("traceparent", &format!("00-{TRACE}-{PARENT}-01")),
        ("tracestate", &format!("{CANARY}={CANARY}")),
        ("baggage", &format!("{CANARY}={CANARY}")),
        ("user-agent", CANARY),
        ("cookie", CANARY),
    ];
    let admin: &[(&str, &str)] = &headers[..1];
    shop.fill(admin, CANARY).await;
    assert_eq!(shop.send(Method::POST, "/orders", headers, order()).await.status, 201);
    let mut redis = cell_dump::connect(&shop.redis.url()).await;
    let () = redis::cmd("SET")
        .arg(key_of(&shop.settings, 424_242, "user:424242"))
        .arg(CANARY)
        .query_async(&mut redis)
        .await
        .unwrap();
    let failed = shop.send(Method::GET, "/users/424242/balance", headers, json!({})).await;
    assert_eq!(failed.status, 500);
    let odd = Method::from_bytes(CANARY.as_bytes()).unwrap();
    for path in [format!("/{CANARY}"), format!("/users/{CANARY}/balance?{CANARY}={CANARY}")] {
        for method in [Method::GET, odd.clone()] {
            let answer = shop.send(method, &path, headers, json!({CANARY: CANARY})).await;
            assert!(answer.status.is_client_error(), "{answer:?}");
        }
    }
    shop.close().await;

    for name in ["POST /orders", "HTTP", "HTTP /users/{userId}/balance"] {
        assert!(!collector.spans(name).is_empty(), "{name}");
    }
    let signature = token.rsplit_once('.').unwrap().1;
    for body in collector.bodies() {
        let text = String::from_utf8_lossy(&body);
        for never in [CANARY, JWT, signature, "424242", "Bearer"] {
            assert!(!text.contains(never), "{never}: {text}");
        }
    }
    let got = collector.got.lock().unwrap();
    // shop:canary4e8b
    assert!(got.iter().all(|it| it.0["authorization"] == "Basic c2hvcDpjYW5hcnk0ZThi"));
    // The log has the id that the client chose, and nothing of the password.
    assert!(!shop.log().contains(&format!(":{CANARY}@")), "{}", shop.log());
}

/// Goal: a collector that is away costs no request and no patience at the end; the log says so once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_costs_nothing() {
    let url = format!("http://canary:canary@127.0.0.1:{}", ports::free().unwrap());
    let mut shop =
        Shop::open(&[("FIRSTCOME_OTLP_ENDPOINT", url.as_str()), ("FIRSTCOME_OTLP_SAMPLE_RATIO", "1")]).await;
    shop.fill(&[], "Mug").await;
    let failed = "firstcome_spans_total{outcome=\"failed\"}";
    eventually!(shop.metric(failed).await > 0);
    let before = shop.metric(failed).await;
    // Several batches fail in the meantime.
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        assert_eq!(shop.send(Method::POST, "/orders", &[], order()).await.status, 201);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(shop.metric(failed).await > before);
    assert_eq!(shop.lines("the collector takes no spans; they are dropped").len(), 1, "{}", shop.log());
    assert!(!shop.log().contains("canary"));
    let took = shop.close().await;
    assert!(took < Duration::from_secs(15), "{took:?}");
}

/// A collector takes connections and says nothing. Goal: requests go on, spans beyond the queue are counted, and SIGTERM ends
/// the engine in a bounded time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let mut shop =
        Shop::open(&[("FIRSTCOME_OTLP_ENDPOINT", url.as_str()), ("FIRSTCOME_OTLP_SAMPLE_RATIO", "1")]).await;
    shop.fill(&[], "Mug").await;
    // Two spans each: more than the queue holds, faster than batches time out.
    let dropped = "firstcome_spans_total{outcome=\"dropped\"}";
    eventually!({
        let asked = stream::iter(0..500).map(|_| shop.send(Method::GET, "/products/1", &[], json!({})));
        let slow = asked.buffer_unordered(32).any(async |it| it.status != 200);
        assert!(!slow.await);
        shop.metric(dropped).await > 0
    });
    assert_eq!(shop.send(Method::POST, "/orders", &[], order()).await.status, 201);
    let took = shop.close().await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(shop.lines("stopping without the last spans").len(), 1, "{}", shop.log());
    held.abort();
}

/// Goal: without the setting nothing is exported, whatever variables of OpenTelemetry are there, or what a caller wishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_exported_unasked() {
    let (collector, url) = Collector::start().await;
    let mut shop = Shop::open(&[
        ("FIRSTCOME_OTLP_SAMPLE_RATIO", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ])
    .await;
    shop.fill(&[], "Mug").await;
    let traced: &[(&str, &str)] = &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))];
    assert_eq!(shop.send(Method::POST, "/orders", traced, order()).await.status, 201);
    tokio::time::sleep(Duration::from_secs(2)).await;
    shop.close().await;
    assert!(collector.bodies().is_empty());
}

/// Two clients meet the same defect at once. Goal: each line that was logged on the way, by whatever part and at whatever
/// level, has the id that its client was told, at one place; lines of no request have none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_request_has_its_id() {
    let mut shop = Shop::open(&[]).await;
    shop.fill(&[], "Mug").await;
    let mut redis = cell_dump::connect(&shop.redis.url()).await;
    let () = redis::cmd("SET")
        .arg(key_of(&shop.settings, 5, "user:5"))
        .arg("no hash")
        .query_async(&mut redis)
        .await
        .unwrap();
    let chosen = "order 7 \"a\\b\"";
    let of_client: &[(&str, &str)] = &[("x-request-id", chosen)];
    let (first, second, refused) = tokio::join!(
        shop.send(Method::GET, "/users/5/balance", of_client, json!({})),
        shop.send(Method::GET, "/users/5/balance", &[], json!({})),
        shop.send(Method::GET, "/products/77", &[], json!({})),
    );
    assert_eq!((first.status.as_u16(), second.status.as_u16(), refused.status.as_u16()), (500, 500, 404));
    assert_eq!(first.header("x-request-id"), Some(chosen));
    shop.close().await;

    let ids = |message: &str| {
        let ids = shop.lines(message).into_iter().map(|it| {
            assert!(it["fields"].get("request_id").is_none() && it.get("trace_id").is_none(), "{it}");
            it["request_id"].as_str().unwrap_or_default().to_owned()
        });
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids
    };
    let id = |it: &Answer| it.header("x-request-id").unwrap().to_owned();
    let mut failed = vec![id(&first), id(&second)];
    failed.sort();
    assert_eq!(ids("a script failed"), failed, "{}", shop.log());
    assert_eq!(ids("a request failed"), failed);
    assert_eq!(ids("a request was refused"), [id(&refused)]);
    assert_eq!(ids("serving"), [""]);
}
