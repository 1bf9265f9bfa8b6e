//! One cell's share of a pool, and what its scripts do to it: `lua/quota_*.lua` and the stock of `lua/order_place.lua`.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::clock::{MS, Nanos};

/// How far the line is looked at.
const ASKS_LOOKED_AT: usize = 64;

/// Units on their way.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    pub from: u16,
    pub to: u16,
    pub number: u64,
    pub units: i64,
    /// Number of the event that gave them.
    pub given: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum Give {
    Outstanding(Transfer),
    Held,
    Wait,
    Given { transfer: Transfer, scarce: bool },
}

#[derive(Debug, Clone, Copy)]
pub enum Take {
    OutOfTurn,
    Already { event: u64 },
    Taken { event: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Ready,
    Waiting,
}

/// What `quota_read` answers.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    pub remaining: i64,
    pub moved: i64,
    pub increases: u64,
}

impl Quota {
    pub fn share(&self) -> i64 {
        self.remaining - self.moved
    }
}

#[derive(Debug, Default)]
pub struct Cell {
    id: u16,
    remaining: i64,
    moved: i64,
    increases: u64,
    /// Number of the newest event, and of the last one in MySQL.
    pub appended: u64,
    pub persisted: u64,
    /// Rings when there is a new event.
    pub bell: Rc<Notify>,
    /// By taker: the last transfer, and whether MySQL has its arrival.
    out: BTreeMap<u16, (Transfer, bool)>,
    /// By giver: number and event of the last arrival.
    into: BTreeMap<u16, (u64, u64)>,
    hold_until: Nanos,
    /// In the order of asking: the cell, and until when its question counts.
    asks: Vec<(u16, Nanos)>,
    pub first_sale: Option<Nanos>,
}

impl Cell {
    pub fn new(id: u16, remaining: i64) -> Self {
        Self { id, remaining, ..Self::default() }
    }

    fn append(&mut self) -> u64 {
        self.appended += 1;
        self.bell.notify_one();
        self.appended
    }

    pub fn has_any(&self) -> bool {
        self.remaining > 0
    }

    /// Buys one unit; how many are left.
    pub fn place(&mut self, now: Nanos) -> Option<i64> {
        if self.remaining < 1 {
            return None;
        }
        self.remaining -= 1;
        self.append();
        self.first_sale.get_or_insert(now);
        Some(self.remaining)
    }

    /// A unit comes back.
    pub fn put_back(&mut self) {
        self.remaining += 1;
        self.increases += 1;
        self.append();
    }

    pub fn read(&self) -> Quota {
        Quota { remaining: self.remaining, moved: self.moved, increases: self.increases }
    }

    pub fn gifts(&self) -> Vec<Transfer> {
        self.out.values().filter(|it| it.1).map(|it| it.0).collect()
    }

    /// A cell that needs units asks the home. `share` as in the script.
    pub fn give_to(&mut self, to: u16, (least, wanted): (i64, i64), share: i64, now: Nanos) -> Give {
        if let Some((transfer, true)) = self.out.get(&to) {
            return Give::Outstanding(*transfer);
        }
        let is_waited_for = self.asks.iter().take(ASKS_LOOKED_AT).any(|it| now < it.1);
        let Some(before) = self.before(to, now) else { return Give::Wait };
        if self.remaining - before < least {
            return Give::Wait;
        }
        let rest = if is_waited_for { wanted } else { wanted.max(self.remaining / share) };
        if rest < least {
            return Give::Wait;
        }
        let transfer = self.give(to, rest.min(self.remaining - before));
        if is_waited_for {
            self.asks.retain(|it| it.0 != to);
        }
        Give::Given { transfer, scarce: is_waited_for || transfer.units <= wanted }
    }

    /// What cells need that asked before; each needs one. `None`: it is too far behind.
    fn before(&self, cell: u16, now: Nanos) -> Option<i64> {
        let place = self.asks.iter().position(|it| it.0 == cell).unwrap_or(self.asks.len());
        (place < ASKS_LOOKED_AT).then(|| self.asks[..place].iter().filter(|it| now < it.1).count() as i64)
    }

    /// The home recalls half of what is unsold, or what is wanted.
    pub fn give_back(&mut self, to: u16, wanted: i64, now: Nanos) -> Give {
        if let Some((transfer, true)) = self.out.get(&to) {
            return Give::Outstanding(*transfer);
        }
        if self.remaining < 1 {
            return Give::Wait;
        }
        if now < self.hold_until {
            return Give::Held;
        }
        let units = self.remaining.min(wanted.max((self.remaining + 1) / 2));
        Give::Given { transfer: self.give(to, units), scarce: false }
    }

    fn give(&mut self, to: u16, units: i64) -> Transfer {
        self.remaining -= units;
        self.moved -= units;
        let number = self.out.get(&to).map_or(0, |it| it.0.number) + 1;
        let transfer = Transfer { from: self.id, to, number, units, given: self.append() };
        self.out.insert(to, (transfer, true));
        transfer
    }

    pub fn take(&mut self, transfer: &Transfer, hold: Nanos, now: Nanos) -> Take {
        let (number, event) = self.into.get(&transfer.from).copied().unwrap_or_default();
        if number >= transfer.number {
            return Take::Already { event };
        }
        if number + 1 != transfer.number {
            return Take::OutOfTurn;
        }
        self.remaining += transfer.units;
        self.moved += transfer.units;
        let event = self.append();
        self.into.insert(transfer.from, (transfer.number, event));
        if hold > 0 {
            self.hold_until = now + hold;
        }
        Take::Taken { event }
    }

    pub fn settle(&mut self, transfer: &Transfer) {
        if let Some((last, is_out)) = self.out.get_mut(&transfer.to)
            && last.number == transfer.number
        {
            *is_out = false;
        }
    }

    pub fn ask(&mut self, cell: u16, least: i64, ask_ms: u64, now: Nanos) -> Asked {
        self.asks.retain(|it| it.0 == cell || now < it.1);
        if self.before(cell, now).is_some_and(|it| self.remaining - it >= least) {
            if let Some(asked) = self.asks.iter_mut().find(|it| it.0 == cell) {
                asked.1 = now + ask_ms * MS / 5;
            }
            return Asked::Ready;
        }
        let until = now + ask_ms * MS;
        match self.asks.iter_mut().find(|it| it.0 == cell) {
            Some(asked) => asked.1 = until,
            None => self.asks.push((cell, until)),
        }
        Asked::Waiting
    }
}
