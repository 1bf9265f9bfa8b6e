//! The engine is killed under load, again and again. Promise: nothing acknowledged is missing, nothing
//! is twice.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use firstcome::config::Settings;
use firstcome::dev::ports;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::engine_process::EngineProcess;
use super::test_app::TestApp;

const KILLS: u32 = 100;
const SHOPPERS: u64 = 8;
const USERS: u64 = 40;
const BALANCE: i64 = 1_000_000_000;
const PRICE: i64 = 7;

/// What shoppers were told, by idempotency key: the order's id.
type Told = Mutex<BTreeMap<String, u64>>;

/// Buys without end, each purchase under its own key, and repeats it until it hears an answer.
async fn shop(
    settings: Settings,
    shopper: u64,
    seed: u64,
    stop: &AtomicBool,
    told: &Told,
    tries: &AtomicU64,
) {
    let mut random = StdRng::seed_from_u64(seed ^ shopper);
    let client = reqwest::Client::new();
    let url = format!("http://{}/orders", settings.listen);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let key = format!("{shopper}-{number}");
        let user = random.random_range(1..=USERS);
        let body =
            json!({"userId": user, "items": [{"productId": 1, "quantity": random.random_range(1..=3)}]});
        loop {
            tries.fetch_add(1, Ordering::Relaxed);
            let sent = client
                .post(&url)
                .header("Idempotency-Key", &key)
                .json(&body)
                .timeout(Duration::from_secs(10));
            let Ok(answer) = sent.send().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let status = answer.status().as_u16();
            let Ok(order) = answer.json::<Value>().await else { continue };
            match status {
                201 => {
                    told.lock().unwrap().insert(key.clone(), order["orderId"].as_u64().unwrap());
                    break;
                }
                503 => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {order}"),
            }
        }
    }
}

/// 100 seeded kill -9 of the engine under load with retries under keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_and_nothing_is_twice() {
    let seed = std::env::var("FIRSTCOME_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(20_261_121);
    println!("FIRSTCOME_TEST_SEED={seed}");
    let mut app = TestApp::start().await;
    app.product_with(1, PRICE, 1_000_000_000).await;
    for user in 1..=USERS {
        app.user_with(user, BALANCE).await;
    }
    app.stop_engine().await;
    app.settings.listen = format!("127.0.0.1:{}", ports::free().unwrap()).parse().unwrap();

    let (stop, told, tries) = (AtomicBool::new(false), Told::default(), AtomicU64::new(0));
    let shoppers = futures::future::join_all(
        (0..SHOPPERS).map(|shopper| shop(app.settings.clone(), shopper, seed, &stop, &told, &tries)),
    );
    let settings = &app.settings;
    let told_so_far = || told.lock().unwrap().len();
    let killer = async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut engine = EngineProcess::start(settings, "all");
        for _ in 0..KILLS {
            // Each engine sells something before it dies, at a moment that the seed chooses.
            let before = told_so_far();
            while told_so_far() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
            engine.kill();
            engine = EngineProcess::start(settings, "all");
        }
        let before = told_so_far();
        while told_so_far() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.store(true, Ordering::Relaxed);
        engine
    };
    let (mut engine, _) = tokio::join!(killer, shoppers);
    assert!(engine.terminate().await, "SIGTERM ends it in good order");

    let told = told.into_inner().unwrap();
    println!("{} orders told after {} tries and {KILLS} kills", told.len(), tries.load(Ordering::Relaxed));
    app.start_engine().await;
    app.drain().await;
    let stored: Vec<(u64, String)> = sqlx::query_as("SELECT DIV_ID, idem_key FROM (SELECT seq * 1024 + cell AS DIV_ID, idem_key FROM idempotency WHERE idem_key LIKE '%-%') AS keyed")
        .fetch_all(&app.connections().mysql)
        .await
        .unwrap();
    let stored: BTreeMap<String, u64> = stored.into_iter().map(|(id, key)| (key, id)).collect();
    assert_eq!(stored, told, "each key made the one order that its shopper was told of");
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, told.len() as i64);
    assert_eq!(app.count("SELECT CAST(epoch AS SIGNED) FROM cells").await, 1, "Redis lost nothing");
    let messages = app.take_messages().await;
    let mut ids: Vec<u64> = messages.iter().map(|it| it["data"]["orderId"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut orders: Vec<u64> = told.values().copied().collect();
    orders.sort_unstable();
    assert_eq!(ids, orders, "each order was published, under one id however often");
    app.finish().await;
}
