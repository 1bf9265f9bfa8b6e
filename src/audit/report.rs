//! What an audit found, and how it is shown.

use std::collections::HashSet;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use utoipa::ToSchema;

/// Most differences that a report lists; all are counted.
pub const DIFFERENCES_MAX: usize = 1_000;

/// What a wrong row is about; also the `kind` of its difference.
pub(super) mod kind {
    pub const WALLET: &str = "wallet";
    pub const SKU: &str = "sku";
    pub const COUPON: &str = "coupon";
    pub const COUPON_ISSUE: &str = "coupon_issue";
    pub const TRANSFER: &str = "transfer";
    pub const RANKING: &str = "ranking";
    pub const LEDGER: &str = "ledger";
    pub const STOCK: &str = "stock";
    pub const ORDER: &str = "order";
    pub const PAYMENT: &str = "payment";
    pub const MESSAGE: &str = "message";
    pub const DEAD_EVENT: &str = "dead_event";
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    pub checked: Checked,
    /// At most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// All differences, listed or not.
    pub found: u64,
}

impl AuditReport {
    /// Whether nothing differs.
    pub fn clean(&self) -> bool {
        self.found == 0
    }

    /// Whether there are more differences than are listed.
    pub fn truncated(&self) -> bool {
        self.found > self.differences.len() as u64
    }
}

/// How many rows were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Wallets in MySQL, each against Redis and against its ledger entries.
    pub wallets: u64,
    pub ledger_entries: u64,
    /// SKUs in MySQL, each against Redis and against its orders.
    pub skus: u64,
    /// Campaigns in MySQL, each against Redis and against its issues.
    pub coupons: u64,
    /// Issues in MySQL, each against Redis and against its order.
    pub coupon_issues: u64,
    /// Products that the ranking counts, each against its orders hour by hour.
    pub ranked_products: u64,
    /// Keys of wallets, SKUs and campaigns in Redis that MySQL must know.
    pub redis_keys: u64,
    pub orders: u64,
    pub payments: u64,
    /// Published and waiting.
    pub messages: u64,
}

impl Checked {
    pub(super) fn rows(&self) -> u64 {
        let Self {
            wallets,
            ledger_entries,
            skus,
            coupons,
            coupon_issues,
            ranked_products,
            redis_keys,
            orders,
            payments,
            messages,
        } = *self;
        let held = wallets + ledger_entries + skus + coupons + coupon_issues + redis_keys;
        held + ranked_products + orders + payments + messages
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct Difference {
    /// `wallet`, `sku`, `ranking`: Redis and MySQL differ. `ledger`, `stock`, `order`, `payment`, `message`:
    /// MySQL does not add up. `coupon`, `coupon_issue`: either; `redis` is `-` where MySQL does not add up.
    /// `dead_event`: an event whose rows could not be applied.
    pub kind: &'static str,
    /// A user, `product:option`, a coupon, `coupon:user`, a product, an order, `cell-seq` of an event, or a cell.
    pub id: String,
    /// What Redis holds; `-` where Redis has no say.
    pub redis: String,
    /// What it should hold after MySQL and the events on their way; or what does not add up.
    pub mysql: String,
}

impl Difference {
    /// Something that MySQL alone shows.
    pub(super) fn of_mysql(kind: &'static str, id: String, mysql: String) -> Self {
        Self { kind, id, redis: "-".to_owned(), mysql }
    }
}

/// The table of differences, if any, and a line that sums up, on standard output.
pub fn print_report(report: &AuditReport) {
    if !report.clean() {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["kind", "id", "redis", "mysql"]);
        for Difference { kind, id, redis, mysql } in &report.differences {
            table.add_row([kind, id.as_str(), redis.as_str(), mysql.as_str()]);
        }
        println!("{table}");
    }
    println!("{}", summary(report));
}

fn summary(report: &AuditReport) -> String {
    let Checked { wallets, skus, coupons, orders, .. } = report.checked;
    let checked = format!("checked {wallets} wallets, {skus} SKUs, {coupons} coupons, {orders} orders");
    match (report.found, report.truncated()) {
        (0, _) => format!("clean: {checked}, no differences"),
        (found, false) => format!("NOT clean: {checked}, {found} differences"),
        (found, true) => {
            format!(
                "NOT clean: {checked}, {found} differences, the first {} listed",
                report.differences.len()
            )
        }
    }
}

/// The report while it grows.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) report: AuditReport,
    /// What is listed: a scan of Redis may show a key twice.
    listed: HashSet<Difference>,
}

impl Findings {
    /// Adds something that MySQL alone shows.
    pub(super) fn add(&mut self, kind: &'static str, id: String, mysql: String) {
        self.push(Difference::of_mysql(kind, id, mysql));
    }

    pub(super) fn push(&mut self, difference: Difference) {
        if self.listed.contains(&difference) {
            return;
        }
        self.report.found += 1;
        if self.report.differences.len() < DIFFERENCES_MAX {
            self.listed.insert(difference.clone());
            self.report.differences.push(difference);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_a_thousand_differences_and_counts_all() {
        let mut findings = Findings::default();
        for id in (0..1_500).chain(0..10) {
            findings.add(kind::LEDGER, id.to_string(), String::new());
        }
        let report = findings.report;
        assert_eq!((report.differences.len(), report.found, report.truncated()), (1_000, 1_500, true));
        assert!(summary(&report).ends_with("1500 differences, the first 1000 listed"));
    }
}
