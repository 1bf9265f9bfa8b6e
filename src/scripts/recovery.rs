//! The scripts of a recovery, `lua/recovery/`. They run in front of the gate, so they carry no epoch
//! in their text; each compares the gate with the recovery's own token instead. They are sent whole
//! (EVAL), on the recovery's one connection.

use redis::{Cmd, RedisError};

use super::connect::OwnConnection;
use super::keys;
use super::load::Scripts;
use crate::cell::{CellId, Epoch, Fence, NotAPosition, Position, Seq};
use crate::event::{Entry, RawEntry};

pub(super) const CELL_SHUT: &str = include_str!("../../lua/recovery/cell_shut.lua");
const CELL_LOOK: &str = include_str!("../../lua/recovery/cell_look.lua");
const CELL_TAKE: &str = include_str!("../../lua/recovery/cell_take.lua");
const CELL_SURVIVORS: &str = include_str!("../../lua/recovery/cell_survivors.lua");
const CELL_CLEAR: &str = include_str!("../../lua/recovery/cell_clear.lua");
const CELL_RESTORE: &str = include_str!("../../lua/recovery/cell_restore.lua");
const CELL_OPENER: &str = include_str!("../../lua/recovery/cell_opener.lua");
const CELL_TRUST: &str = include_str!("../../lua/recovery/cell_trust.lua");
const CELL_OPEN: &str = include_str!("../../lua/recovery/cell_open.lua");

/// Keys that one call of `cell_clear` looks at.
const CLEAR_COUNT: u32 = 2_000;

/// A step of a recovery did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Another recovery has the cell.
    #[error("superseded by another recovery")]
    Superseded,
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
}

/// What a cell looks like from outside.
#[derive(Debug, Clone)]
pub struct CellLook {
    /// `8`, `8!`, `8?`, or empty.
    pub gate: String,
    pub suspect: bool,
    pub oldest: Position,
    pub newest: Position,
}

impl CellLook {
    /// The epoch that the gate names, open or not; 0 where there is none.
    pub fn gate_epoch(&self) -> Epoch {
        self.gate.trim_end_matches(['!', '?']).parse().unwrap_or(0)
    }
}

/// The entries of a closed cell's log behind a position. Nothing proves that the server is the one that was checked, so
/// whoever reads them takes only what goes on where MySQL stands.
pub async fn entries_behind(
    connection: &mut OwnConnection,
    cell: CellId,
    after: Position,
    count: usize,
) -> Result<Vec<Entry>, StepError> {
    let mut range = redis::cmd("XRANGE");
    range.arg(keys::events(cell)).arg(format!("({after}")).arg("+").arg("COUNT").arg(count);
    let entries: Vec<RawEntry> = range.query_async(connection).await?;
    entries.into_iter().map(|it| Ok(Entry::from_raw(it).map_err(malformed)?)).collect()
}

/// Takes the mark of a kept cell away; false: it is not open in this epoch. On the connection over which the server was
/// found to have written its append-only file anew.
pub async fn trust(connection: &mut OwnConnection, cell: CellId, epoch: Epoch) -> Result<bool, RedisError> {
    let (outcome,): (String,) = command(CELL_TRUST, cell).arg(epoch).query_async(connection).await?;
    Ok(outcome == "TRUSTED")
}

/// One cell, owned by this recovery through its token in the gate.
pub struct CellInRecovery {
    connection: OwnConnection,
    cell: CellId,
    epoch: Epoch,
    token: String,
}

pub(super) fn command(text: &str, cell: CellId) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(3).arg(keys::gate(cell)).arg(keys::events(cell)).arg(keys::suspect(cell));
    command
}

fn position(text: &str) -> Result<Position, RedisError> {
    text.parse().map_err(malformed)
}

fn malformed(error: NotAPosition) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, "event id", error.to_string()))
}

/// Looks at a cell without touching it.
pub async fn look(connection: &mut OwnConnection, cell: CellId) -> Result<CellLook, RedisError> {
    let (_, gate, suspect, oldest, newest): (String, String, bool, String, String) =
        command(CELL_LOOK, cell).query_async(connection).await?;
    Ok(CellLook { gate, suspect, oldest: position(&oldest)?, newest: position(&newest)? })
}

/// `master_replid`, where the server has, had or was a replica, is in a cluster, or behind Sentinels; else nothing is
/// compared.
///
/// A server that was just promoted has none for a moment, and they can come back sooner than anybody looks again: so
/// what counts is the trace that replication leaves (a second id, a backlog), too.
pub async fn replid_to_compare(connection: &mut OwnConnection) -> Result<Option<String>, RedisError> {
    let info: String = redis::cmd("INFO").arg("replication").arg("cluster").query_async(connection).await?;
    let field =
        |name: &str| info.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let alone = [
        ("role", "master"),
        ("connected_slaves", "0"),
        ("second_repl_offset", "-1"),
        ("repl_backlog_active", "0"),
        ("cluster_enabled", "0"),
    ]
    .into_iter()
    .all(|(name, unreplicated)| field(name) == Some(unreplicated));
    Ok(if alone && !connection.can_fail_over() { None } else { field("master_replid").map(str::to_owned) })
}

impl CellInRecovery {
    /// Takes the gate over: from here on no script of the engine runs in this cell.
    pub async fn take(
        mut connection: OwnConnection,
        cell: CellId,
        epoch: Epoch,
    ) -> Result<(Self, CellLook), StepError> {
        let (outcome, suspect, oldest, newest): (String, bool, String, String) =
            command(CELL_TAKE, cell).arg(epoch).query_async(&mut connection).await?;
        if outcome != "TAKEN" {
            return Err(StepError::Superseded);
        }
        let token = format!("{epoch}!");
        let look =
            CellLook { gate: token.clone(), suspect, oldest: position(&oldest)?, newest: position(&newest)? };
        Ok((Self { connection, cell, epoch, token }, look))
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The next entries behind a position.
    pub async fn survivors(&mut self, after: Position, count: usize) -> Result<Vec<Entry>, StepError> {
        let mut step = self.step(CELL_SURVIVORS);
        step.arg(after.to_string()).arg(count);
        let (outcome, entries): (String, Vec<RawEntry>) = step.query_async(&mut self.connection).await?;
        self.check(&outcome)?;
        entries.into_iter().map(|it| Ok(Entry::from_raw(it).map_err(malformed)?)).collect()
    }

    /// Deletes everything the cell has, the event log first.
    pub async fn clear(&mut self) -> Result<(), StepError> {
        let mut cursor = "0".to_owned();
        loop {
            let mut step = self.step(CELL_CLEAR);
            step.arg(&cursor).arg(CLEAR_COUNT);
            let (outcome, next): (String, String) = step.query_async(&mut self.connection).await?;
            self.check(&outcome)?;
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Writes chunks of commands, all on their way at once.
    pub async fn restore(&mut self, chunks: &[RestoreChunk]) -> Result<(), StepError> {
        let mut pipeline = redis::pipe();
        for chunk in chunks.iter().filter(|it| it.commands > 0) {
            let mut step = self.step(CELL_RESTORE);
            step.arg(&chunk.words);
            pipeline.add_command(step);
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<(String,)> = pipeline.query_async(&mut self.connection).await?;
        outcomes.iter().try_for_each(|(it,)| self.check(it))
    }

    /// The server's clock, in milliseconds since 1970.
    pub async fn clock_ms(&mut self) -> Result<i64, StepError> {
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut self.connection).await?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    /// What scripts of the new epoch compare; see [`replid_to_compare`].
    pub async fn replid(&mut self) -> Result<Option<String>, StepError> {
        Ok(replid_to_compare(&mut self.connection).await?)
    }

    /// Appends the epoch's first entry, loads its scripts, opens the gate.
    ///
    /// `kept` is the last event that MySQL has; the opener names it, so that a reader can tell the one
    /// legal gap from a loss. `doubtful`: the mark stays that has a further recovery rebuild the cell, until [`trust`].
    pub async fn open(
        mut self,
        scripts: &Scripts,
        base: Seq,
        kept: Position,
        replid: Option<String>,
        doubtful: bool,
    ) -> Result<(), StepError> {
        let mut step = self.step(CELL_OPENER);
        step.arg(Position { epoch: self.epoch, seq: base }.to_string()).arg(kept.to_string());
        let (outcome,): (String,) = step.query_async(&mut self.connection).await?;
        self.check(&outcome)?;
        let fence = Fence { epoch: self.epoch, replid };
        scripts.load_all(&mut self.connection, self.cell, &fence).await?;
        let mut step = self.step(CELL_OPEN);
        step.arg(self.epoch).arg(u8::from(doubtful));
        let (outcome,): (String,) = step.query_async(&mut self.connection).await?;
        self.check(&outcome)
    }

    fn step(&self, text: &str) -> Cmd {
        let mut command = command(text, self.cell);
        command.arg(&self.token);
        command
    }

    fn check(&self, outcome: &str) -> Result<(), StepError> {
        if outcome == "SUPERSEDED" { Err(StepError::Superseded) } else { Ok(()) }
    }
}

/// Commands for one call of `cell_restore`.
#[derive(Default)]
pub struct RestoreChunk {
    words: Vec<String>,
    commands: usize,
}

/// Most commands in one chunk: a call of well under a millisecond, and far below Lua's limit of
/// 8,000 values for `unpack` (one command has at most a few dozen words).
const CHUNK_COMMANDS: usize = 500;

/// Collects commands into chunks.
#[derive(Default)]
pub struct RestoreChunks {
    pub full: Vec<RestoreChunk>,
    open: RestoreChunk,
}

impl RestoreChunks {
    pub fn push<const N: usize>(&mut self, words: [String; N]) {
        self.push_all(words.into());
    }

    pub fn push_all(&mut self, words: Vec<String>) {
        self.open.words.push(words.len().to_string());
        self.open.words.extend(words);
        self.open.commands += 1;
        if self.open.commands == CHUNK_COMMANDS {
            self.full.push(std::mem::take(&mut self.open));
        }
    }

    /// All chunks, the last one as full as it is.
    pub fn finish(mut self) -> Vec<RestoreChunk> {
        self.full.push(self.open);
        self.full
    }
}
