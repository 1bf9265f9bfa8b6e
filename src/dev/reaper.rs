//! The reaper: a tiny process that kills the private servers when the engine was killed.
//!
//! The engine holds the write end of a pipe to the reaper. However the engine ends, `kill -9`
//! included, the kernel closes that end; the reaper reads the end of the file, kills every
//! process that it still watches, and exits. `PR_SET_PDEATHSIG` would not do: it fires when the
//! *thread* that spawned the child ends, and Tokio's threads come and go.
//!
//! Where there is no `/proc` the reaper watches nothing, since it could not tell a server from a
//! stranger that got its pid later.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// The hidden sub command of `firstcome` that calls [`run`].
pub const SUB_COMMAND: &str = "reaper";

/// What the reaper writes once signals can no longer end it.
const READY: &str = "ready";

static INSTALLED: OnceLock<Reaper> = OnceLock::new();

/// The engine's side of the reaper process.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    /// `None` only while the reaper is being dropped.
    stdin: Option<Mutex<ChildStdin>>,
}

/// Starts the reaper of this process, once; every private server is then watched by it.
///
/// `firstcome_exe` is a program that calls [`run`] when its only argument is `reaper`.
///
/// # Errors
/// When that program does not run, or is not a reaper.
pub fn install(firstcome_exe: &Path) -> io::Result<()> {
    if INSTALLED.get().is_none() {
        // When two threads race, the reaper that lost has nothing to watch and leaves on its drop.
        let _ = INSTALLED.set(Reaper::spawn(firstcome_exe)?);
    }
    Ok(())
}

/// The reaper of this process, when it is installed.
pub fn installed() -> Option<&'static Reaper> {
    INSTALLED.get()
}

impl Reaper {
    /// Starts a reaper and waits until it has left the engine's session and ignores signals.
    ///
    /// # Errors
    /// When `firstcome_exe` does not run, or is not a reaper.
    pub fn spawn(firstcome_exe: &Path) -> io::Result<Self> {
        let mut child = Command::new(firstcome_exe)
            .arg(SUB_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().map(Mutex::new);
        let mut first_line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut first_line)?;
        }
        // From here on a drop closes the pipe and waits, so a wrong program leaves no zombie.
        let reaper = Self { child, stdin };
        if first_line.trim_end() == READY {
            Ok(reaper)
        } else {
            Err(io::Error::other(format!("{} is not a reaper", firstcome_exe.display())))
        }
    }

    /// Has `pid`, and its process group if it leads one, killed when the engine dies. To be
    /// called at once after the spawn. A process that is gone already is not watched.
    ///
    /// # Errors
    /// When the reaper itself is gone.
    pub fn watch(&self, pid: u32) -> io::Result<()> {
        match start_time_ticks(pid) {
            Some(start_time_ticks) => self.tell(&format!("watch {pid} {start_time_ticks}\n")),
            None => Ok(()),
        }
    }

    /// Takes `pid` off the list, because its exit was collected.
    ///
    /// # Errors
    /// When the reaper itself is gone.
    pub fn forget(&self, pid: u32) -> io::Result<()> {
        self.tell(&format!("forget {pid}\n"))
    }

    /// The reaper's own process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One write per line, so that a line is either in the pipe or not.
    fn tell(&self, line: &str) -> io::Result<()> {
        match &self.stdin {
            Some(stdin) => stdin.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The reaper process: reads `watch PID START_TIME` and `forget PID` from its stdin until that
/// ends, then kills what is still watched. Never returns.
pub fn run() -> ! {
    // Out of the engine's session, so that neither its terminal nor a signal to its process
    // group reaches the reaper. It fails only for a process that leads a group already.
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _context = runtime.as_ref().map(tokio::runtime::Runtime::enter);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // Once registered, Tokio's handler stays: the signal no longer ends the process. That
        // nobody listens to it is the point.
        let _ = signal(kind);
    }
    let _ = writeln!(io::stdout(), "{READY}");

    let mut watched = HashMap::new();
    for line in io::stdin().lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        let verb = words.next();
        let pid = words.next().and_then(|word| word.parse::<u32>().ok());
        let start_time_ticks = words.next().and_then(|word| word.parse::<u64>().ok());
        match (verb, pid, start_time_ticks) {
            (Some("watch"), Some(pid), Some(ticks)) => drop(watched.insert(pid, ticks)),
            (Some("forget"), Some(pid), None) => drop(watched.remove(&pid)),
            _ => {}
        }
    }
    for (pid, ticks) in watched {
        if start_time_ticks(pid) == Some(ticks) {
            kill_with_group(pid);
        }
    }
    std::process::exit(0)
}

/// When the process started, in clock ticks since boot: together with the pid it names one
/// process for ever. `None` when there is no such process, or no `/proc`, or only a zombie, which
/// has released all that it had; in a container whose first process collects no exits it stays.
pub(crate) fn start_time_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may hold spaces and brackets. The
    // state follows as field 3; the start time is field 22.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// Sends SIGKILL to a process and to the process group that it leads, if it leads one.
pub(crate) fn kill_with_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_belongs_to_a_living_process() {
        assert!(start_time_ticks(std::process::id()).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time_ticks(u32::MAX), None);
    }

    #[test]
    fn a_program_that_is_no_reaper_is_refused() {
        assert!(Reaper::spawn(Path::new("/bin/true")).is_err());
    }
}
