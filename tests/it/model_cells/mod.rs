//! Promise: the scripts of several cells keep the rules, whatever is asked in whatever order and whichever cell is rebuilt. Random
//! sequences run on the real scripts and on a model in plain Rust. After each step answers, events and all that cells have
//! of a pool are the same, each unit is in one place, and no proof of "sold out" is wrong.

mod carry;
mod fixed;
mod invariants;
mod mutants;
mod mysql;
mod operations;
mod outcomes;
mod pools;
mod quota;
mod rules;
mod run;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use proptest::strategy::Strategy;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use tokio::runtime::Runtime;

use super::model::outcomes::Seen;
use super::model::runtime;
use mysql::{Database, Mysql};
use operations::{Operation, sequence};
use outcomes::wanted;
use run::{Carriers, Run};
use world::World;

/// Sequences of a run, unless `FIRSTCOME_MODEL_CELLS_SEQUENCES` says otherwise.
const SEQUENCES: u32 = 300;

/// How often each outcome must be seen among [`SEQUENCES`].
const SEEN_MIN: u64 = 20;

/// Redis servers at once.
const WORLDS: u32 = 3;

/// Sequences with a database, unless `FIRSTCOME_MODEL_CELLS_REBUILDS` says otherwise.
const REBUILDS: u32 = 5;

/// Sequences that once failed: they run first. Each line is a seed that a failure has printed.
const REGRESSIONS: &str = "tests/it/model_cells/regressions.txt";

/// What a number of sequences came to.
#[derive(Debug, Default)]
struct Tally {
    sequences: u64,
    steps: u64,
    proofs: u64,
    seen: Seen,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.steps += other.steps;
        self.proofs += other.proofs;
        for (outcome, count) in other.seen {
            *self.seen.entry(outcome).or_default() += count;
        }
    }
}

/// Runs sequences on one world; the first that fails is shrunk.
fn run_sequences(
    world: &World,
    database: Option<&Database>,
    carriers: Carriers,
    runtime: &Runtime,
    mut runner: TestRunner,
) -> (Tally, Result<(), String>) {
    let tally = RefCell::new(Tally::default());
    let test = |operations: Vec<Operation>| -> Result<(), TestCaseError> {
        world.outcomes.take();
        let mysql = async |_: &_| match database {
            Some(database) => {
                database.begin().await;
                Mysql::Real(database)
            }
            None => Mysql::Modelled,
        };
        let run = Run::all(world, mysql, carriers, &operations);
        let run = metrics::with_local_recorder(&world.outcomes, || runtime.block_on(run))?;
        let (steps, proofs, seen) = (operations.len() as u64, run.proofs, run.seen);
        tally.borrow_mut().add(Tally { sequences: 1, steps, proofs, seen });
        Ok(())
    };
    let result = runner.run(&sequence().boxed(), test).map_err(|error| match error {
        TestError::Fail(reason, steps) => {
            let steps: Vec<String> = steps.iter().map(|it| format!("  {it:?}")).collect();
            format!("{reason}\nThe shortest sequence found:\n{}", steps.join("\n"))
        }
        aborted @ TestError::Abort(_) => aborted.to_string(),
    });
    (tally.into_inner(), result)
}

/// A number out of the environment.
fn asked(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |it| it.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn scripts_of_several_cells_and_model_agree_on_every_sequence() {
    let (sequences, started) = (asked("FIRSTCOME_MODEL_CELLS_SEQUENCES", SEQUENCES), Instant::now());
    let one_world = || {
        let runtime = runtime();
        let world = runtime.block_on(World::start());
        let config = Config {
            cases: sequences.div_ceil(WORLDS),
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            max_shrink_iters: 2_000,
            ..Config::default()
        };
        run_sequences(&world, None, Carriers::KeepTheRules, &runtime, TestRunner::new(config))
    };
    let done: Vec<_> = std::thread::scope(|threads| {
        let worlds: Vec<_> = (0..WORLDS).map(|_| threads.spawn(one_world)).collect();
        worlds.into_iter().map(|it| it.join().expect("a failure is a result")).collect()
    });
    let mut all = Tally::default();
    for (tally, result) in done {
        if let Err(failure) = result {
            panic!("{failure}");
        }
        all.add(tally);
    }
    println!(
        "{} sequences, {} steps, {} proofs, {:.1?}",
        all.sequences,
        all.steps,
        all.proofs,
        started.elapsed()
    );
    for ((script, outcome), count) in &all.seen {
        println!("{count:8} {script} {outcome}");
    }
    let needed = if sequences < SEQUENCES { 0 } else { SEEN_MIN };
    let rare: BTreeMap<_, _> = wanted()
        .map(|it| (all.seen.get(&it).copied().unwrap_or(0), it))
        .filter(|(count, _)| *count < needed)
        .map(|(count, it)| (it, count))
        .collect();
    assert!(rare.is_empty(), "too rarely seen: {rare:?}");
    assert!(all.proofs >= needed, "{} proofs", all.proofs);
}

/// The same with a real database, worker and rebuilds: what the other sequences take for a rebuild is one.
#[test]
fn a_rebuild_brings_back_what_the_model_says() {
    let started = Instant::now();
    let runtime = runtime();
    let world = runtime.block_on(World::start());
    let database = runtime.block_on(Database::start(world.redis_url()));
    let config = Config {
        cases: asked("FIRSTCOME_MODEL_CELLS_REBUILDS", REBUILDS),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 100,
        ..Config::default()
    };
    let (tally, result) =
        run_sequences(&world, Some(&database), Carriers::KeepTheRules, &runtime, TestRunner::new(config));
    println!("{} sequences, {} steps, {:.1?}", tally.sequences, tally.steps, started.elapsed());
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Always the same sequences: what they find is found in every run or in none.
fn always_the_same(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}
