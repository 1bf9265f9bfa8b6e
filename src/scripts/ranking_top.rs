//! Typed binding of `lua/ranking_top.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::ranking_roll::ranking_roll;
use super::text::Script;
use crate::cell::CellId;
use crate::ranking::{RankedProduct, WINDOW_HOURS};

/// The listed products of which a cell sold most units in the window; `limit` is 1 to 100.
///
/// An hour that has just left the window is taken out first, so the answer is never of an older window.
pub async fn ranking_top(
    scripts: &Scripts,
    cell: CellId,
    limit: usize,
) -> Result<Vec<RankedProduct>, ScriptError> {
    let extra_keys = [keys::sales(cell), keys::rolling_sales(cell)];
    let args = [WINDOW_HOURS.to_string(), limit.to_string()];
    loop {
        let mut reply = scripts.call(Script::RankingTop, cell, &extra_keys, &args).await?;
        match reply.outcome {
            "BEHIND" => ranking_roll(scripts, cell).await?,
            "FOUND" => {
                let products: Vec<[String; 5]> = reply.take(1)?;
                let ranked = products.iter().zip(1..).map(|(it, rank)| parse(rank, it));
                return ranked.collect::<Option<_>>().ok_or_else(|| reply.unexpected());
            }
            _ => return Err(reply.unexpected()),
        }
    }
}

fn parse(rank: usize, [id, name, price, stock, sold]: &[String; 5]) -> Option<RankedProduct> {
    Some(RankedProduct {
        rank,
        id: id.parse().ok()?,
        name: name.clone(),
        price: price.parse().ok()?,
        stock: stock.parse().ok()?,
        sold: sold.parse().ok()?,
    })
}
