//! What those do who list products and carry units: when they call which script, and what they hear.

use firstcome::cell::{CellId, Position};
use firstcome::pool::Pool;
use firstcome::scripts::copies_due::{Change, copies_due};
use firstcome::scripts::copies_made::copies_made;
use firstcome::scripts::coupon_forget::{Forgetting, coupon_forget};
use firstcome::scripts::coupon_set::coupon_set;
use firstcome::scripts::product_delete::{Deletion, product_delete};
use firstcome::scripts::product_set::{CopyOf, product_set};
use firstcome::scripts::quota_give::{Ask, QuotaGive, Transfer, quota_give};
use firstcome::scripts::quota_read::quota_read;
use firstcome::scripts::quota_settle::quota_settle;
use firstcome::scripts::quota_take::{QuotaTake, quota_take};
use firstcome::watermark::has_told;
use proptest::test_runner::TestCaseError;

use super::invariants::Compared;
use super::mysql::Mysql;
use super::pools::{LATER_MS, coupon, pools, product};
use super::quota::TakeTold;
use super::rules::cells;
use super::run::{Carriers, Done, EPOCHS_MAX, HOLD_MS, Run, same};

impl Run<'_> {
    pub fn home(&self, pool: Pool) -> CellId {
        pool.home(cells())
    }

    pub async fn describe(
        &mut self,
        cell: CellId,
        pool: Pool,
        quantity: i64,
        is_new: bool,
        copy_of: Option<CopyOf>,
        words: &[&str],
    ) -> Done {
        match pool {
            Pool::Stock(sku) => {
                let stock = (is_new && copy_of.is_none()).then_some(quantity);
                let set = product_set(&self.scripts, cell, &product(sku, stock), copy_of).await;
                self.words(words, set).map(|_| ())
            }
            Pool::Coupon(id) => {
                let set = coupon_set(&self.scripts, cell, &coupon(id, quantity), copy_of).await;
                self.words(words, set).map(|_| ())
            }
        }
    }

    pub async fn delete(&mut self, cell: CellId, pool: Pool, before: Option<u64>, word: &str) -> Done {
        match pool {
            Pool::Stock(sku) => {
                let deletion = before.map_or(Deletion::Asked, |before| Deletion::Copy { before });
                let done = product_delete(&self.scripts, cell, sku.product, deletion).await;
                self.words(&[word], done).map(|_| ())
            }
            Pool::Coupon(coupon) => {
                let ended = Forgetting::Ended { before_ms: LATER_MS };
                let forgetting = before.map_or(ended, |before| Forgetting::Copy { before });
                let done = coupon_forget(&self.scripts, cell, coupon, forgetting).await;
                self.words(&[word], done).map(|_| ())
            }
        }
    }

    /// As `across::catalogue`: only once MySQL has what is copied.
    pub async fn copy(&mut self, pool: Pool, other: usize) -> Done {
        let (home, cell) = (self.home(pool), self.other(pool, other));
        let (now, mysql) = (self.model.here(home, pool), self.model.cell(home).mysql.clone());
        let Some(here) = now.cloned() else {
            let Some(before) = mysql.deleted.get(&pool).copied().filter(|_| !mysql.pools.contains_key(&pool))
            else {
                return Ok(());
            };
            let word = self.model.delete(cell, pool, Some(before));
            return self.delete(cell, pool, Some(before), word).await;
        };
        if mysql.pools.get(&pool).is_none_or(|it| it.version != here.version) {
            return Ok(());
        }
        let of = CopyOf { version: here.version, life: here.life };
        let word = self.model.set(cell, pool, here.quantity, Some(of));
        self.describe(cell, pool, here.quantity, false, Some(of), &[word]).await?;
        if word == "OTHER_LIFE" {
            let word = self.model.delete(cell, pool, Some(of.life));
            self.delete(cell, pool, Some(of.life), word).await?;
            let word = self.model.set(cell, pool, here.quantity, Some(of));
            self.describe(cell, pool, here.quantity, false, Some(of), &[word]).await?;
        }
        Ok(())
    }

    pub async fn note_copies(&mut self, pool: Pool, late: bool) -> Done {
        let home = self.home(pool);
        let due = self.words(&["READ"], copies_due(&self.scripts, home, 10).await)?;
        let change = |(pool, seq): (&Pool, &u64)| match pool {
            Pool::Stock(sku) => Change::Product(sku.product, *seq),
            Pool::Coupon(coupon) => Change::Coupon(*coupon, *seq),
        };
        let by_seq = |it: &Change| match it {
            Change::Product(_, seq) | Change::Coupon(_, seq) => *seq,
        };
        let uncopied = &self.model.cell(home).volatile.uncopied;
        let mut expected: Vec<Change> = uncopied.iter().map(change).collect();
        expected.sort_by_key(by_seq);
        same("changes to copy", &due, &expected)?;
        let Some(seq) = uncopied.get(&pool).copied() else { return Ok(()) };
        let version = self.model.cell(home).mysql.pools.get(&pool).map(|it| it.version);
        let has = |cell: CellId| {
            let copy = self.model.cell(cell).mysql.pools.get(&pool);
            copy.map(|it| it.version) == version
        };
        let word = match late {
            true => "CHANGED",
            // Whoever says so has seen all copies in MySQL.
            false if self.model.cell(home).mysql.newest.seq >= seq && cells().all().all(has) => "MADE",
            false => return Ok(()),
        };
        if word == "MADE" {
            self.model.cell_mut(home).volatile.uncopied.remove(&pool);
        }
        let seq = if late { seq - 1 } else { seq };
        self.words(&[word], copies_made(&self.scripts, home, change((&pool, &seq))).await).map(|_| ())
    }

    pub async fn give(&mut self, pool: Pool, from: CellId, to: CellId, ask: Ask) -> Done {
        let (word, transfer, is_scarce) = self.model.quota_give(pool, from, to, ask);
        let expected = match (word, transfer) {
            ("NOT_FOUND", _) => QuotaGive::NotFound,
            ("HELD", _) => QuotaGive::Held,
            ("OUTSTANDING", Some(transfer)) => QuotaGive::Outstanding(transfer),
            ("GIVEN", Some(transfer)) => QuotaGive::Given { transfer, scarce: is_scarce },
            _ => QuotaGive::Wait,
        };
        let told = self.words(&[word], quota_give(&self.scripts, pool, from, to, ask).await)?;
        self.known.extend(transfer);
        same("the answer", told, expected)
    }

    pub async fn take(&mut self, transfer: Transfer, held: bool) -> Done {
        let has_gift = has_told(&self.model.view(transfer.from), transfer.given);
        if !has_gift && self.carriers != Carriers::TakeEarly {
            return Ok(());
        }
        let hold_ms = if held { HOLD_MS } else { 0 };
        let (word, expected) = match self.model.quota_take(&transfer, hold_ms) {
            TakeTold::Unknown => ("UNKNOWN", QuotaTake::Unknown),
            TakeTold::Void => ("VOID", QuotaTake::Void),
            TakeTold::OutOfTurn => ("OUT_OF_TURN", QuotaTake::OutOfTurn),
            TakeTold::Already(at) => ("ALREADY", QuotaTake::Already(at)),
            TakeTold::Taken(at) => ("TAKEN", QuotaTake::Taken(at)),
        };
        let told = self.words(&[word], quota_take(&self.scripts, &transfer, hold_ms).await)?;
        if let QuotaTake::Already(at) | QuotaTake::Taken(at) = expected {
            self.arrived.push((transfer, at));
        }
        same("the answer", told, expected)
    }

    pub async fn settle(&mut self, transfer: Transfer, arrived: Position) -> Done {
        let has_arrival = has_told(&self.model.view(transfer.to), arrived);
        if !has_arrival && self.carriers != Carriers::SettleEarly {
            return Ok(());
        }
        let word = self.model.quota_settle(&transfer);
        self.words(&[word], quota_settle(&self.scripts, &transfer).await).map(|_| ())
    }

    pub async fn read(&mut self, pool: Pool, cell: CellId) -> Done {
        if !self.readings.entry(pool).or_default().wants(cell) {
            return Ok(());
        }
        let told = quota_read(&self.scripts, cell, &pools()).await;
        let (quotas, epoch) = self.words(&["READ"], told)?;
        let expected = pools().map(|it| self.model.quota_read(cell, it)).to_vec();
        same("the answer", (&quotas, epoch), (&expected, self.model.cell(cell).epoch))?;
        let place = pools().iter().position(|it| *it == pool).expect("it is one of them");
        let reading = self.readings.entry(pool).or_default();
        reading.watch(&self.model, pool).map_err(TestCaseError::fail)?;
        reading.read(cell, quotas[place], epoch);
        if reading.is_over() {
            let compared = match self.carriers {
                Carriers::Prove(compared) => compared,
                _ => Compared::All,
            };
            self.proofs += u64::from(reading.check(pool, compared).map_err(TestCaseError::fail)?);
            self.readings.remove(&pool);
        }
        Ok(())
    }

    pub async fn persist(&mut self, cell: CellId) {
        self.model.persist(cell);
        match &self.mysql {
            Mysql::Modelled => self.world.keep(cell).await,
            Mysql::Real(database) => database.persist(&self.scripts, self.model.view(cell)).await,
        }
        // The worker calls scripts of its own.
        self.world.outcomes.take();
    }

    pub async fn crash(&mut self, cell: CellId) {
        let (epoch, newest) = (self.model.cell(cell).epoch, self.model.cell(cell).logged.newest.seq);
        if epoch == EPOCHS_MAX {
            return;
        }
        match &self.mysql {
            Mysql::Modelled => {
                // As a recovery does: past anything that was handed out.
                let opener = Position { epoch: epoch + 1, seq: newest + 1_000 };
                let kept = self.model.cell(cell).mysql.newest;
                self.model.rebuild(cell, opener);
                self.world.bring_back(cell, &self.model.cell(cell).volatile.gifts).await;
                self.world.open_cell(&self.scripts, cell, opener, kept).await;
            }
            Mysql::Real(database) => {
                self.world.lose(cell).await;
                let opener = database.recover(&self.scripts, cell).await;
                self.model.rebuild(cell, opener);
                let due = copies_due(&self.scripts, cell, 10).await.expect("the cell is open");
                self.model.find_uncopied(cell, &due);
            }
        }
        self.world.outcomes.take();
    }
}
