//! Engine processes, each with a log of its own, in one life after another.

use std::fs::File;
use std::path::PathBuf;

use firstcome::config::Settings;

use crate::engine_process::EngineProcess;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    All,
    Api,
    Worker,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }

    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    pub fn works(self) -> bool {
        self != Self::Api
    }
}

/// One node of the engine.
pub struct Node {
    pub role: Role,
    /// Its place among those that serve the API.
    pub door: Option<usize>,
    settings: Settings,
    pub log: PathBuf,
    pub process: EngineProcess,
    lives: usize,
}

impl Node {
    pub fn start(role: Role, door: Option<usize>, settings: Settings, log: PathBuf) -> Self {
        let process = launch(role, &settings, &log);
        Self { role, door, settings, log, process, lives: 1 }
    }

    /// A new life, after a kill.
    pub fn start_again(&mut self) {
        self.lives += 1;
        self.process = launch(self.role, &self.settings, &self.log);
    }

    /// Again, after a start that did not come to its end: the same life.
    pub fn start_again_after_vain_start(&mut self) {
        self.process = launch(self.role, &self.settings, &self.log);
    }

    /// Whether it has reached its servers in this life and does its work.
    pub fn is_up(&self) -> bool {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let begun =
            |it: &&str| it.contains("firstcome::cli: serving") || it.contains("firstcome::cli: working");
        text.lines().filter(begun).count() >= self.lives
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

fn launch(role: Role, settings: &Settings, log: &PathBuf) -> EngineProcess {
    let log = File::options().create(true).append(true).open(log).unwrap();
    EngineProcess::start_with(settings, role.word(), |command| {
        command
            .env("FIRSTCOME_KEEP_EVENTS", settings.keep_events.to_string())
            .env("FIRSTCOME_BACKLOG_BOUND", settings.backlog_bound.to_string())
            .env("FIRSTCOME_PAYMENT_WINDOW_MS", settings.payment_window_ms.to_string())
            .env("FIRSTCOME_PUBLISH_TIMEOUT_MS", settings.publish_timeout_ms.to_string())
            .env("FIRSTCOME_PERSIST_WAIT_MS", settings.persist_wait_ms.to_string())
            .env("FIRSTCOME_MYSQL_CONNECTIONS", settings.mysql_connections.to_string())
            .env("NO_COLOR", "1")
            .env("RUST_LOG", "info")
            .stderr(log);
    })
}
