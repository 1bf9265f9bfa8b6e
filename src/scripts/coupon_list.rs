//! Typed binding of `lua/coupon_list.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::product_set::CopyOf;
use super::text::Script;
use crate::cell::CellId;
use crate::coupon::{Coupon, Discount};
use crate::ids::CouponId;
use crate::time;

/// Reads up to `limit` (1 to 201) campaigns of a cell with ids above `after`, in order of their ids, with the units that
/// it has.
pub async fn coupon_list(
    scripts: &Scripts,
    cell: CellId,
    after: u64,
    limit: usize,
) -> Result<Vec<Coupon>, ScriptError> {
    let found = read(scripts, cell, after, limit).await?;
    Ok(found.into_iter().map(|(coupon, _)| coupon).collect())
}

/// Reads what a home cell says of one of its campaigns, and of what a copy of it is a copy; `None` where there is none.
pub async fn coupon_to_copy(
    scripts: &Scripts,
    home: CellId,
    coupon: CouponId,
) -> Result<Option<(Coupon, CopyOf)>, ScriptError> {
    let found = read(scripts, home, coupon.get() - 1, 1).await?;
    let found = found.into_iter().find(|(it, _)| it.coupon_id == coupon);
    Ok(found.and_then(|(coupon, copy_of)| Some((coupon, copy_of?))))
}

async fn read(
    scripts: &Scripts,
    cell: CellId,
    after: u64,
    limit: usize,
) -> Result<Vec<(Coupon, Option<CopyOf>)>, ScriptError> {
    let args = [after.to_string(), limit.to_string()];
    let mut reply = scripts.call(Script::CouponList, cell, &[keys::coupons(cell)], &args).await?;
    match reply.outcome {
        "FOUND" => {
            let coupons: Vec<Vec<String>> = reply.take(1)?;
            coupons.iter().map(|it| parse(it).ok_or_else(|| reply.unexpected())).collect()
        }
        _ => Err(reply.unexpected()),
    }
}

/// With one cell there is nothing to copy, and so no version.
fn parse(fields: &[String]) -> Option<(Coupon, Option<CopyOf>)> {
    let (fields, [version, life]) = fields.split_last_chunk()?;
    let [id, name, kind, value, max_amount, min_order, quantity, remaining, starts, ends, expires] = fields
    else {
        return None;
    };
    let copy_of = version.parse().ok().zip(life.parse().ok()).map(|(version, life)| CopyOf { version, life });
    let time = |text: &String| text.parse().ok().map(time::from_millis);
    let coupon = Coupon {
        coupon_id: id.parse().ok()?,
        name: name.clone(),
        discount: Discount::from_parts(kind, value.parse().ok()?, max_amount.parse().ok())?,
        min_order_amount: min_order.parse().ok(),
        quantity: quantity.parse().ok()?,
        remaining: remaining.parse().ok()?,
        starts_at: time(starts)?,
        ends_at: time(ends)?,
        expires_at: time(expires)?,
    };
    Some((coupon, copy_of))
}
