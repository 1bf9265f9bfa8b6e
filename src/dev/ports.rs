//! Loopback ports for private servers: free, the same at every start, and never a standard one.

use std::{
    collections::HashSet,
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use crate::dev::data_folder;

/// Where ports are taken from. It ends below 32,768, where Linux starts to give ports to outgoing
/// connections: one of those could sit on a remembered port while its server is down.
const RANGE: Range<u16> = 20_000..32_000;

/// Ports of that range at which people expect a well-known server: RabbitMQ's distribution, Redis
/// Sentinel and MongoDB.
const STANDARD: [u16; 3] = [25_672, 26_379, 27_017];

/// How long a remembered port may still be held by a server of a killed engine.
const HANDOVER_MS: u64 = 3_000;

/// Ports given out by this process, so that two servers about to start never get the same one.
static GIVEN_OUT: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// The port that `name` had in `data_dir` at its last start, if it is free; else a new one, which
/// is remembered there as `name.port`. Creates `data_dir`.
///
/// Waits up to 3 seconds for the old port, because the server of an engine that was killed a
/// moment ago may be still on its way out.
///
/// # Errors
/// When the folder cannot be written, or no port is free.
pub async fn remembered(data_dir: &Path, name: &str) -> io::Result<u16> {
    data_folder::create_private(data_dir)?;
    let note = data_dir.join(format!("{name}.port"));
    let last = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(port) = last.filter(|port| is_allowed(*port)) {
        for _ in 0..HANDOVER_MS / 100 {
            if is_free(port) {
                given_out().insert(port);
                return Ok(port);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let port = free()?;
    fs::write(&note, format!("{port}\n"))?;
    Ok(port)
}

/// A free loopback port that this process has not given out before.
///
/// # Errors
/// When 1,000 random ports of the range are all taken.
pub fn free() -> io::Result<u16> {
    for attempt in 0..1_000 {
        // A RandomState is seeded afresh each time; that is random enough to spread test runs.
        let random = RandomState::new().hash_one(attempt);
        let width = u64::from(RANGE.end - RANGE.start);
        let port = RANGE.start + u16::try_from(random % width).unwrap_or(0);
        if is_allowed(port) && is_free(port) && given_out().insert(port) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free loopback port was found"))
}

fn is_allowed(port: u16) -> bool {
    RANGE.contains(&port) && !STANDARD.contains(&port)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn given_out() -> std::sync::MutexGuard<'static, HashSet<u16>> {
    GIVEN_OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_is_remembered_while_it_is_free_and_replaced_when_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = remembered(folder.path(), "redis").await.unwrap();
        assert_eq!(remembered(folder.path(), "redis").await.unwrap(), first);
        assert_ne!(remembered(folder.path(), "mysql").await.unwrap(), first);

        let _squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let second = remembered(folder.path(), "redis").await.unwrap();
        assert_ne!(second, first);
        assert_eq!(remembered(folder.path(), "redis").await.unwrap(), second);
    }
}
