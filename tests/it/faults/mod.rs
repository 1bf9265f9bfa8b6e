//! Faults at random moments, on real processes. The promise, whatever fails and in whatever order:
//!
//! - what a client was told is persisted is in MySQL, exactly once;
//! - what a client was told at all is there exactly once, or lies in a range that the engine reports as lost
//!   (but where every node that told it died before its note was written, which is the one stated exception);
//! - what was refused has no effect, and nothing happens that nobody was told of;
//! - every paid order is published, under one message id;
//! - Redis, MySQL and the books agree afterwards: `firstcome audit` finds nothing.
//!
//! Clients shop (`shop.rs`) and write down what they are told (`ledger.rs`), while faults of a seeded schedule
//! (`plan.rs`) happen to the world of a run (`stage.rs`); `checks.rs` then compares the ledger with MySQL and
//! RabbitMQ. The short form runs with all other tests; `make test-faults` runs more. docs/reliability.md has
//! figures.

mod checks;
mod effects;
mod engine_faults;
mod figures;
mod ledger;
mod mysql_faults;
mod nodes;
mod plan;
pub mod proxy;
mod rabbitmq_faults;
mod redis_faults;
mod replica_faults;
mod run;
mod servers;
mod shop;
mod sleepers;
mod stage;

use std::str::FromStr;

use serde_json::json;

use figures::Figures;
use plan::{Kind, Order};
use servers::Servers;

const SEED: u64 = 20_261_121;

/// A setting from the environment.
fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which it cannot be")))
}

async fn carry_out(order: Order) {
    println!(
        "FIRSTCOME_FAULTS_SEED={} FIRSTCOME_FAULTS_ROUNDS={} ({} kinds)",
        order.seed,
        order.rounds,
        order.kinds.len()
    );
    let began = std::time::Instant::now();
    let (mut servers, mut figures) = (Servers::start().await, Figures::default());
    let kinds: Vec<&str> = order.kinds.iter().map(|it| it.name()).collect();
    let about = |rounds_done: usize| {
        json!({
            "seed": order.seed, "rounds": order.rounds, "roundsDone": rounds_done, "kinds": kinds,
            "patient": order.patient, "seconds": began.elapsed().as_secs()
        })
    };
    let mut rounds_done = 0;
    for plan in order.plan() {
        let rounds = plan.faults.len();
        run::run(&mut servers, &mut figures, plan).await;
        rounds_done += rounds;
        // What was found so far outlives a run that fails.
        figures.write(&about(rounds_done));
    }
    figures.report(&about(rounds_done));
    assert!(figures.broken.is_empty(), "seed {}: {:#?}", order.seed, figures.broken);
}

/// The short form: most kinds once or twice. Those that take their time are left to the longer forms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_few_faults() {
    let seed = from_environment("FIRSTCOME_FAULTS_SEED").unwrap_or(SEED);
    // What `aof-cut-open` shows has a test of its own, `what_was_cut_off_stays_gone`.
    let slow = [Kind::RabbitmqKill, Kind::RabbitmqAlarm, Kind::RabbitmqFull, Kind::Zombie, Kind::AofCutOpen];
    let kinds = Kind::ALL.iter().copied().filter(|it| !slow.contains(it)).collect();
    carry_out(Order { seed, rounds: 28, rounds_per_run: 7, kinds, evenly: true, patient: false }).await;
}

/// The form that the environment asks for: `make test-faults`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes; `make test-faults` runs it"]
async fn what_was_acknowledged_survives_faults() {
    let kinds = match std::env::var("FIRSTCOME_FAULTS_KINDS") {
        Ok(names) if !names.is_empty() => {
            names.split(',').map(|it| it.trim().parse().unwrap_or_else(|error| panic!("{error}"))).collect()
        }
        Ok(_) | Err(_) => Kind::ALL.to_vec(),
    };
    carry_out(Order {
        seed: from_environment("FIRSTCOME_FAULTS_SEED").unwrap_or_else(rand::random),
        rounds: from_environment("FIRSTCOME_FAULTS_ROUNDS").unwrap_or(120),
        rounds_per_run: 15,
        kinds,
        evenly: false,
        patient: from_environment::<u8>("FIRSTCOME_FAULTS_PATIENT").unwrap_or(0) == 1,
    })
    .await;
}
