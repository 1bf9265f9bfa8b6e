//! Promise: behind Sentinels the engine sells on through failovers, and what a failover loses is found and counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use firstcome::app;
use firstcome::config::{Authorities, Secret, Settings};
use firstcome::dev::ports;
use firstcome::mysql;
use firstcome::scripts::connect::RedisServer;
use firstcome::worker::Silent;
use firstcome::worker::recover::{close, reopen};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use super::test_app::{TestApp, eventually, fresh_settings};
use super::test_sentinels::{NAME, Passwords, WatchedRedis};
use super::test_servers::{self, fresh_folder};

const SHOPPERS: u64 = 6;
const USERS: u64 = 20;
const BALANCE: i64 = 1_000_000_000;
const STOCK: i64 = 1_000_000_000;
const PRICE: i64 = 7;

/// What shoppers were told, by idempotency key: the order's id.
type Told = Mutex<BTreeMap<String, u64>>;

/// An engine behind these Sentinels. The test's own Redis has no part in it.
async fn start(watched: &WatchedRedis) -> TestApp {
    let (spare, folder) = test_servers::redis().await;
    TestApp::start_on(spare, folder, |settings| settings.redis_url = Secret::new(watched.url())).await
}

/// Buys without end, each purchase under its own key, and repeats it until it hears an answer.
async fn shop(app: &TestApp, shopper: u64, stop: &AtomicBool, told: &Told) {
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, user) = (format!("{shopper}-{number}"), (shopper * 7 + number) % USERS + 1);
        let body = json!({"userId": user, "items": [{"productId": 1, "quantity": 1}]});
        loop {
            let answer = app.post_once("/orders", &key, body.clone()).await;
            match answer.status {
                StatusCode::CREATED => {
                    told.lock().unwrap().insert(key, answer.body["orderId"].as_u64().unwrap());
                    break;
                }
                StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => panic!("{answer:?}"),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Failover {
    /// The primary is killed, and starts again later.
    Killed,
    /// A person asks for it.
    Asked,
    /// The same, with the cell closed meanwhile, as docs/operations.md says.
    Orderly,
    /// The primary stands still, and goes on later as if nothing had been.
    Frozen,
}

/// The primary dies, is replaced, and freezes and thaws, all under load. Goal: every order that anybody was told of is
/// in MySQL under the id that was told, or counted as lost; none is there twice; money, stock and the audit agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_sells_through_failovers() {
    use Failover::{Asked, Frozen, Killed, Orderly};

    let began = Instant::now();
    let mut watched = WatchedRedis::start(2, Passwords::default()).await;
    let app = start(&watched).await;
    app.product_with(1, PRICE, STOCK).await;
    for user in 1..=USERS {
        app.user_with(user, BALANCE).await;
    }
    app.drain_events().await;
    let replid = "SELECT COUNT(*) FROM cells WHERE replid = ''";
    assert_eq!(app.count(replid).await, 0, "scripts know their server from the first epoch on");

    let (stop, told) = (AtomicBool::new(false), Told::default());
    let shoppers = futures::future::join_all((0..SHOPPERS).map(|it| shop(&app, it, &stop, &told)));
    let told_so_far = || told.lock().unwrap().len();
    let epoch = async || app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await;
    let lost = async || app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await;
    let failovers = async {
        for how in [Killed, Asked, Frozen, Orderly, Asked, Frozen, Killed] {
            watched.wait_until_calm().await;
            let (old, before) = (watched.primary().await.unwrap(), epoch().await);
            let lost_before = lost().await;
            match how {
                Killed => drop(watched.servers[old].kill().await),
                Asked => watched.fail_over().await,
                Frozen => watched.signal(old, Signal::STOP),
                Orderly => {
                    let worker = app.connections().worker();
                    for cell in app.settings.cells().all() {
                        close(&worker, cell).await.unwrap();
                    }
                    watched.wait_until_replicated().await;
                    watched.fail_over().await;
                    for cell in app.settings.cells().all() {
                        reopen(&worker, cell, &Silent).await.unwrap();
                    }
                }
            }
            eventually!(watched.primary().await.is_some_and(|it| it != old));
            eventually!(epoch().await > before);
            let sold = told_so_far();
            eventually!(told_so_far() > sold + 5);
            match how {
                Killed => watched.servers[old].restart().await.unwrap(),
                Asked => {}
                Orderly => assert_eq!(lost().await, lost_before, "nothing is lost"),
                Frozen => watched.signal(old, Signal::CONT),
            }
            // It may think that it is still the primary: nobody is told what it says.
            let sold = told_so_far();
            eventually!(told_so_far() > sold + 5);
            watched.follow(old).await;
            println!("{how:?} {old}: {} told after {:?}", told_so_far(), began.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(failovers, shoppers);

    let told = told.into_inner().unwrap();
    app.drain_events().await;
    let sql =
        "SELECT CAST(seq * 1024 + cell AS UNSIGNED), idem_key FROM idempotency WHERE idem_key LIKE '%-%'";
    let stored: Vec<(u64, String)> = sqlx::query_as(sql).fetch_all(&app.connections().mysql).await.unwrap();
    let stored: BTreeMap<String, u64> = stored.into_iter().map(|(id, key)| (key, id)).collect();
    let mut missing = 0;
    for (key, order) in &told {
        match stored.get(key) {
            Some(id) => assert_eq!(id, order, "{key} is another order than its shopper was told of"),
            None => missing += 1,
        }
    }
    assert!(stored.keys().all(|it| told.contains_key(it)), "an order that nobody was told of");
    println!("{} told, {missing} lost, {} in epoch {}", told.len(), stored.len(), epoch().await);
    eventually!(lost().await >= missing);
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, stored.len() as i64);
    let mut balances = 0;
    for user in 1..=USERS {
        balances += app.balance(user).await;
    }
    assert_eq!(balances, BALANCE * USERS as i64 - PRICE * stored.len() as i64);
    assert_eq!(app.stock(1).await, STOCK - stored.len() as i64);
    app.finish().await;
}

/// Goal: an engine that finds no primary says in one sentence which Sentinels it asked, and what each said.
#[tokio::test]
async fn what_the_sentinels_do_not_name_is_told() {
    let mut watched = WatchedRedis::start(0, Passwords::default()).await;
    let says = async |url: &str| {
        let server = RedisServer::new(url, &Authorities::default(), Duration::from_secs(20)).unwrap();
        server.own_connection().await.expect_err(url).to_string()
    };
    let first = watched.places().split_once(',').unwrap().0.to_owned();
    let nobody = format!("127.0.0.1:{}", ports::free().unwrap());
    eventually!(
        says(&format!("redis+sentinel://{}/other", watched.places())).await.contains("know no primary")
    );
    // One of two is no majority, though it answers.
    let said = says(&format!("redis+sentinel://{first},{nobody}/{NAME}")).await;
    let redis = watched.servers[0].url().replace("redis://", "").replace('/', "");
    for word in ["2 of 2 Sentinels", &format!("{first}: {redis}"), &format!("{nobody}: "), "refused"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // A Redis is no Sentinel.
    assert!(says(&format!("redis+sentinel://{redis}/{NAME}")).await.contains("unknown command"));
    // A Sentinel may be late: it is the server that says whether it is a primary.
    let gone = ports::free().unwrap().to_string();
    let _: Option<String> = watched.query(0, &["REPLICAOF", "127.0.0.1", &gone]).await;
    let said = says(&watched.url()).await;
    assert!(said.contains("its role is \"slave\""), "{said}");

    let settings = fresh_settings(watched.url()).await;
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    watched.stop_sentinels().await;
    let refused = app::connect(settings).await.err().map(|it| format!("{it:#}")).expect("no connection");
    let place = format!("cannot connect to Redis at redis+sentinel://{}/{NAME}", watched.places());
    for word in [&place, "2 of 3 Sentinels", "refused"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

/// Goal: the engine sells over the connections that it has while all Sentinels are away, and follows them again.
#[tokio::test]
async fn sentinels_that_go_away_stop_no_sale() {
    let mut watched = WatchedRedis::start(1, Passwords::default()).await;
    let app = start(&watched).await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 1, 1_000).await;
    let buy = async || {
        app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await.status
    };
    // The worker connects when it has something to do for the first time.
    eventually!(buy().await == StatusCode::CREATED);
    eventually!(app.count("SELECT COUNT(*) FROM orders").await == 1);
    let before = app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await;
    watched.stop_sentinels().await;
    let (stopped, mut orders) = (Instant::now(), 1);
    // Longer than the engine's pause between two looks.
    while stopped.elapsed() < Duration::from_secs(3) {
        assert_eq!(buy().await, StatusCode::CREATED);
        orders += 1;
        eventually!(app.count("SELECT COUNT(*) FROM orders").await == orders);
    }
    assert_eq!(app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await, before);
    watched.start_sentinels().await;
    watched.wait_until_calm().await;
    watched.fail_over().await;
    eventually!(app.count("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").await > before);
    eventually!(buy().await == StatusCode::CREATED);
    app.finish().await;
}

/// Ends a process that a failed test leaves behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Redis and the Sentinels ask for passwords; a failover, wrong passwords and wrong URLs. Goal: the engine sells, and
/// neither its most talkative log nor an error shows a password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_of_redis_and_sentinels_are_never_said() {
    const CANARY: &str = "canary5e71";
    let passwords = Passwords { redis: format!("{CANARY}-redis"), sentinel: format!("{CANARY}-sentinel") };
    let watched = WatchedRedis::start(1, passwords).await;
    let settings = fresh_settings(watched.url()).await;
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let log = fresh_folder().join("serve.log");
    let listen = format!("127.0.0.1:{}", ports::free().unwrap());
    let serve = |settings: &Settings, url: &str| {
        let said = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
        command.arg("serve").stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        command
            .env("FIRSTCOME_LISTEN", &listen)
            .env("FIRSTCOME_REDIS_URL", url)
            .env("FIRSTCOME_MYSQL_URL", settings.mysql_url.expose())
            .env("FIRSTCOME_AMQP_URL", settings.amqp_url.expose())
            .env("FIRSTCOME_AMQP_EXCHANGE", &settings.amqp_exchange)
            .env("FIRSTCOME_AMQP_QUEUE", &settings.amqp_queue)
            .env("RUST_LOG", "trace");
        command
    };
    let read = || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();

    let mut engine = Running(serve(&settings, &watched.url()).spawn().unwrap());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let is_ready = async || {
        let answer = client.get(format!("http://{listen}/readyz")).send().await;
        answer.is_ok_and(|it| it.status() == StatusCode::OK)
    };
    let pool = mysql::connect(&settings.mysql_url, &settings.tls_ca_file, 4).await.unwrap();
    let epoch = async || {
        let epoch = sqlx::query_scalar("SELECT CAST(MIN(epoch) AS SIGNED) FROM cells").fetch_one(&pool).await;
        epoch.unwrap_or(0_i64)
    };
    eventually!(is_ready().await);
    let before = epoch().await;
    watched.fail_over().await;
    eventually!(epoch().await > before && is_ready().await);
    assert!(engine.0.try_wait().unwrap().is_none(), "{}", read());
    drop(engine);

    let mut said = Vec::new();
    for (right, wrong) in [("-redis@", "-wrong@"), ("=canary5e71-sentinel", "=canary5e71-wrong")] {
        let url = watched.url().replace(right, wrong);
        let server = RedisServer::new(&url, &Authorities::default(), Duration::from_secs(20)).unwrap();
        let error = server.own_connection().await.expect_err("no connection");
        assert!(error.to_string().contains("assword") || error.to_string().contains("WRONGPASS"), "{error}");
        said.push(format!("{error} {error:?}"));
    }
    for (place, instead) in [("/shop", ",/shop"), ("?", "?x="), ("redis+", "redis-"), ("/shop.main", "")] {
        let url = watched.url().replace(place, instead);
        assert!(!serve(&settings, &url).status().unwrap().success(), "{place}");
    }
    said.push(read());
    assert!(said[2].contains("the Sentinels name this server") && said[2].contains("setting `redis_url`"));
    for text in said {
        let at = text.find(CANARY);
        assert_eq!(at, None, "{:?}", at.map(|it| &text[it.saturating_sub(200)..it + 20]));
    }
}
