//! One run: a world is set, clients shop while faults happen, everything is drained, and the ledger is checked.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use firstcome::app;
use firstcome::worker::{drain_events, drain_outbox};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::checks::Findings;
use super::figures::Figures;
use super::ledger::{Deed, Entry};
use super::plan::{Kind, RunPlan};
use super::redis_faults::{End, Mysql};
use super::servers::Servers;
use super::shop::{self, Caller, Request, Shop};
use super::stage::{PATIENCE, Stage};
use crate::test_app::CELL;

/// How many told requests are sent once more at the end.
const REPLAYS: usize = 40;

pub async fn run(servers: &mut Servers, figures: &mut Figures, plan: RunPlan) {
    let began = Instant::now();
    println!(
        "== run {}: {:?}, fsync {:?}, {} faults",
        plan.number,
        plan.shape,
        plan.fsync,
        plan.faults.len()
    );
    let faults = plan.faults.clone();
    let mut stage = Stage::set(servers, figures, plan).await;
    let mut findings = Findings::default();
    fill(&stage).await;
    let shop = Shop::open(stage.doors.clone(), stage.ledger.clone(), stage.plan.seed);
    for (number, planned) in faults.iter().enumerate() {
        stage.progress(planned.after).await;
        let (at, started) = (began.elapsed(), Instant::now());
        apply(&mut stage, planned.kind, &mut StdRng::seed_from_u64(planned.seed)).await;
        stage.progress(1).await;
        stage.assert_alive();
        if number == faults.len() / 2 {
            audit(&stage, &mut findings, "while clients shopped").await;
        }
        println!(
            "   {:>6.1} s  {:>3}  {} ({:.1} s)",
            at.as_secs_f64(),
            number + 1,
            planned.kind.name(),
            started.elapsed().as_secs_f64()
        );
    }
    stage.progress(20).await;
    shop.close().await;
    finish(stage, findings, began).await;
}

/// Asks the audit, which needs no quiet moment.
async fn audit(stage: &Stage<'_>, findings: &mut Findings, when: &str) {
    let (clean, said) = stage.firstcome(&["audit"]).await;
    if !clean {
        findings.broken(format!("the audit found differences {when}:\n{said}"));
    }
}

async fn apply(stage: &mut Stage<'_>, kind: Kind, random: &mut StdRng) {
    match kind {
        Kind::EngineKill => stage.kill_a_front(random).await,
        Kind::WorkerKill => stage.kill_a_worker(random).await,
        Kind::RedisKill => stage.kill_redis(random).await,
        Kind::AofCut => stage.cut_aof(random, Mysql::KeepsUp).await,
        Kind::AofCutBehind => stage.cut_aof(random, Mysql::LagsBehind).await,
        Kind::AofCutOpen => stage.kill_everything(random, End::Open).await,
        Kind::Flush => stage.flush(random, Mysql::KeepsUp).await,
        Kind::FlushBehind => stage.flush(random, Mysql::LagsBehind).await,
        Kind::EveryNodeDies => stage.kill_everything(random, End::Whole).await,
        Kind::HalfWay => stage.break_a_script(random).await,
        Kind::MemoryFull => stage.fill_memory(random).await,
        Kind::RepliesDropped => stage.drop_replies(random).await,
        Kind::Promotion => stage.promote(random).await,
        Kind::ThereAndBack => stage.promote_there_and_back(random).await,
        Kind::SleepingRecoverer => stage.put_a_recoverer_to_sleep(random).await,
        Kind::Zombie => stage.make_a_zombie(random).await,
        Kind::MysqlKill => stage.kill_mysql(random).await,
        Kind::MysqlAsleep => stage.stop_mysql(random).await,
        Kind::MysqlRestored => stage.restore_mysql(random).await,
        Kind::MysqlTooOld => stage.restore_too_old_a_mysql(random).await,
        Kind::RabbitmqKill => stage.kill_rabbitmq(random).await,
        Kind::RabbitmqAlarm => stage.alarm_rabbitmq().await,
        Kind::RabbitmqFull => stage.fill_rabbitmq().await,
        Kind::RabbitmqUnbound => stage.unbind_rabbitmq().await,
    }
}

/// Users with money, products and campaigns.
async fn fill(stage: &Stage<'_>) {
    let client = reqwest::Client::new();
    let url = &stage.doors[0].url;
    let put = async |path: String, body: Value| {
        let answer = client.put(format!("{url}{path}")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{path}");
    };
    for product in 1..=shop::PRODUCTS {
        let stock = if product == shop::PRODUCTS { shop::SCARCE_STOCK } else { shop::STOCK };
        let body = json!({"name": format!("Product {product}"), "price": 100 * product, "stock": stock});
        put(format!("/admin/products/{product}"), body).await;
    }
    for coupon in 1..=shop::COUPONS {
        let body = json!({
            "name": format!("Campaign {coupon}"), "discount": {"kind": "fixed", "value": 10 * coupon},
            "quantity": 20, "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z"
        });
        put(format!("/admin/coupons/{coupon}"), body).await;
    }
    for user in 1..=shop::USERS {
        put(format!("/users/{user}"), json!({})).await;
        let (key, amount) = (format!("first-{user}"), shop::FIRST_CHARGE);
        let request = client.post(format!("{url}/users/{user}/balance")).header("Idempotency-Key", &key);
        let sent_at = Instant::now();
        let answer = request.json(&json!({ "amount": amount })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let body = answer.json().await.unwrap();
        let told_at = Instant::now();
        let deed = Deed::Charge { amount };
        let told_by = (0, 0);
        let entry = Entry { key, user, deed, sent_at, told_at, status: 201, body, persisted: false, told_by };
        stage.ledger.note(entry);
    }
}

/// Everything that waits gets to where it belongs; then nobody writes any more, and the ledger is checked.
async fn finish(mut stage: Stage<'_>, mut findings: Findings, began: Instant) {
    stage
        .until("everything is persisted", async || stage.persisted().await == stage.log_bounds().await.1)
        .await;
    replay_some(&stage, &mut findings).await;
    let lost = stage.number("SELECT CAST(lost_events AS SIGNED) FROM cells").await;
    for door in 0..stage.doors.len() {
        stage
            .until("readyz tells of the losses", async || {
                stage.readyz(door).await["checks"]["cells"][0]["lostEvents"] == json!(lost)
            })
            .await;
    }
    for node in &mut stage.nodes {
        let ended = tokio::time::timeout(PATIENCE, node.process.terminate()).await;
        assert!(ended.is_ok_and(|it| it), "SIGTERM ends {} in good order", node.log.display());
    }
    let connections = app::connect(stage.settings.clone()).await.unwrap();
    let following = connections.follow_epochs().await.unwrap();
    drain_events(&connections.worker(), CELL, PATIENCE).await.unwrap();
    drain_outbox(&connections.worker(), CELL, PATIENCE).await.unwrap();
    drop(following);
    connections.mysql.close().await;
    stage.take_messages().await;
    audit(&stage, &mut findings, "at the end").await;
    findings.check(&mut stage).await;
    let figures = &mut *stage.figures;
    findings.count(figures, stage.ledger.tries.load(Ordering::Relaxed));
    println!("   run {} took {:.0} s", stage.plan.number, began.elapsed().as_secs_f64());
    for what in &findings.broken {
        println!("   BROKEN: {what}");
        figures.broken.push(format!("run {}: {what}", stage.plan.number));
    }
}

/// Whoever asks again with a key that was answered hears the same, and nothing happens again.
async fn replay_some(stage: &Stage<'_>, findings: &mut Findings) {
    let stored: Vec<(String,)> = stage.rows("SELECT idem_key FROM idempotency").await;
    let stored: std::collections::BTreeSet<String> = stored.into_iter().map(|it| it.0).collect();
    let told: Vec<Entry> = {
        let entries = stage.ledger.entries.lock().unwrap();
        let charges = entries.iter().filter(|it| matches!(it.deed, Deed::Charge { .. } | Deed::Pay { .. }));
        charges.filter(|it| it.succeeded() && stored.contains(&it.key)).cloned().collect()
    };
    let caller = Caller::new(stage.doors.clone(), stage.ledger.clone());
    let mut random = StdRng::seed_from_u64(stage.plan.seed);
    for _ in 0..REPLAYS.min(told.len()) {
        let entry = &told[random.random_range(0..told.len())];
        let (path, body) = match entry.deed {
            Deed::Pay { order } => ("/payments".to_owned(), json!({ "orderId": order })),
            Deed::Charge { amount } => {
                (format!("/users/{}/balance", entry.user), json!({ "amount": amount }))
            }
            _ => unreachable!("only these were chosen"),
        };
        let (key, user, deed) = (entry.key.clone(), entry.user, entry.deed.clone());
        let request = Request { key, user, deed, path, body: Some(body), persisted: false };
        let deadline = Instant::now() + PATIENCE;
        let again = loop {
            match caller.send(random.random_range(0..stage.doors.len()), &request).await {
                Some(answer) if answer.status != 503 => break answer,
                _ if Instant::now() > deadline => panic!("no answer to {}", entry.key),
                _ => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        };
        let mut first = entry.body.clone();
        if let Some(first) = first.as_object_mut() {
            first.remove("persisted");
        }
        if !again.replayed || again.body != first {
            findings.broken(format!("{} was answered {first} and then {}", entry.key, again.body));
        }
    }
}
