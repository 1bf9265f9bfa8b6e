//! Typed binding of `lua/events_read.lua`; the header of that file is the contract.

use super::load::{Script, ScriptError, Scripts};
use crate::cell::{CellId, Epoch, Position};
use crate::event::{Event, EventError};

/// One entry as Redis gives it: `{id, {kind, body}}`.
pub type RawEntry = (String, Vec<String>);

/// One entry of the event log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub position: Position,
    /// `order_paid:1`
    pub kind: String,
    pub body: String,
}

impl Entry {
    /// Errors say what was found instead of an entry.
    pub fn from_raw((id, fields): RawEntry) -> Result<Self, String> {
        let position = id.parse().map_err(|error: crate::cell::NotAPosition| error.to_string())?;
        match <[String; 2]>::try_from(fields) {
            Ok([kind, body]) => Ok(Self { position, kind, body }),
            Err(fields) => Err(format!("entry {id} has {} fields, not 2", fields.len())),
        }
    }

    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.kind, &self.body)
    }
}

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
                    .map_err(|reason| ScriptError::Failed { script: Script::EventsRead.stem(), reason })?,
            })
        }
        _ => Err(reply.unexpected()),
    }
}
