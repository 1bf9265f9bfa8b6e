//! What this process knows of the cells, and what it tells: it reads `cells`, notes the highest event
//! it vouches for, and feeds a watch channel that http and scripts look at.

use tokio::sync::watch;

use crate::cell::{CellId, Epoch, Position};

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
}

/// The newest view of all cells, by cell id; `None` until MySQL was read once.
pub type CellWatch = watch::Receiver<Option<Vec<CellView>>>;
