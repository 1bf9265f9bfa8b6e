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
    Forgotten,
}

/// Takes a campaign out of a cell whose issuing and use ended before a time.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be gone; calling again is safe.
pub async fn coupon_forget(
    scripts: &Scripts,
    cell: CellId,
    coupon: CouponId,
    ended_before_ms: Millis,
) -> Result<CouponForget, ScriptError> {
    let pool = Pool::Coupon(coupon);
    let extra_keys = [
        keys::coupon(cell, coupon),
        keys::coupons(cell),
        keys::issues(cell, coupon),
        keys::gifts(cell),
        keys::quota(cell, pool),
        keys::asks(cell, pool),
    ];
    let args = [coupon.to_string(), ended_before_ms.to_string()];
    let reply = scripts.call(Script::CouponForget, cell, &extra_keys, &args).await?;
    match reply.outcome {
        "NOT_FOUND" => Ok(CouponForget::NotFound),
        "NOT_ENDED" => Ok(CouponForget::NotEnded),
        "FORGOTTEN" => {
            scripts.acknowledge(cell, reply.epoch, reply.int(1)? as Seq)?;
            Ok(CouponForget::Forgotten)
        }
        _ => Err(reply.unexpected()),
    }
}
