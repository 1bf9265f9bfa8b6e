//! Typed binding of `lua/ranking_page.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::ranking_roll::ranking_roll;
use super::text::Script;
use crate::cell::CellId;
use crate::ids::ProductId;
use crate::ranking::WINDOW_HOURS;

/// Up to `limit` places of a cell's own ranking behind the first `start`: product and units sold, best first.
///
/// An hour that has just left the window is taken out first, so the answer is never of an older window.
pub async fn ranking_page(
    scripts: &Scripts,
    cell: CellId,
    start: usize,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, ScriptError> {
    let extra_keys = [keys::sales(cell), keys::rolling_sales(cell)];
    let args = [WINDOW_HOURS.to_string(), start.to_string(), limit.to_string()];
    loop {
        let mut reply = scripts.call(Script::RankingPage, cell, &extra_keys, &args).await?;
        match reply.outcome {
            "BEHIND" => ranking_roll(scripts, cell).await?,
            "FOUND" => {
                let words: Vec<String> = reply.take(1)?;
                let place = |it: &[String]| {
                    let [product, score] = it else { return None };
                    Some((keys::product_of_sold_member(product)?, -score.parse::<i64>().ok()?))
                };
                return words.chunks(2).map(place).collect::<Option<_>>().ok_or_else(|| reply.unexpected());
            }
            _ => return Err(reply.unexpected()),
        }
    }
}
