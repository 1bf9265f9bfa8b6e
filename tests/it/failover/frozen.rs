//! A primary that stands still with requests in its socket, is replaced, and executes them when it wakes.

use super::*;
use crate::test_cluster::drain;

const UNITS: i64 = 400;

/// Requests of each user that the primary has not read yet when it stops.
const HANGING: usize = 5;

/// How long a node waits for an answer, in ms, where it is to hear those of a primary that wakes at its replica's promotion.
const PATIENT_MS: u64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// When its cells sell elsewhere.
    AfterTheRecovery,
    /// When its replica is promoted, and a node may not know yet.
    AtThePromotion,
}

/// Goal: what it executes then is told to nobody, and is nowhere; nothing that was told is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_primary_executes_after_the_recovery_counts_for_nobody() {
    goes_on(Wakes::AfterTheRecovery).await;
}

/// Goal: whatever it still tells is in MySQL, or counted as lost, exactly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_primary_tells_at_the_promotion_is_counted() {
    goes_on(Wakes::AtThePromotion).await;
}

/// What a server has executed: scripts, and events that they appended. Those of its primary count among the latter.
async fn executed(stage: &Stage, server: usize) -> (u64, u64) {
    let stats: InfoDict = stage.cluster.ask(server, &["INFO", "commandstats"]).await.unwrap();
    let calls = |command: &str| -> u64 {
        let said: String = stats.get(&format!("cmdstat_{command}")).unwrap_or_default();
        let calls = said.strip_prefix("calls=").and_then(|it| it.split(',').next());
        calls.map_or(0, |it| it.parse().unwrap())
    };
    (calls("evalsha"), calls("xadd"))
}

async fn goes_on(wakes: Wakes) {
    let stage = Stage::start_with(|settings| {
        if wakes == Wakes::AtThePromotion {
            settings.redis_reply_timeout_ms = PATIENT_MS;
        }
    })
    .await;
    stage.app.product_with(PRODUCT, PRICE, UNITS).await;
    let users = rich_users(&stage.app).await;
    let mut told = BTreeSet::new();
    for user in &users {
        told.insert(stage.buy(*user, "first").await);
    }
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    let primary = stage.server_of(CellId(0));
    let (cells, replica) = (stage.cells_on(primary), stage.replica_of(primary).await);
    let doomed: Vec<u64> = users.iter().copied().filter(|it| cells.contains(&cell_of(*it))).collect();
    let (before, epochs) = (executed(&stage, primary).await, stage.epochs().await);

    stage.signal(primary, Signal::STOP);
    let mut hanging = Vec::new();
    for (user, number) in doomed.iter().flat_map(|user| (0..HANGING).map(move |it| (*user, it))) {
        let key = format!("hangs {number}");
        hanging.push((user, key.clone(), tokio::spawn(stage.ask(user, &key, false))));
    }
    if wakes == Wakes::AtThePromotion {
        eventually!(stage.replication(replica).await.get::<String>("role").as_deref() == Some("master"));
        stage.signal(primary, Signal::CONT);
    }
    for cell in &cells {
        eventually!(stage.is_on(*cell, replica));
        eventually!(epoch(&stage.app, *cell).await > epochs[cell]);
    }
    stage.wait_until_all_sell().await;
    let mut late = BTreeSet::new();
    for (user, key, answer) in hanging {
        let answer = answer.await.unwrap();
        if answer.status == StatusCode::CREATED && wakes == Wakes::AtThePromotion {
            late.insert(answer.body["orderId"].as_u64().unwrap());
            continue;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        told.insert(stage.buy(user, &key).await);
    }
    if wakes == Wakes::AfterTheRecovery {
        stage.signal(primary, Signal::CONT);
    }
    eventually!(
        stage.replication(primary).await.get::<String>("master_link_status").as_deref() == Some("up")
    );
    let after = executed(&stage, primary).await;
    println!("{} scripts and {} events late, {} told", after.0 - before.0, after.1 - before.1, late.len());
    assert!(after.0 > before.0, "it has executed what it was sent");

    for user in &users {
        told.insert(stage.buy(*user, "afterwards").await);
    }
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    let orders = stage.orders().await;
    let gone: BTreeSet<u64> = late.difference(&orders).copied().collect();
    told.extend(late.intersection(&orders));
    assert_eq!(orders, told, "what was told, and nothing else");
    let is_counted = async || stage.lost().await.values().sum::<u64>() == gone.len() as u64;
    eventually!(is_counted().await);
    assert_eq!(stage.app.stock(PRODUCT).await, UNITS - orders.len() as i64);
    stage.sell_out(&users, UNITS - orders.len() as i64).await;
    stage.end().await;
}

/// A node sleeps as long as the primary does, and wakes later: it hears "sold" of a server that has no slot any more. Goal: what
/// it tells its callers then is counted as lost, exactly, and nobody who waits for MySQL hears a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_hears_late_of_a_primary_that_slept_is_counted() {
    let stage = Stage::start().await;
    stage.app.product_with(PRODUCT, PRICE, UNITS).await;
    let users = rich_users(&stage.app).await;
    for user in &users {
        stage.buy(*user, "first").await;
    }
    let mut settings = stage.app.settings.clone();
    settings.listen.set_port(ports::free().unwrap());
    let place = format!("http://{}", settings.listen);
    let node = EngineProcess::start_with(&settings, "api", |command| {
        command.env("FIRSTCOME_REDIS_REPLY_TIMEOUT_MS", "5000");
    });
    let is_ready = async || reqwest::get(format!("{place}/readyz")).await.is_ok_and(|it| it.status() == 200);
    eventually!(is_ready().await);
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    let primary = stage.server_of(CellId(0));
    let (cells, replica) = (stage.cells_on(primary), stage.replica_of(primary).await);
    let doomed: Vec<u64> = users.iter().copied().filter(|it| cells.contains(&cell_of(*it))).collect();
    let epochs = stage.epochs().await;
    let kept = stage.orders().await;

    stage.signal(primary, Signal::STOP);
    let (mut hanging, mut waiting) = (Vec::new(), Vec::new());
    let orders = format!("{place}/orders");
    for user in &doomed {
        for number in 0..HANGING {
            hanging.push(tokio::spawn(stage.ask_at(&orders, *user, &format!("hangs {number}"), false)));
        }
        waiting.push(tokio::spawn(stage.ask_at(&orders, *user, "waits", true)));
    }
    // Until they are in the socket of the primary.
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.sleep();
    for cell in &cells {
        eventually!(stage.is_on(*cell, replica));
        eventually!(epoch(&stage.app, *cell).await > epochs[cell]);
    }
    stage.wait_until_all_sell().await;
    stage.signal(primary, Signal::CONT);
    eventually!(
        stage.replication(primary).await.get::<String>("master_link_status").as_deref() == Some("up")
    );
    node.wake();
    let mut told = 0;
    for answer in hanging {
        let answer = answer.await.unwrap();
        told += u64::from(answer.status == StatusCode::CREATED);
        let expected = [StatusCode::CREATED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(expected.contains(&answer.status), "{answer:?}");
    }
    for answer in waiting {
        let answer = answer.await.unwrap();
        let expected = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(expected.contains(&answer.status), "{answer:?}");
    }
    println!("{told} were told");
    eventually!(is_ready().await);
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    assert_eq!(stage.orders().await, kept, "nothing of it is there");
    let lost = "SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells";
    // Those who waited for MySQL have an event each, too, of which they heard no success.
    let counted = told as i64..=(told + doomed.len() as u64) as i64;
    let is_counted = async || counted.contains(&stage.app.count(lost).await);
    eventually!(is_counted().await);
    println!("{} are counted", stage.app.count(lost).await);
    stage.sell_out(&users, UNITS - kept.len() as i64).await;
    drop(node);
    stage.end().await;
}
