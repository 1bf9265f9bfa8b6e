//! The audit: does MySQL tell the same story as Redis, and does it add up?
//!
//! It runs while the shop sells, and raises no false alarm. For a page of wallets or SKUs it takes, in
//! this order, (a) MySQL's values and position p in one snapshot, (b) Redis's values and the newest
//! event s in one instant, (c) the events in (p, s] from the log. Then Redis(s) must be MySQL(p) with
//! those events applied, so the hottest row is checked like any other. What MySQL holds by itself
//! (ledger, stock, orders, payments, messages) is checked by rules that hold in every snapshot.

mod books;
mod compare;
mod log;
mod report;

use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use sqlx::mysql::MySqlPool;

use books::{check_orders, check_stock, check_totals};
use compare::{CellAudit, Kind};
use log::Log;
pub use report::{AuditReport, Checked, DIFFERENCES_MAX, Difference, print_report};
use report::{Findings, kind};

use crate::cell::{CellId, Position};
use crate::ids::NotAnId;
use crate::mysql::audit as rows;
use crate::scripts::{ScriptError, Scripts};

/// Compares Redis, MySQL and the outbox while the shop sells.
///
/// Reads everything once: about 1,000 rows at a time, over connections of its own to Redis and one to
/// MySQL, so that neither holds an old snapshot or a long script.
///
/// # Errors
/// What kept it from finishing, after patience with recoveries and trimming; never a difference.
pub async fn audit(
    scripts: &Scripts,
    mysql: &MySqlPool,
    progress: &dyn AuditProgress,
) -> Result<AuditReport, AuditError> {
    let scripts = scripts.bulk();
    let to_check = rows::rows_to_check(mysql).await?;
    progress.begin(2 * (to_check.wallets + to_check.skus) as u64 + to_check.orders as u64);
    let mut findings = Findings::default();
    for cell in scripts.cells().all() {
        let mut auditor = CellAudit {
            scripts: &scripts,
            mysql,
            cell,
            progress,
            log: Log::of(cell),
            findings: &mut findings,
        };
        auditor.compare_all(Kind::Wallets).await?;
        auditor.compare_all(Kind::Skus).await?;
        auditor.look_for_strangers().await?;
        check_stock(mysql, cell, &mut findings).await?;
        check_totals(mysql, cell, &mut findings).await?;
        rows::dead_events(mysql, cell, |seq, event, error| {
            findings.add(kind::DEAD_EVENT, format!("{cell}-{seq}"), format!("{event}: {error}"));
        })
        .await?;
    }
    check_orders(mysql, to_check.newest_order.unwrap_or(0), &mut findings, progress).await?;
    let report = findings.report;
    metrics::gauge!("firstcome_audit_differences").set(report.found as f64);
    metrics::gauge!("firstcome_audit_checked_rows").set(report.checked.rows() as f64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("firstcome_audit_finished_timestamp_seconds").set(now.as_secs_f64());
    Ok(report)
}

/// An audit did not finish. It says nothing about differences.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
    #[error("cell {cell} is closed: {reason}")]
    Closed { cell: CellId, reason: String },
    /// The log does not go on where MySQL stands. A worker that meets this recovers the cell.
    #[error("the log of cell {cell} has a gap: {found} after {after}")]
    Gap { cell: CellId, after: Position, found: Position },
    /// Redis lacks what MySQL has. A worker that meets this recovers the cell.
    #[error("redis is behind mysql in cell {cell}: {redis} before {mysql}")]
    RedisBehind { cell: CellId, redis: Position, mysql: Position },
    /// The cell was recovered again and again while its keys were read.
    #[error("cell {0} did not stay in one epoch")]
    Recovering(CellId),
    #[error("too many events of cell {cell} wait for mysql: {redis} is the newest, {mysql} has arrived")]
    TooFarBehind { cell: CellId, redis: Position, mysql: Position },
    #[error("mysql holds an id that is none: {0}")]
    Row(#[from] NotAnId),
}

impl AuditError {
    /// Whether a moment later it may be gone: the log was trimmed in between, or the cell recovered.
    fn may_pass(&self) -> bool {
        match self {
            Self::Script(ScriptError::Failed { .. }) => false,
            Self::Script(
                ScriptError::CellClosed(_)
                | ScriptError::BacklogFull(_)
                | ScriptError::Refused(_)
                | ScriptError::Unknown(_),
            )
            | Self::Gap { .. }
            | Self::RedisBehind { .. }
            | Self::Recovering(_) => true,
            Self::Mysql(_) | Self::Closed { .. } | Self::TooFarBehind { .. } | Self::Row(_) => false,
        }
    }
}

/// What an audit tells while it runs.
pub trait AuditProgress: Send + Sync {
    /// About how many rows there are to check.
    fn begin(&self, _rows: u64) {}
    fn advance(&self, _rows: u64) {}
}

/// Nobody watches.
pub struct Silent;

impl AuditProgress for Silent {}

/// A bar on standard error; nothing where that is no terminal.
pub struct Bar(ProgressBar);

impl Bar {
    #[expect(clippy::new_without_default, reason = "it draws on a terminal")]
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("audit {wide_bar} {human_pos}/{human_len} rows {eta}")
            .expect("a constant template");
        Self(ProgressBar::no_length().with_style(style))
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl AuditProgress for Bar {
    fn begin(&self, rows: u64) {
        self.0.set_length(rows);
    }

    fn advance(&self, rows: u64) {
        self.0.inc(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::compare::{differences, ledger_differences};
    use super::log::Log;
    use super::report::*;
    use crate::cell::{CellId, Position};
    use crate::event::{Entry, Holding};
    use crate::ids::{OptionId, ProductId, UserId};
    use crate::product::SkuId;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn wallet(id: u64) -> Holding {
        Holding::Wallet(user(id))
    }

    fn entry(position: &str, kind: &str, body: &str) -> Entry {
        Entry { position: at(position), kind: kind.to_owned(), body: body.to_owned() }
    }

    fn charged(position: &str, id: u64, balance: i64) -> Entry {
        entry(position, "charged:1", &format!("1 {id} 1 {balance} -"))
    }

    fn log_behind(from: &str, entries: &[Entry]) -> Log {
        let mut log = Log::of(CellId(0));
        log.begin_behind(at(from));
        assert!(entries.iter().all(|it| log.append(it)));
        log
    }

    #[test]
    fn a_hot_wallet_is_compared_with_the_event_that_redis_had_reached() {
        let log = log_behind("7-10", &[charged("7-11", 1, 5), charged("7-12", 1, 6), charged("7-13", 1, 7)]);
        let items = [(wallet(1), Some(4)), (wallet(2), Some(9))];
        assert_eq!(differences(&items, &[Some(6), Some(9)], &log, at("7-12")), []);
        assert_eq!(differences(&items, &[Some(4), Some(9)], &log, at("7-10")), []);
        let found = differences(&items, &[Some(7), Some(8)], &log, at("7-12"));
        let found: Vec<_> =
            found.iter().map(|it| (it.id.as_str(), it.redis.as_str(), it.mysql.as_str())).collect();
        assert_eq!(found, [("1", "7", "6"), ("2", "8", "9")]);
    }

    #[test]
    fn an_order_changes_a_wallet_and_its_skus() {
        let log =
            log_behind("1-1", &[entry("1-2", "order_paid:1", "1 7 30 0 70 0 1:0:2:10:8:0,2:5:1:10:0:1 -")]);
        let sku = |product, option| {
            Holding::Sku(SkuId {
                product: ProductId::new(product).unwrap(),
                option: OptionId::new(option).unwrap(),
            })
        };
        let of = |item| log.last(item, at("1-2"));
        assert_eq!(
            (of(wallet(7)), of(sku(1, 0)), of(sku(2, 5))),
            (Some(Some(70)), Some(Some(8)), Some(Some(0)))
        );
        assert_eq!((of(sku(2, 0)), sku(2, 5).to_string().as_str()), (None, "2:5"));
    }

    #[test]
    fn a_wallet_on_its_way_to_mysql_is_no_stranger() {
        let log = log_behind("1-1", &[entry("1-2", "user_created:1", "1 7")]);
        assert_eq!(differences(&[(wallet(7), None)], &[Some(0)], &log, at("1-2")), []);
        assert_eq!(differences(&[(wallet(8), None)], &[None], &log, at("1-2")), []);
        let found =
            differences(&[(wallet(8), None), (wallet(7), Some(0))], &[Some(0), None], &log, at("1-1"));
        assert_eq!((found[0].mysql.as_str(), found[1].redis.as_str()), ("missing", "missing"));
    }

    #[test]
    fn what_mysql_has_is_forgotten_and_the_rest_goes_on() {
        let mut log =
            log_behind("7-10", &[charged("7-11", 1, 5), charged("7-12", 2, 6), charged("7-13", 1, 7)]);
        log.begin_behind(at("7-12"));
        assert_eq!((log.changes.len(), log.newest.len()), (1, 1));
        assert_eq!((log.last(wallet(1), at("7-13")), log.last(wallet(2), at("7-13"))), (Some(Some(7)), None));
        // The change before was forgotten: MySQL's value counts.
        assert_eq!(log.last(wallet(1), at("7-12")), None);
        assert!(log.append(&charged("7-14", 2, 8)));
        assert_eq!(log.last(wallet(2), at("7-14")), Some(Some(8)));
        log.begin_behind(at("7-20"));
        assert_eq!((log.to, log.changes.len(), log.newest.len()), (at("7-20"), 0, 0));
        log.begin_behind(at("7-19"));
        assert_eq!(log.to, at("7-19"));
    }

    #[test]
    fn only_an_opener_that_names_the_last_event_may_leave_a_gap() {
        let mut log = log_behind("7-10", &[charged("7-11", 1, 5)]);
        assert!(!log.append(&charged("7-13", 1, 6)));
        assert!(!log.append(&charged("8-12", 1, 6)));
        assert!(!log.append(&entry("8-500", "opener:1", "1 7-10")));
        assert!(log.append(&entry("8-500", "opener:1", "1 7-11")));
        assert!(log.append(&entry("8-501", "garbage:9", "")) && log.append(&charged("8-502", 1, 6)));
        assert_eq!(log.last(wallet(1), at("8-501")), Some(Some(5)));
    }

    #[test]
    fn every_balance_is_the_sum_of_its_ledger_entries() {
        let found = ledger_differences(&[(1, 5), (2, 0), (3, 1)], &[(1, 5), (3, 2), (4, 0)]);
        let found: Vec<_> = found.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
        assert_eq!(found, [("3", "balance 1, ledger 2"), ("4", "no wallet, ledger 0")]);
    }

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

    #[test]
    fn a_report_is_written_as_the_contract_has_it() {
        let mut findings = Findings::default();
        assert_eq!(serde_json::to_value(&findings.report).unwrap()["clean"], true);
        findings.add(kind::DEAD_EVENT, "0-7".to_owned(), "why".to_owned());
        let json = serde_json::to_value(&findings.report).unwrap();
        assert_eq!((&json["clean"], &json["checked"]["ledgerEntries"]), (&false.into(), &0.into()));
        let difference = serde_json::json!({"kind": "dead_event", "id": "0-7", "redis": "-", "mysql": "why"});
        assert_eq!(json["differences"], serde_json::json!([difference]));
    }
}
