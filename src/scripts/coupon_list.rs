//! Typed binding of `lua/coupon_list.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::coupon::{Coupon, Discount};
use crate::time;

/// Reads up to `limit` (1 to 201) campaigns with ids above `after`, in order of their ids.
pub async fn coupon_list(scripts: &Scripts, after: u64, limit: usize) -> Result<Vec<Coupon>, ScriptError> {
    let cell = CellId(0);
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

fn parse(fields: &[String]) -> Option<Coupon> {
    let [id, name, kind, value, max_amount, min_order, quantity, remaining, starts, ends, expires] = fields
    else {
        return None;
    };
    let time = |text: &String| text.parse().ok().map(time::from_millis);
    Some(Coupon {
        coupon_id: id.parse().ok()?,
        name: name.clone(),
        discount: Discount::from_parts(kind, value.parse().ok()?, max_amount.parse().ok())?,
        min_order_amount: min_order.parse().ok(),
        quantity: quantity.parse().ok()?,
        remaining: remaining.parse().ok()?,
        starts_at: time(starts)?,
        ends_at: time(ends)?,
        expires_at: time(expires)?,
    })
}
