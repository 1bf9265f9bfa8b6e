//! `src/across/desk.rs`, `transfer.rs` and `stock.rs`, line by line.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::join_all;
use tokio::sync::Mutex;

use crate::cell::{Asked, Give, Quota, Take, Transfer};
use crate::clock::{MS, Nanos, SECOND};
use crate::costs::Script;
use crate::world::World;

const PATIENCE: Nanos = 5 * SECOND;
const ASK_MS: u64 = 500;
const HOLD: Nanos = 250 * MS;
const AHEAD_MIN: i64 = 16;
const PAUSE: Nanos = 5 * MS;
const PAUSE_MAX: Nanos = 40 * MS;
const READINGS_MAX: usize = 8;

/// Units that are waited for: each buyer wants one.
const LEAST: i64 = 1;

#[derive(Debug, Clone, Copy)]
pub enum Fetched {
    Again,
    Short,
    /// 503.
    Refused,
}

pub struct Desk {
    home: u16,
    groups: RefCell<BTreeMap<u16, Rc<Group>>>,
    /// By cell.
    marks: RefCell<BTreeMap<u16, i64>>,
    /// When the last recall ended.
    recall: Mutex<Option<Nanos>>,
    /// When the last count began, and what it found.
    count: Mutex<Option<(Nanos, Counted)>>,
}

#[derive(Default)]
struct Group {
    waiting: Cell<i64>,
    turn: Mutex<Option<Told>>,
}

struct Told {
    at: Nanos,
    unclaimed: i64,
    outcome: Fetched,
}

enum Came {
    Units(i64),
    Before,
    Short,
    Refused,
}

enum Delivery {
    Arrived,
    Before,
    Gone,
    TimedOut,
}

#[derive(Clone)]
struct Counted {
    at_most: Option<i64>,
    quotas: Rc<Vec<Quota>>,
}

impl Desk {
    pub fn new(home: u16) -> Self {
        Self {
            home,
            groups: RefCell::default(),
            marks: RefCell::default(),
            recall: Mutex::default(),
            count: Mutex::default(),
        }
    }

    pub fn bought(world: &Rc<World>, node: usize, cell: u16, left: i64) {
        let mut marks = world.nodes[node].desk.marks.borrow_mut();
        if marks.get(&cell).is_some_and(|mark| left <= *mark) {
            marks.remove(&cell);
            let ahead = world.clone();
            world.clock.spawn(async move { ahead.nodes[node].desk.fetch_ahead(&ahead, node, cell).await });
        }
    }

    async fn fetch_ahead(&self, world: &Rc<World>, node: usize, cell: u16) {
        let group = self.groups.borrow_mut().entry(cell).or_default().clone();
        if let Ok(mut turn) = group.turn.try_lock()
            && let Some(Came::Units(came)) = self.ask_ahead(world, node, cell).await
        {
            let unclaimed = came.min(group.waiting.get());
            *turn = Some(Told { at: world.clock.now(), unclaimed, outcome: Fetched::Again });
        }
        self.leave(cell, &group);
    }

    async fn ask_ahead(&self, world: &Rc<World>, node: usize, cell: u16) -> Option<Came> {
        match self.ask_home(world, node, cell, 0).await {
            Some(Came::Before) => self.ask_home(world, node, cell, 0).await,
            asked => asked,
        }
    }

    pub async fn fetch(&self, world: &Rc<World>, node: usize, cell: u16) -> Fetched {
        let since = world.clock.now();
        let group = self.groups.borrow_mut().entry(cell).or_default().clone();
        group.waiting.set(group.waiting.get() + 1);
        let outcome = self.fetch_in(world, node, cell, &group, since).await;
        group.waiting.set(group.waiting.get() - 1);
        self.leave(cell, &group);
        outcome
    }

    fn leave(&self, cell: u16, group: &Rc<Group>) {
        let mut groups = self.groups.borrow_mut();
        if Rc::strong_count(group) == 2 {
            groups.remove(&cell);
        }
    }

    async fn fetch_in(
        &self,
        world: &Rc<World>,
        node: usize,
        cell: u16,
        group: &Group,
        since: Nanos,
    ) -> Fetched {
        let mut turn = group.turn.lock().await;
        if let Some(told) = turn.as_mut().filter(|it| it.at > since) {
            match told.outcome {
                Fetched::Again if told.unclaimed >= 1 => {
                    told.unclaimed -= 1;
                    return Fetched::Again;
                }
                Fetched::Again => {}
                outcome => return outcome,
            }
        }
        let (outcome, came) = match self.ask(world, node, cell, group.waiting.get()).await {
            Came::Units(came) => (Fetched::Again, came),
            Came::Before => (Fetched::Again, LEAST),
            Came::Short => (Fetched::Short, 0),
            Came::Refused => (Fetched::Refused, 0),
        };
        let unclaimed = (came - 1).min(group.waiting.get() - 1);
        *turn = Some(Told { at: world.clock.now(), unclaimed, outcome });
        outcome
    }

    async fn ask(&self, world: &Rc<World>, node: usize, cell: u16, wanted: i64) -> Came {
        let (began, home) = (world.clock.now(), self.home);
        let mut pause = PAUSE;
        while world.clock.now() - began < PATIENCE {
            if cell != home
                && let Some(came) = self.ask_home(world, node, cell, wanted).await
            {
                return came;
            }
            let asks =
                world.call(Some(node), home, Script::QuotaAsk, |it, now| it.ask(cell, LEAST, ASK_MS, now));
            match asks.await {
                Asked::Ready if cell == home => return Came::Units(LEAST),
                Asked::Ready => continue,
                Asked::Waiting => {}
            }
            let counted = self.count(world, node).await;
            if counted.at_most.is_some_and(|it| it < LEAST) {
                world
                    .call(Some(node), home, Script::QuotaAsk, |it, now| it.ask(cell, i64::MAX, 0, now))
                    .await;
                return Came::Short;
            }
            if !self.recall(world, node, wanted, &counted).await {
                return Came::Refused;
            }
            world.clock.sleep(pause).await;
            pause = PAUSE_MAX.min(2 * pause);
        }
        Came::Refused
    }

    async fn ask_home(&self, world: &Rc<World>, node: usize, cell: u16, wanted: i64) -> Option<Came> {
        let share = 2 * i64::from(world.inputs.cells);
        let give = world
            .call(Some(node), self.home, Script::QuotaGive, |it, now| {
                it.give_to(cell, (LEAST, wanted), share, now)
            })
            .await;
        let (transfer, hold) = match give {
            Give::Outstanding(transfer) => (transfer, HOLD),
            Give::Given { transfer, scarce } => {
                world.counts.borrow_mut().transfers += 1;
                (transfer, if scarce { HOLD } else { 0 })
            }
            Give::Held | Give::Wait => return None,
        };
        match deliver(world, node, transfer, hold).await {
            Delivery::Arrived => {
                if hold == 0 && transfer.units >= AHEAD_MIN {
                    self.marks.borrow_mut().insert(cell, transfer.units / 2);
                }
                Some(Came::Units(transfer.units))
            }
            Delivery::Before => Some(Came::Before),
            Delivery::Gone => None,
            Delivery::TimedOut => Some(Came::Refused),
        }
    }

    /// One for all who asked before it began.
    async fn count(&self, world: &Rc<World>, node: usize) -> Counted {
        if !world.inputs.shared_counts {
            return self.count_now(world, node).await;
        }
        let since = world.clock.now();
        let mut last = self.count.lock().await;
        if let Some((_, counted)) = last.as_ref().filter(|it| it.0 >= since) {
            return counted.clone();
        }
        let began = world.clock.now();
        let counted = self.count_now(world, node).await;
        *last = Some((began, counted.clone()));
        counted
    }

    /// Two readings that agree.
    async fn count_now(&self, world: &Rc<World>, node: usize) -> Counted {
        world.counts.borrow_mut().counts += 1;
        let mut before = world.read_all(node).await;
        let mut at_most = None;
        for _ in 1..READINGS_MAX {
            let units_then = world.unsold.get();
            let now = world.read_all(node).await;
            let has_only_fallen =
                |it: (&Quota, &Quota)| it.0.increases == it.1.increases && it.1.share() <= it.0.share();
            if before.iter().zip(&now).all(has_only_fallen) {
                let sum: i64 = before.iter().map(Quota::share).sum();
                at_most = Some(sum);
                if sum < LEAST {
                    world.counts.borrow_mut().proofs += 1;
                    world.waits.borrow_mut().unfair_proofs += u64::from(units_then > 0);
                }
                before = now;
                break;
            }
            before = now;
        }
        Counted { at_most, quotas: Rc::new(before) }
    }

    async fn recall(&self, world: &Rc<World>, node: usize, wanted: i64, counted: &Counted) -> bool {
        let since = world.clock.now();
        let mut last = self.recall.lock().await;
        if last.is_some_and(|it| it > since) {
            return true;
        }
        let recalled = self.recall_now(world, node, wanted, counted).await;
        *last = Some(world.clock.now());
        recalled
    }

    async fn recall_now(&self, world: &Rc<World>, node: usize, wanted: i64, counted: &Counted) -> bool {
        let home = self.home;
        let all_moving = counted.quotas.iter().all(|it| it.remaining == 0);
        world.counts.borrow_mut().recalls += 1;
        let others = (0..world.inputs.cells).zip(counted.quotas.iter());
        let others = others.filter(|(cell, quota)| *cell != home && (quota.remaining > 0 || all_moving));
        let recalls = others.map(|(cell, _)| async move {
            let back = |it: &mut crate::cell::Cell, now| it.give_back(home, wanted, now);
            match world.call(Some(node), cell, Script::QuotaGive, back).await {
                Give::Given { transfer, .. } => {
                    world.counts.borrow_mut().recalled += 1;
                    deliver(world, node, transfer, 0).await
                }
                Give::Outstanding(transfer) => deliver(world, node, transfer, 0).await,
                Give::Held | Give::Wait => Delivery::Gone,
            }
        });
        let mut all: Vec<Delivery> = join_all(recalls).await;
        if all_moving {
            for gift in world.call(Some(node), home, Script::QuotaGifts, |it, _| it.gifts()).await {
                all.push(deliver(world, node, gift, HOLD).await);
            }
        }
        !all.iter().any(|it| matches!(it, Delivery::TimedOut))
    }
}

async fn deliver(world: &Rc<World>, node: usize, transfer: Transfer, hold: Nanos) -> Delivery {
    if !world.persisted(node, transfer.from, transfer.given).await {
        return Delivery::TimedOut;
    }
    let take =
        world.call(Some(node), transfer.to, Script::QuotaTake, |it, now| it.take(&transfer, hold, now)).await;
    match take {
        Take::OutOfTurn => Delivery::Gone,
        Take::Taken { event } => {
            let settles = world.clone();
            world.clock.spawn(async move {
                settle(&settles, node, transfer, event).await;
            });
            Delivery::Arrived
        }
        Take::Already { event } => {
            if settle(world, node, transfer, event).await {
                Delivery::Before
            } else {
                Delivery::TimedOut
            }
        }
    }
}

async fn settle(world: &World, node: usize, transfer: Transfer, event: u64) -> bool {
    let has = world.persisted(node, transfer.to, event).await;
    if has {
        world.call(Some(node), transfer.from, Script::QuotaSettle, |it, _| it.settle(&transfer)).await;
    }
    has
}
