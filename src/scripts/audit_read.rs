//! Typed binding of `lua/audit_read.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Position};
use crate::coupon::{IssueId, IssueState};
use crate::event::Holding;
use crate::ids::OrderId;

/// What some things hold as Redis has it, and the newest event that it reflects. `None`: no such thing.
#[derive(Debug)]
pub struct AuditRead {
    pub newest: Position,
    pub values: Vec<Option<i64>>,
}

/// Reads up to 1,000 balances, stocks, pools and states, all of them in `cell`.
pub async fn audit_read(
    scripts: &Scripts,
    cell: CellId,
    items: &[Holding],
) -> Result<AuditRead, ScriptError> {
    let (keys, fields): (Vec<String>, Vec<String>) = items.iter().map(|it| place(cell, *it)).unzip();
    let mut reply = scripts.call(Script::AuditRead, cell, &keys, &fields).await?;
    match reply.outcome {
        "READ" => {
            let values: Vec<String> = reply.take(2)?;
            let values = items.iter().zip(&values).map(|(item, text)| match text.as_str() {
                "" => Ok(None),
                text => number(*item, text).map(Some).ok_or_else(|| reply.unexpected()),
            });
            let values = values.collect::<Result<_, _>>()?;
            Ok(AuditRead { newest: reply.text(1)?.parse().map_err(|_| reply.unexpected())?, values })
        }
        _ => Err(reply.unexpected()),
    }
}

/// Key and field.
fn place(cell: CellId, item: Holding) -> (String, String) {
    match item {
        Holding::Wallet(user) => (keys::user(cell, user), "balance".to_owned()),
        Holding::Sku(sku) => (keys::sku(cell, sku), "remaining".to_owned()),
        Holding::Coupon(coupon) => (keys::coupon(cell, coupon), "remaining".to_owned()),
        Holding::Issue(IssueId { coupon, user }) => (keys::issues(cell, coupon), user.to_string()),
    }
}

fn number(item: Holding, text: &str) -> Option<i64> {
    match item {
        Holding::Wallet(_) | Holding::Sku(_) | Holding::Coupon(_) => text.parse().ok(),
        Holding::Issue(_) => {
            // `issued <issued_at_ms>`, or `used <issued_at_ms> <order_id>`.
            let mut words = text.split(' ');
            let (word, order) = (words.next()?, words.nth(1));
            let order: Option<OrderId> = order.map(str::parse).transpose().ok()?;
            Some(IssueState::from_parts(word, order)?.number())
        }
    }
}
