//! Typed binding of `lua/coupon_release.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{idempotency_args, keys};
use crate::cell::CellId;
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{CouponId, OrderId, UserId};

/// What can happen when a pending order is to let go of its coupon, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponRelease {
    /// No such order here, or not the caller's.
    NotFound,
    KeyReused,
    NotPayable,
    NotHeld,
    Released {
        seen: Seen,
    },
}

/// Which order is to let go of which coupon.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseRequest<'a> {
    pub order: OrderId,
    pub coupon: CouponId,
    /// Whose order it must be; `None`: anybody's.
    pub caller: Option<UserId>,
    pub idempotency: Option<&'a Idempotency>,
    pub idempotency_ttl_ms: u64,
}

/// Frees the coupon that a pending order holds, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be free; a retry is safe with a key, and else told `NotHeld`.
pub async fn coupon_release(
    scripts: &Scripts,
    cell: CellId,
    request: ReleaseRequest<'_>,
) -> Result<CouponRelease, ScriptError> {
    let extra_keys = [keys::order(cell, request.order), keys::issues(cell, request.coupon)];
    let [fingerprint, key] = idempotency_args(request.idempotency);
    let (order, coupon) = (request.order.to_string(), request.coupon.to_string());
    let caller = request.caller.map(|it| it.to_string()).unwrap_or_default();
    let ttl = request.idempotency_ttl_ms.to_string();
    let args = [order.as_str(), &coupon, &caller, fingerprint, key, &ttl];
    let reply = scripts.call(Script::CouponRelease, cell, &extra_keys, &args).await?;
    let released = |seen| {
        let seq = reply.text(1)?.split(' ').next().and_then(|it| it.parse().ok());
        scripts.acknowledge(cell, reply.epoch, seq.ok_or_else(|| reply.unexpected())?)?;
        Ok(CouponRelease::Released { seen })
    };
    match reply.outcome {
        "NOT_FOUND" => Ok(CouponRelease::NotFound),
        "KEY_REUSED" => Ok(CouponRelease::KeyReused),
        "REPLAYED" => released(Seen::Replayed),
        "NOT_PAYABLE" => Ok(CouponRelease::NotPayable),
        "NOT_HELD" => Ok(CouponRelease::NotHeld),
        "RELEASED" => released(Seen::New),
        _ => Err(reply.unexpected()),
    }
}
