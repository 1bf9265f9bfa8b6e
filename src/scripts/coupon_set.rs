//! Typed binding of `lua/coupon_set.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::Seq;
use crate::coupon::CouponDescription;

/// What can happen when a campaign is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponSet {
    /// More than the quantity were issued already.
    BelowIssued {
        issued: i64,
    },
    Created {
        issued: i64,
    },
    Updated {
        issued: i64,
    },
}

/// Opens a campaign in its home cell, or changes what it says.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may have been set; calling again is safe.
pub async fn coupon_set(scripts: &Scripts, coupon: &CouponDescription) -> Result<CouponSet, ScriptError> {
    let cell = scripts.cells().coupon_home(coupon.id);
    let amount = |it: Option<i64>| it.map(|it| it.to_string()).unwrap_or_default();
    let args = [
        coupon.id.to_string(),
        coupon.name.clone(),
        coupon.discount.kind().to_owned(),
        coupon.discount.value().to_string(),
        amount(coupon.discount.max_amount()),
        amount(coupon.min_order_amount),
        coupon.quantity.to_string(),
        coupon.starts_at_ms.to_string(),
        coupon.ends_at_ms.to_string(),
        coupon.expires_at_ms.to_string(),
    ];
    let extra_keys = [keys::coupon(cell, coupon.id), keys::coupons(cell)];
    let reply = scripts.call(Script::CouponSet, cell, &extra_keys, &args).await?;
    let issued = reply.int(1)?;
    match reply.outcome {
        "BELOW_ISSUED" => Ok(CouponSet::BelowIssued { issued }),
        "CREATED" => {
            scripts.acknowledge(cell, reply.epoch, reply.int(2)? as Seq)?;
            Ok(CouponSet::Created { issued })
        }
        "UPDATED" => {
            scripts.acknowledge(cell, reply.epoch, reply.int(2)? as Seq)?;
            Ok(CouponSet::Updated { issued })
        }
        _ => Err(reply.unexpected()),
    }
}
