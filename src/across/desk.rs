//! Where a buyer waits whose cell is short of units: for those of other cells, or for the proof that there are none.
//!
//! A cell asks the pool's home, which gives a part of what it has while it has plenty, and what is asked for when little is
//! left. Where the home has too few, it recalls what other cells have not sold, and keeps what cells need that asked
//! before. "Sold out" is said after two readings of all cells that agree (`stock::count`).
//!
//! The buyers of one node who wait for the same pool in the same cell ask once, for all of them. Where half of what came to a
//! cell is bought, the node that sees it asks for more before anybody has to wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::stock::{self, Counted};
use super::transfer::{Delivery, deliver, hold_ms, kind};
use crate::cell::CellId;
use crate::ids::UserId;
use crate::pool::Pool;
use crate::scripts::quota_ask::{QuotaAsk, quota_ask};
use crate::scripts::quota_gifts::quota_gifts;
use crate::scripts::quota_give::{Ask, QuotaGive, quota_give};
use crate::scripts::{ScriptError, Scripts};
use crate::watermark::Watermark;

/// How long one round of asking goes on. Each transfer waits for MySQL twice, some milliseconds each.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a cell's question counts at the home: longer than a round trip and a transfer, and short, since the others
/// wait for a cell whose node died.
const ASK_MS: u64 = 500;

/// Pause after a round that brought nothing: somebody else's transfer is under way. It doubles with each, up to the longest,
/// since what came to another cell is held there for a while, and each round reads all cells.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(40);

/// Fewer units are bought before more could come, so that nothing is asked for ahead.
const AHEAD_MIN: i64 = 16;

/// Pools and cells of which a node notes when it is time to ask for more. Where there are too many, it forgets them, and
/// buyers wait once where a cell is empty.
const MARKS_MAX: usize = 65_536;

/// Transfers of a home that are looked at when units are on their way, and nobody takes them.
const GIFTS: usize = 100;

/// What a buyer whose cell was short is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// Units came: try again.
    Again,
    /// All cells together have only so many.
    Short { left: i64 },
}

/// One for all requests of a node.
pub struct Desk {
    scripts: Scripts,
    watermark: Watermark,
    groups: Mutex<HashMap<Place, Arc<Group>>>,
    /// Units that are left of a pool in a cell when it is time to ask for more.
    marks: Mutex<HashMap<Place, i64>>,
    /// Of each pool that is being recalled: when that ended last.
    recalls: Turns<Instant>,
    /// Of each pool that is being counted: when the last count began, and what it found.
    counts: Turns<(Instant, Arc<Counted>)>,
}

/// Where units are waited for.
type Place = (Pool, CellId);

/// What one does at a time for a pool, for all who wait for it, and what came of it last.
type Turns<T> = Mutex<HashMap<Pool, Arc<tokio::sync::Mutex<Option<T>>>>>;

/// Those who wait for one pool in one cell.
#[derive(Default)]
struct Group {
    /// Units that they want.
    waiting: AtomicI64,
    /// Whoever has it asks for all; the others wait for it in turn.
    turn: tokio::sync::Mutex<Option<Told>>,
}

/// How the last round ended.
struct Told {
    /// It counts for those who waited before: units came, or the question failed, at that time; that there are not enough
    /// was proven after it.
    at: Instant,
    /// Units that came for others than the one who asked.
    unclaimed: i64,
    outcome: Result<Fetched, ScriptError>,
}

impl Desk {
    pub fn new(scripts: Scripts, watermark: Watermark) -> Self {
        let (groups, marks) = (Mutex::default(), Mutex::default());
        let (recalls, counts) = (Turns::default(), Turns::default());
        Self { scripts, watermark, groups, marks, recalls, counts }
    }

    /// A user bought of a pool, and so many units are `left` in their cell: asks for more where it is time to.
    pub fn bought(self: &Arc<Self>, pool: Pool, user: UserId, left: i64) {
        if self.scripts.cells().count() == 1 {
            return;
        }
        let place = (pool, self.scripts.cells().of_user(user));
        let mut marks = self.marks.lock().expect("no panic while held");
        if marks.get(&place).is_some_and(|mark| left <= *mark) {
            marks.remove(&place);
            let desk = self.clone();
            tokio::spawn(async move { desk.fetch_ahead(place).await });
        }
    }

    /// Asks the home once for its share, for buyers who are to come. Where it gives none they ask themselves.
    async fn fetch_ahead(&self, place: Place) {
        let (pool, cell) = place;
        let waiting = Waiting::begin(self, place, 0);
        // Whoever asks already asks for all.
        let Ok(mut turn) = waiting.group.turn.try_lock() else { return };
        let home = pool.home(self.scripts.cells());
        let mut asked = self.ask_home(pool, home, cell, 1, 0).await;
        if let Ok(Some(Asked::Before)) = asked {
            // That was what is half bought.
            asked = self.ask_home(pool, home, cell, 1, 0).await;
        }
        let (outcome, came) = match asked {
            Ok(Some(Asked::Came(came))) => (Ok(Fetched::Again), came),
            Ok(_) => return,
            Err(error) => (Err(error), 0),
        };
        // For those who have come meanwhile.
        let unclaimed = came.min(waiting.group.waiting.load(Ordering::Relaxed));
        *turn = Some(Told { at: Instant::now(), unclaimed, outcome });
    }

    /// Waits until `cell` got units of a pool of which it has fewer than `units`, or until it is known that there are not
    /// so many anywhere.
    ///
    /// # Errors
    /// [`ScriptError::Refused`] where it cannot be known for now: MySQL is away, or a cell is.
    pub async fn fetch(&self, pool: Pool, cell: CellId, units: i64) -> Result<Fetched, ScriptError> {
        let since = Instant::now();
        let waiting = Waiting::begin(self, (pool, cell), units);
        let mut turn = waiting.group.turn.lock().await;
        if let Some(told) = turn.as_mut().filter(|it| it.at > since) {
            match &told.outcome {
                Ok(Fetched::Again) if told.unclaimed >= units => {
                    told.unclaimed -= units;
                    return Ok(Fetched::Again);
                }
                Ok(Fetched::Short { left }) if *left < units => return Ok(Fetched::Short { left: *left }),
                Err(error) => return Err(error.clone()),
                // Others were served; whoever is next asks.
                Ok(_) => {}
            }
        }
        let wanted = waiting.group.waiting.load(Ordering::Relaxed);
        let asked = self.ask(pool, cell, units, wanted).await;
        let (outcome, came, at) = match asked {
            Ok(Asked::Came(came)) => (Ok(Fetched::Again), came, Instant::now()),
            // It may be there still; and else the home may give now.
            Ok(Asked::Before) => (Ok(Fetched::Again), units, Instant::now()),
            // Whoever came while it was being proven may know of units that came back since.
            Ok(Asked::Short { left, since }) => (Ok(Fetched::Short { left }), 0, since),
            Err(error) => (Err(error), 0, Instant::now()),
        };
        let others = waiting.group.waiting.load(Ordering::Relaxed) - units;
        let unclaimed = (came - units).min(others);
        *turn = Some(Told { at, unclaimed, outcome: outcome.clone() });
        outcome
    }

    /// Asks until units came, or are proven not to be there.
    async fn ask(&self, pool: Pool, cell: CellId, least: i64, wanted: i64) -> Result<Asked, ScriptError> {
        let (began, home) = (Instant::now(), pool.home(self.scripts.cells()));
        let mut pause = PAUSE;
        while began.elapsed() < PATIENCE {
            let since = Instant::now();
            if cell != home
                && let Some(asked) = self.ask_home(pool, home, cell, least, wanted).await?
            {
                return Ok(asked);
            }
            match quota_ask(&self.scripts, pool, cell, least, ASK_MS).await? {
                // It went while they waited.
                QuotaAsk::NotFound => return Ok(Asked::Short { left: 0, since }),
                QuotaAsk::Ready if cell == home => return Ok(Asked::Came(least)),
                QuotaAsk::Ready => continue,
                QuotaAsk::Waiting | QuotaAsk::Gone => {}
            }
            let since = Instant::now();
            let counted = match self.count(pool).await {
                Ok(counted) => counted,
                Err(error) => {
                    // A cell does not answer, and nothing can be proven; what the others have can be had.
                    let counted = stock::of_those_that_answer(&self.scripts, pool).await;
                    if counted.is_nothing_besides(cell) {
                        return Err(error);
                    }
                    Arc::new(counted)
                }
            };
            if counted.at_most.is_some_and(|it| it < least) {
                // Nobody is to wait for this cell.
                quota_ask(&self.scripts, pool, cell, least, 0).await?;
                let left = counted.now.clamp(0, least - 1);
                return Ok(Asked::Short { left, since });
            }
            self.recall(pool, wanted, &counted).await?;
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(2 * pause);
        }
        Err(ScriptError::Refused(format!("units of {pool} are on their way between cells")))
    }

    /// `None`: the home has too few, or others need them who asked before.
    async fn ask_home(
        &self,
        pool: Pool,
        home: CellId,
        cell: CellId,
        least: i64,
        wanted: i64,
    ) -> Result<Option<Asked>, ScriptError> {
        let (since, share) = (Instant::now(), 2 * u64::from(self.scripts.cells().count()));
        let ask = Ask::Home { least, wanted, share };
        let (transfer, scarce) = match quota_give(&self.scripts, pool, home, cell, ask).await? {
            QuotaGive::NotFound => return Ok(Some(Asked::Short { left: 0, since })),
            QuotaGive::Outstanding(transfer) => (transfer, true),
            QuotaGive::Given { transfer, scarce } => (transfer, scarce),
            QuotaGive::Held | QuotaGive::Wait => return Ok(None),
        };
        let hold_ms = if scarce { hold_ms(&self.scripts, &transfer) } else { 0 };
        match deliver(&self.scripts, &self.watermark, transfer, hold_ms).await? {
            Delivery::Arrived => {
                // What came for those who wait is bought at once.
                if !scarce && transfer.units >= AHEAD_MIN {
                    self.mark((pool, cell), transfer.units / 2);
                }
                Ok(Some(Asked::Came(transfer.units)))
            }
            Delivery::Before => Ok(Some(Asked::Before)),
            Delivery::Gone => Ok(None),
        }
    }

    fn mark(&self, place: Place, left: i64) {
        let mut marks = self.marks.lock().expect("no panic while held");
        if marks.len() >= MARKS_MAX {
            marks.clear();
        }
        marks.insert(place, left);
    }

    /// Recalls what other cells have not sold of a pool to its home: half of it, or what is `wanted` of each.
    pub async fn recall(&self, pool: Pool, wanted: i64, counted: &Counted) -> Result<(), ScriptError> {
        let since = Instant::now();
        let turn = Turn::of(&self.recalls, pool);
        let mut last = turn.turn.lock().await;
        if last.is_none_or(|it| it <= since) {
            let recalled = self.recall_now(pool, wanted, counted).await;
            *last = Some(Instant::now());
            recalled?;
        }
        Ok(())
    }

    /// Counts the units of a pool, once for all requests of the node that asked before it began. In each round of each
    /// cell that waits all cells are read, twice.
    async fn count(&self, pool: Pool) -> Result<Arc<Counted>, ScriptError> {
        let since = Instant::now();
        let turn = Turn::of(&self.counts, pool);
        let mut last = turn.turn.lock().await;
        // What a count proves was true after it began.
        if let Some((_, counted)) = last.as_ref().filter(|(began, _)| *began >= since) {
            return Ok(counted.clone());
        }
        let began = Instant::now();
        let counted = Arc::new(stock::count(&self.scripts, pool).await?);
        *last = Some((began, counted.clone()));
        Ok(counted)
    }

    async fn recall_now(&self, pool: Pool, wanted: i64, counted: &Counted) -> Result<(), ScriptError> {
        let home = pool.home(self.scripts.cells());
        // Where no cell has any, they are on their way: perhaps of a node that died.
        let all_moving = counted.quotas.iter().all(|it| it.remaining == 0);
        let others = self.scripts.cells().all().zip(&counted.quotas);
        let others = others.filter(|(cell, quota)| *cell != home && (quota.remaining > 0 || all_moving));
        metrics::counter!("firstcome_quota_recalls_total", "kind" => kind(pool)).increment(1);
        let recalled = join_all(others.map(|(cell, _)| self.recall_from(pool, cell, home, wanted))).await;
        if all_moving {
            for gift in quota_gifts(&self.scripts, home, GIFTS).await? {
                if gift.pool == pool {
                    deliver(&self.scripts, &self.watermark, gift, hold_ms(&self.scripts, &gift)).await?;
                }
            }
        }
        // A cell that is closed keeps what it has; where no other gave, those who wait are told that it cannot be known.
        match recalled.iter().any(Result::is_ok) {
            true => Ok(()),
            false => recalled.into_iter().collect(),
        }
    }

    async fn recall_from(
        &self,
        pool: Pool,
        cell: CellId,
        home: CellId,
        wanted: i64,
    ) -> Result<(), ScriptError> {
        match quota_give(&self.scripts, pool, cell, home, Ask::Recall { wanted }).await? {
            QuotaGive::Given { transfer, .. } | QuotaGive::Outstanding(transfer) => {
                deliver(&self.scripts, &self.watermark, transfer, 0).await.map(|_| ())
            }
            QuotaGive::NotFound | QuotaGive::Held | QuotaGive::Wait => Ok(()),
        }
    }
}

/// What a question came to.
enum Asked {
    Came(i64),
    /// What is under way had come already, and the home may give again.
    Before,
    /// Proven at some moment after `since`.
    Short {
        left: i64,
        since: Instant,
    },
}

/// A place in the line for a pool; the last one to leave it takes the line away.
struct Turn<'a, T> {
    turns: &'a Turns<T>,
    pool: Pool,
    turn: Arc<tokio::sync::Mutex<Option<T>>>,
}

impl<'a, T> Turn<'a, T> {
    fn of(turns: &'a Turns<T>, pool: Pool) -> Self {
        let turn = turns.lock().expect("no panic while held").entry(pool).or_default().clone();
        Self { turns, pool, turn }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut turns = self.turns.lock().expect("no panic while held");
        // The map's, and this one.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.pool);
        }
    }
}

/// One who waits in a group; the last one to go takes the group away.
struct Waiting<'a> {
    desk: &'a Desk,
    place: Place,
    group: Arc<Group>,
    units: i64,
}

impl<'a> Waiting<'a> {
    fn begin(desk: &'a Desk, place: Place, units: i64) -> Self {
        let group = desk.groups.lock().expect("no panic while held").entry(place).or_default().clone();
        group.waiting.fetch_add(units, Ordering::Relaxed);
        Self { desk, place, group, units }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.group.waiting.fetch_sub(self.units, Ordering::Relaxed);
        let mut groups = self.desk.groups.lock().expect("no panic while held");
        // The map's, and this one.
        if Arc::strong_count(&self.group) == 2 {
            groups.remove(&self.place);
        }
    }
}
