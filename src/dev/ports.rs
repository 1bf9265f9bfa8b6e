//! Loopback ports for private servers: free, the same at every start, and never a standard one.

use std::{
    collections::HashMap,
    env,
    fs::{self, File, TryLockError},
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::Path,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
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

/// How far behind its clients' port a server of a Redis Cluster listens for the others.
const BUS_OFFSET: u16 = 10_000;

/// Where ports of such servers are taken from, so that both are in [`RANGE`].
const CLUSTER_RANGE: Range<u16> = RANGE.start..RANGE.end - BUS_OFFSET;

/// Ports given out by this process, so that two servers about to start never get the same one. The locks keep other
/// processes off a port until a server sits on it, and end with this process.
static GIVEN_OUT: LazyLock<Mutex<HashMap<u16, Option<File>>>> = LazyLock::new(Mutex::default);

/// Where those locks are, in the folder for temporary files: an empty file for each port.
const LOCKS: &str = "firstcome-ports";

/// The port that `name` had in `data_dir` at its last start, if it is free; else a new one, which
/// is remembered there as `name.port`. Creates `data_dir`.
///
/// Waits up to 3 seconds for the old port, because the server of an engine that was killed a
/// moment ago may be still on its way out.
///
/// # Errors
/// When the folder cannot be written, or no port is free.
pub async fn remembered(data_dir: &Path, name: &str) -> io::Result<u16> {
    remember(data_dir, name, &[0]).await
}

/// The same for a server of a Redis Cluster: the port 10,000 above it, of the cluster bus, is free too.
///
/// # Errors
/// As of [`remembered`].
pub async fn remembered_with_bus(data_dir: &Path, name: &str) -> io::Result<u16> {
    remember(data_dir, name, &[0, BUS_OFFSET]).await
}

async fn remember(data_dir: &Path, name: &str, offsets: &[u16]) -> io::Result<u16> {
    data_folder::create_private(data_dir)?;
    let note = data_dir.join(format!("{name}.port"));
    let last = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(port) = last.filter(|port| is_allowed(*port)) {
        for _ in 0..HANDOVER_MS / 100 {
            if are_free(port, offsets) && give_out(port, offsets, Whose::Remembered) {
                return Ok(port);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let port = find(if offsets.len() == 1 { RANGE } else { CLUSTER_RANGE }, offsets)?;
    fs::write(&note, format!("{port}\n"))?;
    Ok(port)
}

/// A free loopback port that this process has not given out before.
///
/// # Errors
/// When 1,000 random ports of the range are all taken.
pub fn free() -> io::Result<u16> {
    find(RANGE, &[0])
}

/// The same for a server of a Redis Cluster; see [`remembered_with_bus`].
///
/// # Errors
/// As of [`free`].
pub fn free_with_bus() -> io::Result<u16> {
    find(CLUSTER_RANGE, &[0, BUS_OFFSET])
}

fn find(range: Range<u16>, offsets: &[u16]) -> io::Result<u16> {
    for attempt in 0..1_000 {
        // A RandomState is seeded afresh each time; that is random enough to spread test runs.
        let random = RandomState::new().hash_one(attempt);
        let width = u64::from(range.end - range.start);
        let port = range.start + u16::try_from(random % width).unwrap_or(0);
        if is_allowed(port) && are_free(port, offsets) && give_out(port, offsets, Whose::Nobodys) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free loopback port was found"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This process may have given it out before, to the same server.
    Remembered,
    Nobodys,
}

/// Notes the port and those above it as given out, all or none of them.
fn give_out(port: u16, offsets: &[u16], whose: Whose) -> bool {
    let mut given_out = given_out();
    let mut taken = Vec::new();
    for port in offsets.iter().map(|it| port + it) {
        if given_out.contains_key(&port) {
            if whose == Whose::Nobodys {
                return false;
            }
        } else {
            let Some(lock) = lock(port) else { return false };
            taken.push((port, lock));
        }
    }
    given_out.extend(taken);
    true
}

/// Locks a port against other processes; `None` when one of them has it. Without a lock where no file can be written.
fn lock(port: u16) -> Option<Option<File>> {
    let folder = env::temp_dir().join(LOCKS);
    let file = fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(port.to_string())));
    let Ok(file) = file else { return Some(None) };
    match file.try_lock() {
        Ok(()) => Some(Some(file)),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(_)) => Some(None),
    }
}

fn is_allowed(port: u16) -> bool {
    RANGE.contains(&port) && !STANDARD.contains(&port)
}

fn are_free(port: u16, offsets: &[u16]) -> bool {
    offsets.iter().all(|it| port.checked_add(*it).is_some_and(is_free))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn given_out() -> MutexGuard<'static, HashMap<u16, Option<File>>> {
    GIVEN_OUT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_of_a_cluster_has_two_ports() {
        let folder = tempfile::tempdir().unwrap();
        let first = remembered_with_bus(folder.path(), "redis").await.unwrap();
        assert!(RANGE.contains(&(first + BUS_OFFSET)) && given_out().contains_key(&(first + BUS_OFFSET)));
        assert_eq!(remembered_with_bus(folder.path(), "redis").await.unwrap(), first);
        let _squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, first + BUS_OFFSET)).unwrap();
        assert_ne!(remembered_with_bus(folder.path(), "redis").await.unwrap(), first);
    }

    #[test]
    fn a_port_that_is_given_out_is_locked() {
        let port = free().unwrap();
        let elsewhere = File::open(env::temp_dir().join(LOCKS).join(port.to_string())).unwrap();
        assert!(matches!(elsewhere.try_lock(), Err(TryLockError::WouldBlock)));
    }

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
