//! Moves a slot of a Redis Cluster, with the cells in it, to another server, while the other cells sell.
//!
//! A script that runs in a slot on the move dies where a key has left already that it does not declare. So the cells are
//! closed first, and stay closed until all is there, however the move ends: the same command again goes on with it.

use std::time::{Duration, Instant};

use super::Worker;
use super::persist::persist_or_bisect;
use super::rebuild::Progress;
use super::recover::{RecoverError, RecoverOutcome, close_as, reopen};
use crate::cell::{CellId, CellState};
use crate::config::Address;
use crate::mysql::cells;
use crate::mysql::named_lock::{KeptLock, NamedLock};
use crate::mysql::persist::{Batch, PersistError};
use crate::scripts::cluster::Cluster;
use crate::scripts::cluster::moving::Seat;
use crate::scripts::cluster::slots::slot_of_cell;
use crate::scripts::recovery::{StepError, entries_behind};

/// Events persisted at once.
const BATCH: usize = 2_000;

/// How long the cluster may take to say the same everywhere.
const AGREEMENT: Duration = Duration::from_secs(30);

/// How long a running recovery of the cell, or another move, is waited for.
const TURN: Duration = Duration::from_secs(60);

/// What a cell's row says while it moves: `moving to <host>:<port>`.
const MOVING: &str = "moving to ";

/// A move did not end. The cells that it closed stay closed.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("redis_url names one server: only a cluster has slots to move")]
    NoCluster,
    #[error("{0} is no primary of this cluster")]
    NoPrimary(Address),
    #[error("no server of the cluster has slot {0}")]
    NoOwner(u16),
    #[error("slot {slot} is on its way to {to}: `firstcome cell move {cell} --to {to}` ends that first")]
    OtherWay { slot: u16, cell: CellId, to: String },
    #[error("cell {0} is being recovered, or moved by somebody else")]
    Busy(CellId),
    #[error(
        "the log of cell {0} does not go on where MySQL stands: `firstcome cell open {0}` recovers it first"
    )]
    Gap(CellId),
    #[error("the servers of the cluster do not agree yet on who has slot {0}; run the command again")]
    NoAgreement(u16),
    #[error("{at}: {error}")]
    Redis { at: Address, error: redis::RedisError },
    #[error("redis: {0}")]
    Step(#[from] StepError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    #[error(transparent)]
    Persist(#[from] PersistError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// What a move did.
#[derive(Debug)]
pub struct Moved {
    pub slot: u16,
    pub keys: u64,
    /// The cells of the slot, and how each was opened; `None`: an operator had closed it before.
    pub cells: Vec<(CellId, Option<RecoverOutcome>)>,
}

/// Brings the slot of a cell to another primary: closes its cells, has MySQL take what their logs hold, sends the keys, and
/// opens them there.
///
/// # Errors
/// Cells that were closed stay so; the same call again goes on.
pub async fn move_cell(
    worker: &Worker,
    cell: CellId,
    to: &Address,
    progress: &dyn Progress,
) -> Result<Moved, MoveError> {
    let cluster = worker.scripts.cluster().ok_or(MoveError::NoCluster)?;
    let at = |address: &Address| {
        let at = address.clone();
        move |error| MoveError::Redis { at, error }
    };
    let slot = slot_of_cell(cell);
    cluster.refresh().await.map_err(at(to))?;
    let mut target = Seat::of(cluster, to, slot).await.map_err(at(to))?;
    let primaries = cluster.primaries();
    let owner = cluster.primary(slot).ok_or(MoveError::NoOwner(slot))?;
    // The servers know each other by other names, perhaps, than the caller does.
    let known = known_as(cluster, &owner, &target.id).await.map_err(at(&owner))?;
    let Some(to) = &known.filter(|_| target.is_primary) else { return Err(MoveError::NoPrimary(to.clone())) };
    let together: Vec<CellId> = worker.scripts.cells().all().filter(|it| slot_of_cell(*it) == slot).collect();
    // Whoever sends the slot may have given it away already, and not heard of it.
    let mut source = None;
    for address in &primaries {
        match Seat::of(cluster, address, slot).await {
            Ok(seat) if seat.id == target.id => {}
            Ok(seat) if seat.is_owner || seat.migrates_to.is_some() => source = Some(seat),
            Ok(_) => {}
            // The others can do without it, unless it is the one.
            Err(error) if *address == owner => return Err(at(address)(error)),
            Err(_) => {}
        }
    }
    if let Some(Seat { migrates_to: Some(id), .. }) = source.as_ref().filter(|it| it.is_owner)
        && *id != target.id
    {
        let other = address_of(cluster, &primaries, id, slot).await;
        return Err(MoveError::OtherWay { slot, cell, to: other });
    }

    let locks = close_all(worker, &together, to).await?;
    let mut keys = 0;
    if let Some(source) = &mut source {
        let from = source.address.clone();
        // One that is on its way has its mark, and its keys are not all here.
        let is_first = source.is_owner && source.migrates_to.is_none();
        for cell in together.iter().filter(|_| is_first) {
            persist_all(worker, *cell).await?;
            source.mark(*cell).await.map_err(at(&from))?;
        }
        if !target.is_owner {
            Seat::announce(source, &mut target, slot).await.map_err(at(&from))?;
        }
        progress.begin(source.keys_left(slot).await.map_err(at(&from))?);
        loop {
            let sent = source.send_keys(cluster, slot, &together, to).await.map_err(at(&from))?;
            if sent == 0 {
                break;
            }
            keys += sent;
            progress.advance(sent);
        }
    }
    // The new server first: until it knows, the old one is the only one that serves the slot.
    target.give(slot, &target.id.clone()).await.map_err(at(to))?;
    if let Some(source) = &mut source {
        let from = source.address.clone();
        source.give(slot, &target.id).await.map_err(at(&from))?;
    }
    for address in primaries.iter().filter(|it| *it != to) {
        let told = async { Seat::of(cluster, address, slot).await?.give(slot, &target.id).await };
        if let Err(error) = told.await {
            // It hears of it from the others.
            tracing::warn!(server = %address, slot, %error, "a server of the cluster was not told of the move");
        }
    }
    wait_until_known(cluster, slot, &target.id).await?;
    for cell in &together {
        target.unmark(*cell).await.map_err(at(to))?;
    }
    drop(locks);
    open_all(worker, slot, keys, together, progress).await
}

/// Closes the cells that are open, and keeps recoveries away from all of them until the locks are dropped.
async fn close_all(worker: &Worker, together: &[CellId], to: &Address) -> Result<Vec<KeptLock>, MoveError> {
    let mut locks = Vec::new();
    for cell in together {
        let began = Instant::now();
        let lock = loop {
            match NamedLock::try_take(&worker.mysql, "recover", *cell).await? {
                Some(lock) => break lock,
                None if began.elapsed() > TURN => return Err(MoveError::Busy(*cell)),
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        locks.push(lock.keep());
        if cells::read(&worker.mysql, *cell).await?.view.state == CellState::Open {
            close_as(worker, *cell, &format!("{MOVING}{to}")).await?;
        }
    }
    Ok(locks)
}

/// Has MySQL take what a closed cell's log still holds: whatever happens to the keys on their way, they can be rebuilt.
async fn persist_all(worker: &Worker, cell: CellId) -> Result<(), MoveError> {
    let mut connection = worker.scripts.own_connection(cell).await.map_err(StepError::from)?;
    loop {
        let row = cells::read(&worker.mysql, cell).await?.view;
        let entries = entries_behind(&mut connection, cell, row.persisted, BATCH).await?;
        let Some(first) = entries.first() else { return Ok(()) };
        let mut after = row.persisted;
        let connected = entries.iter().take_while(|it| {
            let connects = it.follows(after);
            after = it.position;
            connects
        });
        let batch = &entries[..connected.count()];
        if batch.is_empty() {
            tracing::warn!(%cell, after = %row.persisted, found = %first.position, "the log has a gap");
            return Err(MoveError::Gap(cell));
        }
        match persist_or_bisect(
            worker,
            Batch { cell, writer: row.epoch, from: row.persisted, entries: batch },
        )
        .await
        {
            // A worker was at its last batch.
            Ok(_) | Err(PersistError::NotTheWriter(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until most of the servers say that this one has the slot.
async fn wait_until_known(cluster: &Cluster, slot: u16, id: &str) -> Result<(), MoveError> {
    let began = Instant::now();
    loop {
        if cluster.refresh().await.is_ok()
            && let Some(address) = cluster.primary(slot)
            && Seat::of(cluster, &address, slot).await.is_ok_and(|it| it.id == id)
        {
            return Ok(());
        }
        if began.elapsed() > AGREEMENT {
            return Err(MoveError::NoAgreement(slot));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Opens the cells that a move closed; those that an operator closed stay closed.
async fn open_all(
    worker: &Worker,
    slot: u16,
    keys: u64,
    together: Vec<CellId>,
    progress: &dyn Progress,
) -> Result<Moved, MoveError> {
    let mut opened = Vec::new();
    for cell in together {
        let is_operators = match cells::read(&worker.mysql, cell).await?.view.state {
            CellState::Open => false,
            CellState::Closed { reason } => !reason.starts_with(MOVING),
        };
        let outcome = if is_operators { None } else { Some(reopen(worker, cell, progress).await?) };
        opened.push((cell, outcome));
    }
    Ok(Moved { slot, keys, cells: opened })
}

/// Where a server finds another one; `None`: it does not know it.
async fn known_as(
    cluster: &Cluster,
    address: &Address,
    id: &str,
) -> Result<Option<Address>, redis::RedisError> {
    let mut connection = cluster.server_at(address)?.own_connection().await?;
    let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await?;
    let places = nodes.lines().filter_map(|it| it.strip_prefix(id)?.strip_prefix(' ')?.split('@').next());
    // An IPv6 address stands there without brackets.
    let parsed = places.filter_map(|it| {
        let (host, port) = it.rsplit_once(':')?;
        let host = if host.is_empty() { address.host.clone() } else { host.to_owned() };
        Some(Address { host, port: port.parse().ok()? })
    });
    Ok(parsed.into_iter().next())
}

/// Where the server of this id is; the id itself where none answers to it.
async fn address_of(cluster: &Cluster, primaries: &[Address], id: &str, slot: u16) -> String {
    for address in primaries {
        if Seat::of(cluster, address, slot).await.is_ok_and(|it| it.id == id) {
            return address.to_string();
        }
    }
    id.to_owned()
}
