//! Units on their way between cells.

use crate::cell::{CellId, Seq};
use crate::pool::Pool;
use crate::time::Millis;

/// Units of a pool left for another cell, or came from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaMovedEvent {
    pub at_ms: Millis,
    pub pool: Pool,
    pub direction: Direction,
    /// The other cell.
    pub peer: CellId,
    /// Of the pool: the number of its first event in its home cell.
    pub life: Seq,
    /// Of the transfer, among those of this pool between these two cells in this direction.
    pub number: u64,
    pub units: i64,
    /// Units that this cell has afterwards.
    pub remaining: i64,
    /// All that ever came from other cells, less what went there.
    pub moved: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Given,
    Taken,
}
