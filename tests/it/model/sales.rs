//! The rules of the ranking: units by hour, and what leaves the window.

use std::collections::BTreeMap;

use firstcome::ids::ProductId;
use firstcome::ranking::{Hour, RankedProduct, WINDOW_HOURS, hour_of};

use super::rules::Model;

/// Hours that one call of `ranking_roll` moves over at most.
const HOURS_MAX: Hour = 1_000;

impl Model {
    /// Takes the hours out that left the window; the outcomes of the calls that it takes.
    pub fn ranking_roll(&mut self) -> Vec<&'static str> {
        let target = hour_of(self.now_ms) - WINDOW_HOURS;
        let mut words = Vec::new();
        loop {
            let before = self.rolled_to.unwrap_or(target);
            let to = target.min(before + HOURS_MAX);
            let count = self.sold.len();
            if self.rolled_to.is_some() {
                self.sold.retain(|(hour, _), _| *hour > to);
            }
            self.rolled_to = Some(to);
            let is_current = count == self.sold.len() && to == target;
            words.push(if is_current { "CURRENT" } else { "ROLLED" });
            if is_current {
                return words;
            }
        }
    }

    pub fn ranking_top(&mut self, limit: usize) -> (Vec<&'static str>, Vec<RankedProduct>) {
        let mut words = Vec::new();
        if self.rolled_to.is_some_and(|it| it < hour_of(self.now_ms) - WINDOW_HOURS) {
            words.push("BEHIND");
            words.extend(self.ranking_roll());
        }
        words.push("FOUND");
        let mut sold: Vec<(ProductId, i64)> = self.rolling().into_iter().collect();
        sold.sort_by_key(|(product, units)| (-units, *product));
        let listed =
            sold.iter().filter_map(|(id, units)| Some((self.shown(*id, self.products.get(id)?), *units)));
        let ranked = listed.zip(1..).take(limit).map(|((product, sold), rank)| RankedProduct {
            rank,
            id: product.id,
            name: product.name,
            price: product.price,
            stock: product.stock,
            sold,
        });
        (words, ranked.collect())
    }

    /// Units in the window, by product.
    pub fn rolling(&self) -> BTreeMap<ProductId, i64> {
        let mut rolling = BTreeMap::new();
        for ((_, product), units) in &self.sold {
            *rolling.entry(*product).or_default() += units;
        }
        rolling
    }
}
