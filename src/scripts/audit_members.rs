//! Typed binding of `lua/audit_members.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Epoch};
use crate::ids::CouponId;
use crate::ranking::Hour;

/// Whose members are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembersOf {
    /// Users who have a unit of a campaign.
    Issues(CouponId),
    /// Products sold in the ranking's window.
    RollingSales,
    /// Products sold in one hour.
    HourSales(Hour),
}

/// Some of them, as Redis spells them.
#[derive(Debug)]
pub struct AuditMembers {
    /// The cursor means nothing in another epoch: begin again there.
    pub epoch: Epoch,
    /// For the next call; `None` when all were seen.
    pub cursor: Option<String>,
    /// Each at least once over a whole walk, if it was there all the time.
    pub names: Vec<String>,
}

/// Looks at about `count` more members; `cursor` is `None` at the beginning.
pub async fn audit_members(
    scripts: &Scripts,
    cell: CellId,
    of: MembersOf,
    cursor: Option<&str>,
    count: usize,
) -> Result<AuditMembers, ScriptError> {
    let (command, key) = match of {
        MembersOf::Issues(coupon) => ("HSCAN", keys::issues(cell, coupon)),
        MembersOf::RollingSales => ("ZSCAN", keys::rolling_sales(cell)),
        MembersOf::HourSales(hour) => ("ZSCAN", keys::hour_sales(cell, hour)),
    };
    let args = [command.to_owned(), cursor.unwrap_or("0").to_owned(), count.to_string()];
    let mut reply = scripts.call(Script::AuditMembers, cell, &[key], &args).await?;
    match reply.outcome {
        "SCANNED" => {
            let names = reply.take(2)?;
            let cursor = Some(reply.text(1)?).filter(|it| *it != "0").map(str::to_owned);
            Ok(AuditMembers { epoch: reply.epoch, cursor, names })
        }
        _ => Err(reply.unexpected()),
    }
}
