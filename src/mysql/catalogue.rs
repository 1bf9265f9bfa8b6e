//! What administrators change, event after event: a later change may build on an earlier one of its batch.

use sqlx::MySqlConnection;

use super::listed::{CouponState, ProductState};
use super::replay;
use crate::cell::{CellId, Seq};
use crate::event::{Entry, Event};

/// A change of a product or a campaign: everything but the units left, which are folded with those that buyers
/// change, and units put in or taken away, which add up in any order.
pub(super) struct CatalogueChange {
    pub subject: Subject,
    pub seq: Seq,
    /// The entry as it was in the log.
    pub kind: String,
    pub body: String,
    pub event: Event,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Product(u64),
    Coupon(u64),
}

/// When a change comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// After all that came before it.
    InOrder,
    /// The same, but for dead events, which may still be retried.
    BesideDead,
    /// It was dead: later ones may have been written already.
    Late,
}

impl CatalogueChange {
    /// `None`: the event is none.
    pub fn new(entry: &Entry, event: &Event) -> Option<Self> {
        let subject = match event {
            Event::ProductSet(set) => Subject::Product(set.product.get()),
            Event::ProductDeleted { product, .. } => Subject::Product(product.get()),
            Event::CouponSet { coupon, .. } => Subject::Coupon(coupon.id.get()),
            Event::CouponForgotten { coupon, .. } => Subject::Coupon(coupon.get()),
            Event::Opener { .. }
            | Event::UserCreated { .. }
            | Event::Charged { .. }
            | Event::Restocked { .. }
            | Event::QuotaMoved(_)
            | Event::CouponIssued(_)
            | Event::OrderPaid(_)
            | Event::OrderPlaced { .. }
            | Event::OrderSettled(_)
            | Event::OrderEnded(_)
            | Event::KeyNoted { .. }
            | Event::CouponReleased { .. } => return None,
        };
        let Entry { position, kind, body } = entry.clone();
        Some(Self { subject, seq: position.seq, kind, body, event: event.clone() })
    }

    /// Inside a transaction that nobody else changes the cell's catalogue in.
    pub async fn write(
        &self,
        cell: CellId,
        turn: Turn,
        connection: &mut MySqlConnection,
    ) -> Result<(), sqlx::Error> {
        match self.subject {
            Subject::Product(_) => self.write_state::<ProductState>(cell, turn, connection).await,
            Subject::Coupon(_) => self.write_state::<CouponState>(cell, turn, connection).await,
        }
    }

    async fn write_state<S: State>(
        &self,
        cell: CellId,
        turn: Turn,
        connection: &mut MySqlConnection,
    ) -> Result<(), sqlx::Error> {
        let (Subject::Product(id) | Subject::Coupon(id)) = self.subject;
        let mut before = S::load(connection, cell, id).await?;
        let mut after = before.clone();
        match turn {
            Turn::InOrder => after.apply(self.seq, &self.event),
            Turn::BesideDead => {
                replay::note(cell, self, &before, connection).await?;
                after.apply(self.seq, &self.event);
            }
            Turn::Late => {
                replay::note(cell, self, &before, connection).await?;
                (before, after) = replay::with_and_without(cell, self, connection).await?;
            }
        }
        S::store(connection, cell, id, &before, &after).await
    }
}

/// The rows of a product or a campaign as events make them, one after the other.
pub(super) trait State: Clone + serde::Serialize + serde::de::DeserializeOwned {
    fn apply(&mut self, seq: Seq, event: &Event);

    async fn load(connection: &mut MySqlConnection, cell: CellId, id: u64) -> Result<Self, sqlx::Error>;

    /// Turns rows that `before` describes into those of `after`.
    async fn store(
        connection: &mut MySqlConnection,
        cell: CellId,
        id: u64,
        before: &Self,
        after: &Self,
    ) -> Result<(), sqlx::Error>;
}
