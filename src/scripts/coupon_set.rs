//! Typed binding of `lua/coupon_set.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::product_set::{CopyOf, Described};
use super::text::Script;
use crate::cell::{CellId, Position, Seq};
use crate::coupon::CouponDescription;

/// What can happen when a campaign is described, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponSet {
    /// This copy, or a newer one, is there.
    Known,
    /// A campaign of an earlier life of the id is there.
    OtherLife,
    /// More than the quantity were issued already, or went to other cells.
    BelowIssued {
        issued: i64,
    },
    Created {
        described: Described,
        issued: i64,
    },
    Updated {
        described: Described,
        issued: i64,
    },
}

/// Opens a campaign in its home cell, or changes what it says; in another cell a copy of it, whose units come by
/// transfers. `issued` counts what went to other cells.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may have been set; calling again is safe.
pub async fn coupon_set(
    scripts: &Scripts,
    cell: CellId,
    coupon: &CouponDescription,
    copy_of: Option<CopyOf>,
) -> Result<CouponSet, ScriptError> {
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
        copy_of.map(|it| it.version.to_string()).unwrap_or_default(),
        copy_of.map(|it| it.life.to_string()).unwrap_or_default(),
    ];
    let extra_keys = [keys::coupon(cell, coupon.id), keys::coupons(cell), keys::uncopied(cell)];
    let reply = scripts.call(Script::CouponSet, cell, &extra_keys, &args).await?;
    let issued = reply.int(1)?;
    let described = || {
        let at = Position { epoch: reply.epoch, seq: reply.int(2)? as Seq };
        scripts.acknowledge(cell, reply.epoch, at.seq)?;
        Ok::<_, ScriptError>(Described { at, life: reply.int(3)? as Seq })
    };
    match reply.outcome {
        "KNOWN" => Ok(CouponSet::Known),
        "OTHER_LIFE" => Ok(CouponSet::OtherLife),
        "BELOW_ISSUED" => Ok(CouponSet::BelowIssued { issued }),
        "CREATED" => Ok(CouponSet::Created { described: described()?, issued }),
        "UPDATED" => Ok(CouponSet::Updated { described: described()?, issued }),
        _ => Err(reply.unexpected()),
    }
}
