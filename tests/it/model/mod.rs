//! Promise: the scripts keep the rules, whatever is asked in whatever order. Random sequences of all operations run on
//! the real scripts and on a model of the rules in plain Rust; answers, events and, at the end, every key are the same.

mod catalogue;
mod expected_keys;
mod fixed;
mod generate;
pub mod mutants;
mod operations;
mod orders;
pub mod outcomes;
mod payments;
mod picks;
pub mod proxy;
mod requests;
mod rules;
mod run;
mod sales;
pub mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};
use tokio::runtime::Runtime;

use generate::sequence;
use operations::Operation;
use outcomes::{Seen, wanted};
use run::Run;
use world::World;

/// Sequences of a run, unless `FIRSTCOME_MODEL_SEQUENCES` says otherwise.
const SEQUENCES: u32 = 2_400;

/// Least steps of a sequence.
const STEPS_MIN: u64 = 30;

/// How often each outcome must be seen among [`SEQUENCES`].
const SEEN_MIN: u64 = 20;

/// Redis servers at once.
const WORLDS: u32 = 4;

/// Sequences that once failed: they run first. Each line is a seed that a failure has printed.
const REGRESSIONS: &str = "tests/it/model/regressions.txt";

/// What a number of sequences came to.
#[derive(Debug, Default)]
struct Tally {
    sequences: u64,
    steps: u64,
    seen: Seen,
}

/// Runs sequences on one world; the first that fails is shrunk.
fn run_sequences(world: &World, runtime: &Runtime, mut runner: TestRunner) -> (Tally, Result<(), String>) {
    let tally = RefCell::new(Tally::default());
    let test = |operations: Vec<Operation>| -> Result<(), TestCaseError> {
        world.outcomes.take();
        let run = Run::all(world, &operations);
        let seen = metrics::with_local_recorder(&world.outcomes, || runtime.block_on(run))?;
        let mut tally = tally.borrow_mut();
        tally.sequences += 1;
        tally.steps += operations.len() as u64;
        for (outcome, count) in seen {
            *tally.seen.entry(outcome).or_default() += count;
        }
        Ok(())
    };
    let result = runner.run(&sequence(), test).map_err(|error| match error {
        TestError::Fail(reason, steps) => {
            let steps: Vec<String> = steps.iter().map(|it| format!("  {it:?}")).collect();
            format!("{reason}\nThe shortest sequence found:\n{}", steps.join("\n"))
        }
        aborted @ TestError::Abort(_) => aborted.to_string(),
    });
    (tally.into_inner(), result)
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn scripts_and_model_agree_on_every_sequence() {
    let asked = std::env::var("FIRSTCOME_MODEL_SEQUENCES").ok();
    let sequences: u32 =
        asked.map_or(SEQUENCES, |it| it.parse().expect("FIRSTCOME_MODEL_SEQUENCES is a number"));
    let started = Instant::now();
    let one_world = || {
        let runtime = runtime();
        let world = runtime.block_on(World::start());
        let config = Config {
            cases: sequences.div_ceil(WORLDS),
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        run_sequences(&world, &runtime, TestRunner::new(config))
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
        all.sequences += tally.sequences;
        all.steps += tally.steps;
        for (outcome, count) in tally.seen {
            *all.seen.entry(outcome).or_default() += count;
        }
    }
    println!("{} sequences, {} steps, {:.1?}", all.sequences, all.steps, started.elapsed());
    for ((script, outcome), count) in &all.seen {
        println!("{count:8} {script} {outcome}");
    }
    assert!(all.steps >= STEPS_MIN * all.sequences);
    let needed = if sequences < SEQUENCES { 0 } else { SEEN_MIN };
    let rare: BTreeMap<_, _> = wanted()
        .map(|it| (all.seen.get(&it).copied().unwrap_or(0), it))
        .filter(|(count, _)| *count < needed)
        .map(|(count, it)| (it, count))
        .collect();
    assert!(rare.is_empty(), "too rarely seen: {rare:?}");
}
