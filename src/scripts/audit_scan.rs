//! Typed binding of `lua/audit_scan.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::{CellId, Epoch};
use crate::ids::{CouponId, UserId};
use crate::product::SkuId;

/// Some of the wallets, SKUs and campaigns whose keys a cell has.
#[derive(Debug)]
pub struct AuditScan {
    /// The cursor means nothing in another epoch: begin again there.
    pub epoch: Epoch,
    /// For the next call; `None` when all keys were seen.
    pub cursor: Option<String>,
    /// Each at least once over a whole scan, if it was there all the time.
    pub users: Vec<UserId>,
    /// Also keys that only say that a product has options.
    pub skus: Vec<SkuId>,
    /// Also those of which there are only issues.
    pub coupons: Vec<CouponId>,
}

/// Looks at about `count` more keys; `cursor` is `None` at the beginning.
pub async fn audit_scan(
    scripts: &Scripts,
    cell: CellId,
    cursor: Option<&str>,
    count: usize,
) -> Result<AuditScan, ScriptError> {
    let args = [cursor.unwrap_or("0").to_owned(), keys::holdings(cell), count.to_string()];
    let mut reply = scripts.call(Script::AuditScan, cell, &[], &args).await?;
    match reply.outcome {
        "SCANNED" => {
            let names: Vec<String> = reply.take(2)?;
            Ok(AuditScan {
                epoch: reply.epoch,
                cursor: Some(reply.text(1)?).filter(|it| *it != "0").map(str::to_owned),
                users: names.iter().filter_map(|it| keys::user_of(it)).collect(),
                skus: names.iter().filter_map(|it| keys::sku_of(it)).collect(),
                coupons: names.iter().filter_map(|it| keys::coupon_of(it)).collect(),
            })
        }
        _ => Err(reply.unexpected()),
    }
}
