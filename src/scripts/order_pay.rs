//! Typed binding of `lua/order_pay.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::settled::SettledOrder;
use super::text::Script;
use super::{idempotency_args, keys};
use crate::cell::CellId;
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{CouponId, OrderId, UserId};

/// What can happen when a pending order is paid, in the order the script tests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderPay {
    /// Not here, or not the caller's.
    NotFound,
    KeyReused,
    NotPayable,
    /// Why: `not_issued`, `held`, `used`, `expired` or `below_minimum`.
    CouponInvalid {
        reason: String,
    },
    BalanceTooLow,
    /// Before, by a request with another key or none. The key of this one is not remembered yet.
    AlreadyPaid {
        paid: SettledOrder,
    },
    /// Now, or by the first request with this key.
    Paid {
        paid: SettledOrder,
        seen: Seen,
    },
}

/// Who pays for what, and how.
#[derive(Debug, Clone, Copy)]
pub struct PayRequest<'a> {
    pub order: OrderId,
    /// Whose order it must be; `None`: anybody's.
    pub caller: Option<UserId>,
    /// The coupon to use instead of the one that the order holds.
    pub coupon: Option<CouponId>,
    pub idempotency: Option<&'a Idempotency>,
    pub idempotency_ttl_ms: u64,
}

/// Pays for a pending order of `cell`, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may have been paid; paying again is safe and finds out.
pub async fn order_pay(
    scripts: &Scripts,
    cell: CellId,
    request: PayRequest<'_>,
) -> Result<OrderPay, ScriptError> {
    let extra_keys =
        [keys::order(cell, request.order), keys::due(cell), keys::rolling_sales(cell), keys::settled(cell)];
    let [fingerprint, key] = idempotency_args(request.idempotency);
    let (order, ttl) = (request.order.to_string(), request.idempotency_ttl_ms.to_string());
    let caller = request.caller.map(|it| it.to_string()).unwrap_or_default();
    let coupon = request.coupon.map_or(0, CouponId::get).to_string();
    let args = [order.as_str(), &caller, &coupon, fingerprint, key, &ttl];
    let reply = scripts.call(Script::OrderPay, cell, &extra_keys, &args).await?;
    let payment = || {
        let paid = SettledOrder::parse(reply.text(1)?).ok_or_else(|| reply.unexpected())?;
        scripts.acknowledge(cell, reply.epoch, paid.seq)?;
        Ok(paid)
    };
    match reply.outcome {
        "NOT_FOUND" => Ok(OrderPay::NotFound),
        "KEY_REUSED" => Ok(OrderPay::KeyReused),
        "REPLAYED" => Ok(OrderPay::Paid { paid: payment()?, seen: Seen::Replayed }),
        "ALREADY_PAID" => Ok(OrderPay::AlreadyPaid { paid: payment()? }),
        "NOT_PAYABLE" => Ok(OrderPay::NotPayable),
        "COUPON_INVALID" => Ok(OrderPay::CouponInvalid { reason: reply.text(1)?.to_owned() }),
        "BALANCE_TOO_LOW" => Ok(OrderPay::BalanceTooLow),
        "PAID" => Ok(OrderPay::Paid { paid: payment()?, seen: Seen::New }),
        _ => Err(reply.unexpected()),
    }
}
