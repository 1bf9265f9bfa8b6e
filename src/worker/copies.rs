//! What a home cell described, in all other cells: makes the copies that are missing, and looks until MySQL has them.

use std::time::Duration;

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
use crate::scripts::coupon_forget::{Forgetting, coupon_forget};
use crate::scripts::coupon_list::coupon_to_copy;
use crate::scripts::product_delete::{Deletion, product_delete};
use crate::scripts::product_list::product_to_copy;

/// How often a home cell is looked at. Whoever changes something makes the copies at once; this is for those who die.
const PAUSE: Duration = Duration::from_millis(500);

/// Changes looked at in one go.
const BATCH: usize = 200;

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
}

/// Makes missing copies of what is at home in one cell, until `stop`.
pub(super) async fn run(worker: Worker, home: CellId, stop: CancellationToken) {
    let mut trouble = Trouble::default();
    while !stop.is_cancelled() {
        match copy_all(&worker, home).await {
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
                try_join_all(others.iter().map(|it| product_delete(scripts, *it, id, deletion))).await?;
            }
        },
        Change::Coupon(id, seq) => match coupon_to_copy(scripts, home, id).await? {
            Some((coupon, of)) => {
                let coupon = catalogue::coupon_description(coupon);
                try_join_all(others.iter().map(|it| copy_coupon(scripts, *it, &coupon, of))).await?;
            }
            None => {
                let forgetting = Forgetting::Copy { before: seq };
                try_join_all(others.iter().map(|it| coupon_forget(scripts, *it, id, forgetting))).await?;
            }
        },
    }
    Ok(())
}

async fn read(mysql: &MySqlPool, home: CellId, change: Change) -> Result<Copies, sqlx::Error> {
    match change {
        Change::Product(id, seq) => copies::of_product(mysql, home, ProductId::get(id), seq).await,
        Change::Coupon(id, seq) => copies::of_coupon(mysql, home, CouponId::get(id), seq).await,
    }
}
