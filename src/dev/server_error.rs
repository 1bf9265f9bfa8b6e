//! Why a private server did not start, with the end of its log.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::ExitStatus,
};

/// How much of a log an error quotes.
const LOG_TAIL_LINES: usize = 15;
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// Why a private server is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{server}: {what} {}: {source}", path.display())]
    Io { server: &'static str, what: &'static str, path: PathBuf, source: io::Error },
    #[error("{server}: {missing} was not found beside {} nor in PATH", near.display())]
    NoProgram { server: &'static str, missing: &'static str, near: PathBuf },
    #[error("redis cluster: {what}: {reason}")]
    Cluster { what: String, reason: String },
    #[error("{server}: the data folder is in use by process {pid}; end that one first")]
    InUse { server: &'static str, pid: u32 },
    #[error("{server} ended while it was starting ({status}); the end of {}:\n{tail}", log.display())]
    Ended { server: &'static str, status: ExitStatus, log: PathBuf, tail: String },
    #[error(
        "{server} was not ready after {waited_s} s ({last_answer}); the end of {}:\n{tail}",
        log.display()
    )]
    NotReady { server: &'static str, waited_s: u64, last_answer: String, log: PathBuf, tail: String },
}

/// The last lines of a log file, or why they cannot be read.
pub(super) fn log_tail(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length_bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(length_bytes.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => {
            let text = String::from_utf8_lossy(&end);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("(unreadable: {error})"),
    }
}
