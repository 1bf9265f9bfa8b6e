//! Units of all cells together.

use futures::future::join_all;

use super::of_all;
use crate::cell::{CellId, Epoch};
use crate::pool::Pool;
use crate::scripts::quota_read::{POOLS_MAX, Quota, quota_read};
use crate::scripts::{ScriptError, Scripts};

/// How often cells are read until two readings agree. A reading takes a round trip, so that they differ again and again only
/// while units are put in all the time.
const READINGS_MAX: usize = 8;

/// Units of each pool: in all cells, and on their way between them.
///
/// Exact, though the cells are read one after the other's change: what a cell adds to the sum does not change with transfers,
/// and each sale, cancellation and restock changes one cell's.
pub async fn totals(scripts: &Scripts, pools: &[Pool]) -> Result<Vec<i64>, ScriptError> {
    let mut totals = vec![0; pools.len()];
    for (chunk, totals) in pools.chunks(POOLS_MAX).zip(totals.chunks_mut(POOLS_MAX)) {
        let cells = of_all(scripts, |cell| quota_read(scripts, cell, chunk)).await?;
        for (place, (pool, total)) in chunk.iter().zip(totals.iter_mut()).enumerate() {
            let of_life = of_the_homes_life(scripts, *pool, cells.iter().map(|(quotas, _)| quotas[place]));
            *total = of_life.iter().map(|it| it.share()).sum();
        }
    }
    Ok(totals)
}

/// Units of one pool in all cells.
#[derive(Debug, Clone)]
pub struct Counted {
    /// At one instant there were no more than these; `None`: units were put in again and again.
    pub at_most: Option<i64>,
    /// Units by the last reading.
    pub now: i64,
    /// Of all cells, by the last reading.
    pub quotas: Vec<Quota>,
}

/// Counts the units of a pool twice.
///
/// Where no cell was recovered and no units were put in or came back between two readings, each cell's share only fell. So
/// at the moment between them all cells together had no more than the first reading says, units on their way included: if
/// that is nothing, the pool was sold out at that moment.
pub async fn count(scripts: &Scripts, pool: Pool) -> Result<Counted, ScriptError> {
    let mut before = read(scripts, pool).await?;
    let mut at_most = None;
    for _ in 1..READINGS_MAX {
        let now = read(scripts, pool).await?;
        if before.iter().zip(&now).all(|(before, now)| has_only_fallen(*before, *now)) {
            at_most = Some(sum(&before));
            before = now;
            break;
        }
        before = now;
    }
    Ok(Counted { at_most, now: sum(&before), quotas: before.into_iter().map(|it| it.0).collect() })
}

impl Counted {
    /// Whether no cell but `cell` has any.
    pub fn is_nothing_besides(&self, cell: CellId) -> bool {
        let others = self.quotas.iter().zip(0..).filter(|(_, number)| CellId(*number) != cell);
        others.into_iter().all(|(quota, _)| quota.remaining == 0)
    }
}

/// What the cells have that answer, while others do not: proves nothing.
pub async fn of_those_that_answer(scripts: &Scripts, pool: Pool) -> Counted {
    let readings = scripts.cells().all().map(|cell| async move {
        let read = quota_read(scripts, cell, &[pool]).await;
        read.map_or(Quota::default(), |(quotas, _)| quotas[0])
    });
    let quotas = of_the_homes_life(scripts, pool, join_all(readings).await);
    Counted { at_most: None, now: quotas.iter().map(|it| it.share()).sum(), quotas }
}

async fn read(scripts: &Scripts, pool: Pool) -> Result<Vec<(Quota, Epoch)>, ScriptError> {
    let read = of_all(scripts, |cell| async move {
        let (quotas, epoch) = quota_read(scripts, cell, &[pool]).await?;
        Ok((quotas[0], epoch))
    });
    let (quotas, epochs): (Vec<_>, Vec<_>) = read.await?.into_iter().unzip();
    Ok(of_the_homes_life(scripts, pool, quotas).into_iter().zip(epochs).collect())
}

/// What cells have of an earlier life of a pool, whose deletion has not come to them, is none of its units.
fn of_the_homes_life(scripts: &Scripts, pool: Pool, quotas: impl IntoIterator<Item = Quota>) -> Vec<Quota> {
    let mut quotas: Vec<Quota> = quotas.into_iter().collect();
    let life = quotas[usize::from(pool.home(scripts.cells()).0)].life;
    for quota in quotas.iter_mut().filter(|it| it.life != life) {
        (quota.remaining, quota.moved) = (0, 0);
    }
    quotas
}

fn sum(quotas: &[(Quota, Epoch)]) -> i64 {
    quotas.iter().map(|(quota, _)| quota.share()).sum()
}

fn has_only_fallen((before, epoch): (Quota, Epoch), (now, epoch_now): (Quota, Epoch)) -> bool {
    let is_the_same = epoch == epoch_now && before.life == now.life && before.increases == now.increases;
    is_the_same && now.share() <= before.share()
}

/// What all other cells add to the sum of a pool's units.
pub async fn elsewhere(scripts: &Scripts, pool: Pool, than: CellId) -> Result<i64, ScriptError> {
    if scripts.cells().count() == 1 {
        return Ok(0);
    }
    let quotas = read(scripts, pool).await?;
    let others = scripts.cells().all().zip(quotas).filter(|(cell, _)| *cell != than);
    Ok(others.map(|(_, (quota, _))| quota.share()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_changes_no_sum() {
        let quota = |remaining, moved| Quota { remaining, moved, increases: 0, life: 0 };
        let at_home = [quota(10, 0), quota(0, 0)];
        let on_their_way = [quota(6, -4), quota(0, 0)];
        let arrived = [quota(6, -4), quota(4, 4)];
        for quotas in [at_home, on_their_way, arrived] {
            assert_eq!(quotas.iter().map(|it| it.share()).sum::<i64>(), 10);
        }
    }

    #[test]
    fn two_readings_agree_where_units_only_left() {
        let quota = |remaining, increases, epoch| (Quota { remaining, moved: 0, increases, life: 0 }, epoch);
        assert!(has_only_fallen(quota(5, 1, 3), quota(5, 1, 3)));
        assert!(has_only_fallen(quota(5, 1, 3), quota(2, 1, 3)));
        assert!(!has_only_fallen(quota(5, 1, 3), quota(5, 2, 3)), "one came back, one was sold");
        assert!(!has_only_fallen(quota(5, 1, 3), quota(5, 1, 4)), "a recovery");
        assert!(!has_only_fallen(quota(5, 1, 3), quota(6, 1, 3)), "another life");
    }
}
