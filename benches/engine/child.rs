//! A program of ours as a child process: a node of the engine, a responder, the alternative.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use firstcome::dev::reaper;
use rustix::process::{Pid, Signal, kill_process};

/// How long it may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with this value, and with the run, however that ends.
pub struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    pub fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
        let running = Self { name, child };
        if let Some(reaper) = reaper::installed() {
            reaper.watch(running.pid())?;
        }
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until this URL answers with success.
    pub async fn wait_until_ready(&mut self, url: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        while !reqwest::get(url).await.is_ok_and(|it| it.status().is_success()) {
            if let Some(status) = self.ended()? {
                bail!("{} ended: {status}", self.name);
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "{} is not ready in time", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGTERM, and gone.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let began = Instant::now();
        while self.ended()?.is_none() {
            anyhow::ensure!(began.elapsed() < PATIENCE, "{} does not stop", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reaper) = reaper::installed() {
            let _ = reaper.forget(self.child.id());
        }
    }
}
