//! The folder in which a private server keeps its data, and who uses it at the moment.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::dev::{reaper::start_time_ticks, server_error::ServerError};

/// How long a server of a killed engine may take to leave its data folder.
const HANDOVER_DEADLINE: Duration = Duration::from_secs(5);
const HANDOVER_POLL: Duration = Duration::from_millis(20);

/// The path from the root: servers choose a working directory of their own.
pub fn absolute(server: &'static str, path: &Path) -> Result<PathBuf, ServerError> {
    std::path::absolute(path).map_err(io_error(server, "cannot resolve", path))
}

/// Creates a folder that only its owner can read, because these servers ask for no password. One
/// that exists is left as it is: it may be anybody's.
pub fn create_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// [`create_private`], with an error that names the server.
pub fn create_for(server: &'static str, folder: &Path) -> Result<(), ServerError> {
    create_private(folder).map_err(io_error(server, "cannot create", folder))
}

/// Writes one of the small files that a server is started with.
pub fn write(server: &'static str, file: &Path, text: &str) -> Result<(), ServerError> {
    fs::write(file, text).map_err(io_error(server, "cannot write", file))
}

/// Where the pid and the start time of a running server are noted.
fn note(server: &'static str, data_dir: &Path) -> PathBuf {
    data_dir.join(format!("{server}.process"))
}

/// Notes who uses the folder now.
pub fn enter(server: &'static str, data_dir: &Path, pid: u32) -> Result<(), ServerError> {
    match start_time_ticks(pid) {
        Some(ticks) => write(server, &note(server, data_dir), &format!("{pid} {ticks}\n")),
        None => Ok(()),
    }
}

/// Notes that nobody uses the folder any longer.
pub fn leave(server: &'static str, data_dir: &Path) {
    let _ = fs::remove_file(note(server, data_dir));
}

/// Waits until the last user of the folder is gone: the server of an engine that was killed is
/// just being killed by its reaper. Two servers on one folder would ruin it.
///
/// # Errors
/// When that process still runs after 5 seconds.
pub async fn wait_until_left(server: &'static str, data_dir: &Path) -> Result<(), ServerError> {
    let began = Instant::now();
    let text = fs::read_to_string(note(server, data_dir)).unwrap_or_default();
    let Some((pid, ticks)) = text.trim().split_once(' ') else {
        return Ok(());
    };
    let (Ok(pid), Ok(ticks)) = (pid.parse::<u32>(), ticks.parse::<u64>()) else {
        return Ok(());
    };
    while start_time_ticks(pid) == Some(ticks) {
        if began.elapsed() >= HANDOVER_DEADLINE {
            return Err(ServerError::InUse { server, pid });
        }
        sleep(HANDOVER_POLL).await;
    }
    Ok(())
}

/// Turns an I/O error into one that names the server, the deed and the path.
pub fn io_error(
    server: &'static str,
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ServerError + use<> {
    let path = path.to_path_buf();
    move |source| ServerError::Io { server, what, path, source }
}
