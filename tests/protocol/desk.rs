//! The rounds of one who waits (`across::desk`), and deliveries (`across::transfer`).

use super::state::{Asked, CELLS, Gift, HOME, Job, Phase, Reading, State, Take};
use super::steps::{Shop, Variant};

impl Shop {
    /// A transfer that somebody takes who did not ask for it, or not alone.
    pub fn others_job(&self, from: usize, to: usize, gift: Gift) -> Job {
        self.job(from, to, gift, from == HOME && self.variant != Variant::HoldsOnlyOwn)
    }

    fn job(&self, from: usize, to: usize, gift: Gift, hold: bool) -> Job {
        Job { from: from as u8, to: to as u8, gift, hold, settles: false }
    }

    fn round(&self, buyer: usize) -> Phase {
        if self.wants(buyer).0 == HOME { Phase::Queue } else { Phase::AskHome }
    }

    pub fn step(&self, state: &mut State, buyer: usize, which: usize) {
        let (cell, units) = self.wants(buyer);
        state.buyers[buyer] = match state.buyers[buyer] {
            Phase::Try => {
                let own = &mut state.cells[cell].logged;
                if own.remaining >= units {
                    own.remaining -= units;
                    own.held += units;
                    Phase::Sold
                } else {
                    self.round(buyer)
                }
            }
            Phase::AskHome => self.ask_home(state, cell, units),
            Phase::Bring(mut job) => match self.go_on(state, &mut job) {
                Delivery::Under => Phase::Bring(job),
                Delivery::Over => Phase::Try,
                Delivery::Gone => Phase::Queue,
            },
            Phase::Queue => self.queue(state, buyer),
            Phase::Read(reading) if self.reads_at_once => {
                let mut reading = reading;
                for pass in 0..2 {
                    (0..CELLS).for_each(|it| self.read(state, &mut reading, pass, it));
                }
                self.conclude(state, buyer, reading)
            }
            Phase::Read(mut reading) => {
                let all = (1 << CELLS) - 1;
                let pass = usize::from(reading.read[0] == all);
                self.read(state, &mut reading, pass, which);
                if reading.read[1] == all {
                    self.conclude(state, buyer, reading)
                } else {
                    Phase::Read(reading)
                }
            }
            Phase::Leave { wrong } => {
                state.leave_line(cell);
                Phase::Short { wrong }
            }
            Phase::Recall { todo, mut jobs, all_moving } => {
                let todo_now = todo & !(1 << which);
                if todo_now != todo {
                    jobs[which] = self.recall(state, which, units);
                } else if let Some(job) = &mut jobs[which]
                    && !matches!(self.go_on(state, job), Delivery::Under)
                {
                    jobs[which] = None;
                }
                self.after_recalls(state, buyer, todo_now, jobs, all_moving)
            }
            Phase::Gifts { mut jobs } => {
                if let Some(job) = &mut jobs[which]
                    && !matches!(self.go_on(state, job), Delivery::Under)
                {
                    jobs[which] = None;
                }
                if jobs == [None; CELLS] { self.round(buyer) } else { Phase::Gifts { jobs } }
            }
            phase @ (Phase::Sold | Phase::Short { .. } | Phase::Gone) => phase,
        };
    }

    /// `quota_give` of the home.
    fn ask_home(&self, state: &mut State, cell: usize, units: i8) -> Phase {
        if state.cells[HOME].gifts[cell] {
            let gift = state.cells[HOME].logged.given[cell];
            return Phase::Bring(self.job(HOME, cell, gift, true));
        }
        let is_waited_for = state.asks.iter().any(|it| it.counts);
        let here = state.cells[HOME].logged.remaining;
        let free = here - state.needed_before(cell);
        if free < units {
            return Phase::Queue;
        }
        let part = here.checked_div(self.share).unwrap_or(0);
        let given = free.min(if is_waited_for { units } else { units.max(part) });
        let gift = state.give(HOME, cell, given);
        if is_waited_for {
            state.leave_line(cell);
        }
        Phase::Bring(self.job(HOME, cell, gift, is_waited_for || given <= units))
    }

    /// `quota_give` of another cell, to the home.
    fn recall(&self, state: &mut State, from: usize, wanted: i8) -> Option<Job> {
        let it = &state.cells[from];
        if it.gifts[HOME] {
            return Some(self.others_job(from, HOME, it.logged.given[HOME]));
        }
        if it.logged.remaining < 1 || it.hold {
            return None;
        }
        let given = it.logged.remaining.min(wanted.max((it.logged.remaining + 1) / 2));
        let gift = state.give(from, HOME, given);
        Some(self.others_job(from, HOME, gift))
    }

    /// `quota_ask`.
    fn queue(&self, state: &mut State, buyer: usize) -> Phase {
        let (cell, units) = self.wants(buyer);
        while state.asks.first().is_some_and(|it| !it.counts) {
            state.asks.remove(0);
        }
        if state.cells[HOME].logged.remaining - state.needed_before(cell) >= units {
            if self.variant == Variant::LosesPlace {
                state.leave_line(cell);
            }
            return if cell == HOME { Phase::Try } else { Phase::AskHome };
        }
        match state.asks.iter_mut().find(|it| usize::from(it.cell) == cell) {
            Some(asked) => (asked.needs, asked.counts) = (units, true),
            None => state.asks.push(Asked { cell: cell as u8, needs: units, counts: true }),
        }
        let least_free = state.free().unwrap_or(0);
        Phase::Read(Reading { read: [0; 2], held: 0, changed: 0, differs: false, have: 0, least_free })
    }

    fn read(&self, state: &State, reading: &mut Reading, pass: usize, cell: usize) {
        let Reading { read, held, changed, differs, have, .. } = reading;
        let it = &state.cells[cell].logged;
        read[pass] |= 1 << cell;
        if pass == 0 {
            *held += it.held;
        } else {
            *differs |= *changed & 1 << cell != 0 && self.variant != Variant::ReadsOnce;
            // Those who read compare it no more.
            *changed &= !(1 << cell);
            if it.remaining > 0 {
                *have |= 1 << cell;
            }
        }
    }

    fn conclude(&self, state: &State, buyer: usize, reading: Reading) -> Phase {
        let units = self.wants(buyer).1;
        let at_most = self.total() - reading.held;
        if !reading.differs && at_most < units {
            return Phase::Leave { wrong: reading.least_free > at_most };
        }
        let all_moving = reading.have == 0;
        let todo = if all_moving { (1 << CELLS) - 1 } else { reading.have };
        self.after_recalls(state, buyer, todo & !(1 << HOME), [None; CELLS], all_moving)
    }

    fn after_recalls(
        &self,
        state: &State,
        buyer: usize,
        todo: u8,
        jobs: [Option<Job>; CELLS],
        all_moving: bool,
    ) -> Phase {
        if todo != 0 || jobs != [None; CELLS] {
            return Phase::Recall { todo, jobs, all_moving };
        }
        if !all_moving || state.cells[HOME].gifts == [false; CELLS] {
            return self.round(buyer);
        }
        let mut gifts = [None; CELLS];
        for (to, job) in gifts.iter_mut().enumerate().filter(|(to, _)| state.cells[HOME].gifts[*to]) {
            *job = Some(self.others_job(HOME, to, state.cells[HOME].logged.given[to]));
        }
        Phase::Gifts { jobs: gifts }
    }

    /// The next step of a transfer whose time has come.
    fn go_on(&self, state: &mut State, job: &mut Job) -> Delivery {
        if job.settles {
            state.settle(usize::from(job.from), usize::from(job.to), job.gift.number);
            return Delivery::Over;
        }
        match state.take(job) {
            Take::Taken => Delivery::Over,
            Take::OutOfTurn => Delivery::Gone,
            Take::Already => {
                job.settles = true;
                Delivery::Under
            }
        }
    }

    /// Whoever waits for an event that a crash took hears that it is gone.
    pub fn hear_of_crash(&self, state: &mut State, buyer: usize, cell: usize) {
        let is_lost = |job: &Job| {
            let (from, to) = (usize::from(job.from), usize::from(job.to));
            match job.settles {
                true => to == cell && !state.taken_for_good(from, to, job.gift.number),
                false => from == cell && !state.given_for_good(from, to, job.gift),
            }
        };
        let without_lost = |jobs: [Option<Job>; CELLS]| jobs.map(|it| it.filter(|it| !is_lost(it)));
        if self.variant == Variant::TakesEarly {
            return;
        }
        state.buyers[buyer] = match state.buyers[buyer] {
            // It was there before, as far as anybody knew.
            Phase::Bring(job) if is_lost(&job) => {
                if job.settles {
                    Phase::Try
                } else {
                    Phase::Queue
                }
            }
            Phase::Recall { todo, jobs, all_moving } => {
                let jobs = without_lost(jobs);
                self.after_recalls(state, buyer, todo, jobs, all_moving)
            }
            Phase::Gifts { jobs } => {
                let jobs = without_lost(jobs);
                if jobs == [None; CELLS] { self.round(buyer) } else { Phase::Gifts { jobs } }
            }
            phase => phase,
        };
    }
}

/// What became of a step of a transfer.
enum Delivery {
    Under,
    Over,
    Gone,
}
