//! Typed binding of `lua/ranking_scores.lua`; the header of that file is the contract.

use super::keys;
use super::load::{ScriptError, Scripts};
use super::text::Script;
use crate::cell::CellId;
use crate::ids::ProductId;

/// Most products of one call.
const PRODUCTS_MAX: usize = 1_000;

/// Units of each product that a cell sold in the ranking's window.
pub async fn ranking_scores(
    scripts: &Scripts,
    cell: CellId,
    products: &[ProductId],
) -> Result<Vec<i64>, ScriptError> {
    let mut scores = Vec::with_capacity(products.len());
    for chunk in products.chunks(PRODUCTS_MAX) {
        let members: Vec<String> = chunk.iter().map(|it| keys::sold_member(*it)).collect();
        let mut reply =
            scripts.call(Script::RankingScores, cell, &[keys::rolling_sales(cell)], &members).await?;
        match reply.outcome {
            "FOUND" => {
                let words: Vec<String> = reply.take(1)?;
                if words.len() != chunk.len() {
                    return Err(reply.unexpected());
                }
                for word in words {
                    scores.push(-word.parse::<i64>().map_err(|_| reply.unexpected())?);
                }
            }
            _ => return Err(reply.unexpected()),
        }
    }
    Ok(scores)
}
