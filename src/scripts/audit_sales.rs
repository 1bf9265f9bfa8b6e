//! Typed binding of `lua/audit_sales.lua`; the header of that file is the contract.

use super::audit_read::Stored;
use super::keys;
use super::load::{ScriptError, Scripts};
use super::ranking_roll::ranking_roll;
use super::text::Script;
use crate::cell::{CellId, Position};
use crate::ids::ProductId;
use crate::ranking::{Hour, WINDOW_HOURS};

/// What the ranking counts of some products, and the newest event that it reflects.
#[derive(Debug)]
pub struct AuditSales {
    pub newest: Position,
    /// The newest hour that is no longer counted.
    pub rolled_to: Hour,
    /// The newest hour that has left the window: those in `(rolled_to, left]` are being taken out, product by
    /// product.
    pub left: Hour,
    /// The hours behind `rolled_to` of which Redis has anything.
    pub hours: Vec<Hour>,
    /// In the order asked for.
    pub products: Vec<ProductSales>,
}

/// Units of one product.
#[derive(Debug)]
pub struct ProductSales {
    /// In the whole window.
    pub rolling: Stored,
    /// In each hour whose set has the product.
    pub hours: Vec<(Hour, Stored)>,
}

/// Scores of the products, in the order asked for.
type Scores = Vec<Option<String>>;

/// Reads up to 100 products. A window that was not moved for weeks is moved first, as for everybody who
/// reads the ranking.
pub async fn audit_sales(
    scripts: &Scripts,
    cell: CellId,
    products: &[ProductId],
) -> Result<AuditSales, ScriptError> {
    let extra_keys = [keys::sales(cell), keys::rolling_sales(cell)];
    let mut args = vec![WINDOW_HOURS.to_string()];
    args.extend(products.iter().map(|it| keys::sold_member(*it)));
    loop {
        let mut reply = scripts.call(Script::AuditSales, cell, &extra_keys, &args).await?;
        match reply.outcome {
            "BEHIND" => ranking_roll(scripts, cell).await?,
            "READ" => {
                let (rolling, hours): (Scores, Vec<(Hour, Scores)>) = (reply.take(4)?, reply.take(5)?);
                let complete = |it: &Scores| it.len() == products.len();
                if !complete(&rolling) || !hours.iter().all(|(_, scores)| complete(scores)) {
                    return Err(reply.unexpected());
                }
                let product = |(index, score): (usize, &Option<String>)| ProductSales {
                    rolling: units(score.as_deref()),
                    hours: hours
                        .iter()
                        .filter_map(|(hour, scores)| Some((*hour, units(Some(scores[index].as_deref()?)))))
                        .collect(),
                };
                return Ok(AuditSales {
                    newest: reply.text(1)?.parse().map_err(|_| reply.unexpected())?,
                    rolled_to: reply.int(2)?,
                    left: reply.int(3)?,
                    hours: hours.iter().map(|(hour, _)| *hour).collect(),
                    products: rolling.iter().enumerate().map(product).collect(),
                });
            }
            _ => return Err(reply.unexpected()),
        }
    }
}

/// A score is minus the units sold.
fn units(score: Option<&str>) -> Stored {
    match score.map(|it| (it, it.parse::<i64>())) {
        None => Stored::Missing,
        Some((_, Ok(score))) => Stored::Number(-score),
        Some((score, Err(_))) => Stored::Unreadable(format!("score {score}")),
    }
}
