//! What `make bench` is asked for, by `BENCH_*` in the environment.

use std::time::Duration;

use anyhow::{Context, bail};
use firstcome::dev;
use serde::Serialize;

use crate::cases;

/// The parts that can be chosen.
fn parts() -> impl Iterator<Item = &'static str> {
    ["unit"].into_iter().chain(cases::PARTS).chain(["alternative"])
}

/// Most users that are made; with more the audit takes longer than what it follows.
const USERS_MAX: u64 = 500_000;

#[derive(Debug, Clone, Serialize)]
pub struct BenchSettings {
    /// `BENCH_SECONDS`: how long each load lasts. Default 10.
    pub seconds: u64,
    /// `BENCH_SUSTAINED`: how long the sustained load lasts. Default 60, or `BENCH_SECONDS` where that is less than 10.
    pub sustained_seconds: u64,
    /// `BENCH_CONNECTIONS`: of the generator, and of `redis-benchmark`. Default 256.
    pub connections: usize,
    /// `BENCH_THREADS`: of each process of the engine, and of the handlers that are its yardstick. Default half the
    /// cores, because Redis and the generator need the others.
    pub threads: usize,
    /// `BENCH_USERS`: users with wallets. Default 50,000 for each second, so that nobody buys twice in one load; at
    /// most 500,000.
    pub users: u64,
    /// `BENCH_RATE`: what is offered in the sustained load. Default: it is searched for.
    pub rate: Option<u64>,
    /// `BENCH_ONLY`: names of parts with commas between them. Default all.
    pub only: Vec<String>,
    /// `BENCH_RECORD=1`: writes what the guard compares with, instead of comparing.
    pub record: bool,
}

impl BenchSettings {
    pub fn from_environment() -> anyhow::Result<Self> {
        let seconds = number("BENCH_SECONDS", 10)?;
        let sustained = if seconds < 10 { seconds } else { 60 };
        let only = text("BENCH_ONLY").unwrap_or_default();
        let only: Vec<String> =
            only.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
        if let Some(unknown) = only.iter().find(|it| !parts().any(|part| part == it.as_str())) {
            bail!("BENCH_ONLY: {unknown:?} is none of {}", parts().collect::<Vec<_>>().join(", "));
        }
        Ok(Self {
            seconds,
            sustained_seconds: number("BENCH_SUSTAINED", sustained)?,
            connections: number("BENCH_CONNECTIONS", 256)? as usize,
            threads: number("BENCH_THREADS", dev::threads() as u64)? as usize,
            users: number("BENCH_USERS", (50_000 * seconds).min(USERS_MAX))?,
            rate: text("BENCH_RATE").map(|_| number("BENCH_RATE", 1)).transpose()?,
            only,
            record: text("BENCH_RECORD").is_some_and(|it| it == "1"),
        })
    }

    pub fn wants(&self, part: &str) -> bool {
        assert!(parts().any(|it| it == part));
        self.only.is_empty() || self.only.iter().any(|it| it == part)
    }

    pub fn load_time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    let Some(text) = text(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|it| *it > 0);
    number.with_context(|| format!("{name} is {text:?}; a number above 0 is needed"))
}
