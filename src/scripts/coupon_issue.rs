//! Typed binding of `lua/coupon_issue.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{idempotency_parts, keys};
use crate::cell::Seq;
use crate::coupon::{Discount, IssueId};
use crate::idempotency::{Idempotency, Seen};
use crate::time::Millis;

/// What can happen when a user asks for a coupon, in the order the script tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponIssue {
    KeyReused,
    NotFound,
    UserNotFound,
    NotStarted {
        starts_at_ms: Millis,
    },
    Expired {
        ended_at_ms: Millis,
    },
    AlreadyIssued,
    SoldOut,
    /// `left`: units of the user's cell; `None` for an answer from before.
    Issued {
        issued: IssuedCoupon,
        seen: Seen,
        left: Option<i64>,
    },
}

/// What the user was told when the coupon was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedCoupon {
    pub seq: Seq,
    pub issued_at_ms: Millis,
    pub discount: Discount,
    pub expires_at_ms: Millis,
}

impl IssuedCoupon {
    /// Reads `<seq> <at_ms> <kind> <value> <max_amount or -> <expires_at_ms>`.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [seq, issued_at_ms, kind, value, max_amount, expires_at_ms] = words[..] else { return None };
        Some(Self {
            seq: seq.parse().ok()?,
            issued_at_ms: issued_at_ms.parse().ok()?,
            discount: Discount::from_parts(kind, value.parse().ok()?, max_amount.parse().ok())?,
            expires_at_ms: expires_at_ms.parse().ok()?,
        })
    }
}

/// Gives one unit of a coupon to a user, at most once, in one atomic step. `create` makes a missing user.
///
/// # Errors
/// After [`ScriptError::Unknown`] the coupon may have been issued. Calling again is safe: a user who already
/// has it gets `AlreadyIssued`, or with the same key the first answer.
pub async fn coupon_issue(
    scripts: &Scripts,
    issue: IssueId,
    create: bool,
    idempotency: Option<&Idempotency>,
    idempotency_ttl_ms: u64,
) -> Result<CouponIssue, ScriptError> {
    let IssueId { coupon, user } = issue;
    let cell = scripts.cells().of_user(user);
    let (idem_key, fingerprint, key) = idempotency_parts(cell, Some(user), idempotency);
    let extra_keys =
        [keys::user(cell, user), keys::coupon(cell, coupon), keys::issues(cell, coupon), idem_key];
    let (coupon_text, user_text, ttl_text) =
        (coupon.to_string(), user.to_string(), idempotency_ttl_ms.to_string());
    let create = if create { "1" } else { "" };
    let args = [coupon_text.as_str(), user_text.as_str(), create, fingerprint, key, ttl_text.as_str()];

    let reply = scripts.call(Script::CouponIssue, cell, &extra_keys, &args).await?;
    let issued = |seen| {
        let issued = IssuedCoupon::parse(reply.text(1)?).ok_or_else(|| reply.unexpected())?;
        scripts.acknowledge(cell, reply.epoch, issued.seq)?;
        let left = match seen {
            Seen::New => Some(reply.int(2)?),
            Seen::Replayed => None,
        };
        Ok(CouponIssue::Issued { issued, seen, left })
    };
    match reply.outcome {
        "KEY_REUSED" => Ok(CouponIssue::KeyReused),
        "REPLAYED" => issued(Seen::Replayed),
        "NOT_FOUND" => Ok(CouponIssue::NotFound),
        "USER_NOT_FOUND" => Ok(CouponIssue::UserNotFound),
        "NOT_STARTED" => Ok(CouponIssue::NotStarted { starts_at_ms: reply.int(2)? }),
        "EXPIRED" => Ok(CouponIssue::Expired { ended_at_ms: reply.int(2)? }),
        "ALREADY_ISSUED" => Ok(CouponIssue::AlreadyIssued),
        "SOLD_OUT" => Ok(CouponIssue::SoldOut),
        "ISSUED" => issued(Seen::New),
        _ => Err(reply.unexpected()),
    }
}
