//! Typed binding of `lua/coupon_forget.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Seq};
use crate::ids::CouponId;
use crate::pool::Pool;
use crate::time::Millis;

/// What can happen when a campaign is to leave Redis, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponForget {
    NotFound,
    NotEnded,
    /// It was opened again since.
    Newer,
    Forgotten,
}

/// Which campaign is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgetting {
    /// In its home cell, where its issuing and use ended before that time.
    Ended { before_ms: Millis },
    /// A copy of what the home cell said before this event of its.
    Copy { before: Seq },
}

/// Takes a campaign out of a cell.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be gone; calling again is safe.
pub async fn coupon_forget(
    scripts: &Scripts,
    cell: CellId,
    coupon: CouponId,
    forgetting: Forgetting,
) -> Result<CouponForget, ScriptError> {
    let pool = Pool::Coupon(coupon);
    let extra_keys = [
        keys::coupon(cell, coupon),
        keys::coupons(cell),
        keys::issues(cell, coupon),
        keys::gifts(cell),
        keys::quota(cell, pool),
        keys::asks(cell, pool),
        keys::uncopied(cell),
    ];
    let (ended_before, before) = match forgetting {
        Forgetting::Ended { before_ms } => (before_ms.to_string(), String::new()),
        Forgetting::Copy { before } => (String::new(), before.to_string()),
    };
    let args = [coupon.to_string(), ended_before, before];
    let reply = scripts.call(Script::CouponForget, cell, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(CouponForget::NotFound),
        "NOT_ENDED" => Ok(CouponForget::NotEnded),
        "NEWER" => Ok(CouponForget::Newer),
        "FORGOTTEN" => {
            scripts.acknowledge(cell, reply.epoch, reply.int(1)? as Seq)?;
            Ok(CouponForget::Forgotten)
        }
        _ => Err(reply.unexpected()),
    }
}
