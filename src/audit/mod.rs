//! The audit: does MySQL tell the same story as Redis, and does it add up?
//!
//! It runs while the shop sells, and raises no false alarm. For a page of wallets, SKUs, coupons or their
//! issues it takes, in this order, (a) MySQL's values and position p in one snapshot, (b) Redis's values
//! and the newest event s in one instant, (c) the events in (p, s] from the log. Then Redis(s) must be
//! MySQL(p) with those events applied, so the hottest row is checked like any other. The ranking is
//! compared with the orders in the same way. What MySQL holds by itself (ledger, stock, coupons, orders,
//! payments, messages) is checked by rules that hold in every snapshot.

mod books;
mod compare;
mod log;
mod pages;
mod report;
mod sales;
mod strangers;

use std::collections::BTreeSet;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use sqlx::mysql::MySqlPool;

use books::{check_orders, check_stock, check_totals, check_transfers};
use compare::CellAudit;
use log::Log;
use pages::Kind;
pub use report::{AuditReport, Checked, DIFFERENCES_MAX, Difference, print_report};
use report::{Findings, kind};

use crate::cell::{CellId, Position};
use crate::ids::NotAnId;
use crate::mysql::audits::{self, PastAudit};
use crate::mysql::{audit as rows, books as book_rows};
use crate::scripts::{ScriptError, Scripts};

/// Compares Redis, MySQL and the outbox while the shop sells.
///
/// Reads everything once: about 1,000 rows at a time, over connections of its own to Redis and one to
/// MySQL, so that neither holds an old snapshot or a long script. What it found is noted in MySQL, for every
/// node to show.
///
/// # Errors
/// What kept it from finishing, after patience with recoveries and trimming; never a difference.
pub async fn audit(
    scripts: &Scripts,
    mysql: &MySqlPool,
    progress: &dyn AuditProgress,
) -> Result<AuditReport, AuditError> {
    let started = Instant::now();
    let scripts = scripts.bulk();
    let to_check = rows::rows_to_check(mysql).await?;
    let rows::RowsToCheck { wallets, skus, coupons, coupon_issues, products, orders, .. } = to_check;
    // Wallets and SKUs, and a campaign's two keys, are met in MySQL and in Redis.
    let rows = 2 * (wallets + skus) + 3 * coupons + coupon_issues + products + orders;
    progress.begin(rows as u64);
    let mut findings = Findings::default();
    for cell in scripts.cells().all() {
        let mut auditor = CellAudit {
            scripts: &scripts,
            mysql,
            cell,
            progress,
            log: Log::of(cell),
            findings: &mut findings,
            suspects: BTreeSet::new(),
        };
        for kind in [Kind::Wallets, Kind::Skus, Kind::Coupons, Kind::Issues] {
            auditor.compare_all(kind).await?;
        }
        auditor.look_for_strangers().await?;
        auditor.compare_sales().await?;
        check_stock(mysql, cell, &mut findings).await?;
        check_totals(mysql, cell, &mut findings).await?;
        book_rows::dead_events(mysql, cell, |seq, event, error| {
            findings.add(kind::DEAD_EVENT, format!("{cell}-{seq}"), format!("{event}: {error}"));
        })
        .await?;
    }
    if scripts.cells().count() > 1 {
        check_transfers(mysql, &mut findings).await?;
    }
    check_orders(mysql, to_check.newest_order.unwrap_or(0), &mut findings, progress).await?;
    let report = findings.report;
    let noted = PastAudit {
        finished_at: chrono::Utc::now(),
        took_ms: started.elapsed().as_millis() as u64,
        checked_rows: report.checked.rows(),
        differences: report.found,
    };
    if let Err(error) = audits::record(mysql, &noted).await {
        tracing::warn!(%error, "an audit finished, but MySQL did not note it");
    }
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
