//! One run of the generator, and what the watched processes used meanwhile.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;
use firstcome::dev::reaper;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::generator::{BEGIN, END, Plan, Report};
use crate::process::{CpuTimes, Watched};

/// What a load came to.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    #[serde(flatten)]
    pub report: Report,
    /// Microseconds of the processor for each answer, by process.
    pub cpu_us: Vec<(&'static str, f64)>,
}

impl Load {
    /// Right answers a second.
    pub fn per_second(&self) -> f64 {
        self.report.right as f64 / self.report.seconds.max(f64::MIN_POSITIVE)
    }

    /// Microseconds of the processor for each answer, in all processes.
    pub fn cpu_us_in_all(&self) -> f64 {
        self.cpu_us.iter().map(|it| it.1).sum()
    }

    pub fn cpu_us_of(&self, process: &str) -> f64 {
        self.cpu_us.iter().find(|it| it.0 == process).map_or(0.0, |it| it.1)
    }

    /// What was wrong with the answers; none: each was what it must be.
    pub fn complaint(&self) -> Option<String> {
        let Report { wrong_in_all, broken_in_all, first_wrong, first_broken, right, .. } = &self.report;
        if *wrong_in_all > 0 {
            let first = first_wrong.as_deref().unwrap_or_default();
            return Some(format!("{wrong_in_all} wrong answers, the first: {first}"));
        }
        if *broken_in_all > 0 {
            let first = first_broken.as_deref().unwrap_or_default();
            return Some(format!("{broken_in_all} broken connections, the first: {first}"));
        }
        (*right == 0).then(|| "no right answer".to_owned())
    }
}

/// Starts a generator and waits for its report.
pub async fn run(plan: &Plan, watched: &[Watched]) -> anyhow::Result<Load> {
    run_beside(plan, watched, async || {}).await
}

/// The same; `meanwhile` is called when the time that counts begins, and ends with it at the latest.
pub async fn run_beside(
    plan: &Plan,
    watched: &[Watched],
    meanwhile: impl AsyncFnOnce(),
) -> anyhow::Result<Load> {
    let mut child = Command::new(this_program()?)
        .arg("generate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the generator")?;
    if let (Some(reaper), Some(pid)) = (reaper::installed(), child.id()) {
        reaper.watch(pid)?;
    }
    let pid = child.id();
    let mut input = child.stdin.take().context("a pipe")?;
    input.write_all(&serde_json::to_vec(plan)?).await?;
    drop(input);
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let mut line = async || lines.next_line().await?.context("the generator ended early");

    anyhow::ensure!(line().await? == BEGIN, "the generator begins");
    let before = CpuTimes::of(watched);
    let end = {
        let end = line();
        tokio::pin!(end);
        tokio::select! {
            end = &mut end => end,
            () = meanwhile() => end.await,
        }?
    };
    anyhow::ensure!(end == END, "the generator ends");
    let after = CpuTimes::of(watched);
    let report: Report = serde_json::from_str(&line().await?)?;
    child.wait().await?;
    if let (Some(reaper), Some(pid)) = (reaper::installed(), pid) {
        reaper.forget(pid)?;
    }
    let mut cpu_us = after.per_thing_since(&before, report.answers);
    cpu_us.push(("generator", report.cpu_us_per_answer));
    Ok(Load { report, cpu_us })
}

/// The program that runs; it is the generator and the responders too.
pub fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("the path of this program")
}
