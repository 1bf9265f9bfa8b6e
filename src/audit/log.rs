//! The stretch of the event log that an audit looks at.

use std::collections::{HashMap, VecDeque};

use crate::cell::{CellId, Position};
use crate::event::{Entry, Holding};

/// The absolute values that the events of a stretch of the log carry: all in `(from, to]`.
pub(super) struct Log {
    cell: CellId,
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) changes: VecDeque<Change>,
    /// How many changes were forgotten: the number of the first one kept.
    pub(super) forgotten: u64,
    /// The number of each item's newest change.
    pub(super) newest: HashMap<Holding, u64>,
}

pub(super) struct Change {
    at: Position,
    item: Holding,
    /// `None`: it is gone.
    value: Option<i64>,
    /// The number of this item's change before, kept or forgotten.
    before: Option<u64>,
}

impl Log {
    /// Of no entries yet.
    pub(super) fn of(cell: CellId) -> Self {
        let (from, to) = (Position::default(), Position::default());
        Self { cell, from, to, changes: VecDeque::new(), forgotten: 0, newest: HashMap::new() }
    }

    /// Forgets what is not behind `from`; begins anew where the log does not reach.
    pub(super) fn begin_behind(&mut self, from: Position) {
        if from < self.from || from > self.to {
            *self = Self { from, to: from, ..Self::of(self.cell) };
            return;
        }
        self.from = from;
        while let Some(change) = self.changes.pop_front_if(|it| it.at <= from) {
            if self.newest.get(&change.item) == Some(&self.forgotten) {
                self.newest.remove(&change.item);
            }
            self.forgotten += 1;
        }
    }

    /// Adds the next entry. False: it is not the very next one.
    pub(super) fn append(&mut self, entry: &Entry) -> bool {
        let event = entry.event().ok();
        if !entry.follows(self.to) {
            return false;
        }
        self.to = entry.position;
        // An entry that nobody can read ends up in the dead events, and shows there.
        if let Some(event) = event {
            event.absolute_values(self.cell, entry.position, |item, value| self.change(item, value));
        }
        true
    }

    fn change(&mut self, item: Holding, value: Option<i64>) {
        let number = self.forgotten + self.changes.len() as u64;
        let before = self.newest.insert(item, number);
        self.changes.push_back(Change { at: self.to, item, value, before });
    }

    /// The item's value after its last event in `(from, to]`, itself `None` where it is gone; `None`: no such event.
    pub(super) fn last(&self, item: Holding, to: Position) -> Option<Option<i64>> {
        let mut number = self.newest.get(&item).copied();
        loop {
            let index = number?.checked_sub(self.forgotten)?;
            let change = self.changes.get(usize::try_from(index).ok()?)?;
            if change.at <= to {
                return Some(change.value);
            }
            number = change.before;
        }
    }
}
