//! Who can do what when: those who wait, MySQL, the worker, the clock, and what goes wrong.

use super::state::{CELLS, Job, Phase, State, pairs};

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
    /// Only the one who asked holds what the home gave to its cell.
    HoldsOnlyOwn,
    /// A cell leaves the line when it is its turn, before it was given its units.
    LosesPlace,
}

impl Shop {
    pub fn wants(&self, buyer: usize) -> (usize, i8) {
        self.buyers[buyer]
    }

    pub fn total(&self) -> i8 {
        self.units.iter().sum::<i8>() + self.held.iter().sum::<i8>()
    }

    /// Whether somebody waits whom the free units would serve, and who may not be told rightly that there were too few.
    pub fn can_be_served(&self, state: &State) -> bool {
        let free = state.free().unwrap_or(0);
        state.buyers.iter().zip(&self.buyers).any(|(phase, (_, units))| match phase {
            Phase::Read(reading) => reading.least_free >= *units && *units <= free,
            phase => phase.waits() && *units <= free,
        })
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
                let goes_on = |it: usize| jobs[it].is_some_and(|it| self.can_go_on(state, &it));
                (0..CELLS).filter(|it| todo & 1 << it != 0 || goes_on(*it)).for_each(add);
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
                next.take(&self.others_job(from, to, gift));
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
}

/// Whether somebody who lives takes a transfer to its end.
fn is_carried(state: &State, from: usize, to: usize) -> bool {
    let mut buyers = state.buyers.clone();
    buyers
        .iter_mut()
        .flat_map(Phase::jobs_mut)
        .any(|it| (usize::from(it.from), usize::from(it.to)) == (from, to) && !it.settles)
}
