//! Promise: a release is rolled out while the shop sells: the one before and this one write to the same data at once, and
//! nothing is lost, nothing is twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use firstcome::config::Settings;
use firstcome::dev::ports;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::engine_process::EngineProcess;
use super::test_app::{TestApp, eventually};

const SHOPPERS: u64 = 6;
const USERS: u64 = 30;
const BALANCE: i64 = 100_000_000;

/// Requests that are answered before the next step of the roll-out.
const ANSWERS_PER_STEP: u64 = 400;

/// What shoppers know and were told.
#[derive(Default)]
struct Shop {
    /// Nodes that are up.
    nodes: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    answers: AtomicU64,
    /// By idempotency key: status and body of the first answer.
    told: Mutex<BTreeMap<String, (u16, Value)>>,
}

impl Shop {
    /// Asks one node after another, under one key, until one answers for good.
    async fn ask(&self, random: &mut StdRng, key: &str, path: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::Client::new();
        loop {
            let node = {
                let nodes = self.nodes.lock().unwrap();
                nodes[random.random_range(0..nodes.len())]
            };
            let request =
                client.post(format!("http://{node}{path}")).header("Idempotency-Key", key).json(body);
            if let Ok(answer) = request.timeout(Duration::from_secs(20)).send().await
                && answer.status() != 503
            {
                let status = answer.status().as_u16();
                if let Ok(body) = answer.json::<Value>().await {
                    self.answers.fetch_add(1, Ordering::Relaxed);
                    return (status, body);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Buys, pays later, cancels and refunds; every request is sent to two nodes, and is told the same by both.
    async fn shop(&self, shopper: u64) {
        let mut random = StdRng::seed_from_u64(20_261_121 ^ shopper);
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let user = random.random_range(1..=USERS);
            let later = random.random_bool(0.5);
            let items = json!([{"productId": 1, "quantity": random.random_range(1..=3)}]);
            let order =
                json!({"userId": user, "items": items, "payment": if later { "later" } else { "now" }});
            let placed =
                self.ask_twice(&mut random, format!("{shopper}-{number}-place"), "/orders", &order).await;
            let id = placed["orderId"].as_u64().unwrap();
            let (path, body) = match (later, random.random_range(0..3)) {
                (true, 0) => (format!("/orders/{id}/cancel"), json!({})),
                (true, _) => ("/payments".to_owned(), json!({"orderId": id})),
                (false, 0) => (format!("/orders/{id}/refund"), json!({})),
                (false, _) => ("/balance/charge".to_owned(), json!({"userId": user, "amount": 7})),
            };
            self.ask_twice(&mut random, format!("{shopper}-{number}-then"), &path, &body).await;
        }
    }

    async fn ask_twice(&self, random: &mut StdRng, key: String, path: &str, body: &Value) -> Value {
        let first = self.ask(random, &key, path, body).await;
        let again = self.ask(random, &key, path, body).await;
        assert!(first.0 == 200 || first.0 == 201, "{path} {body}: {first:?}");
        assert_eq!(first, again, "{path} {body}");
        self.told.lock().unwrap().insert(key, first.clone());
        first.1
    }

    /// Waits until shoppers have heard a number of answers more.
    async fn sells(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + ANSWERS_PER_STEP;
        eventually!(self.answers.load(Ordering::Relaxed) >= enough);
    }
}

fn on_a_free_port(settings: &Settings) -> Settings {
    let listen = SocketAddr::from(([127, 0, 0, 1], ports::free().unwrap()));
    Settings { listen, ..settings.clone() }
}

fn migrate(program: &Path, settings: &Settings) {
    let url = settings.mysql_url.expose();
    let done = Command::new(program).arg("migrate").env("FIRSTCOME_MYSQL_URL", url).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
#[ignore = "needs the program of the release before: make test-upgrade"]
async fn two_releases_write_to_the_same_data() {
    let previous = PathBuf::from(std::env::var_os("FIRSTCOME_PREVIOUS").expect("make test-upgrade sets it"));
    let mut app = TestApp::start_with(|_| {}).await;
    // A database of the release before.
    app.stop_engine().await;
    let (redis, _folder) = super::test_servers::redis().await;
    app.settings = super::test_app::fresh_settings(redis.url()).await;
    migrate(&previous, &app.settings);
    let shop = Shop::default();

    let old_settings = on_a_free_port(&app.settings);
    let mut old = EngineProcess::start_program(&previous, &old_settings, "all");
    let client = reqwest::Client::new();
    let put = async |path: String, body: Value| {
        let url = format!("http://{}{path}", old_settings.listen);
        let sent = client.put(url).json(&body).send().await;
        sent.is_ok_and(|it| it.status().is_success())
    };
    eventually!(
        put("/admin/products/1".to_owned(), json!({"name": "one", "price": 10, "stock": 1_000_000})).await
    );
    for user in 1..=USERS {
        let url = format!("http://{}/balance/charge", old_settings.listen);
        let charged =
            client.post(url).json(&json!({"userId": user, "amount": BALANCE})).send().await.unwrap();
        assert_eq!(charged.status(), 200);
    }
    shop.nodes.lock().unwrap().push(old_settings.listen);

    let roll_out = async {
        shop.sells().await;
        // The schema first, while the release before works on it.
        migrate(Path::new(env!("CARGO_BIN_EXE_firstcome")), &app.settings);
        shop.sells().await;
        let new_settings = on_a_free_port(&app.settings);
        let new = EngineProcess::start(&new_settings, "all");
        shop.nodes.lock().unwrap().push(new_settings.listen);
        shop.sells().await;
        // One that starts late finds the scripts of both; one that is killed is no upgrade of its own.
        old.kill();
        old = EngineProcess::start_program(&previous, &old_settings, "all");
        shop.sells().await;
        shop.nodes.lock().unwrap().retain(|it| *it != old_settings.listen);
        assert!(old.terminate().await, "SIGTERM ends the release before in good order");
        shop.sells().await;
        shop.stop.store(true, Ordering::Relaxed);
        new
    };
    let shoppers = futures::future::join_all((0..SHOPPERS).map(|it| shop.shop(it)));
    let (mut new, _) = tokio::join!(roll_out, shoppers);
    assert!(new.terminate().await);

    app.start_engine().await;
    app.drain().await;
    let told = shop.told.into_inner().unwrap();
    println!("{} answers told; each twice, by nodes of both releases", told.len());
    let placed: BTreeMap<u64, &Value> =
        told.values().filter(|it| it.0 == 201).map(|it| (it.1["orderId"].as_u64().unwrap(), &it.1)).collect();
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, placed.len() as i64);
    assert_eq!(app.count("SELECT CAST(epoch AS SIGNED) FROM cells").await, 1, "no upgrade is a recovery");
    assert_eq!(app.count("SELECT COUNT(*) FROM dead_events").await, 0);
    for (key, (_, body)) in &told {
        let Some(id) = body["orderId"].as_u64() else { continue };
        let now = app.get(&format!("/orders/{id}")).await.body;
        assert_eq!(now["items"], body["items"], "{key}");
        if key.ends_with("then") {
            assert_eq!(now["status"], body["status"], "{key}");
        }
    }
    app.finish().await;
    drop(redis);
}
