//! What a node vouches for in one cell: what it acknowledged, over changes of the epoch.

use crate::cell::{Epoch, Seq};

/// What a node vouches for in one cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vouched {
    /// Number of the newest event that this node acknowledged; 0: none.
    pub highest: Seq,
    /// The same at the first change of epoch that no recovery has accounted for yet, and the epoch before it.
    pub unsettled: Option<(Epoch, Seq)>,
}

impl Vouched {
    pub(super) fn acknowledge(&mut self, seq: Seq) {
        self.highest = self.highest.max(seq);
    }

    /// The node turns to a newer epoch than this one.
    pub(super) fn leave(&mut self, epoch: Epoch) {
        if self.highest > 0 && self.unsettled.is_none() {
            self.unsettled = Some((epoch, self.highest));
        }
    }

    /// A recovery has accounted for this.
    pub(super) fn settle(&mut self, settled: (Epoch, Seq)) {
        if self.unsettled == Some(settled) {
            self.unsettled = None;
        }
    }
}
