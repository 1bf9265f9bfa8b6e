//! Promise: one product sells from many cells on many servers, each unit once and every unit, whatever happens to the
//! servers and to the slots meanwhile.
//!
//! Small and quick by default; `FIRSTCOME_SALES_ROUNDS=20 FIRSTCOME_SALES_BUYERS=5000` asks for more. Each round prints its
//! seed, which `FIRSTCOME_SALES_SEED` takes: the same seed makes the same choices, though not the same microseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use firstcome::cell::{CellId, Cells};
use firstcome::config::Address;
use firstcome::dev::PrivateCluster;
use firstcome::worker::Silent;
use firstcome::worker::moving::move_cell;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use self::sale::{Answered, Plan, Sale, Shop, UNITS};
use super::test_app::{TestApp, eventually};
use super::test_cluster::{CELLS, cells_on, epoch, found_on, server_of, start_cluster, start_engine_with};

mod mixed;
mod sale;

/// Moves of a round at the least.
const MOVES_MIN: usize = 3;

async fn start_on(cluster: &PrivateCluster) -> TestApp {
    start_engine_with(cluster, |settings| {
        settings.mysql_connections = 24;
        settings.max_in_flight = 4_096;
        settings.list_staleness_ms = 0;
    })
    .await
}

fn home(sale: &Sale) -> CellId {
    Cells::new(CELLS).unwrap().home(sale.product)
}

/// Everybody buys and claims while `fault` happens; then everything is checked. Returns how much was lost.
async fn round(
    shop: &Shop<'_>,
    sale: &Sale,
    random: &mut StdRng,
    may_lose: bool,
    fault: impl AsyncFnOnce(&Answered),
) -> usize {
    let answered = Answered::default();
    let seed = random.next_u64();
    let (told, issued, ()) = tokio::join!(
        shop.sell(sale, seed, &answered),
        shop.issue(sale, 1..sale.claimants as u64 + 1),
        fault(&answered)
    );
    let gone = shop.check(sale, &told, issued, random, may_lose).await;
    println!("{} orders and {issued} coupons told, {gone} of them lost", told.placed.len());
    gone
}

/// Goal: exactly as many are sold as there are, everybody else hears that nothing is left, and nobody anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_over_three_servers_is_exact() {
    let plan = Plan::read();
    let cluster = start_cluster(false).await;
    let app = start_on(&cluster).await;
    let shop = Shop::open(&app, plan.buyers).await;
    for (number, mut random) in plan.rounds("exact") {
        let sale = shop.list(number, UNITS, plan.buyers).await;
        round(&shop, &sale, &mut random, false, async |_| {}).await;
    }
    drop(shop);
    app.finish().await;
}

/// Goal: where a server is killed during the sale and its replica takes its place, what is gone was counted, everything else
/// is there once, and the rest can be sold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_outlives_a_failover() {
    let plan = Plan::read();
    let mut cluster = start_cluster(true).await;
    let app = start_on(&cluster).await;
    let shop = Shop::open(&app, plan.buyers).await;
    let mut lost = 0;
    for (number, mut random) in plan.rounds("failover") {
        let sale = shop.list(number, UNITS, plan.buyers).await;
        // The product's home, and any.
        let victim = if number % 2 == 0 { home(&sale) } else { CellId(random.random_range(0..CELLS)) };
        let (at, at_once) = (random.random_range(0..plan.buyers * 2 / 3), random.random::<bool>());
        let cluster = &mut cluster;
        let fault = async |answered: &Answered| {
            answered.reach(at).await;
            let dead = server_of(&app, cluster, victim);
            let epochs = epochs_of(&app, &cells_on(&app, cluster, dead)).await;
            println!("server {dead} is killed after {at} answers, with cells {:?}", epochs.keys());
            cluster.servers[dead].kill().await;
            if !at_once {
                wait_for_recoveries(&app, &epochs).await;
            } else {
                eventually!(found_on(&app, cluster, victim).is_some_and(|it| it != dead));
            }
            cluster.servers[dead].restart().await.unwrap();
            wait_for_recoveries(&app, &epochs).await;
        };
        lost += round(&shop, &sale, &mut random, true, fault).await;
        wait_for_replicas(cluster).await;
    }
    println!("{lost} acknowledged orders and coupons were lost in {} failovers", plan.rounds);
    drop(shop);
    app.finish().await;
}

/// The same where there are no replicas, and the server comes back with its data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_outlives_a_restart() {
    let plan = Plan::read();
    let mut cluster = start_cluster(false).await;
    let app = start_on(&cluster).await;
    let shop = Shop::open(&app, plan.buyers).await;
    let mut lost = 0;
    for (number, mut random) in plan.rounds("restart") {
        let sale = shop.list(number, UNITS, plan.buyers).await;
        let victim = if number % 2 == 0 { home(&sale) } else { CellId(random.random_range(0..CELLS)) };
        let at = random.random_range(0..plan.buyers * 2 / 3);
        let away = Duration::from_millis(random.random_range(0..2_500));
        let cluster = &mut cluster;
        let fault = async |answered: &Answered| {
            answered.reach(at).await;
            let dead = server_of(&app, cluster, victim);
            let epochs = epochs_of(&app, &cells_on(&app, cluster, dead)).await;
            println!(
                "server {dead} is killed after {at} answers, for {away:?}, with cells {:?}",
                epochs.keys()
            );
            cluster.servers[dead].kill().await;
            tokio::time::sleep(away).await;
            cluster.servers[dead].restart().await.unwrap();
            wait_for_recoveries(&app, &epochs).await;
        };
        lost += round(&shop, &sale, &mut random, true, fault).await;
    }
    println!("{lost} acknowledged orders and coupons were lost in {} restarts", plan.rounds);
    drop(shop);
    app.finish().await;
}

/// Goal: slots that move during the sale, the product's home among them, change nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_goes_on_while_slots_move() {
    let plan = Plan::read();
    let cluster = start_cluster(false).await;
    let app = start_on(&cluster).await;
    let shop = Shop::open(&app, plan.buyers).await;
    let mut moves = 0;
    for (number, mut random) in plan.rounds("moves") {
        let sale = shop.list(number, UNITS, plan.buyers).await;
        let (mut choice, buyers) = (StdRng::seed_from_u64(random.next_u64()), plan.buyers);
        let fault = async |answered: &Answered| {
            let mut moved = 0;
            answered.reach(choice.random_range(0..buyers / 4)).await;
            while moved < MOVES_MIN || answered.count() < buyers {
                let cell = if moved % 3 == 0 { home(&sale) } else { CellId(choice.random_range(0..CELLS)) };
                let to = (server_of(&app, &cluster, cell) + choice.random_range(1..3)) % 3;
                let to = Address { host: "127.0.0.1".to_owned(), port: cluster.servers[to].port() };
                move_cell(&app.connections().worker(), cell, &to, &Silent).await.unwrap();
                moved += 1;
            }
            println!("{moved} moves");
            moves += moved;
        };
        round(&shop, &sale, &mut random, false, fault).await;
    }
    println!("{moves} moves in {} rounds", plan.rounds);
    drop(shop);
    app.finish().await;
}

async fn epochs_of(app: &TestApp, cells: &[CellId]) -> BTreeMap<CellId, u64> {
    let mut epochs = BTreeMap::new();
    for cell in cells {
        epochs.insert(*cell, epoch(app, *cell).await);
    }
    epochs
}

async fn wait_for_recoveries(app: &TestApp, before: &BTreeMap<CellId, u64>) {
    for (cell, before) in before {
        eventually!(epoch(app, *cell).await > *before);
    }
}

/// Waits until each server that has slots has a replica again that is in step: else nobody could take the next one's place.
async fn wait_for_replicas(cluster: &PrivateCluster) {
    for server in 0..cluster.servers.len() {
        eventually!(cluster.ask::<redis::InfoDict>(server, &["INFO", "replication"]).await.is_ok_and(|it| {
            let told = |key: &str| it.get::<String>(key).unwrap_or_default();
            match told("role").as_str() {
                "slave" => told("master_link_status") == "up",
                _ => told("connected_slaves") == "1" && told("slave0").contains("state=online"),
            }
        }));
    }
    eventually!(cluster.ask::<String>(0, &["CLUSTER", "NODES"]).await.is_ok_and(|it| !it.contains("fail")));
}
