//! Cells, epochs and positions: where a thing lives and how far its event log has got.

use std::fmt;
use std::str::FromStr;

use crate::ids::{CouponId, OrderId, ProductId, UserId};

/// A partition of everything. All Redis keys of cell 3 carry the hash tag `{c3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub u16);

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a cell was recovered. 0: never opened.
pub type Epoch = u64;

/// Number of an event in its cell. It never restarts, whatever is lost.
pub type Seq = u64;

/// An event's id, `<epoch>-<seq>`; compared as a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
}

impl Position {
    /// Behind every event that there can be.
    pub const LAST: Self = Self { epoch: Epoch::MAX, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// A text was not `<epoch>-<seq>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event id")]
pub struct NotAPosition(String);

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        text.split_once('-')
            .and_then(|(epoch, seq)| Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? }))
            .ok_or_else(|| NotAPosition(text.to_owned()))
    }
}

/// An event by its cell and number: `<cell>-<seq>`, also the id of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub cell: CellId,
    pub seq: Seq,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.cell, self.seq)
    }
}

/// A text was not `<cell>-<seq>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not <cell>-<seq>, such as 0-1234")]
pub struct NotAnEventId(String);

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        text.split_once('-')
            .and_then(|(cell, seq)| Some(Self { cell: CellId(cell.parse().ok()?), seq: seq.parse().ok()? }))
            .ok_or_else(|| NotAnEventId(text.to_owned()))
    }
}

/// Whether a cell sells, as MySQL has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// Open, or to be recovered unasked.
    Open,
    /// Shut until somebody opens it: `operator`, `database_behind`.
    Closed { reason: String },
}

/// One cell as MySQL has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellView {
    pub cell: CellId,
    pub state: CellState,
    pub epoch: Epoch,
    /// The last event that MySQL has.
    pub persisted: Position,
    /// Acknowledged events that were lost for good, in all recoveries so far.
    pub lost_events: u64,
    /// Events whose rows could not be applied, and wait for somebody.
    pub dead_events: u64,
}

/// What all nodes must agree on for the texts of one cell to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub epoch: Epoch,
    /// `master_replid` that the recovery saw, where the server has replicas; scripts compare it,
    /// because a demoted server can come back with its scripts and the copied gate.
    pub replid: Option<String>,
}

/// Most cells an engine can have; the width of the cell in an order id.
pub const CELLS_MAX: u16 = 1024;

/// The number of cells of this engine: a power of two, fixed when the database is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells(u16);

impl Cells {
    pub const ONE: Self = Self(1);

    /// Accepts a power of two from 1 to [`CELLS_MAX`].
    pub fn new(count: u16) -> Option<Self> {
        (count.is_power_of_two() && count <= CELLS_MAX).then_some(Self(count))
    }

    pub fn count(self) -> u16 {
        self.0
    }

    /// The cell a user belongs to, for good.
    pub fn of_user(self, user: UserId) -> CellId {
        CellId((splitmix64(user.get()) % u64::from(self.0)) as u16)
    }

    /// The cell that owns a product's unallocated stock.
    pub fn home(self, product: ProductId) -> CellId {
        CellId((splitmix64(product.get()) % u64::from(self.0)) as u16)
    }

    /// The cell that owns the rest of a campaign's pool.
    pub fn coupon_home(self, coupon: CouponId) -> CellId {
        CellId((splitmix64(coupon.get()) % u64::from(self.0)) as u16)
    }

    /// The cell that an order id names, if this engine has it.
    pub fn of_order(self, order: OrderId) -> Option<CellId> {
        let cell = (order.get() % u64::from(CELLS_MAX)) as u16;
        (cell < self.0).then_some(CellId(cell))
    }

    /// The one that is asked for what all of them have.
    pub fn first(self) -> CellId {
        CellId(0)
    }

    pub fn all(self) -> impl Iterator<Item = CellId> {
        (0..self.0).map(CellId)
    }
}

/// The id of the order that event `seq` of `cell` placed. `None` past 2^53 − 1, after 2^43 events.
pub fn order_id(cell: CellId, seq: Seq) -> Option<OrderId> {
    seq.checked_mul(u64::from(CELLS_MAX)).and_then(|it| OrderId::new(it + u64::from(cell.0)).ok())
}

/// The number of the event that placed an order.
pub fn order_seq(order: OrderId) -> Seq {
    order.get() / u64::from(CELLS_MAX)
}

/// Mixes 64 bits. Written out because a library's hasher may change, and a user's cell may not.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
pub fn splitmix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the published generator with seed 1234567: its state before output n
    /// is the seed plus n times the increment.
    #[test]
    fn splitmix64_gives_the_published_sequence() {
        let state = |n: u64| 1_234_567u64.wrapping_add(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(n));
        let outputs: Vec<u64> = (0..5).map(|n| splitmix64(state(n))).collect();
        assert_eq!(
            outputs,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn an_order_id_says_where_the_order_lives() {
        let cells = Cells::new(8).unwrap();
        let order = order_id(CellId(5), 101).unwrap();
        assert_eq!(order.get(), 101 * 1024 + 5);
        assert_eq!((cells.of_order(order), order_seq(order)), (Some(CellId(5)), 101));
        assert_eq!(Cells::new(4).unwrap().of_order(order), None);
        assert_eq!(order_id(CellId(0), 1 << 43), None);
    }

    #[test]
    fn positions_compare_by_epoch_first() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert!(at("7-200") < at("8-101"));
        assert!("7".parse::<Position>().is_err() && "-7-1".parse::<Position>().is_err());
    }

    #[test]
    fn an_event_is_named_as_it_is_told() {
        let id = "3-17".parse::<EventId>().unwrap();
        assert_eq!((id, id.to_string()), (EventId { cell: CellId(3), seq: 17 }, "3-17".to_owned()));
        for text in ["17", "3-", "-17", "3-17-1", "70000-1", "a-1"] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
