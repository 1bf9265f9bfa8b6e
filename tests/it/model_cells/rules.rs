//! The rules of units in several cells in plain Rust: what the headers in `lua/` promise, and what MySQL has of each cell.

use std::collections::{BTreeMap, BTreeSet};

use firstcome::cell::{CellId, CellState, CellView, Cells, Epoch, Position, Seq};
use firstcome::event::{Event, Left, ProductSetEvent, SkuSet};
use firstcome::ids::{OptionId, OrderId, UserId};
use firstcome::pool::Pool;
use firstcome::scripts::product_set::CopyOf;
use firstcome::time::Millis;

use super::pools::{PRICE, coupon, product};

pub const CELLS: u16 = 4;

pub fn cells() -> Cells {
    Cells::new(CELLS).expect("a power of two")
}

/// What events say of a pool in one cell; MySQL has it, and a rebuild brings it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    pub life: Seq,
    pub version: Seq,
    pub remaining: i64,
    pub moved: i64,
    /// Of a campaign, as this cell says; of a SKU, its first stock.
    pub quantity: i64,
    pub given: BTreeMap<CellId, Given>,
    pub taken: BTreeMap<CellId, Taken>,
    /// Units that were put in here, in this life.
    pub put_in: i64,
    /// Units of this life that orders of this cell hold, or users have.
    pub held: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    pub number: u64,
    pub units: i64,
    pub at: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub number: u64,
    pub at: Position,
}

impl Here {
    pub fn share(&self) -> i64 {
        self.remaining - self.moved
    }
}

/// A pending order for units of a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub pool: Pool,
    pub life: Seq,
    pub units: i64,
}

/// What events say of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logged {
    pub newest: Position,
    pub pools: BTreeMap<Pool, Here>,
    pub orders: BTreeMap<OrderId, Held>,
    /// Users who have a unit of the campaign of that life.
    pub issues: BTreeSet<(Pool, Seq, UserId)>,
    /// Of the last transfer to or from each other cell: its pool's life, and the number of the last one that came from there
    /// in that life. MySQL keeps these rows when a pool goes.
    pub transfers: BTreeMap<(Pool, CellId), (Seq, u64)>,
    /// The home's last event that took a pool away.
    pub deleted: BTreeMap<Pool, Seq>,
}

/// What a cell asked of a home.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub until: Millis,
    pub needs: i64,
}

/// What Redis has beyond that, and loses.
#[derive(Debug, Clone, Default)]
pub struct Volatile {
    pub increases: BTreeMap<Pool, u64>,
    pub hold_until: BTreeMap<Pool, Millis>,
    /// Cells that wait, with their scores.
    pub asks: BTreeMap<Pool, Vec<(u64, CellId)>>,
    pub questions: BTreeMap<(Pool, CellId), Question>,
    pub gifts: BTreeSet<(Pool, CellId)>,
    pub uncopied: BTreeMap<Pool, Seq>,
}

#[derive(Debug, Clone, Default)]
pub struct Cell {
    pub epoch: Epoch,
    pub logged: Logged,
    pub volatile: Volatile,
    /// What MySQL has.
    pub mysql: Logged,
    /// What was to be copied when MySQL took that.
    pub kept_uncopied: BTreeMap<Pool, Seq>,
    /// Events since they were last compared with the log.
    pub events: Vec<(Seq, Expected)>,
}

/// What an entry of the log must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Event(Box<Event>),
    /// One that the model of one cell compares.
    Kind(&'static str),
}

impl From<Event> for Expected {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

#[derive(Debug, Clone)]
pub struct Model {
    pub now_ms: Millis,
    pub cells: Vec<Cell>,
}

impl Model {
    pub fn cell(&self, cell: CellId) -> &Cell {
        &self.cells[usize::from(cell.0)]
    }

    pub fn cell_mut(&mut self, cell: CellId) -> &mut Cell {
        &mut self.cells[usize::from(cell.0)]
    }

    pub fn here(&self, cell: CellId, pool: Pool) -> Option<&Here> {
        self.cell(cell).logged.pools.get(&pool)
    }

    pub fn here_mut(&mut self, cell: CellId, pool: Pool) -> &mut Here {
        self.cell_mut(cell).logged.pools.get_mut(&pool).expect("it is there")
    }

    /// What MySQL says of a cell, as who waits for an event reads it.
    pub fn view(&self, cell: CellId) -> CellView {
        let it = self.cell(cell);
        CellView {
            cell,
            state: CellState::Open,
            epoch: it.epoch,
            persisted: it.mysql.newest,
            lost_events: 0,
            dead_events: 0,
        }
    }

    pub fn happened(&mut self, cell: CellId, expected: Expected) -> Position {
        let cell = self.cell_mut(cell);
        cell.logged.newest = Position { epoch: cell.epoch, seq: cell.logged.newest.seq + 1 };
        cell.events.push((cell.logged.newest.seq, expected));
        cell.logged.newest
    }

    /// Describes a pool in its home (`copy_of`: in another cell); `put_in` units are new.
    pub fn set(&mut self, cell: CellId, pool: Pool, quantity: i64, copy_of: Option<CopyOf>) -> &'static str {
        let before = self.here(cell, pool).cloned();
        if let (Some(of), Some(here)) = (copy_of, &before) {
            if here.version >= of.version {
                return "KNOWN";
            } else if here.life != of.life {
                return "OTHER_LIFE";
            }
        }
        let (moved, known) = before.as_ref().map_or((0, 0), |it| (it.moved, it.quantity));
        let (quantity, put_in) = match (pool, copy_of) {
            (Pool::Stock(_), None) if before.is_none() => (quantity, quantity),
            (Pool::Stock(_), _) => (known, 0),
            (Pool::Coupon(_), None) => (quantity, quantity - known),
            (Pool::Coupon(_), Some(_)) => (quantity, 0),
        };
        let remaining = before.as_ref().map_or(0, |it| it.remaining) + put_in;
        if remaining < 0 {
            return "BELOW_ISSUED";
        }
        let at_ms = self.now_ms;
        let event = match pool {
            Pool::Stock(sku) => Event::ProductSet(ProductSetEvent {
                at_ms,
                copy_of,
                product: sku.product,
                name: product(sku, None).name,
                starts_at_ms: None,
                ends_at_ms: None,
                limit_per_user: None,
                skus: vec![SkuSet {
                    option: OptionId::NONE,
                    name: String::new(),
                    price: PRICE,
                    initial: quantity,
                    remaining,
                }],
            }),
            Pool::Coupon(id) => {
                Event::CouponSet { at_ms, coupon: coupon(id, quantity), remaining, moved, copy_of }
            }
        };
        let seq = self.happened(cell, Expected::from(event)).seq;
        let (version, life) = copy_of.map_or((seq, None), |it| (it.version, Some(it.life)));
        let fresh = Here {
            life: life.unwrap_or(seq),
            version,
            remaining: 0,
            moved: 0,
            quantity: 0,
            given: BTreeMap::new(),
            taken: BTreeMap::new(),
            put_in: 0,
            held: 0,
        };
        let is_new = before.is_none();
        let before = before.unwrap_or(fresh);
        let here = Here { version, remaining, quantity, put_in: before.put_in + put_in, ..before };
        let it = self.cell_mut(cell);
        it.logged.pools.insert(pool, here);
        if copy_of.is_none() {
            it.volatile.uncopied.insert(pool, seq);
            if matches!(pool, Pool::Coupon(_)) {
                *it.volatile.increases.entry(pool).or_default() += 1;
            }
        }
        if is_new { "CREATED" } else { "UPDATED" }
    }

    /// Takes a pool away; `before`: a copy of what its home said before that event.
    pub fn delete(&mut self, cell: CellId, pool: Pool, before: Option<Seq>) -> &'static str {
        let Some(here) = self.here(cell, pool).cloned() else { return "NOT_FOUND" };
        if before.is_some_and(|it| here.version >= it) {
            return "NEWER";
        }
        let at_ms = self.now_ms;
        let event = match pool {
            Pool::Stock(sku) => Event::ProductDeleted {
                at_ms,
                product: sku.product,
                left: vec![Left { sku, remaining: here.remaining, moved: here.moved }],
            },
            Pool::Coupon(coupon) => Event::CouponForgotten { at_ms, coupon },
        };
        let seq = self.happened(cell, Expected::from(event)).seq;
        let Cell { logged, volatile, .. } = self.cell_mut(cell);
        logged.pools.remove(&pool);
        logged.issues.retain(|it| it.0 != pool);
        volatile.increases.remove(&pool);
        volatile.hold_until.remove(&pool);
        volatile.asks.remove(&pool);
        volatile.questions.retain(|it, _| it.0 != pool);
        volatile.gifts.retain(|it| it.0 != pool);
        if before.is_none() {
            logged.deleted.insert(pool, seq);
            volatile.uncopied.insert(pool, seq);
        }
        match pool {
            Pool::Stock(_) => "DELETED",
            Pool::Coupon(_) => "FORGOTTEN",
        }
    }

    /// Adds units in the home; `elsewhere`: the shares of all other cells.
    pub fn restock(&mut self, pool: Pool, delta: i64, elsewhere: i64) -> &'static str {
        let (home, Pool::Stock(sku)) = (pool.home(cells()), pool) else { unreachable!("only stock") };
        let Some(here) = self.here(home, pool) else { return "NOT_FOUND" };
        let remaining = here.remaining + delta;
        let total = remaining + elsewhere - here.moved;
        if total < 0 {
            return "OUT_OF_RANGE";
        } else if remaining < 0 {
            return "SHORT";
        }
        let at_ms = self.now_ms;
        let event = Event::Restocked { at_ms, sku, delta, remaining, total, caller: 0, key: None };
        self.happened(home, Expected::from(event));
        let here = self.here_mut(home, pool);
        here.remaining = remaining;
        here.put_in += delta;
        *self.cell_mut(home).volatile.increases.entry(pool).or_default() += 1;
        "RESTOCKED"
    }

    /// A pending order, or a claim of one unit.
    pub fn buy(&mut self, cell: CellId, pool: Pool, user: UserId, units: i64) -> &'static str {
        let Some(here) = self.here(cell, pool) else { return "NOT_FOUND" };
        let (life, left) = (here.life, here.remaining - units);
        match pool {
            Pool::Stock(_) if left < 0 => return "OUT_OF_STOCK",
            Pool::Coupon(_) if self.cell(cell).logged.issues.contains(&(pool, life, user)) => {
                return "ALREADY_ISSUED";
            }
            Pool::Coupon(_) if left < 0 => return "SOLD_OUT",
            Pool::Stock(_) | Pool::Coupon(_) => {}
        }
        let kind = if matches!(pool, Pool::Stock(_)) { "order_placed" } else { "coupon_issued" };
        let at = self.happened(cell, Expected::Kind(kind));
        let here = self.here_mut(cell, pool);
        here.remaining = left;
        here.held += units;
        let logged = &mut self.cell_mut(cell).logged;
        if matches!(pool, Pool::Coupon(_)) {
            logged.issues.insert((pool, life, user));
            return "ISSUED";
        }
        let order = firstcome::cell::order_id(cell, at.seq).expect("small");
        logged.orders.insert(order, Held { pool, life, units });
        "PLACED"
    }

    /// Units of a pending order come back, to whatever life the SKU is in by then.
    pub fn cancel(&mut self, cell: CellId, order: OrderId) -> &'static str {
        let Some(held) = self.cell_mut(cell).logged.orders.remove(&order) else { return "NOT_NOW" };
        self.happened(cell, Expected::Kind("order_cancelled"));
        if self.here(cell, held.pool).is_some() {
            let here = self.here_mut(cell, held.pool);
            here.remaining += held.units;
            match here.life == held.life {
                true => here.held -= held.units,
                false => here.put_in += held.units,
            }
            *self.cell_mut(cell).volatile.increases.entry(held.pool).or_default() += 1;
        }
        "ENDED"
    }

    /// MySQL takes all events of a cell.
    pub fn persist(&mut self, cell: CellId) {
        let cell = self.cell_mut(cell);
        cell.mysql = cell.logged.clone();
        cell.kept_uncopied = cell.volatile.uncopied.clone();
    }

    /// Redis loses what MySQL does not have of a cell, which is rebuilt and opened in a new epoch.
    pub fn rebuild(&mut self, cell: CellId, opener: Position) {
        let it = self.cell(cell);
        let mut logged = it.mysql.clone();
        logged.newest = opener;
        let mut volatile = Volatile { uncopied: it.kept_uncopied.clone(), ..Volatile::default() };
        for (pool, here) in &logged.pools {
            for (to, given) in &here.given {
                let row = self.cell(*to).mysql.transfers.get(&(*pool, cell));
                let arrived = row.filter(|(life, _)| *life == here.life).map_or(0, |(_, number)| *number);
                if arrived < given.number {
                    volatile.gifts.insert((*pool, *to));
                }
            }
        }
        let it = self.cell_mut(cell);
        (it.epoch, it.logged, it.volatile) = (opener.epoch, logged, volatile);
        it.events.clear();
    }
}
