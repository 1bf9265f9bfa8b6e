//! One server as a child process: its start, its readiness, its end.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::time::sleep;

use crate::dev::{
    data_folder, reaper,
    server_error::{ServerError, log_tail},
};

/// How long a server may take until it answers its clients, first initialisation apart.
pub const START_DEADLINE: Duration = Duration::from_secs(120);
/// How often a starting or stopping server is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How often a running server is looked at, to notice that it died.
const WATCH_POLL: Duration = Duration::from_millis(100);

/// A child process with a process group of its own, stdin empty, and its output in
/// `<data_dir>/<server>.log`. Dropping it kills it.
///
/// It does not depend on the Tokio runtime that started it: tests of several runtimes can share
/// one server.
#[derive(Debug)]
pub struct ServerProcess {
    server: &'static str,
    child: Child,
    exit: Option<ExitStatus>,
    data_dir: PathBuf,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `command` as `server`, once a server of that name has left `data_dir`.
    ///
    /// # Errors
    /// When another process still uses the folder after 5 seconds, or the program does not run.
    pub async fn spawn(
        server: &'static str,
        command: &mut Command,
        data_dir: &Path,
    ) -> Result<Self, ServerError> {
        data_folder::create_for(server, data_dir)?;
        data_folder::wait_until_left(server, data_dir).await?;

        let log = data_dir.join(format!("{server}.log"));
        let open_log = || {
            let file = File::options().create(true).append(true).open(&log);
            file.map_err(data_folder::io_error(server, "cannot write", &log))
        };
        let (stdout, stderr) = (open_log()?, open_log()?);
        command
            .current_dir(data_dir)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C goes to the terminal's process group: the engine drains first and then stops
            // its servers itself.
            .process_group(0)
            // Left from a systemd unit, these would have the server report to the engine's unit
            // and take over its sockets.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID");
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(data_folder::io_error(server, "cannot run", &program))?;

        let pid = child.id();
        if let Some(reaper) = reaper::installed()
            && let Err(error) = reaper.watch(pid)
        {
            tracing::warn!(server, pid, %error, "the reaper is gone: kill -9 would leave orphans");
        }
        // From here on a drop kills the child.
        let process = Self { server, child, exit: None, data_dir: data_dir.to_path_buf(), log };
        data_folder::enter(server, data_dir, pid)?;
        Ok(process)
    }

    /// Asks `probe` until it answers `Ok`, which it must do within two minutes.
    ///
    /// # Errors
    /// When the server ends first, or is not ready in time; both quote the end of its log.
    pub async fn wait_until_ready(
        &mut self,
        probe: impl AsyncFn() -> io::Result<()>,
    ) -> Result<(), ServerError> {
        let began = Instant::now();
        loop {
            let answer = tokio::time::timeout(Duration::from_secs(2), probe())
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            // Asked after the probe: it may have been a stranger on the port that answered.
            if let Some(status) = self.has_exited() {
                return Err(self.ended(status));
            }
            match answer {
                Ok(()) => return Ok(()),
                Err(last_answer) if began.elapsed() >= START_DEADLINE => {
                    return Err(ServerError::NotReady {
                        server: self.server,
                        waited_s: began.elapsed().as_secs(),
                        last_answer: last_answer.to_string(),
                        log: self.log.clone(),
                        tail: log_tail(&self.log),
                    });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Waits for a program that is to end by itself with success, such as an initialisation.
    ///
    /// # Errors
    /// When it ends with anything else; quotes the end of its log.
    pub async fn wait_success(&mut self) -> Result<(), ServerError> {
        let status = self.wait_exit().await;
        if status.success() { Ok(()) } else { Err(self.ended(status)) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How the process ended, or `None` while it runs.
    pub fn has_exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.note_exit(status);
        }
        self.exit
    }

    /// Waits until the process ends. Safe to drop and to call again.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.has_exited() {
                return status;
            }
            sleep(WATCH_POLL).await;
        }
    }

    /// Kills the process and its group with SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.has_exited() {
                return status;
            }
            reaper::kill_with_group(self.pid());
            sleep(POLL).await;
        }
    }

    /// Asks the process to end with SIGTERM; after `grace` it is killed.
    pub async fn stop(&mut self, grace: Duration) -> ExitStatus {
        let began = Instant::now();
        if self.has_exited().is_none()
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        while began.elapsed() < grace {
            if let Some(status) = self.has_exited() {
                return status;
            }
            sleep(POLL).await;
        }
        tracing::warn!(server = self.server, pid = self.pid(), "did not stop in time, killing it");
        self.kill().await
    }

    /// Its exit was collected, so its pid may belong to a stranger from now on.
    fn note_exit(&mut self, status: ExitStatus) {
        self.exit = Some(status);
        if let Some(reaper) = reaper::installed() {
            let _ = reaper.forget(self.pid());
        }
        data_folder::leave(self.server, &self.data_dir);
    }

    fn ended(&self, status: ExitStatus) -> ServerError {
        let (server, log, tail) = (self.server, self.log.clone(), log_tail(&self.log));
        ServerError::Ended { server, status, log, tail }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.has_exited().is_none() {
            reaper::kill_with_group(self.pid());
            if let Ok(status) = self.child.wait() {
                self.note_exit(status);
            }
        }
    }
}
