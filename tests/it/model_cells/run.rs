//! Runs a sequence on the real scripts and on the model, and compares all that there is after each step.

use std::collections::BTreeMap;

use firstcome::across::stock;
use firstcome::cell::{CellId, Position};
use firstcome::coupon::IssueId;
use firstcome::order::OrderItem;
use firstcome::pool::Pool;
use firstcome::scripts::Scripts;
use firstcome::scripts::coupon_issue::coupon_issue;
use firstcome::scripts::events_read::events_read;
use firstcome::scripts::order_end::{EndRequest, OrderEnding, order_end};
use firstcome::scripts::order_place::{PlaceRequest, order_place};
use firstcome::scripts::product_restock::product_restock;
use firstcome::scripts::quota_ask::quota_ask;
use firstcome::scripts::quota_gifts::quota_gifts;
use firstcome::scripts::quota_give::{Ask, Transfer};
use firstcome::scripts::user_create::user_create;
use proptest::test_runner::TestCaseError;

use super::super::model::outcomes::Seen;
use super::invariants::{Compared, Reading};
use super::mysql::Mysql;
use super::operations::Operation;
use super::pools::{USERS, pools, user};
use super::rules::{Cell, Expected, Model, cells};
use super::world::{OPENER, STARTS_AT_MS, World};

/// Whether those who carry units keep to what the scripts' headers ask of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriers {
    KeepTheRules,
    /// Take before MySQL has the gift.
    TakeEarly,
    /// Settle before MySQL has the arrival.
    SettleEarly,
    /// Prove "sold out" without a look at something.
    Prove(Compared),
}

/// How long one round of a desk holds units, in milliseconds.
pub const HOLD_MS: u64 = 250;

/// How long a pending order can be paid: longer than a sequence.
const PAY_WITHIN_MS: u64 = 3_600_000;

/// Openings of a cell in one sequence at most; each has texts of its own.
pub const EPOCHS_MAX: u64 = 8;

pub type Done = Result<(), TestCaseError>;

/// A sequence on its way.
pub struct Run<'a> {
    pub world: &'a World,
    pub scripts: Scripts,
    pub mysql: Mysql<'a>,
    pub model: Model,
    pub carriers: Carriers,
    /// Transfers that somebody heard of, the newest last.
    pub known: Vec<Transfer>,
    /// Those whose arrival somebody heard of.
    pub arrived: Vec<(Transfer, Position)>,
    pub readings: BTreeMap<Pool, Reading>,
    /// Proofs that were made.
    pub proofs: u64,
    pub seen: Seen,
}

impl<'a> Run<'a> {
    /// Takes a sequence from an empty shop to its end.
    pub async fn all(
        world: &'a World,
        mysql: impl AsyncFnOnce(&Scripts) -> Mysql<'a>,
        carriers: Carriers,
        operations: &[Operation],
    ) -> Result<Self, TestCaseError> {
        let mut run = Self::begin(world, mysql, carriers).await?;
        for (index, operation) in operations.iter().enumerate() {
            let at = |error| TestCaseError::fail(format!("step {index}, {operation:?}: {error}"));
            run.step(operation).await.map_err(at)?;
            run.compare().await.map_err(at)?;
        }
        Ok(run)
    }

    pub async fn begin(
        world: &'a World,
        mysql: impl AsyncFnOnce(&Scripts) -> Mysql<'a>,
        carriers: Carriers,
    ) -> Result<Self, TestCaseError> {
        let scripts = world.begin().await;
        let mysql = mysql(&scripts).await;
        let model =
            Model { now_ms: STARTS_AT_MS, cells: vec![Cell::default(); usize::from(cells().count())] };
        let (known, arrived, readings, seen) = (Vec::new(), Vec::new(), BTreeMap::new(), Seen::new());
        let mut run =
            Self { world, scripts, mysql, model, carriers, known, arrived, readings, proofs: 0, seen };
        for cell in cells().all() {
            let opener = match &run.mysql {
                Mysql::Modelled => {
                    let opener = Position { epoch: 1, seq: OPENER };
                    world.open_cell(&run.scripts, cell, opener, Position::default()).await;
                    opener
                }
                Mysql::Real(database) => database.recover(&run.scripts, cell).await,
            };
            let it = run.model.cell_mut(cell);
            (it.epoch, it.logged.newest, it.mysql.newest) = (opener.epoch, opener, Position::default());
            for number in 0..USERS {
                world.outcomes.take();
                run.words(&["CREATED"], user_create(&run.scripts, user(cell, number)).await)?;
                run.model.happened(cell, Expected::Kind("user_created"));
            }
            run.persist(cell).await;
        }
        run.compare().await?;
        Ok(run)
    }

    pub fn pool(&self, pool: usize) -> Pool {
        pools()[pool]
    }

    /// One of the cells that are not a pool's home.
    pub fn other(&self, pool: Pool, which: usize) -> CellId {
        let home = pool.home(cells());
        cells().all().filter(|it| *it != home).nth(which).expect("there are three")
    }

    pub async fn step(&mut self, operation: &Operation) -> Done {
        self.world.outcomes.take();
        match *operation {
            Operation::Set { pool, units } => {
                let pool = self.pool(pool);
                let is_new = self.model.here(self.home(pool), pool).is_none();
                let quantity = if matches!(pool, Pool::Coupon(_)) || is_new { units } else { 0 };
                let word = self.model.set(self.home(pool), pool, quantity, None);
                self.describe(self.home(pool), pool, quantity, is_new, None, &[word]).await
            }
            Operation::Restock { delta } => {
                let (pool, Pool::Stock(sku)) = (self.pool(0), self.pool(0)) else {
                    unreachable!("it is stock")
                };
                let home = self.home(pool);
                let elsewhere = stock::elsewhere(&self.scripts, pool, home).await;
                let elsewhere = self.words(&["READ"; 4], elsewhere)?;
                let others = cells().all().zip(self.model.quotas(pool)).filter(|(cell, _)| *cell != home);
                let shares = others.map(|(_, quota)| quota.share()).sum::<i64>();
                same("units elsewhere", elsewhere, shares)?;
                let word = self.model.restock(pool, delta, elsewhere);
                let done = product_restock(&self.scripts, sku, delta, None, 0, None, elsewhere).await;
                self.words(&[word], done).map(|_| ())
            }
            Operation::Delete { pool } => {
                let pool = self.pool(pool);
                let word = self.model.delete(self.home(pool), pool, None);
                self.delete(self.home(pool), pool, None, word).await
            }
            Operation::Copy { pool, other } => self.copy(self.pool(pool), other).await,
            Operation::LateDelete { pool, other } => {
                let pool = self.pool(pool);
                let (home, cell) = (self.home(pool), self.other(pool, other));
                let Some(before) = self.model.cell(home).mysql.deleted.get(&pool).copied() else {
                    return Ok(());
                };
                let word = self.model.delete(cell, pool, Some(before));
                self.delete(cell, pool, Some(before), word).await
            }
            Operation::NoteCopies { pool, late } => self.note_copies(self.pool(pool), late).await,
            Operation::Buy { pool, cell, user: number, units } => {
                let (pool, cell) = (self.pool(pool), CellId(cell));
                let buyer = user(cell, number);
                match pool {
                    Pool::Stock(sku) => {
                        let word = self.model.buy(cell, pool, buyer, units);
                        let place = PlaceRequest {
                            user: buyer,
                            items: &[OrderItem { sku, quantity: units as u32 }],
                            coupon: None,
                            pay_within_ms: Some(PAY_WITHIN_MS),
                            idempotency: None,
                            idempotency_ttl_ms: 0,
                        };
                        self.words(&[word], order_place(&self.scripts, place).await).map(|_| ())
                    }
                    Pool::Coupon(coupon) => {
                        let word = self.model.buy(cell, pool, buyer, 1);
                        let issue = IssueId { coupon, user: buyer };
                        let issued = coupon_issue(&self.scripts, issue, false, None, 0).await;
                        self.words(&[word], issued).map(|_| ())
                    }
                }
            }
            Operation::Cancel { cell, which } => {
                let cell = CellId(cell);
                let orders = &self.model.cell(cell).logged.orders;
                let Some(order) = orders.keys().rev().nth(which % orders.len().max(1)).copied() else {
                    return Ok(());
                };
                let word = self.model.cancel(cell, order);
                let end = EndRequest {
                    order,
                    ending: OrderEnding::Cancelled,
                    caller: None,
                    idempotency: None,
                    idempotency_ttl_ms: 0,
                    read: None,
                };
                self.words(&[word], order_end(&self.scripts, cell, end).await).map(|_| ())
            }
            Operation::Ask { pool, cell, least, ask_ms } => {
                let (pool, cell) = (self.pool(pool), CellId(cell));
                let word = self.model.quota_ask(pool, cell, least, ask_ms);
                let told = quota_ask(&self.scripts, pool, cell, least, ask_ms as u64).await;
                self.words(&[word], told).map(|_| ())
            }
            Operation::GiveHome { pool, other, least, wanted, share } => {
                let pool = self.pool(pool);
                let (home, to) = (self.home(pool), self.other(pool, other));
                self.give(pool, home, to, Ask::Home { least, wanted, share }).await
            }
            Operation::Recall { pool, other, wanted } => {
                let pool = self.pool(pool);
                let (home, from) = (self.home(pool), self.other(pool, other));
                self.give(pool, from, home, Ask::Recall { wanted }).await
            }
            Operation::Take { which, held, ahead } => {
                let Some(transfer) = self.known.iter().rev().nth(which).copied() else { return Ok(()) };
                let transfer = Transfer { number: transfer.number + ahead, ..transfer };
                // A number that nobody gave is never to be taken, whatever MySQL has; so only where the script refuses it.
                let last =
                    self.model.here(transfer.to, transfer.pool).and_then(|it| it.taken.get(&transfer.from));
                if ahead > 0 && last.map_or(0, |it| it.number) + 1 >= transfer.number {
                    return Ok(());
                }
                self.take(transfer, held).await
            }
            Operation::Settle { which } => {
                let Some((transfer, at)) = self.arrived.iter().rev().nth(which).copied() else {
                    return Ok(());
                };
                self.settle(transfer, at).await
            }
            Operation::Deliver { which, held } => {
                let Some(transfer) = self.known.iter().rev().nth(which).copied() else { return Ok(()) };
                self.persist(transfer.from).await;
                self.take(transfer, held).await?;
                self.persist(transfer.to).await;
                let arrived = self.arrived.iter().rev().find(|it| it.0 == transfer).copied();
                match arrived {
                    Some((transfer, at)) => self.settle(transfer, at).await,
                    None => Ok(()),
                }
            }
            Operation::Gifts { cell } => {
                let cell = CellId(cell);
                let gifts = self.words(&["READ"], quota_gifts(&self.scripts, cell, 100).await)?;
                let by_name = |it: &Transfer| (it.pool, it.to);
                let (mut gifts, mut expected) = (gifts, self.model.quota_gifts(cell));
                gifts.sort_by_key(by_name);
                expected.sort_by_key(by_name);
                self.known.extend(&gifts);
                same("transfers under way", gifts, expected)
            }
            Operation::Read { pool, cell } => self.read(self.pool(pool), CellId(cell)).await,
            Operation::Count { pool } => {
                let pool = self.pool(pool);
                let counted = stock::count(&self.scripts, pool).await;
                let counted = self.words(&["READ"; 8], counted)?;
                let quotas = self.model.quotas(pool);
                let sum = quotas.iter().map(|it| it.share()).sum::<i64>();
                same("units", (counted.at_most, counted.now, counted.quotas), (Some(sum), sum, quotas))?;
                let totals = stock::totals(&self.scripts, &[pool]).await;
                same("units", self.words(&["READ"; 4], totals)?, vec![sum])
            }
            Operation::Persist { cell } => {
                self.persist(CellId(cell)).await;
                Ok(())
            }
            Operation::Crash { cell } => {
                self.crash(CellId(cell)).await;
                Ok(())
            }
            Operation::Pass { ms } => {
                self.model.now_ms += ms;
                self.world.clock.stop_at(self.model.now_ms);
                Ok(())
            }
        }
    }

    async fn compare(&mut self) -> Done {
        for cell in cells().all() {
            let expected = std::mem::take(&mut self.model.cell_mut(cell).events);
            let Some((first, _)) = expected.first() else { continue };
            let after = Position { epoch: self.model.cell(cell).epoch, seq: first - 1 };
            let read = events_read(&self.scripts, cell, after, 100).await;
            let entries = read.map_err(|error| TestCaseError::fail(error.to_string()))?.entries;
            same("events", entries.len(), expected.len())?;
            for (entry, (seq, expected)) in entries.iter().zip(&expected) {
                same("the event's number", entry.position.seq, *seq)?;
                match expected {
                    Expected::Event(event) => same("the event", entry.event(), Ok((**event).clone()))?,
                    Expected::Kind(kind) => {
                        same("the event", entry.kind.split(':').next(), Some(*kind))?;
                    }
                }
            }
        }
        let (held, expected) = (self.world.look().await, self.model.look());
        let only = |all: &std::collections::BTreeSet<String>, other: &_| {
            all.difference(other).cloned().collect::<Vec<_>>()
        };
        same("what cells have", only(&held, &expected), only(&expected, &held))?;
        self.model.check_units().map_err(TestCaseError::fail)?;
        for (pool, reading) in &mut self.readings {
            reading.watch(&self.model, *pool).map_err(TestCaseError::fail)?;
        }
        Ok(())
    }

    /// Compares the outcomes that the scripts gave, and counts them.
    pub fn words<T>(
        &mut self,
        words: &[&str],
        got: Result<T, impl std::fmt::Display>,
    ) -> Result<T, TestCaseError> {
        let outcomes = self.world.outcomes.take();
        let got = got.map_err(|error| TestCaseError::fail(format!("{error} instead of {words:?}")))?;
        let seen: Vec<&str> = outcomes.iter().map(|(_, word)| word.as_str()).collect();
        same("the outcome", seen.as_slice(), words)?;
        for outcome in outcomes {
            *self.seen.entry(outcome).or_default() += 1;
        }
        Ok(got)
    }
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Done {
    if got == expected {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what} differs:\n  Redis: {got:?}\n  model: {expected:?}")))
}
