//! Typed binding of `lua/audit_read.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position};
use crate::coupon::{IssueId, IssueState};
use crate::event::Holding;
use crate::ids::{CouponId, OrderId};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditItem {
    Holding(Holding),
    /// How many users have a unit of a campaign; never missing.
    IssueCount(CouponId),
}

/// What Redis has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Missing,
    Number(i64),
    /// Nothing that a script wrote.
    Unreadable(String),
}

impl Stored {
    /// What is missing is nothing.
    pub fn or_zero(self) -> Self {
        if self == Self::Missing { Self::Number(0) } else { self }
    }
}

/// What some things hold as Redis has it, and the newest event that it reflects.
#[derive(Debug)]
pub struct AuditRead {
    pub newest: Position,
    /// In the order asked for.
    pub values: Vec<Stored>,
}

/// Reads up to 1,000 items, all of them in `cell`.
pub async fn audit_read(
    scripts: &Scripts,
    cell: CellId,
    items: &[AuditItem],
) -> Result<AuditRead, ScriptError> {
    let (keys, fields): (Vec<String>, Vec<String>) = items.iter().map(|it| place(cell, *it)).unzip();
    let mut reply = scripts.call(Script::AuditRead, cell, &keys, &fields).await?;
    match reply.outcome {
        "READ" => {
            let texts: Vec<String> = reply.take(2)?;
            if texts.len() != items.len() {
                return Err(reply.unexpected());
            }
            let values = items.iter().zip(texts).map(|(item, text)| stored(*item, text)).collect();
            Ok(AuditRead { newest: reply.text(1)?.parse().map_err(|_| reply.unexpected())?, values })
        }
        _ => Err(reply.unexpected()),
    }
}

/// Key and field; no field: the number of fields.
fn place(cell: CellId, item: AuditItem) -> (String, String) {
    match item {
        AuditItem::Holding(Holding::Wallet(user)) => (keys::user(cell, user), "balance".to_owned()),
        AuditItem::Holding(Holding::Sku(sku)) => (keys::sku(cell, sku), "remaining".to_owned()),
        AuditItem::Holding(Holding::Coupon(coupon)) => (keys::coupon(cell, coupon), "remaining".to_owned()),
        AuditItem::Holding(Holding::Moved(pool)) => (keys::pool(cell, pool), "moved".to_owned()),
        AuditItem::Holding(Holding::Issue(IssueId { coupon, user })) => {
            (keys::issues(cell, coupon), user.to_string())
        }
        AuditItem::IssueCount(coupon) => (keys::issues(cell, coupon), String::new()),
    }
}

fn stored(item: AuditItem, text: String) -> Stored {
    if text.is_empty() {
        return Stored::Missing;
    }
    let number = match item {
        AuditItem::Holding(Holding::Wallet(_) | Holding::Sku(_) | Holding::Coupon(_) | Holding::Moved(_))
        | AuditItem::IssueCount(_) => text.parse().ok(),
        AuditItem::Holding(Holding::Issue(_)) => state(&text).map(IssueState::number),
    };
    number.map_or(Stored::Unreadable(text), Stored::Number)
}

/// `issued <issued_at_ms>`, `held <issued_at_ms> <order_id>` or `used <issued_at_ms> <order_id>`.
fn state(text: &str) -> Option<IssueState> {
    let (word, rest) = text.split_once(' ')?;
    let (at_ms, order) = rest.split_once(' ').map_or((rest, None), |(at_ms, order)| (at_ms, Some(order)));
    let _: u64 = at_ms.parse().ok()?;
    let order: Option<OrderId> = order.map(str::parse).transpose().ok()?;
    IssueState::from_parts(word, order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn what_no_script_wrote_is_told_apart_from_what_is_missing() {
        let wallet = AuditItem::Holding(Holding::Wallet(UserId::new(1).unwrap()));
        let id = IssueId { coupon: CouponId::new(7).unwrap(), user: UserId::new(1).unwrap() };
        let issue = AuditItem::Holding(Holding::Issue(id));
        let cases = [
            (wallet, "", Stored::Missing),
            (wallet, "-5", Stored::Number(-5)),
            (AuditItem::IssueCount(id.coupon), "3", Stored::Number(3)),
            (issue, "issued 5", Stored::Number(0)),
            (issue, "used 5 1024", Stored::Number(1024)),
            (issue, "held 5 1024", Stored::Number(-1024)),
        ];
        for (item, text, expected) in cases {
            assert_eq!(stored(item, text.to_owned()), expected, "{text}");
        }
        for (item, text) in [
            (wallet, "1.5"),
            (wallet, "not a hash"),
            (issue, "issued"),
            (issue, "issued x"),
            (issue, "issued 5 1024"),
            (issue, "used 5"),
            (issue, "used 5 0"),
            (issue, "used 5 1024 1"),
        ] {
            assert_eq!(stored(item, text.to_owned()), Stored::Unreadable(text.to_owned()));
        }
    }
}
