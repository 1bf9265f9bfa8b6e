//! Coupons as read from MySQL.

use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{FromRow, Row};

use super::{datetime, decode};
use crate::cell::Seq;
use crate::coupon::{Discount, OwnCoupon, OwnCouponStatus};
use crate::ids::{CouponId, OrderId, UserId};
use crate::money::Amount;
use crate::time::Millis;

/// The newest `limit` coupons of a user that were issued before an event, newest first, with their status at
/// `now_ms`. A user's numbers are of one cell, so they tell the order.
pub async fn coupons_of_user(
    pool: &MySqlPool,
    user: UserId,
    now_ms: Millis,
    status: Option<OwnCouponStatus>,
    before: Seq,
    limit: usize,
) -> Result<Vec<OwnCoupon>, sqlx::Error> {
    // A coupon of a campaign that was forgotten, or of an earlier life of its id, can no longer be used.
    sqlx::query_as(
        "SELECT * FROM (\
             SELECT i.coupon_id, c.name, c.kind, c.value, c.max_amount, i.order_id, i.issued_at, c.expires_at, \
             i.issued_seq, IF(i.state = 'issued' AND (c.expires_at <= ? OR c.forgotten = 1 \
                 OR i.issued_seq <= c.born_seq), 'expired', i.state) AS status \
             FROM coupon_issues i JOIN coupons c ON c.coupon_id = i.coupon_id AND c.cell = i.cell \
             WHERE i.user_id = ? AND i.issued_seq < ?\
         ) own WHERE ? IN ('', status) ORDER BY issued_seq DESC LIMIT ?",
    )
    .bind(datetime(now_ms))
    .bind(user.get())
    .bind(before)
    .bind(status.map_or("", OwnCouponStatus::as_str))
    .bind(limit as u64)
    .fetch_all(pool)
    .await
}

/// The coupons of a user that an order of a total could use at `now_ms`: issued ones, and the one it holds, with
/// names and discounts.
pub async fn usable_coupons(
    pool: &MySqlPool,
    user: UserId,
    now_ms: Millis,
    total: Amount,
    order: OrderId,
) -> Result<Vec<(CouponId, String, Discount)>, sqlx::Error> {
    let rows: Vec<(u64, String, String, i64, Option<i64>)> = sqlx::query_as(
        "SELECT i.coupon_id, c.name, c.kind, c.value, c.max_amount \
         FROM coupon_issues i JOIN coupons c ON c.coupon_id = i.coupon_id AND c.cell = i.cell \
         WHERE i.user_id = ? AND c.forgotten = 0 AND i.issued_seq > c.born_seq \
         AND ((i.state = 'issued' AND c.expires_at > ? AND COALESCE(c.min_order_amount, 0) <= ?) \
             OR (i.state = 'held' AND i.order_id = ?))",
    )
    .bind(user.get())
    .bind(datetime(now_ms))
    .bind(total)
    .bind(order.get())
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(id, name, kind, value, max_amount)| {
            let discount = Discount::from_parts(&kind, value, max_amount);
            let discount = discount.ok_or_else(|| decode(format!("discount {kind:?}")))?;
            Ok((CouponId::new(id).map_err(decode)?, name, discount))
        })
        .collect()
}

impl FromRow<'_, MySqlRow> for OwnCoupon {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let (kind, status): (String, String) = (row.try_get("kind")?, row.try_get("status")?);
        let discount = Discount::from_parts(&kind, row.try_get("value")?, row.try_get("max_amount")?);
        let order: Option<u64> = row.try_get("order_id")?;
        Ok(Self {
            seq: row.try_get("issued_seq")?,
            coupon_id: CouponId::new(row.try_get("coupon_id")?).map_err(decode)?,
            name: row.try_get("name")?,
            discount: discount.ok_or_else(|| decode(format!("discount {kind:?}")))?,
            status: OwnCouponStatus::parse(&status)
                .ok_or_else(|| decode(format!("coupon state {status:?}")))?,
            order_id: order.map(OrderId::new).transpose().map_err(decode)?,
            issued_at: row.try_get("issued_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    }
}
