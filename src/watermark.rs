//! How far MySQL has got, for those who wait for it.

use std::time::Duration;

use tokio::sync::watch;

use crate::cell::{CellId, CellView, Position};

/// The newest view of all cells, by cell id; `None` until MySQL was read once.
pub type CellWatch = watch::Receiver<Option<Vec<CellView>>>;

/// What became of an event that somebody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// MySQL's position is at the event or behind it. Of a dead event this does not mean that it was recorded:
    /// whoever promises that looks into `dead_events` too.
    Persisted,
    /// The cell is in a newer epoch, and its position does not tell whether the event was kept.
    Unknown,
    /// Not yet, as far as this node knows.
    TimedOut,
}

/// Waits for MySQL on what the node reads of `cells`, however many wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watermark {
    cells: CellWatch,
    /// How many wait; the node reads faster meanwhile.
    waiting: watch::Sender<usize>,
}

impl Watermark {
    pub fn new(cells: CellWatch) -> Self {
        Self { cells, waiting: watch::Sender::new(0) }
    }

    /// Waits until MySQL has the event that a script of epoch `wanted.epoch` numbered `wanted.seq`, at most
    /// for `patience`, whatever has become of MySQL.
    pub async fn reach(&self, cell: CellId, wanted: Position, patience: Duration) -> Reached {
        self.wait(patience, |views| look(views, cell, wanted)).await
    }

    /// The same for an event that a cell told of in epoch `told.epoch`, and that may be of an earlier one: what a cell
    /// keeps of earlier epochs MySQL has, and numbers of later ones are higher than all of them.
    pub async fn reach_told(&self, cell: CellId, told: Position, patience: Duration) -> Reached {
        self.wait(patience, |views| look_told(views, cell, told)).await
    }

    async fn wait(
        &self,
        patience: Duration,
        look: impl Fn(&Option<Vec<CellView>>) -> Option<Reached>,
    ) -> Reached {
        if let Some(reached) = look(&self.cells.borrow()) {
            return reached;
        }
        let _waiting = Waiting::begin(&self.waiting);
        let (mut cells, mut reached) = (self.cells.clone(), None);
        let told = cells.wait_for(|views| {
            reached = look(views);
            reached.is_some()
        });
        // Also where nobody reads `cells` any more: then nothing will be told in time either.
        let _ = tokio::time::timeout(patience, told).await;
        reached.unwrap_or(Reached::TimedOut)
    }

    /// Whether a cell has dead events, as far as this node knows: one that it has not read of was not yet parked
    /// when MySQL's position was read.
    pub fn has_dead_events(&self, cell: CellId) -> bool {
        let views = self.cells.borrow();
        views.iter().flatten().any(|it| it.cell == cell && it.dead_events > 0)
    }

    /// Returns as soon as somebody waits.
    pub async fn wanted(&self) {
        let mut waiting = self.waiting.subscribe();
        // It cannot be closed: `self` has a sender.
        let _ = waiting.wait_for(|it| *it > 0).await;
    }
}

/// `None`: not known yet.
fn look(views: &Option<Vec<CellView>>, cell: CellId, wanted: Position) -> Option<Reached> {
    let view = views.as_ref()?.iter().find(|it| it.cell == cell)?;
    if view.persisted.epoch == wanted.epoch && view.persisted.seq >= wanted.seq {
        Some(Reached::Persisted)
    } else if view.epoch > wanted.epoch {
        Some(Reached::Unknown)
    } else {
        None
    }
}

/// `None`: not known yet.
fn look_told(views: &Option<Vec<CellView>>, cell: CellId, told: Position) -> Option<Reached> {
    let view = views.as_ref()?.iter().find(|it| it.cell == cell)?;
    if has_told(view, told) {
        Some(Reached::Persisted)
    } else if view.epoch > told.epoch {
        Some(Reached::Unknown)
    } else {
        None
    }
}

/// Whether MySQL has an event that a cell told of in epoch `told.epoch`.
pub fn has_told(view: &CellView, told: Position) -> bool {
    view.persisted.epoch <= told.epoch && view.persisted.seq >= told.seq
}

/// One who waits; counted until it is dropped, because a client that goes away drops its request.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|it| *it += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;
    use crate::cell::CellState;

    /// Longer than any of these tests may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    const CELL: CellId = CellId(1);

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    /// Two cells: one that has got far, and [`CELL`] in `epoch` with MySQL at `persisted`.
    fn views(epoch: u64, persisted: &str) -> Option<Vec<CellView>> {
        let view = |cell, epoch, persisted: &str| CellView {
            cell,
            state: CellState::Open,
            epoch,
            persisted: at(persisted),
            lost_events: 0,
            dead_events: 0,
        };
        Some(vec![view(CellId(0), 9, "9-900"), view(CELL, epoch, persisted)])
    }

    /// Who tells what `cells` says, and a watermark that listens.
    fn reader(known: Option<Vec<CellView>>) -> (watch::Sender<Option<Vec<CellView>>>, Watermark) {
        let cells = watch::Sender::new(known);
        let watermark = Watermark::new(cells.subscribe());
        (cells, watermark)
    }

    fn wait_for(watermark: &Watermark, event: &str) -> JoinHandle<Reached> {
        let (watermark, event) = (watermark.clone(), at(event));
        tokio::spawn(async move { watermark.reach(CELL, event, PATIENCE).await })
    }

    #[test]
    fn a_position_tells_of_its_own_epoch_only() {
        let look = |epoch, persisted, wanted| look(&views(epoch, persisted), CELL, at(wanted));
        assert_eq!(look(8, "8-100", "8-100"), Some(Reached::Persisted));
        assert_eq!(look(8, "8-101", "8-100"), Some(Reached::Persisted));
        assert_eq!(look(8, "8-99", "8-100"), None);
        // A recovery has begun: what MySQL has it has, the rest is not known.
        assert_eq!(look(9, "8-100", "8-100"), Some(Reached::Persisted));
        assert_eq!(look(9, "8-99", "8-100"), Some(Reached::Unknown));
        // The opener of the next epoch is behind all numbers, those that were lost too.
        assert_eq!(look(9, "9-2000", "8-100"), Some(Reached::Unknown));
        // What this node read is older than the event.
        assert_eq!(look(7, "7-50", "8-100"), None);
        assert_eq!(look(8, "7-2000", "8-100"), None);
    }

    #[test]
    fn what_a_cell_has_of_earlier_epochs_is_in_mysql() {
        let look = |epoch, persisted, told| look_told(&views(epoch, persisted), CELL, at(told));
        assert_eq!(look(8, "8-100", "8-100"), Some(Reached::Persisted));
        assert_eq!(look(8, "8-99", "8-100"), None);
        // Told in epoch 8 of an event of epoch 7; MySQL has not got to the opener of epoch 8.
        assert_eq!(look(8, "7-100", "8-100"), Some(Reached::Persisted));
        assert_eq!(look(8, "7-100", "8-2000"), None);
        // What was told in epoch 8 may be gone in epoch 9.
        assert_eq!(look(9, "8-99", "8-100"), Some(Reached::Unknown));
        assert_eq!(look(9, "9-2000", "8-100"), Some(Reached::Unknown));
    }

    #[tokio::test]
    async fn those_who_wait_are_told_as_soon_as_it_is_known() {
        let (cells, watermark) = reader(None);
        let (first, second) = (wait_for(&watermark, "8-100"), wait_for(&watermark, "8-101"));
        watermark.wanted().await;
        cells.send_replace(views(8, "8-99"));
        cells.send_replace(views(8, "8-100"));
        assert_eq!(first.await.unwrap(), Reached::Persisted);
        cells.send_replace(views(9, "8-100"));
        assert_eq!(second.await.unwrap(), Reached::Unknown);
    }

    /// Goal: whoever asks for what is known waits for nobody, and nobody is asked to read.
    #[tokio::test]
    async fn what_is_known_is_told_at_once() {
        let (_cells, watermark) = reader(views(8, "8-100"));
        assert_eq!(watermark.reach(CELL, at("8-100"), Duration::ZERO).await, Reached::Persisted);
        assert_eq!(watermark.reach(CELL, at("7-1"), Duration::ZERO).await, Reached::Unknown);
        assert_eq!(*watermark.waiting.borrow(), 0);
    }

    /// Goal: while MySQL is away nobody waits longer than they said, and the last one to go ends the reading.
    #[tokio::test]
    async fn patience_has_an_end() {
        let (_cells, watermark) = reader(None);
        let short = Duration::from_millis(1);
        assert_eq!(watermark.reach(CELL, at("8-100"), short).await, Reached::TimedOut);
        assert_eq!(*watermark.waiting.borrow(), 0);
        let gone = wait_for(&watermark, "8-100");
        watermark.wanted().await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(*watermark.waiting.borrow(), 0);
    }

    #[tokio::test]
    async fn without_a_reader_nobody_waits() {
        let (cells, watermark) = reader(views(8, "8-99"));
        let waiting = wait_for(&watermark, "8-100");
        watermark.wanted().await;
        drop(cells);
        assert_eq!(waiting.await.unwrap(), Reached::TimedOut);
    }
}
