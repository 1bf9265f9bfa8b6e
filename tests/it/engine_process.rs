//! The engine as a process of its own, for tests that kill it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use firstcome::config::Settings;

/// `firstcome serve` on a fixed port.
pub struct EngineProcess {
    child: Child,
}

impl EngineProcess {
    pub fn start(settings: &Settings, role: &str) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_firstcome")), settings, role)
    }

    /// The same with the program of another release.
    pub fn start_program(program: &Path, settings: &Settings, role: &str) -> Self {
        let child = Command::new(program)
            .args(["serve", "--role", role])
            .env("FIRSTCOME_LISTEN", settings.listen.to_string())
            .env("FIRSTCOME_REDIS_URL", settings.redis_url.expose())
            .env("FIRSTCOME_MYSQL_URL", settings.mysql_url.expose())
            .env("FIRSTCOME_AMQP_URL", settings.amqp_url.expose())
            .env("FIRSTCOME_AMQP_EXCHANGE", &settings.amqp_exchange)
            .env("FIRSTCOME_AMQP_QUEUE", &settings.amqp_queue)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()))
            .stdin(Stdio::null())
            .spawn()
            .expect("the engine starts");
        if let Some(reaper) = firstcome::dev::reaper::installed() {
            reaper.watch(child.id()).unwrap();
        }
        Self { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; true when it then ended with success.
    pub async fn terminate(&mut self) -> bool {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
