//! The ranking against the orders.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::AuditError;
use super::compare::{CellAudit, pauses};
use super::report::{Difference, kind};
use super::strangers::Walk;
use crate::cell::Position;
use crate::ids::ProductId;
use crate::ranking::{HOUR_MS, Hour};
use crate::scripts::audit_members::MembersOf;
use crate::scripts::audit_read::Stored;
use crate::scripts::audit_sales::{ProductSales, audit_sales};
use crate::scripts::keys::product_of_sold_member;
use crate::time;

/// Products compared at once: a call of `audit_sales` looks at each in up to 73 hours, which takes Redis about
/// a millisecond (7.0.15, 100 products: 4 ms).
const PAGE: usize = 25;

/// How often the log is read on while MySQL adds its orders up.
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// Units sold by product and hour, as the orders have it: MySQL's rows, carried on by the log.
#[derive(Debug, Default)]
struct Orders(BTreeMap<ProductId, BTreeMap<Hour, i64>>);

impl CellAudit<'_> {
    /// Compares what the ranking counts with the orders, hour by hour and in the whole window.
    ///
    /// Unlike a page, MySQL's side is not of one product: its orders are added up once, and then carried on
    /// event by event to where Redis is at each page. So it begins anew after a recovery.
    pub(super) async fn compare_sales(&mut self) -> Result<(), AuditError> {
        let mut tries = pauses();
        loop {
            match self.compare_sales_once().await {
                Ok((products, differences)) => {
                    self.findings.report.checked.ranked_products += products;
                    differences.into_iter().for_each(|it| self.findings.push(it));
                    return Ok(());
                }
                Err(error) if error.may_pass() => {
                    let Some(pause) = tries.next() else { return Err(error) };
                    tokio::time::sleep(pause).await;
                    self.read_ahead().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn compare_sales_once(&mut self) -> Result<(u64, Vec<Difference>), AuditError> {
        let window = audit_sales(self.scripts, self.cell, &[]).await?;
        let (ranked, mut differences) = self.ranked_products(&window.hours).await?;
        let (mut position, mut orders) = self.orders_since(window.rolled_to + 1).await?;
        for product in ranked {
            orders.0.entry(product).or_default();
        }
        let (mut compared, mut last) = (0, None);
        loop {
            let page = orders.behind(last, PAGE);
            if page.is_empty() {
                return Ok((compared, differences));
            }
            let read = audit_sales(self.scripts, self.cell, &page).await?;
            if read.rolled_to < window.rolled_to {
                return Err(AuditError::Recovering(self.cell));
            }
            self.follow(position, read.newest).await?;
            for sold in self.log.sold(read.newest) {
                orders.add(sold.product, sold.hour, sold.units);
            }
            position = read.newest;
            for (product, sales) in page.iter().zip(&read.products) {
                let of_product = orders.of(*product, read.rolled_to);
                differences.extend(sales_differences(*product, sales, &of_product, read.left));
            }
            compared += page.len() as u64;
            self.progress.advance(page.len() as u64);
            last = page.last().copied();
        }
    }

    /// All products that Redis has in the window or in one of the hours, and members that are none.
    async fn ranked_products(
        &self,
        hours: &[Hour],
    ) -> Result<(BTreeSet<ProductId>, Vec<Difference>), AuditError> {
        let (mut products, mut strangers) = (BTreeSet::new(), BTreeSet::new());
        let hours = hours.iter().map(|it| MembersOf::HourSales(*it));
        for of in hours.chain([MembersOf::RollingSales]) {
            let mut walk = Walk::of(of);
            while let Some(names) = walk.next(self.scripts, self.cell).await? {
                for name in names {
                    match product_of_sold_member(&name) {
                        Some(product) => drop(products.insert(product)),
                        None => drop(strangers.insert(name)),
                    }
                }
            }
        }
        let difference = |name: String| Difference {
            kind: kind::RANKING,
            id: format!("{name:.100}"),
            redis: "of no product".to_owned(),
            mysql: "missing".to_owned(),
        };
        Ok((products, strangers.into_iter().map(difference).collect()))
    }

    /// What MySQL's orders sold since the beginning of an hour, and the position at which it has them.
    async fn orders_since(&mut self, since: Hour) -> Result<(Position, Orders), AuditError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let rows = {
            let mut rows = std::pin::pin!(snapshot.sold_since(self.cell, since));
            loop {
                tokio::select! {
                    rows = &mut rows => break rows?,
                    // That may take seconds, in which what is behind the snapshot would be trimmed.
                    () = tokio::time::sleep(LOG_PAUSE) => self.follow_to_end(position).await?,
                }
            }
        };
        snapshot.end().await?;
        let mut orders = Orders::default();
        for row in rows {
            orders.add(ProductId::new(row.product_id)?, row.paid_hour, row.units);
        }
        Ok((position, orders))
    }
}

impl Orders {
    fn add(&mut self, product: ProductId, hour: Hour, units: i64) {
        *self.0.entry(product).or_default().entry(hour).or_default() += units;
    }

    /// The next products behind one.
    fn behind(&self, last: Option<ProductId>, limit: usize) -> Vec<ProductId> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((from, Bound::Unbounded)).take(limit).map(|(product, _)| *product).collect()
    }

    /// Units of a product in each hour that the ranking still counts.
    fn of(&self, product: ProductId, rolled_to: Hour) -> BTreeMap<Hour, i64> {
        let hours = self.0.get(&product).into_iter().flat_map(|it| it.range(rolled_to + 1..));
        hours.map(|(hour, units)| (*hour, *units)).collect()
    }
}

/// Compares what Redis counts of a product, in one instant, with its orders in the hours that Redis had not
/// rolled past in that instant.
///
/// Hours up to `left` are being taken out: where the product is in such an hour's set no more, it is not in
/// the window's either. So the window must be the sum of what the hours' sets have, whatever has been rolled.
fn sales_differences(
    product: ProductId,
    redis: &ProductSales,
    orders: &BTreeMap<Hour, i64>,
    left: Hour,
) -> Vec<Difference> {
    let difference = |redis: String, mysql: String| Difference {
        kind: kind::RANKING,
        id: product.to_string(),
        redis,
        mysql,
    };
    let counted: BTreeMap<Hour, &Stored> = redis.hours.iter().map(|(hour, units)| (*hour, units)).collect();
    let hours: BTreeSet<Hour> = counted.keys().chain(orders.keys()).copied().collect();
    let (mut sum, mut found) = (0, Vec::new());
    for hour in hours {
        let sold = orders.get(&hour).copied().unwrap_or(0);
        let units = match counted.get(&hour) {
            Some(Stored::Number(units)) => Some(*units),
            None | Some(Stored::Missing) if hour <= left => continue,
            None | Some(Stored::Missing) => Some(0),
            Some(Stored::Unreadable(_)) => None,
        };
        sum += units.unwrap_or(0);
        if units != Some(sold) {
            let at = time::rfc3339(time::from_millis(hour * HOUR_MS));
            let redis = units.map_or("unreadable".to_owned(), |it| it.to_string());
            found.push(difference(format!("{redis} in the hour {at}"), sold.to_string()));
        }
    }
    let rolling = match &redis.rolling {
        Stored::Missing => Some(0),
        Stored::Number(units) => Some(*units),
        Stored::Unreadable(_) => None,
    };
    if rolling != Some(sum) {
        let rolling = rolling.map_or("unreadable".to_owned(), |it| it.to_string());
        found.push(difference(format!("{rolling} in the window"), format!("{sum} in its hours")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The newest hour that has left the window.
    const LEFT: Hour = 100;

    fn found(rolling: i64, hours: &[(Hour, i64)], orders: &[(Hour, i64)]) -> Vec<(String, String)> {
        let stored = |units: i64| if units == 0 { Stored::Missing } else { Stored::Number(units) };
        let hours = hours.iter().map(|(hour, units)| (*hour, stored(*units))).collect();
        let redis = ProductSales { rolling: stored(rolling), hours };
        let orders = orders.iter().copied().collect();
        let found = sales_differences(ProductId::new(7).unwrap(), &redis, &orders, LEFT);
        found.into_iter().map(|it| (it.redis, it.mysql)).collect()
    }

    #[test]
    fn a_product_in_the_middle_of_a_roll_is_counted_in_both_or_in_neither() {
        let orders = [(99, 4), (100, 2), (101, 3)];
        assert_eq!(found(9, &[(99, 4), (100, 2), (101, 3)], &orders), []);
        assert_eq!(found(5, &[(100, 2), (101, 3)], &orders), []);
        assert_eq!(found(3, &[(101, 3)], &orders), []);
        // Out of its hour only, or out of the window only.
        assert_eq!(found(9, &[(100, 2), (101, 3)], &orders).len(), 1);
        assert_eq!(found(5, &[(99, 4), (100, 2), (101, 3)], &orders).len(), 1);
    }

    #[test]
    fn each_hour_and_their_sum_are_compared() {
        let told = |it: &[(&str, &str)]| -> Vec<(String, String)> {
            it.iter().map(|(redis, mysql)| ((*redis).to_owned(), (*mysql).to_owned())).collect()
        };
        let orders = [(101, 3), (102, 1)];
        assert_eq!(found(4, &[(101, 3), (102, 1)], &orders), []);
        assert_eq!(found(0, &[], &[]), []);
        assert_eq!(found(5, &[(101, 3), (102, 1)], &orders), told(&[("5 in the window", "4 in its hours")]));
        assert_eq!(
            found(4, &[(101, 2), (102, 2)], &orders),
            told(&[
                ("2 in the hour 1970-01-05T05:00:00.000Z", "3"),
                ("2 in the hour 1970-01-05T06:00:00.000Z", "1")
            ])
        );
        assert_eq!(found(3, &[(101, 3)], &orders), told(&[("0 in the hour 1970-01-05T06:00:00.000Z", "1")]));
        // Nobody bought it.
        assert_eq!(found(2, &[], &[]), told(&[("2 in the window", "0 in its hours")]));
        assert_eq!(found(2, &[(101, 2)], &[]), told(&[("2 in the hour 1970-01-05T05:00:00.000Z", "0")]));
        assert_eq!(found(2, &[(99, 2)], &[]), told(&[("2 in the hour 1970-01-05T03:00:00.000Z", "0")]));
    }

    #[test]
    fn a_score_that_is_no_number_of_units_is_found() {
        let unreadable = || Stored::Unreadable("score 1.5".to_owned());
        let redis = ProductSales { rolling: unreadable(), hours: vec![(101, unreadable())] };
        assert_eq!(sales_differences(ProductId::new(7).unwrap(), &redis, &BTreeMap::new(), LEFT).len(), 2);
    }

    #[test]
    fn products_are_compared_in_order_those_sold_meanwhile_included() {
        let product = |id| ProductId::new(id).unwrap();
        let mut orders = Orders::default();
        orders.add(product(1), 5, 2);
        orders.add(product(3), 5, 2);
        assert_eq!(orders.behind(None, 1), [product(1)]);
        orders.add(product(2), 6, 1);
        orders.add(product(2), 4, 1);
        orders.add(product(2), 6, 1);
        assert_eq!(orders.behind(Some(product(1)), 9), [product(2), product(3)]);
        assert_eq!(orders.of(product(2), 4), BTreeMap::from([(6, 2)]));
        assert_eq!(orders.of(product(9), 4), BTreeMap::new());
    }
}
