//! A batch of events, folded to what it says of units that moved between cells.

use std::collections::BTreeMap;

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::tables::{MOVED_COUPONS, MOVED_SKUS, TRANSFERS_GIVEN, TRANSFERS_TAKEN};
use crate::cell::{CellId, Position, Seq};
use crate::event::{Direction, QuotaMovedEvent};
use crate::ids::CouponId;
use crate::pool::Pool;
use crate::product::SkuId;

#[derive(Default)]
pub(super) struct Moves {
    /// What came to the cell of each pool, less what went, and the event that made it.
    moved: BTreeMap<Pool, (i64, Seq)>,
    /// The last transfer of each pool to or from each other cell.
    transfers: BTreeMap<(Pool, CellId, Direction), (Position, QuotaMovedEvent)>,
}

impl Moves {
    /// An event left this number; `None`: the pool is gone.
    pub fn hold(&mut self, pool: Pool, moved: Option<i64>, seq: Seq) {
        match (pool, moved) {
            // A forgotten campaign keeps what it had.
            (Pool::Coupon(_), None) => {}
            (_, moved) => drop(self.moved.insert(pool, (moved.unwrap_or(0), seq))),
        }
    }

    pub fn add(&mut self, position: Position, event: QuotaMovedEvent) {
        self.transfers.insert((event.pool, event.peer, event.direction), (position, event));
    }

    pub async fn write(&self, cell: CellId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let (mut skus, mut coupons) = (Vec::new(), Vec::new());
        for (pool, moved) in &self.moved {
            match pool {
                Pool::Stock(sku) => skus.push((sku, moved)),
                Pool::Coupon(coupon) => coupons.push((coupon, moved)),
            }
        }
        let row = |to: &mut MySqlArguments, (sku, (moved, seq)): &(&SkuId, &(i64, Seq))| {
            to.add(sku.product.get())?;
            to.add(sku.option.get())?;
            to.add(cell.0)?;
            to.add(moved)?;
            to.add(seq)
        };
        MOVED_SKUS.execute(connection, &skus, row).await?;
        let row = |to: &mut MySqlArguments, (coupon, (moved, seq)): &(&CouponId, &(i64, Seq))| {
            to.add(coupon.get())?;
            to.add(cell.0)?;
            to.add(moved)?;
            to.add(seq)
        };
        MOVED_COUPONS.execute(connection, &coupons, row).await?;
        self.write_transfers(cell, connection).await
    }

    async fn write_transfers(
        &self,
        cell: CellId,
        connection: &mut MySqlConnection,
    ) -> Result<(), sqlx::Error> {
        let (given, taken): (Vec<_>, Vec<_>) =
            self.transfers.values().partition(|(_, it)| it.direction == Direction::Given);
        let key = |to: &mut MySqlArguments, it: &QuotaMovedEvent| {
            let (kind, item, option) = match it.pool {
                Pool::Stock(sku) => ("s", sku.product.get(), sku.option.get()),
                Pool::Coupon(coupon) => ("c", coupon.get(), 0),
            };
            to.add(cell.0)?;
            to.add(it.peer.0)?;
            to.add(kind)?;
            to.add(item)?;
            to.add(option)?;
            to.add(it.life)?;
            to.add(it.number)
        };
        let row = |to: &mut MySqlArguments, (at, it): &&(Position, QuotaMovedEvent)| {
            key(to, it)?;
            to.add(it.units)?;
            to.add(at.epoch)?;
            to.add(at.seq)
        };
        TRANSFERS_GIVEN.execute(connection, &given, row).await?;
        let row = |to: &mut MySqlArguments, (at, it): &&(Position, QuotaMovedEvent)| {
            key(to, it)?;
            to.add(at.epoch)?;
            to.add(at.seq)
        };
        TRANSFERS_TAKEN.execute(connection, &taken, row).await
    }
}
