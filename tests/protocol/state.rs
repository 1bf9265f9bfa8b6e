//! What the cells, MySQL and those who wait know, and what each script does to it.

/// The home and two others.
pub const CELLS: usize = 3;

pub const HOME: usize = 0;

/// The last transfer from one cell to another.
///
/// Numbers are told from the last one whose arrival MySQL has, which is 0: the ones before make no difference, so that the
/// same units can go back and forth for ever in a finite number of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Gift {
    pub number: i8,
    pub units: i8,
}

/// What events say of a cell.
///
/// It has no `moved`: remaining − moved is what was put in less what orders hold, whatever moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Logged {
    pub remaining: i8,
    /// Units of its orders.
    pub held: i8,
    /// To each cell.
    pub given: [Gift; CELLS],
    /// Number of the last one from each cell.
    pub taken: [i8; CELLS],
}

/// A cell in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cell {
    pub logged: Logged,
    /// Transfers out of it that may not have arrived for good.
    pub gifts: [bool; CELLS],
    /// What came may not be recalled.
    pub hold: bool,
}

/// A cell in the home's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    pub cell: u8,
    pub needs: i8,
    /// Whether its question counts still.
    pub counts: bool,
}

/// A transfer that somebody takes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Job {
    pub from: u8,
    pub to: u8,
    pub gift: Gift,
    pub hold: bool,
    /// It had arrived before: the giver is told, once MySQL has that.
    pub settles: bool,
}

/// Two readings of all cells, under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// Cells that were read, in each of the two; as bits.
    pub read: [u8; 2],
    /// Units of orders, by the first one.
    pub held: i8,
    /// Cells that were recovered, or got units back, since the first one read them.
    pub changed: u8,
    pub differs: bool,
    /// Cells that had units, by the second one.
    pub have: u8,
    /// Least that all cells together had at any moment so far, units on their way included. Nobody knows it.
    pub least_free: i8,
}

/// Where one who wants units is at: each is a node of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Places the order.
    Try,
    AskHome,
    Bring(Job),
    /// Waits in the home's line.
    Queue,
    Read(Reading),
    /// It was proven that there are too few.
    Leave {
        /// There were more at every moment of the proof.
        wrong: bool,
    },
    /// Of the cells in `todo`, as bits.
    Recall {
        todo: u8,
        jobs: [Option<Job>; CELLS],
        all_moving: bool,
    },
    /// Takes what the home gave to others to its end.
    Gifts {
        jobs: [Option<Job>; CELLS],
    },
    Sold,
    Short {
        wrong: bool,
    },
    /// Gave up, or its node died.
    Gone,
}

impl Phase {
    /// Wants units, and has not heard that there are none.
    pub fn waits(self) -> bool {
        !matches!(self, Self::Leave { .. } | Self::Sold | Self::Short { .. } | Self::Gone)
    }

    pub fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        let (one, several) = match self {
            Self::Bring(job) => (Some(job), None),
            Self::Recall { jobs, .. } | Self::Gifts { jobs } => (None, Some(jobs.iter_mut().flatten())),
            _ => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub cells: [Cell; CELLS],
    pub mysql: [Logged; CELLS],
    pub asks: Vec<Asked>,
    pub buyers: Vec<Phase>,
    /// How many more there may be.
    pub crashes: u8,
    pub cancels: u8,
    pub leaves: u8,
}

/// What `quota_take` answers.
pub enum Take {
    Taken,
    Already,
    OutOfTurn,
}

impl State {
    /// Units from one cell to another on their way, by what both have; `None`: a number is missing, or was taken before it
    /// was given.
    pub fn on_their_way(&self, from: usize, to: usize) -> Option<i8> {
        let gift = self.cells[from].logged.given[to];
        match gift.number - self.cells[to].logged.taken[from] {
            0 => Some(0),
            1 => Some(gift.units),
            _ => None,
        }
    }

    /// Units that nobody bought.
    pub fn free(&self) -> Option<i8> {
        let mut free = self.cells.iter().map(|it| it.logged.remaining).sum();
        for (from, to) in pairs() {
            free += self.on_their_way(from, to)?;
        }
        Some(free)
    }

    pub fn held(&self) -> i8 {
        self.cells.iter().map(|it| it.logged.held).sum()
    }

    /// What cells need that asked before.
    pub fn needed_before(&self, cell: usize) -> i8 {
        let before = self.asks.iter().take_while(|it| usize::from(it.cell) != cell);
        before.filter(|it| it.counts).map(|it| it.needs).sum()
    }

    pub fn leave_line(&mut self, cell: usize) {
        self.asks.retain(|it| usize::from(it.cell) != cell);
    }

    /// Appends `quota_given`.
    pub fn give(&mut self, from: usize, to: usize, units: i8) -> Gift {
        let Cell { logged, gifts, .. } = &mut self.cells[from];
        logged.remaining -= units;
        let gift = Gift { number: logged.given[to].number + 1, units };
        logged.given[to] = gift;
        gifts[to] = true;
        gift
    }

    pub fn take(&mut self, job: &Job) -> Take {
        let Cell { logged, hold, .. } = &mut self.cells[usize::from(job.to)];
        let last = &mut logged.taken[usize::from(job.from)];
        match job.gift.number - *last {
            ..=0 => Take::Already,
            1 => {
                *last = job.gift.number;
                logged.remaining += job.gift.units;
                *hold |= job.hold;
                Take::Taken
            }
            _ => Take::OutOfTurn,
        }
    }

    /// Whether MySQL has the event that gave it.
    pub fn given_for_good(&self, from: usize, to: usize, gift: Gift) -> bool {
        self.mysql[from].given[to].number >= gift.number
    }

    /// Whether MySQL has the event that took it.
    pub fn taken_for_good(&self, from: usize, to: usize, number: i8) -> bool {
        self.mysql[to].taken[from] >= number
    }

    pub fn settle(&mut self, from: usize, to: usize, number: i8) {
        let Cell { logged, gifts, .. } = &mut self.cells[from];
        if logged.given[to].number == number {
            gifts[to] = false;
        }
    }

    /// MySQL takes all events of a cell.
    pub fn persist(&mut self, cell: usize) {
        self.mysql[cell] = self.cells[cell].logged;
        for from in 0..CELLS {
            self.count_from(from, cell);
        }
    }

    /// Tells a pair's numbers from the one whose arrival MySQL has.
    fn count_from(&mut self, from: usize, to: usize) {
        let base = std::mem::take(&mut self.mysql[to].taken[from]);
        self.cells[to].logged.taken[from] -= base;
        for gift in [&mut self.cells[from].logged.given[to], &mut self.mysql[from].given[to]] {
            gift.number -= base;
            // What has arrived for good is nobody's any more.
            if gift.number <= 0 {
                gift.units = 0;
            }
        }
        let jobs = self.buyers.iter_mut().flat_map(Phase::jobs_mut);
        for job in jobs.filter(|it| (usize::from(it.from), usize::from(it.to)) == (from, to)) {
            job.gift.number = (job.gift.number - base).max(0);
            if job.gift.number == 0 {
                job.gift.units = 0;
            }
        }
    }

    /// Redis loses what MySQL does not have of a cell, which is rebuilt.
    pub fn crash(&mut self, cell: usize) {
        let mut gifts = [false; CELLS];
        for (to, gift) in gifts.iter_mut().enumerate() {
            *gift = !self.taken_for_good(cell, to, self.mysql[cell].given[to].number);
        }
        self.cells[cell] = Cell { logged: self.mysql[cell], gifts, hold: false };
        if cell == HOME {
            self.asks.clear();
        }
        self.tell_readers(cell);
    }

    /// What a reader compares of a cell is another one now, if it was read already.
    pub fn tell_readers(&mut self, cell: usize) {
        for phase in &mut self.buyers {
            if let Phase::Read(reading) = phase
                && reading.read[0] & 1 << cell != 0
                && reading.read[1] & 1 << cell == 0
            {
                reading.changed |= 1 << cell;
            }
        }
    }
}

pub fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..CELLS).flat_map(|from| (0..CELLS).filter(move |to| *to != from).map(move |to| (from, to)))
}
