//! What a home cell described, in all other cells: makes the copies that are missing, and looks until MySQL has them. Takes away
//! the copies of what is deleted, whoever made them late.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use sqlx::mysql::MySqlPool;
use tokio_util::sync::CancellationToken;

use super::{Trouble, Worker};
use crate::across::catalogue::{self, copy_coupon, copy_product};
use crate::cell::CellId;
use crate::ids::{CouponId, ProductId};
use crate::mysql::copies::{self, Copies};
use crate::scripts::ScriptError;
use crate::scripts::copies_due::{Change, copies_due};
use crate::scripts::copies_made::copies_made;
use crate::scripts::coupon_forget::{CouponForget, Forgetting, coupon_forget};
use crate::scripts::coupon_list::coupon_to_copy;
use crate::scripts::product_delete::{Deletion, ProductDelete, product_delete};
use crate::scripts::product_list::product_to_copy;

/// How often a home cell is looked at. Whoever changes something makes the copies at once; this is for those who die.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a cell is looked at for copies of what its home has deleted. Somebody who read what the home said, and slept
/// until all cells had deleted it, has made one; nothing of it can be sold, since its home gives no units.
const SWEEP: Duration = Duration::from_secs(30);

/// Changes looked at in one go.
const BATCH: usize = 200;

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
}

/// Makes missing copies of what is at home in one cell, and takes away what is left over there, until `stop`.
pub(super) async fn run(worker: Worker, home: CellId, stop: CancellationToken) {
    let (mut trouble, mut swept) = (Trouble::default(), Instant::now());
    while !stop.is_cancelled() {
        let mut done = copy_all(&worker, home).await;
        if done.is_ok() && swept.elapsed() >= SWEEP {
            swept = Instant::now();
            done = sweep(&worker, home).await;
        }
        match done {
            Ok(()) => trouble.is_over(),
            // A cell that is closed gets its copies when it is open again.
            Err(CopyError::Script(ScriptError::CellClosed(_))) => {}
            Err(error) if trouble.begins() => {
                tracing::warn!(%home, %error, "copies of what is listed are not made for now");
            }
            Err(_) => {}
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn copy_all(worker: &Worker, home: CellId) -> Result<(), CopyError> {
    let mut failed = None;
    for change in copies_due(&worker.scripts, home, BATCH).await? {
        // One cell that is closed keeps no other change from being copied.
        if let Err(error) = copy(worker, home, change).await {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn copy(worker: &Worker, home: CellId, change: Change) -> Result<(), CopyError> {
    let Worker { scripts, mysql, .. } = worker;
    let copies = read(mysql, home, change).await?;
    // What MySQL does not have, the home may yet lose.
    if !copies.home_has {
        return Ok(());
    }
    let others: Vec<CellId> =
        scripts.cells().all().filter(|it| *it != home && !copies.made.contains(it)).collect();
    if others.is_empty() {
        copies_made(scripts, home, change).await?;
        return Ok(());
    }
    match change {
        Change::Product(id, seq) => match product_to_copy(scripts, home, id).await? {
            Some((product, of)) => {
                let product = catalogue::description(product);
                try_join_all(others.iter().map(|it| copy_product(scripts, *it, &product, of))).await?;
            }
            None => {
                let deletion = Deletion::Copy { before: seq };
                let done =
                    try_join_all(others.iter().map(|it| product_delete(scripts, *it, id, deletion))).await?;
                if are_nowhere(&copies, &others, done.iter().map(|it| *it == ProductDelete::NotFound)) {
                    copies_made(scripts, home, change).await?;
                }
            }
        },
        Change::Coupon(id, seq) => match coupon_to_copy(scripts, home, id).await? {
            Some((coupon, of)) => {
                let coupon = catalogue::coupon_description(coupon);
                try_join_all(others.iter().map(|it| copy_coupon(scripts, *it, &coupon, of))).await?;
            }
            None => {
                let forgetting = Forgetting::Copy { before: seq };
                let done =
                    try_join_all(others.iter().map(|it| coupon_forget(scripts, *it, id, forgetting))).await?;
                if are_nowhere(&copies, &others, done.iter().map(|it| *it == CouponForget::NotFound)) {
                    copies_made(scripts, home, change).await?;
                }
            }
        },
    }
    Ok(())
}

/// Whether cells have nothing to delete and MySQL will hear nothing of them: they never had a copy.
fn are_nowhere(copies: &Copies, cells: &[CellId], not_found: impl Iterator<Item = bool>) -> bool {
    cells.iter().zip(not_found).all(|(cell, not_found)| not_found && !copies.known.contains(cell))
}

/// Takes away what a cell lists and its home has deleted.
async fn sweep(worker: &Worker, cell: CellId) -> Result<(), CopyError> {
    let Worker { scripts, mysql, .. } = worker;
    for (product, before) in copies::left_over_products(mysql, cell).await? {
        let product = ProductId::new(product).expect("MySQL has ids only");
        let done = product_delete(scripts, cell, product, Deletion::Copy { before }).await?;
        tracing::info!(%cell, %product, ?done, "a copy of what is deleted");
    }
    for (coupon, before) in copies::left_over_coupons(mysql, cell).await? {
        let coupon = CouponId::new(coupon).expect("MySQL has ids only");
        let done = coupon_forget(scripts, cell, coupon, Forgetting::Copy { before }).await?;
        tracing::info!(%cell, %coupon, ?done, "a copy of what is forgotten");
    }
    Ok(())
}

async fn read(mysql: &MySqlPool, home: CellId, change: Change) -> Result<Copies, sqlx::Error> {
    match change {
        Change::Product(id, seq) => copies::of_product(mysql, home, ProductId::get(id), seq).await,
        Change::Coupon(id, seq) => copies::of_coupon(mysql, home, CouponId::get(id), seq).await,
    }
}
