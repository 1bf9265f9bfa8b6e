//! The fence check, and calls by EVALSHA only.
//!
//! The script cache is the fence: it is gone after a restart of Redis, and a promoted replica does
//! not have it. So NOSCRIPT is never met with a blind load. Scripts are loaded only where the fence
//! script of the running epoch is present and the gate is open, on one connection that never
//! reconnects; everything else is a recovery, which a worker does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{Cmd, RedisError, ServerErrorKind, ToRedisArgs};
use tokio::sync::Notify;

use super::acknowledged;
use super::cluster::Cluster;
use super::connect::{OwnConnection, RedisServer};
use super::keys;
use super::reply::{Reply, decode};
pub use super::script_error::ScriptError;
use super::servers::{Link, Redis, ServerOfCells, Servers};
use super::text::{HALFWAY, Script, ScriptSet};
use super::vouched::Vouched;
use crate::cell::{CellId, Cells, Epoch, Fence, Position, Seq};
use crate::telemetry::timings::Timings;
use crate::telemetry::traces::note_script;

/// For a script that takes keys only.
pub(super) const NO_ARGS: &[&str] = &[];

/// Room for a word of a command, so that most commands are written without growing.
const TYPICAL_WORD_BYTES: usize = 24;

/// What a node knows of one cell on Redis's side.
struct CellSlot {
    /// The keys that each script gets.
    gate: String,
    events: String,
    /// Redis has no room for more events: appending scripts are not even sent.
    full: AtomicBool,
    set: ArcSwapOption<ScriptSet>,
    /// What this node vouches for. Held while the epoch changes, so that an acknowledgement is either in
    /// the note that confirms an epoch, or refused.
    vouched: Mutex<Vouched>,
    /// When loading was last tried, and whether it worked, so that a storm of refusals does not become
    /// one of connections.
    last_load: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

struct Shared {
    servers: Servers,
    slots: Vec<CellSlot>,
    cells: Cells,
    stream_bound: u64,
    /// Grows whenever this node turns to another epoch of any cell.
    epochs: AtomicU64,
    trouble: Notify,
    /// By script and outcome.
    called: Timings<&'static str>,
}

/// Calls scripts. Cheap to clone.
#[derive(Clone)]
pub struct Scripts {
    shared: Arc<Shared>,
    link: Link,
}

/// Longest wait for the texts to be loaded. A load that was cut off is harmless: it went on behind the fence.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a vain look for the fence is believed.
const VAIN_LOAD_PAUSE: Duration = Duration::from_millis(50);

impl Scripts {
    /// Connects. `stream_bound` is the length of the event log at which appending scripts refuse.
    pub async fn connect(
        redis: impl Into<Redis>,
        cells: Cells,
        stream_bound: u64,
    ) -> Result<Self, RedisError> {
        let (servers, link) = redis.into().connect(cells).await?;
        let slots = cells
            .all()
            .map(|cell| CellSlot {
                gate: keys::gate(cell),
                events: keys::events(cell),
                full: AtomicBool::new(false),
                set: ArcSwapOption::empty(),
                vouched: Mutex::new(Vouched::default()),
                last_load: tokio::sync::Mutex::new(None),
            })
            .collect();
        let called = Timings::new(|script, outcome| {
            metrics::histogram!(
                "firstcome_script_duration_seconds",
                "script" => script.to_owned(),
                "outcome" => outcome
            )
        });
        let (epochs, trouble) = (AtomicU64::new(0), Notify::new());
        let shared = Shared { servers, slots, cells, stream_bound, epochs, trouble, called };
        Ok(Self { shared: Arc::new(shared), link })
    }

    /// The same scripts over connections of their own, with the long time-out.
    pub fn bulk(&self) -> Self {
        Self { shared: self.shared.clone(), link: self.shared.servers.bulk() }
    }

    pub fn cells(&self) -> Cells {
        self.shared.cells
    }

    /// The server that has a cell.
    ///
    /// # Errors
    /// Where no server of the cluster has its slot.
    pub fn server(&self, cell: CellId) -> Result<RedisServer, RedisError> {
        self.shared.servers.of(cell)
    }

    /// The servers that have cells, each with its cells.
    pub fn servers(&self) -> Vec<ServerOfCells> {
        self.shared.servers.by_server(self.shared.cells)
    }

    /// The cluster in which the cells are, where they are in one.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.shared.servers {
            Servers::One(_) => None,
            Servers::Cluster(cluster) => Some(cluster),
        }
    }

    /// A connection to the server that has a cell, which fails for good when it goes away.
    pub async fn own_connection(&self, cell: CellId) -> Result<OwnConnection, RedisError> {
        self.shared.servers.own_connection(cell).await
    }

    /// Whether a cell bears the mark that has a recovery rebuild it.
    pub async fn is_suspect(&self, cell: CellId) -> Result<bool, RedisError> {
        let mut question = Cmd::new();
        question.arg("EXISTS").arg(keys::suspect(cell));
        Ok(redis::from_redis_value(self.link.send(cell, question).await?)?)
    }

    /// Wakes when a call met a closed cell: what the node knows of `cells` may be old.
    pub async fn trouble(&self) {
        self.shared.trouble.notified().await;
    }

    /// Says whether a cell has room for more events; returns what was said before.
    pub fn set_full(&self, cell: CellId, full: bool) -> bool {
        self.slot(cell).full.swap(full, Ordering::Relaxed)
    }

    /// Turns to the texts of an epoch. An older epoch than the known one is ignored.
    pub fn adopt(&self, cell: CellId, fence: Fence) {
        let slot = self.slot(cell);
        let mut vouched = slot.vouched.lock().expect("no panic while held");
        let known = slot.set.load();
        if let Some(known) = known.as_ref() {
            if known.fence == fence || known.fence.epoch > fence.epoch {
                return;
            }
            if known.fence.epoch < fence.epoch {
                vouched.leave(known.fence.epoch);
            }
        }
        self.shared.epochs.fetch_add(1, Ordering::Relaxed);
        slot.set.store(Some(Arc::new(ScriptSet::new(
            cell,
            self.shared.cells,
            fence,
            self.shared.stream_bound,
        ))));
    }

    /// Tells the epochs of all cells, in which this node works, from earlier ones.
    pub fn epochs(&self) -> u64 {
        self.shared.epochs.load(Ordering::Relaxed)
    }

    /// The fence of the epoch that this node works in.
    pub fn fence(&self, cell: CellId) -> Option<Fence> {
        self.slot(cell).set.load().as_ref().map(|it| it.fence.clone())
    }

    /// The epoch that this node works in.
    pub fn epoch(&self, cell: CellId) -> Option<Epoch> {
        self.slot(cell).set.load().as_ref().map(|it| it.fence.epoch)
    }

    /// What this node vouches for in a cell.
    pub fn vouched(&self, cell: CellId) -> Vouched {
        *self.slot(cell).vouched.lock().expect("no panic while held")
    }

    /// A recovery has accounted for what this node vouched for before it.
    pub fn settle(&self, cell: CellId, settled: (Epoch, Seq)) {
        self.slot(cell).vouched.lock().expect("no panic while held").settle(settled);
    }

    /// Whether the server holds this epoch's fence script and its gate is open: then nothing was lost
    /// and only texts are missing (a new release, another setting), which this loads.
    ///
    /// All of it happens on `connection`, which never reconnects: the server cannot change in between.
    pub async fn load_behind_fence(
        &self,
        connection: &mut OwnConnection,
        cell: CellId,
    ) -> Result<bool, RedisError> {
        let Some(fence) = self.checked(connection, cell).await? else { return Ok(false) };
        self.load_all(connection, cell, &fence).await?;
        Ok(true)
    }

    /// The fence that this node works behind, where the server of `connection` was checked in its epoch since it started, and
    /// the gate is open.
    pub async fn checked(
        &self,
        connection: &mut OwnConnection,
        cell: CellId,
    ) -> Result<Option<Fence>, RedisError> {
        let Some(set) = self.slot(cell).set.load_full() else { return Ok(None) };
        // The fence script itself compares the gate, and the replid where there are replicas.
        let mut fence = redis::cmd("EVALSHA");
        fence.arg(&set.digests[Script::Fence as usize]).arg(2).arg(keys::gate(cell)).arg(keys::events(cell));
        match fence.query_async::<(String,)>(connection).await {
            Ok((word,)) => Ok((word == "PRESENT").then(|| set.fence.clone())),
            Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Loads all texts behind one fence: never whatever is adopted by then, which may be the fence of an
    /// epoch in which this server was not checked. Only a recovery may, and [`Self::load_behind_fence`].
    pub async fn load_all(
        &self,
        connection: &mut OwnConnection,
        cell: CellId,
        fence: &Fence,
    ) -> Result<(), RedisError> {
        let set = ScriptSet::new(cell, self.shared.cells, fence.clone(), self.shared.stream_bound);
        for text in &set.texts {
            redis::cmd("SCRIPT").arg("LOAD").arg(text).exec_async(connection).await?;
        }
        Ok(())
    }

    /// Runs a script. `extra_keys` follow the gate and the event log.
    ///
    /// # Errors
    /// After [`ScriptError::Unknown`] the script may have run; after the others nothing has changed,
    /// but for [`ScriptError::Failed`] past the script's first write, where the gate was shut.
    pub(super) async fn call(
        &self,
        script: Script,
        cell: CellId,
        extra_keys: &[String],
        args: &[impl ToRedisArgs],
    ) -> Result<Reply, ScriptError> {
        let started = Instant::now();
        let result = self.call_or_load(script, cell, extra_keys, args).await;
        let outcome = match &result {
            Ok(reply) => reply.outcome,
            Err(ScriptError::CellClosed(_)) => "CLOSED",
            Err(ScriptError::BacklogFull(_)) => "BACKLOG_FULL",
            Err(ScriptError::Refused(_)) => "REFUSED",
            Err(ScriptError::Unknown(_)) => "UNKNOWN",
            Err(ScriptError::Failed { .. }) => "FAILED",
        };
        let took = started.elapsed();
        self.shared.called.record(script.stem(), outcome, took);
        note_script(script.stem(), cell, outcome, result.is_err(), took);
        result
    }

    /// What is rarely done is boxed: it would make the future of every request several kilobytes large, and each
    /// request would meet cold memory.
    async fn call_or_load(
        &self,
        script: Script,
        cell: CellId,
        extra_keys: &[String],
        args: &[impl ToRedisArgs],
    ) -> Result<Reply, ScriptError> {
        let slot = self.slot(cell);
        if script.appends() && slot.full.load(Ordering::Relaxed) {
            return Err(ScriptError::BacklogFull(cell));
        }
        let mut may_load = true;
        loop {
            let Some(set) = slot.set.load_full() else {
                self.shared.trouble.notify_one();
                return Err(ScriptError::CellClosed(cell));
            };
            let words = extra_keys.len() + args.len() + 5;
            let mut command = Cmd::with_capacity(words, words * TYPICAL_WORD_BYTES);
            command.arg("EVALSHA").arg(&set.digests[script as usize]).arg(extra_keys.len() + 2);
            command.arg(&slot.gate).arg(&slot.events).arg(extra_keys).arg(args);
            let sent = Instant::now();
            match self.link.send(cell, command).await {
                Ok(value) => {
                    let reply = Reply::new(script, set.fence.epoch, value)?;
                    return match reply.outcome {
                        "CLOSED" => {
                            self.shared.trouble.notify_one();
                            Err(ScriptError::CellClosed(cell))
                        }
                        "BACKLOG_FULL" => Err(ScriptError::BacklogFull(cell)),
                        _ => Ok(reply),
                    };
                }
                Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let moved_on = self.fence(cell).is_none_or(|it| it != set.fence);
                    if moved_on || (may_load && Box::pin(self.try_load(cell, sent)).await) {
                        may_load = moved_on;
                        continue;
                    }
                    self.shared.trouble.notify_one();
                    return Err(ScriptError::CellClosed(cell));
                }
                Err(error) => return Err(Box::pin(self.classify(script, cell, &set, &error)).await),
            }
        }
    }

    /// Loads behind the fence, unless somebody did since `since`, or tried in vain a moment ago.
    async fn try_load(&self, cell: CellId, since: Instant) -> bool {
        let mut last = self.slot(cell).last_load.lock().await;
        match *last {
            Some((at, true)) if at > since => return true,
            Some((at, false)) if at.elapsed() < VAIN_LOAD_PAUSE => return false,
            Some(_) | None => {}
        }
        let load = async {
            let mut connection = self.own_connection(cell).await.ok()?;
            self.load_behind_fence(&mut connection, cell).await.ok()
        };
        // Requests wait for this, and a server that hangs would hold them for the long time-out of such a connection.
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, load).await.ok().flatten().unwrap_or(false);
        *last = Some((Instant::now(), loaded));
        loaded
    }

    async fn classify(
        &self,
        script: Script,
        cell: CellId,
        set: &ScriptSet,
        error: &RedisError,
    ) -> ScriptError {
        if let Some(ended) = ScriptError::of_error(error) {
            return ended;
        }
        let half_way = error.code() == Some(HALFWAY);
        // The script has shut the gate by itself; told again, should it have failed in that too.
        tracing::error!(script = script.stem(), %cell, %error, half_way, "a script failed");
        if half_way {
            match self.shut(cell, set.fence.epoch, true).await {
                Ok(_) => tracing::error!(%cell, "gate shut; the cell will be rebuilt from MySQL"),
                Err(error) => tracing::error!(%cell, %error, "the gate could not be shut"),
            }
        }
        ScriptError::Failed { script: script.stem(), reason: error.to_string() }
    }

    /// Shuts the gate of one epoch; `suspect` demands a rebuild. False: it was another epoch's.
    pub async fn shut(&self, cell: CellId, epoch: Epoch, suspect: bool) -> Result<bool, RedisError> {
        let mut command = super::recovery::command(super::recovery::CELL_SHUT, cell);
        command.arg(epoch).arg(u8::from(suspect));
        let (outcome,): (String,) = decode(self.link.send(cell, command).await?)?;
        Ok(outcome == "SHUT")
    }

    /// Notes that this node vouches for an event.
    ///
    /// # Errors
    /// [`ScriptError::Unknown`] where the node has turned to a newer epoch since the call: the event
    /// may be among those that the recovery did not find, so nobody may vouch for it.
    pub(super) fn acknowledge(&self, cell: CellId, epoch: Epoch, seq: Seq) -> Result<(), ScriptError> {
        let slot = self.slot(cell);
        let mut vouched = slot.vouched.lock().expect("no panic while held");
        if slot.set.load().as_ref().is_none_or(|it| it.fence.epoch != epoch) {
            return Err(ScriptError::Unknown(format!("cell {cell} moved past epoch {epoch}")));
        }
        vouched.acknowledge(seq);
        acknowledged::note(cell, Position { epoch, seq });
        Ok(())
    }

    fn slot(&self, cell: CellId) -> &CellSlot {
        &self.shared.slots[usize::from(cell.0)]
    }
}
