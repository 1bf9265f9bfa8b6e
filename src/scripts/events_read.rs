//! Typed binding of `lua/events_read.lua`; the header of that file is the contract.

use std::time::Duration;

use redis::RedisError;

use super::connect::OwnConnection;
use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Epoch, Position};
use crate::event::{Entry, RawEntry};

/// A piece of the event log, read in one instant with the proof that the gate is open.
#[derive(Debug)]
pub struct EventsRead {
    /// The gate's epoch at that instant: the only epoch in which the reader may write MySQL.
    pub epoch: Epoch,
    /// Entries in the log.
    pub length: u64,
    pub newest: Position,
    pub entries: Vec<Entry>,
}

/// Reads up to `count` entries behind `after`.
pub async fn events_read(
    scripts: &Scripts,
    cell: CellId,
    after: Position,
    count: usize,
) -> Result<EventsRead, ScriptError> {
    let (after, count) = (after.to_string(), count.to_string());
    let mut reply = scripts.call(Script::EventsRead, cell, &[], &[&after, &count]).await?;
    match reply.outcome {
        "READ" => {
            let entries: Vec<RawEntry> = reply.take(3)?;
            Ok(EventsRead {
                epoch: reply.epoch,
                length: reply.int(1)? as u64,
                newest: reply.text(2)?.parse().map_err(|_| reply.unexpected())?,
                entries: entries
                    .into_iter()
                    .map(Entry::from_raw)
                    .collect::<Result<_, _>>()
                    .map_err(|_| reply.unexpected())?,
            })
        }
        _ => Err(reply.unexpected()),
    }
}

/// Waits until there is an event behind `after`, and for `longest` at most. Needs a connection that nobody else waits on.
pub async fn await_event(
    connection: &mut OwnConnection,
    cell: CellId,
    after: Position,
    longest: Duration,
) -> Result<(), RedisError> {
    let mut read = redis::cmd("XREAD");
    read.arg(&["COUNT", "1", "BLOCK"]).arg(longest.as_millis() as u64);
    read.arg("STREAMS").arg(keys::events(cell)).arg(after.to_string());
    read.query_async(connection).await
}
