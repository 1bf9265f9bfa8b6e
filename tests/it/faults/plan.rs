//! What happens when, from a seed: the same seed makes the same schedule of faults.

use std::str::FromStr;

use firstcome::dev::Fsync;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

macro_rules! kinds {
    ($($kind:ident = $name:literal, $($shape:ident)|+, $weight:literal;)*) => {
        /// A kind of fault. Its name selects it in `FIRSTCOME_FAULTS_KINDS`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($kind),* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// The shapes of runs in which it happens.
            fn shapes(self) -> &'static [Shape] {
                match self { $(Self::$kind => &[$(Shape::$shape),+]),* }
            }

            /// How often it is in a deck.
            fn weight(self) -> usize {
                match self { $(Self::$kind => $weight),* }
            }
        }
    };
}

kinds! {
    EngineKill = "engine-kill", Split | Together | Replicated | ShortTail, 16;
    WorkerKill = "worker-kill", Split | Replicated | ShortTail, 12;
    RedisKill = "redis-kill", Split | Together | Replicated | ShortTail, 4;
    AofCut = "aof-cut", Split | Together | ShortTail, 3;
    AofCutBehind = "aof-cut-behind", Split | Together | ShortTail, 2;
    AofCutOpen = "aof-cut-open", Split | Together, 2;
    Flush = "flush", Split | Together | ShortTail, 1;
    FlushBehind = "flush-behind", Split | Together, 1;
    EveryNodeDies = "every-node-dies", Split | Together, 1;
    HalfWay = "half-way", Split | Together | ShortTail, 1;
    MemoryFull = "memory-full", Split | Together, 1;
    RepliesDropped = "replies-dropped", Split | Together, 2;
    Promotion = "promotion", Replicated, 5;
    ThereAndBack = "there-and-back", Replicated, 4;
    SleepingRecoverer = "sleeping-recoverer", Split | Together, 2;
    Zombie = "zombie", Split | Together | ShortTail, 2;
    MysqlKill = "mysql-kill", Split | Together | Replicated | ShortTail, 4;
    MysqlAsleep = "mysql-asleep", Split | Together, 1;
    MysqlRestored = "mysql-restored", Split | Together, 1;
    MysqlTooOld = "mysql-too-old", ShortTail, 2;
    RabbitmqKill = "rabbitmq-kill", Split | Together | ShortTail, 2;
    RabbitmqAlarm = "rabbitmq-alarm", Split, 1;
    RabbitmqFull = "rabbitmq-full", Together, 1;
    RabbitmqUnbound = "rabbitmq-unbound", ShortTail, 1;
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|it| it.name() == name).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|it| it.name()).collect();
            format!("{name:?} is no kind of fault; there are {}", names.join(", "))
        })
    }
}

/// What a run's world is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Two API nodes and two workers.
    Split,
    /// Two processes that do everything.
    Together,
    /// As `Split`, and Redis has a replica.
    Replicated,
    /// As `Split`, with a log that keeps few persisted events.
    ShortTail,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Split, Self::Together, Self::Replicated, Self::ShortTail];

    pub fn replicated(self) -> bool {
        self == Self::Replicated
    }

    /// The setting `keep_events`.
    pub fn keep_events(self) -> u64 {
        if self == Self::ShortTail { 150 } else { 100_000 }
    }
}

/// One fault of a run.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub kind: Kind,
    /// How many successes come before it.
    pub after: u64,
    /// What it chooses by.
    pub seed: u64,
}

/// One run: a world of its own, faults, and the checks at its end.
#[derive(Debug, Clone)]
pub struct RunPlan {
    pub number: usize,
    pub seed: u64,
    pub shape: Shape,
    pub fsync: Fsync,
    /// Sleepers sleep for half a minute, MySQL for a minute, and its copy is half a minute old.
    pub patient: bool,
    pub faults: Vec<Planned>,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Order {
    pub seed: u64,
    /// Faults in all.
    pub rounds: usize,
    /// Most faults in one run.
    pub rounds_per_run: usize,
    pub kinds: Vec<Kind>,
    /// Every kind as often as any other, whatever it weighs.
    pub evenly: bool,
    pub patient: bool,
}

impl Order {
    /// All runs. Shapes take turns; each takes from a deck that has every kind as often as it weighs.
    pub fn plan(&self) -> Vec<RunPlan> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut decks: Vec<Vec<Kind>> = vec![Vec::new(); Shape::ALL.len()];
        let (mut runs, mut left) = (Vec::new(), self.rounds);
        assert!(!self.kinds.is_empty(), "at least one kind of fault");
        for (turn, shape) in Shape::ALL.iter().enumerate().cycle() {
            if left == 0 {
                break;
            }
            let possible: Vec<Kind> =
                self.kinds.iter().copied().filter(|it| it.shapes().contains(shape)).collect();
            if possible.is_empty() {
                continue;
            }
            let number = runs.len();
            let mut faults = Vec::new();
            for _ in 0..left.min(self.rounds_per_run) {
                let deck = &mut decks[turn];
                if deck.is_empty() {
                    let times = |it: &Kind| if self.evenly { 1 } else { it.weight() };
                    deck.extend(possible.iter().flat_map(|it| std::iter::repeat_n(*it, times(it))));
                    deck.shuffle(&mut random);
                }
                let kind = deck.pop().expect("a deck of at least one");
                faults.push(Planned { kind, after: random.random_range(1..25), seed: random.random() });
            }
            left -= faults.len();
            let fsync = if number % 2 == 0 { Fsync::Always } else { Fsync::EverySec };
            let (seed, patient) = (random.random(), self.patient);
            runs.push(RunPlan { number, seed, shape: *shape, fsync, patient, faults });
        }
        runs
    }
}
