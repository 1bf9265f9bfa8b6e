//! What nobody needs any more leaves: hours that left the ranking's window, sales and campaigns that ended
//! long ago, idempotency records whose time is over. Any number of workers may do it at once: each step is
//! one script or one statement that looks for itself whether its time has come.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Trouble, Worker};
use crate::cell::CellId;
use crate::ids::{CouponId, NotAnId, ProductId};
use crate::mysql::ended;
use crate::ranking::HOUR_MS;
use crate::scripts::ScriptError;
use crate::scripts::clock_read::clock_read;
use crate::scripts::coupon_forget::{CouponForget, Forgetting, coupon_forget};
use crate::scripts::product_delete::{Deletion, ProductDelete, product_delete};
use crate::scripts::ranking_roll::ranking_roll;

/// How often the ranking's window is moved. Whoever reads a ranking that is behind moves it at once.
const ROLL_PAUSE: Duration = Duration::from_secs(1);

/// After how many of these pauses the rest is looked for: once a minute.
const PAUSES_BETWEEN: u32 = 60;

/// Idempotency rows outlive their records in Redis by this much, since a clock may have been set back.
const RECORD_MARGIN_MS: i64 = HOUR_MS;

#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    #[error("mysql holds an id that is none: {0}")]
    Row(#[from] NotAnId),
}

/// What left in one go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub products: u64,
    pub coupons: u64,
    /// Rows in MySQL; in Redis records end by themselves.
    pub records: u64,
}

/// Moves the window and forgets, for one cell, until `stop`.
pub(super) async fn run(worker: Worker, cell: CellId, stop: CancellationToken) {
    let (mut pauses, mut trouble) = (0, Trouble::default());
    while !stop.is_cancelled() {
        let done = match ranking_roll(&worker.scripts, cell).await {
            Ok(()) if pauses % PAUSES_BETWEEN == 0 => forget(&worker, cell).await.map(|_| ()),
            rolled => rolled.map_err(ForgetError::from),
        };
        match done {
            Ok(()) => {
                pauses += 1;
                trouble.is_over();
            }
            // The persisting loop opens it again.
            Err(ForgetError::Script(ScriptError::CellClosed(_))) => {}
            Err(error) => {
                pauses += 1;
                if trouble.begins() {
                    tracing::warn!(%cell, %error, "what ended is not forgotten for now");
                }
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(ROLL_PAUSE)).await;
    }
}

/// Takes ended sales and campaigns out of their home cell in Redis, whence their copies follow, and idempotency rows that are over out of MySQL.
pub async fn forget(worker: &Worker, cell: CellId) -> Result<Forgotten, ForgetError> {
    let Worker { scripts, mysql, settings, .. } = worker;
    let now_ms = clock_read(scripts, cell).await?;
    let ended_before_ms = now_ms - settings.keep_ended_ms as i64;
    let mut gone = Forgotten::default();
    for id in ended::products(mysql, cell, ended_before_ms).await? {
        let ended = Deletion::Ended { before_ms: ended_before_ms };
        match product_delete(scripts, cell, ProductId::new(id)?, ended).await? {
            ProductDelete::Deleted(_) => gone.products += 1,
            // On its way to MySQL, or its sale goes on after all.
            ProductDelete::NotFound | ProductDelete::NotEnded | ProductDelete::Newer => {}
        }
    }
    let ended = Forgetting::Ended { before_ms: ended_before_ms };
    for id in ended::coupons(mysql, cell, ended_before_ms).await? {
        match coupon_forget(scripts, cell, CouponId::new(id)?, ended).await? {
            CouponForget::Forgotten => gone.coupons += 1,
            CouponForget::NotFound | CouponForget::NotEnded | CouponForget::Newer => {}
        }
    }
    let over_ms = now_ms - settings.idempotency_ttl_ms as i64 - RECORD_MARGIN_MS;
    gone.records = ended::purge_idempotency(mysql, cell, over_ms).await?;
    if gone != Forgotten::default() {
        tracing::info!(%cell, ?gone, "forgotten");
    }
    Ok(gone)
}
