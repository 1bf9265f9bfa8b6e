//! The rules of `lua/quota_*.lua`.

use firstcome::cell::{CellId, Position, Seq};
use firstcome::event::{Direction, Event, QuotaMovedEvent};
use firstcome::pool::Pool;
use firstcome::scripts::quota_give::{Ask, Transfer};
use firstcome::scripts::quota_read::Quota;

use super::rules::{Cell, Expected, Given, Model, Question, Taken, Volatile, cells};

pub enum TakeTold {
    Unknown,
    Void,
    OutOfTurn,
    Already(Position),
    Taken(Position),
}

impl Model {
    pub fn quota_ask(&mut self, pool: Pool, cell: CellId, least: i64, ask_ms: i64) -> &'static str {
        let (home, now_ms) = (pool.home(cells()), self.now_ms);
        let Some(remaining) = self.here(home, pool).map(|it| it.remaining) else { return "NOT_FOUND" };
        let before = self.needed_before(pool, cell);
        let Volatile { asks, questions, .. } = &mut self.cell_mut(home).volatile;
        let line = asks.entry(pool).or_default();
        let place = line.iter().position(|(_, it)| *it == cell).unwrap_or(line.len());
        let over = |cell: CellId| questions.get(&(pool, cell)).is_none_or(|it| now_ms >= it.until);
        let gone: Vec<CellId> = line[..place].iter().map(|it| it.1).filter(|it| over(*it)).collect();
        line.retain(|it| !gone.contains(&it.1));
        questions.retain(|it, _| it.0 != pool || !gone.contains(&it.1));
        if ask_ms == 0 {
            line.retain(|(_, it)| *it != cell);
            questions.remove(&(pool, cell));
            return "GONE";
        }
        if remaining - before >= least {
            if line.iter().any(|(_, it)| *it == cell) {
                questions.insert((pool, cell), Question { until: now_ms + ask_ms / 5, needs: least });
            }
            return "READY";
        }
        if !line.iter().any(|(_, it)| *it == cell) {
            let newest = line.last().map_or(0, |(score, _)| *score);
            line.push((newest + 1, cell));
        }
        questions.insert((pool, cell), Question { until: now_ms + ask_ms, needs: least });
        "WAITING"
    }

    /// What cells need whose questions count and that asked before.
    fn needed_before(&self, pool: Pool, cell: CellId) -> i64 {
        let Volatile { asks, questions, .. } = &self.cell(pool.home(cells())).volatile;
        let line = asks.get(&pool).into_iter().flatten().map(|it| it.1).take_while(|it| *it != cell);
        let counting = line.filter_map(|it| questions.get(&(pool, it))).filter(|it| self.now_ms < it.until);
        counting.map(|it| it.needs).sum()
    }

    fn transfer(&self, pool: Pool, from: CellId, to: CellId, life: Seq, given: Given) -> Transfer {
        let told = Position { epoch: self.cell(from).epoch, seq: given.at.seq };
        Transfer { pool, from, to, number: given.number, units: given.units, given: told, life }
    }

    /// The outcome; the transfer, where there is one; and whether it is no more than what is waited for.
    pub fn quota_give(
        &mut self,
        pool: Pool,
        from: CellId,
        to: CellId,
        ask: Ask,
    ) -> (&'static str, Option<Transfer>, bool) {
        let now_ms = self.now_ms;
        let Some(here) = self.here(from, pool) else { return ("NOT_FOUND", None, false) };
        let last = here.given.get(&to).copied();
        let (life, remaining, moved) = (here.life, here.remaining, here.moved);
        let Volatile { gifts, questions, hold_until, .. } = &self.cell(from).volatile;
        if gifts.contains(&(pool, to)) {
            let given = last.expect("it was given");
            return ("OUTSTANDING", Some(self.transfer(pool, from, to, life, given)), false);
        }
        let is_waited_for = questions.iter().any(|(it, question)| it.0 == pool && now_ms < question.until);
        let (units, scarce) = match ask {
            Ask::Recall { .. } if remaining < 1 => return ("WAIT", None, false),
            Ask::Recall { .. } if hold_until.get(&pool).is_some_and(|it| now_ms < *it) => {
                return ("HELD", None, false);
            }
            Ask::Recall { wanted } => (remaining.min(wanted.max((remaining + 1) / 2)), false),
            Ask::Home { least, wanted, share } => {
                let part = if is_waited_for { 0 } else { remaining / share as i64 };
                let units = wanted.max(part).min(remaining - self.needed_before(pool, to));
                if units < least {
                    return ("WAIT", None, false);
                }
                (units, is_waited_for || units <= wanted)
            }
        };
        let number = last.map_or(0, |it| it.number) + 1;
        let (remaining, moved) = (remaining - units, moved - units);
        let (at_ms, direction) = (now_ms, Direction::Given);
        let event =
            QuotaMovedEvent { at_ms, pool, direction, peer: to, life, number, units, remaining, moved };
        let at = self.happened(from, Expected::from(Event::QuotaMoved(event)));
        let given = Given { number, units, at };
        let here = self.here_mut(from, pool);
        (here.remaining, here.moved) = (remaining, moved);
        here.given.insert(to, given);
        let Cell { logged, volatile, .. } = self.cell_mut(from);
        let row = logged.transfers.entry((pool, to)).or_insert((life, 0));
        if row.0 != life {
            *row = (life, 0);
        }
        volatile.gifts.insert((pool, to));
        if is_waited_for && matches!(ask, Ask::Home { .. }) {
            volatile.asks.entry(pool).or_default().retain(|(_, it)| *it != to);
            volatile.questions.remove(&(pool, to));
        }
        ("GIVEN", Some(self.transfer(pool, from, to, life, given)), scarce)
    }

    pub fn quota_take(&mut self, transfer: &Transfer, hold_ms: u64) -> TakeTold {
        let Transfer { pool, from, to, number, units, life, .. } = *transfer;
        let (now_ms, epoch) = (self.now_ms, self.cell(to).epoch);
        let Some(here) = self.here(to, pool).filter(|it| it.life >= life) else { return TakeTold::Unknown };
        if here.life > life {
            return TakeTold::Void;
        }
        let last = here.taken.get(&from).copied();
        let taken = last.map_or(0, |it| it.number);
        if let Some(last) = last.filter(|it| it.number >= number) {
            return TakeTold::Already(Position { epoch, seq: last.at.seq });
        } else if taken + 1 != number {
            return TakeTold::OutOfTurn;
        }
        let (remaining, moved) = (here.remaining + units, here.moved + units);
        let event = QuotaMovedEvent {
            at_ms: now_ms,
            pool,
            direction: Direction::Taken,
            peer: from,
            life,
            number,
            units,
            remaining,
            moved,
        };
        let at = self.happened(to, Expected::from(Event::QuotaMoved(event)));
        let here = self.here_mut(to, pool);
        (here.remaining, here.moved) = (remaining, moved);
        here.taken.insert(from, Taken { number, at });
        self.cell_mut(to).logged.transfers.insert((pool, from), (life, number));
        if hold_ms > 0 {
            self.cell_mut(to).volatile.hold_until.insert(pool, now_ms + hold_ms as i64);
        }
        TakeTold::Taken(at)
    }

    pub fn quota_settle(&mut self, transfer: &Transfer) -> &'static str {
        let Transfer { pool, from, to, number, life, .. } = *transfer;
        let last = self.here(from, pool).and_then(|it| it.given.get(&to));
        let is_of_its_life = self.here(from, pool).is_some_and(|it| it.life == life);
        if !is_of_its_life || last.is_none_or(|it| it.number != number) {
            return "OTHER";
        }
        if self.cell_mut(from).volatile.gifts.remove(&(pool, to)) { "SETTLED" } else { "OTHER" }
    }

    pub fn quota_read(&self, cell: CellId, pool: Pool) -> Quota {
        let increases = self.cell(cell).volatile.increases.get(&pool).copied().unwrap_or(0);
        self.here(cell, pool).map_or(Quota::default(), |it| Quota {
            remaining: it.remaining,
            moved: it.moved,
            increases,
            life: it.life,
        })
    }

    /// What counts of all cells: units of an earlier life than the home's do not.
    pub fn quotas(&self, pool: Pool) -> Vec<Quota> {
        let life = self.quota_read(pool.home(cells()), pool).life;
        let read = cells().all().map(|it| self.quota_read(it, pool));
        read.map(|it| if it.life == life { it } else { Quota { remaining: 0, moved: 0, ..it } }).collect()
    }

    pub fn quota_gifts(&self, from: CellId) -> Vec<Transfer> {
        let gifts = self.cell(from).volatile.gifts.iter();
        gifts
            .filter_map(|(pool, to)| {
                let here = self.here(from, *pool)?;
                Some(self.transfer(*pool, from, *to, here.life, here.given[to]))
            })
            .collect()
    }
}
