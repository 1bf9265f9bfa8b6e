//! Who does what when: the desk's rounds (`across::desk`), deliveries (`across::transfer`), the worker, and what goes wrong.

use super::state::{Asked, CELLS, Gift, HOME, Job, Phase, Reading, State, Take, pairs};

/// A step of somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The next step of one who waits; where it has several at once, the one for this cell.
    Buyer(usize, usize),
    /// MySQL takes all events of a cell.
    Persist(usize),
    /// The giver forgets a transfer that has arrived for good.
    Settle(usize, usize),
    /// The worker takes a transfer that nobody takes.
    Worker(usize, usize),
    HoldEnds(usize),
    /// A cell's question does not count any more.
    AskEnds(usize),
    /// An order's unit comes back.
    Cancel(usize),
    Crash(usize),
    Leave(usize),
}

/// What is explored.
#[derive(Debug, Clone, Default)]
pub struct Shop {
    /// Units of each cell at first.
    pub units: [i8; CELLS],
    /// Orders that hold a unit of a cell at first.
    pub held: [i8; CELLS],
    /// Cell and units of each buyer.
    pub buyers: Vec<(usize, i8)>,
    pub crashes: u8,
    pub cancels: u8,
    pub leaves: u8,
    /// A home gives at least this part of what it has where nobody waits, as its divisor; 0: what is asked for.
    pub share: i8,
    /// Holds and questions end, and the worker takes what is under way, only when nobody lives who would be too late.
    pub in_time: bool,
    /// All cells are read at once.
    pub reads_at_once: bool,
    pub variant: Variant,
}

/// The protocol, and what it would be with something left out or put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variant {
    #[default]
    AsBuilt,
    /// Units are taken before MySQL has that they were given.
    TakesEarly,
    /// The giver forgets before MySQL has the arrival.
    SettlesEarly,
    /// A proof compares no epochs and no increases.
    ReadsOnce,
    /// Whoever takes what the home gave to a cell holds it there.
    HoldsForOthers,
    /// The same, and a cell whose turn it is keeps its place in the line until it was given its units.
    KeepsPlace,
}

impl Shop {
    fn wants(&self, buyer: usize) -> (usize, i8) {
        self.buyers[buyer]
    }

    pub fn total(&self) -> i8 {
        self.units.iter().sum::<i8>() + self.held.iter().sum::<i8>()
    }

    /// Whether somebody waits whom the free units would serve.
    pub fn can_be_served(&self, state: &State) -> bool {
        let free = state.free().unwrap_or(0);
        (0..self.buyers.len()).any(|it| state.buyers[it].waits() && self.wants(it).1 <= free)
    }

    /// What a buyer can do now.
    fn steps_of(&self, state: &State, buyer: usize, actions: &mut Vec<Action>) {
        let mut add = |which| actions.push(Action::Buyer(buyer, which));
        match state.buyers[buyer] {
            Phase::Try | Phase::AskHome | Phase::Queue | Phase::Leave { .. } => add(0),
            Phase::Bring(job) if self.can_go_on(state, &job) => add(0),
            Phase::Read(_) if self.reads_at_once => add(0),
            Phase::Read(reading) => {
                let pass = usize::from(reading.read[0] == (1 << CELLS) - 1);
                (0..CELLS).filter(|it| reading.read[pass] & 1 << it == 0).for_each(add);
            }
            Phase::Recall { todo, jobs, .. } => {
                for cell in 0..CELLS {
                    if todo & 1 << cell != 0 || jobs[cell].is_some_and(|it| self.can_go_on(state, &it)) {
                        add(cell);
                    }
                }
            }
            Phase::Gifts { jobs } => {
                let can = |it: &usize| jobs[*it].is_some_and(|it| self.can_go_on(state, &it));
                (0..CELLS).filter(can).for_each(add);
            }
            Phase::Bring(_) | Phase::Sold | Phase::Short { .. } | Phase::Gone => {}
        }
    }

    /// Whether MySQL has what the next step of a transfer waits for.
    fn can_go_on(&self, state: &State, job: &Job) -> bool {
        let (from, to) = (usize::from(job.from), usize::from(job.to));
        match job.settles {
            true => self.variant == Variant::SettlesEarly || state.taken_for_good(from, to, job.gift.number),
            false => self.variant == Variant::TakesEarly || state.given_for_good(from, to, job.gift),
        }
    }

    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for buyer in 0..self.buyers.len() {
            self.steps_of(state, buyer, actions);
            if state.leaves > 0 && state.buyers[buyer].waits() {
                actions.push(Action::Leave(buyer));
            }
        }
        for (cell, it) in state.cells.iter().enumerate() {
            if it.logged != state.mysql[cell] {
                actions.push(Action::Persist(cell));
            }
            if it.hold && !(self.in_time && self.is_about_to_buy(state, cell)) {
                actions.push(Action::HoldEnds(cell));
            }
            if state.cancels > 0 && it.logged.held > 0 {
                actions.push(Action::Cancel(cell));
            }
            if state.crashes > 0 {
                actions.push(Action::Crash(cell));
            }
        }
        for asked in state.asks.iter().filter(|it| it.counts) {
            let cell = usize::from(asked.cell);
            if !(self.in_time && self.of_cell(state, cell).any(Phase::waits)) {
                actions.push(Action::AskEnds(cell));
            }
        }
        for (from, to) in pairs().filter(|(from, to)| state.cells[*from].gifts[*to]) {
            let gift = state.cells[from].logged.given[to];
            if self.variant == Variant::SettlesEarly && state.on_their_way(from, to) == Some(0)
                || state.taken_for_good(from, to, gift.number)
            {
                actions.push(Action::Settle(from, to));
            } else if state.on_their_way(from, to) != Some(0)
                && (self.variant == Variant::TakesEarly || state.given_for_good(from, to, gift))
                && !(self.in_time && is_carried(state, from, to))
            {
                actions.push(Action::Worker(from, to));
            }
        }
    }

    fn of_cell<'a>(&'a self, state: &'a State, cell: usize) -> impl Iterator<Item = Phase> + 'a {
        let of_cell = (0..self.buyers.len()).filter(move |it| self.wants(*it).0 == cell);
        of_cell.map(|it| state.buyers[it])
    }

    fn is_about_to_buy(&self, state: &State, cell: usize) -> bool {
        self.of_cell(state, cell).any(|it| matches!(it, Phase::Try | Phase::Bring(_)))
    }

    pub fn next(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        match action {
            Action::Buyer(buyer, which) => self.step(&mut next, buyer, which),
            Action::Persist(cell) => next.persist(cell),
            Action::Settle(from, to) => {
                let number = next.cells[from].logged.given[to].number;
                next.settle(from, to, number);
            }
            Action::Worker(from, to) => {
                let gift = next.cells[from].logged.given[to];
                next.take(&self.job(from, to, gift, false));
            }
            Action::HoldEnds(cell) => next.cells[cell].hold = false,
            Action::AskEnds(cell) => {
                next.asks
                    .iter_mut()
                    .filter(|it| usize::from(it.cell) == cell)
                    .for_each(|it| it.counts = false);
            }
            Action::Cancel(cell) => {
                next.cancels -= 1;
                next.cells[cell].logged.held -= 1;
                next.cells[cell].logged.remaining += 1;
                next.tell_readers(cell);
            }
            Action::Crash(cell) => {
                next.crashes -= 1;
                next.crash(cell);
                (0..self.buyers.len()).for_each(|it| self.hear_of_crash(&mut next, it, cell));
            }
            Action::Leave(buyer) => {
                next.leaves -= 1;
                next.buyers[buyer] = Phase::Gone;
            }
        }
        let free = next.free().unwrap_or(0);
        for phase in &mut next.buyers {
            if let Phase::Read(reading) = phase {
                reading.least_free = reading.least_free.min(free);
            }
        }
        next
    }

    fn job(&self, from: usize, to: usize, gift: Gift, hold: bool) -> Job {
        let hold = match self.variant {
            Variant::HoldsForOthers | Variant::KeepsPlace => to != HOME,
            _ => hold,
        };
        Job { from: from as u8, to: to as u8, gift, hold, settles: false }
    }

    fn round(&self, buyer: usize) -> Phase {
        if self.wants(buyer).0 == HOME { Phase::Queue } else { Phase::AskHome }
    }

    fn step(&self, state: &mut State, buyer: usize, which: usize) {
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
        let waits = state.first_asked();
        let here = state.cells[HOME].logged.remaining;
        if waits.is_some_and(|it| it != cell) || here < units {
            return Phase::Queue;
        }
        let part = here.checked_div(self.share).unwrap_or(0);
        let given = here.min(if waits.is_some() { units } else { units.max(part) });
        let gift = state.give(HOME, cell, given);
        if waits.is_some() {
            state.leave_line(cell);
        }
        Phase::Bring(self.job(HOME, cell, gift, waits.is_some()))
    }

    /// `quota_give` of another cell, to the home.
    fn recall(&self, state: &mut State, from: usize, wanted: i8) -> Option<Job> {
        let it = &state.cells[from];
        if it.gifts[HOME] {
            return Some(self.job(from, HOME, it.logged.given[HOME], false));
        }
        if it.logged.remaining < 1 || it.hold {
            return None;
        }
        let given = it.logged.remaining.min(wanted.max((it.logged.remaining + 1) / 2));
        let gift = state.give(from, HOME, given);
        Some(self.job(from, HOME, gift, false))
    }

    /// `quota_ask`.
    fn queue(&self, state: &mut State, buyer: usize) -> Phase {
        let (cell, units) = self.wants(buyer);
        while state.asks.first().is_some_and(|it| !it.counts) {
            state.asks.remove(0);
        }
        let is_first = state.asks.first().is_none_or(|it| usize::from(it.cell) == cell);
        if is_first && state.cells[HOME].logged.remaining >= units {
            if self.variant != Variant::KeepsPlace {
                state.leave_line(cell);
            }
            return if cell == HOME { Phase::Try } else { Phase::AskHome };
        }
        match state.asks.iter_mut().find(|it| usize::from(it.cell) == cell) {
            Some(asked) => asked.counts = true,
            None => state.asks.push(Asked { cell: cell as u8, counts: true }),
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
            *job = Some(self.job(HOME, to, state.cells[HOME].logged.given[to], false));
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
    fn hear_of_crash(&self, state: &mut State, buyer: usize, cell: usize) {
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

/// Whether somebody who lives takes a transfer to its end.
fn is_carried(state: &State, from: usize, to: usize) -> bool {
    let mut buyers = state.buyers.clone();
    buyers
        .iter_mut()
        .flat_map(Phase::jobs_mut)
        .any(|it| (usize::from(it.from), usize::from(it.to)) == (from, to) && !it.settles)
}
