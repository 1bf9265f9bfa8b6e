//! The best of all cells together, without reading them whole: the threshold algorithm (Fagin, Lotem, Naor, "Optimal
//! aggregation algorithms for middleware", 2001).

use std::collections::{HashMap, HashSet};

use super::{any, lists, of_all};
use crate::ids::ProductId;
use crate::ranking::RankedProduct;
use crate::scripts::product_list::Which;
use crate::scripts::ranking_page::ranking_page;
use crate::scripts::ranking_scores::ranking_scores;
use crate::scripts::ranking_top::ranking_top;
use crate::scripts::{ScriptError, Scripts};

/// Products that one read describes.
const DESCRIBED: usize = 201;

/// The listed products of which most units were sold in the window, in all cells; `limit` is 1 to 100.
pub async fn top(scripts: &Scripts, limit: usize) -> Result<Vec<RankedProduct>, ScriptError> {
    if scripts.cells().count() == 1 {
        return ranking_top(scripts, any(scripts), limit).await;
    }
    let mut candidates = Candidates::default();
    let (mut seen, mut depth) = (0, limit);
    loop {
        let pages = of_all(scripts, |cell| ranking_page(scripts, cell, seen, depth - seen)).await?;
        let threshold = threshold(&pages, depth - seen);
        candidates.count(scripts, &pages).await?;
        let listed = candidates.listed(scripts).await?;
        // Whatever no cell has shown yet sold no more than the threshold, and may be the first of equals.
        let is_settled = listed.get(limit - 1).is_some_and(|it| it.sold > threshold);
        if is_settled || threshold == 0 {
            return Ok(ranked(listed, limit));
        }
        (seen, depth) = (depth, depth * 2);
    }
}

/// The most that a product can have sold which is on none of the pages; 0: there are none.
fn threshold(pages: &[Vec<(ProductId, i64)>], length: usize) -> i64 {
    // The bound of a cell that has no further place is 0.
    pages.iter().map(|it| it.get(length - 1).map_or(0, |last| last.1)).sum()
}

/// Products that some cell has shown.
#[derive(Default)]
struct Candidates {
    /// Units sold in all cells.
    sold: HashMap<ProductId, i64>,
    /// As they are listed; `None`: no longer.
    described: HashMap<ProductId, Option<RankedProduct>>,
}

impl Candidates {
    /// Adds the products of some pages, with what all cells sold of them.
    async fn count(&mut self, scripts: &Scripts, pages: &[Vec<(ProductId, i64)>]) -> Result<(), ScriptError> {
        let new: HashSet<ProductId> =
            pages.iter().flatten().map(|it| it.0).filter(|it| !self.sold.contains_key(it)).collect();
        let new: Vec<ProductId> = new.into_iter().collect();
        let scores = of_all(scripts, |cell| ranking_scores(scripts, cell, &new)).await?;
        for (index, product) in new.into_iter().enumerate() {
            self.sold.insert(product, scores.iter().map(|it| it[index]).sum());
        }
        Ok(())
    }

    /// Those that are listed, best first.
    async fn listed(&mut self, scripts: &Scripts) -> Result<Vec<RankedProduct>, ScriptError> {
        let new: Vec<ProductId> =
            self.sold.keys().filter(|it| !self.described.contains_key(it)).copied().collect();
        for ids in new.chunks(DESCRIBED) {
            self.described.extend(ids.iter().map(|it| (*it, None)));
            for product in lists::products(scripts, Which::Named(ids)).await?.products {
                let (id, price, stock, sold) =
                    (product.id, product.price, product.stock, self.sold[&product.id]);
                let ranked = RankedProduct { rank: 0, id, name: product.name, price, stock, sold };
                self.described.insert(id, Some(ranked));
            }
        }
        let mut listed: Vec<RankedProduct> = self.described.values().flatten().cloned().collect();
        listed.sort_by_key(|it| (-it.sold, it.id));
        Ok(listed)
    }
}

fn ranked(mut listed: Vec<RankedProduct>, limit: usize) -> Vec<RankedProduct> {
    listed.retain(|it| it.sold > 0);
    listed.truncate(limit);
    listed.iter_mut().zip(1..).for_each(|(product, rank)| product.rank = rank);
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_sum_of_what_each_cell_showed_last() {
        let page = |sold: &[i64]| -> Vec<(ProductId, i64)> {
            sold.iter().zip(1..).map(|(sold, id)| (ProductId::new(id).unwrap(), *sold)).collect()
        };
        assert_eq!(threshold(&[page(&[9, 5]), page(&[4, 3])], 2), 8);
        assert_eq!(threshold(&[page(&[9, 5]), page(&[4])], 2), 5);
        assert_eq!(threshold(&[page(&[9]), page(&[])], 2), 0);
    }
}
