//! Redis against MySQL, page after page, while the shop sells.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::mysql::MySqlPool;

use super::log::Log;
use super::pages::{Kind, Page, PageOf};
use super::report::{Difference, Findings, kind};
use super::{AuditError, AuditProgress};
use crate::cell::{CellId, CellState, Epoch, Position, Seq};
use crate::coupon::IssueState;
use crate::event::Holding;
use crate::ids::CouponId;
use crate::mysql::audit::Snapshot;
use crate::mysql::cells;
use crate::scripts::Scripts;
use crate::scripts::audit_read::{AuditItem, Stored, audit_read};
use crate::scripts::events_read::events_read;

/// Entries that one call reads from the log: short enough not to delay purchases.
const LOG_READ: usize = 1_000;

/// What the log keeps in memory, at about 100 bytes each. More than two for each event of a full backlog of
/// the default size.
const CHANGES_MAX: usize = 2_500_000;

/// How often a step that met a recovery or a trimmed log is tried again: about 7 seconds altogether.
const TRIES_MAX: usize = 10;

/// The comparison of one cell, page after page.
pub(super) struct CellAudit<'a> {
    pub(super) scripts: &'a Scripts,
    pub(super) mysql: &'a MySqlPool,
    pub(super) cell: CellId,
    pub(super) progress: &'a dyn AuditProgress,
    pub(super) log: Log,
    pub(super) findings: &'a mut Findings,
    /// Campaigns that have issues in Redis which MySQL may not know.
    pub(super) suspects: BTreeSet<CouponId>,
}

/// Something that Redis does not hold as it should.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    item: AuditItem,
    redis: Stored,
    expected: Option<i64>,
}

impl CellAudit<'_> {
    /// Compares all that MySQL has of a kind.
    pub(super) async fn compare_all(&mut self, kind: Kind) -> Result<(), AuditError> {
        let mut after = Some((0, 0));
        while let Some(behind) = after {
            let page = self.compare(PageOf::Behind(kind, behind)).await?;
            let checked = &mut self.findings.report.checked;
            match kind {
                Kind::Wallets => checked.wallets += page.rows,
                Kind::Skus => checked.skus += page.rows,
                Kind::Coupons => checked.coupons += page.rows,
                Kind::Issues => checked.coupon_issues += page.rows,
            }
            checked.ledger_entries += page.ledger_entries;
            page.own.into_iter().for_each(|it| self.findings.push(it));
            self.progress.advance(page.rows);
            after = page.next;
        }
        Ok(())
    }

    /// Compares one page, with patience for recoveries and for a log that was trimmed in between.
    pub(super) async fn compare(&mut self, of: PageOf<'_>) -> Result<Page, AuditError> {
        let mut pauses = pauses();
        loop {
            match self.compare_once(of).await {
                Ok((page, mismatches)) => {
                    self.suspects.extend(mismatches.iter().filter_map(Mismatch::campaign));
                    mismatches.into_iter().for_each(|it| self.findings.push(it.into()));
                    return Ok(page);
                }
                Err(error) if error.may_pass() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::time::sleep(pause).await;
                    self.read_ahead().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn compare_once(&mut self, of: PageOf<'_>) -> Result<(Page, Vec<Mismatch>), AuditError> {
        // MySQL first: then the events between the two are still in the log.
        let (mut snapshot, position) = self.snapshot().await?;
        let page = Page::read(of, &mut snapshot, self.cell).await?;
        snapshot.end().await?;
        if page.items.is_empty() && of.is_of_strangers() {
            return Ok((page, Vec::new()));
        }
        // An empty page still compares the positions.
        let items: Vec<AuditItem> = page.items.iter().map(|(item, _)| *item).collect();
        let read = audit_read(self.scripts, self.cell, &items).await?;
        self.follow(position, read.newest).await?;
        let mismatches = mismatches(&page.items, read.values, &self.log, read.newest);
        Ok((page, mismatches))
    }

    /// One instant of MySQL, and the position that it reflects.
    pub(super) async fn snapshot(&self) -> Result<(Snapshot, Position), AuditError> {
        let mut snapshot = Snapshot::begin(self.mysql).await?;
        let view = snapshot.cell(self.cell).await?.view;
        match view.state {
            CellState::Open => Ok((snapshot, view.persisted)),
            CellState::Closed { reason } => Err(AuditError::Closed { cell: self.cell, reason }),
        }
    }

    /// Reads the log anew and to its end, since what was read may belong to one that is gone. Done before
    /// a page, it leaves little to read behind it: a trimmer that keeps next to nothing is not so fast.
    pub(super) async fn read_ahead(&mut self) -> Result<(), AuditError> {
        let persisted = cells::read(self.mysql, self.cell).await?.view.persisted;
        self.log = Log::of(self.cell);
        self.follow_to_end(persisted).await
    }

    /// Makes the log hold the events behind `from`, as far as they are there now; where one is missing, it
    /// ends before that.
    pub(super) async fn follow_to_end(&mut self, from: Position) -> Result<(), AuditError> {
        // There is no such event: it ends where the log does.
        match self.follow(from, Position { epoch: Epoch::MAX, seq: Seq::MAX }).await {
            Err(error) if !error.may_pass() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the log hold the events in `(from, to]`, each the very next one after the one before: any
    /// other gap than an epoch's opener would be proof of loss.
    pub(super) async fn follow(&mut self, from: Position, to: Position) -> Result<(), AuditError> {
        if to < from {
            return Err(AuditError::RedisBehind { cell: self.cell, redis: to, mysql: from });
        }
        self.log.begin_behind(from);
        while self.log.to < to {
            let read = events_read(self.scripts, self.cell, self.log.to, LOG_READ).await?;
            if read.entries.is_empty() {
                return Err(AuditError::Gap { cell: self.cell, after: self.log.to, found: read.newest });
            }
            for entry in &read.entries {
                let after = self.log.to;
                let gap = AuditError::Gap { cell: self.cell, after, found: entry.position };
                if !self.log.append(entry) {
                    return Err(gap);
                }
            }
            if self.log.len() > CHANGES_MAX {
                let redis = self.log.to;
                return Err(AuditError::TooFarBehind { cell: self.cell, redis, mysql: from });
            }
        }
        Ok(())
    }
}

/// Pauses between tries.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(TRIES_MAX - 1)
        .build()
}

/// Compares Redis at `to` with MySQL plus the log's events up to `to`.
pub(super) fn mismatches(
    items: &[(AuditItem, Option<i64>)],
    redis: Vec<Stored>,
    log: &Log,
    to: Position,
) -> Vec<Mismatch> {
    let compare = |((item, mysql), redis): (&(AuditItem, Option<i64>), Stored)| {
        let expected = match item {
            AuditItem::Holding(holding) => log.expected(*holding, *mysql, to),
            AuditItem::IssueCount(coupon) => Some(log.expected_issues(*coupon, mysql.unwrap_or(0), to)),
        };
        // A pool of which no units moved has no such number, and is told from one that is gone by its units.
        let (redis, expected) = match item {
            AuditItem::Holding(Holding::Moved(_)) => (redis.or_zero(), expected.or(Some(0))),
            _ => (redis, expected),
        };
        let equal = match (&redis, expected) {
            (Stored::Missing, None) => true,
            (Stored::Number(number), Some(expected)) => *number == expected,
            (Stored::Missing, Some(_)) | (Stored::Number(_), None) | (Stored::Unreadable(_), _) => false,
        };
        (!equal).then_some(Mismatch { item: *item, redis, expected })
    };
    items.iter().zip(redis).filter_map(compare).collect()
}

impl Mismatch {
    /// The campaign whose issues are not as they should be.
    fn campaign(&self) -> Option<CouponId> {
        match self.item {
            AuditItem::IssueCount(coupon) => Some(coupon),
            AuditItem::Holding(Holding::Issue(issue)) => Some(issue.coupon),
            AuditItem::Holding(
                Holding::Wallet(_) | Holding::Sku(_) | Holding::Coupon(_) | Holding::Moved(_),
            ) => None,
        }
    }
}

impl From<Mismatch> for Difference {
    fn from(mismatch: Mismatch) -> Self {
        let Mismatch { item, redis, expected } = mismatch;
        let number = |number: i64| match item {
            AuditItem::Holding(Holding::Issue(_)) => match IssueState::from_number(number) {
                Some(IssueState::Issued) => "issued".to_owned(),
                Some(IssueState::Held(order)) => format!("held by order {order}"),
                Some(IssueState::Used(order)) => format!("used by order {order}"),
                None => number.to_string(),
            },
            AuditItem::Holding(Holding::Wallet(_) | Holding::Sku(_) | Holding::Coupon(_)) => {
                number.to_string()
            }
            AuditItem::Holding(Holding::Moved(_)) => format!("{number} moved"),
            AuditItem::IssueCount(_) => format!("{number} issues"),
        };
        let (kind, id) = match item {
            AuditItem::Holding(Holding::Wallet(user)) => (kind::WALLET, user.to_string()),
            AuditItem::Holding(sku @ Holding::Sku(_)) => (kind::SKU, sku.to_string()),
            AuditItem::Holding(moved @ Holding::Moved(_)) => (kind::TRANSFER, moved.to_string()),
            AuditItem::Holding(issue @ Holding::Issue(_)) => (kind::COUPON_ISSUE, issue.to_string()),
            AuditItem::Holding(Holding::Coupon(coupon)) | AuditItem::IssueCount(coupon) => {
                (kind::COUPON, coupon.to_string())
            }
        };
        let missing = || "missing".to_owned();
        let redis = match redis {
            Stored::Missing => missing(),
            Stored::Number(it) => number(it),
            Stored::Unreadable(text) => format!("unreadable: {text:.100}"),
        };
        Self { kind, id, redis, mysql: expected.map_or_else(missing, number) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::*;
    use super::*;

    /// Kind, id, Redis's and MySQL's side of what differs.
    fn found(items: &[(AuditItem, Option<i64>)], redis: &[Stored], log: &Log, to: &str) -> Vec<String> {
        let found = mismatches(items, redis.to_vec(), log, at(to)).into_iter().map(Difference::from);
        found.map(|it| format!("{} {}: {}, {}", it.kind, it.id, it.redis, it.mysql)).collect()
    }

    fn number(it: i64) -> Stored {
        Stored::Number(it)
    }

    #[test]
    fn a_hot_wallet_is_compared_with_the_event_that_redis_had_reached() {
        let log = log_behind("7-10", &[charged("7-11", 1, 5), charged("7-12", 1, 6), charged("7-13", 1, 7)]);
        let items = [(AuditItem::Holding(wallet(1)), Some(4)), (AuditItem::Holding(wallet(2)), Some(9))];
        let nothing: [&str; 0] = [];
        assert_eq!(found(&items, &[number(6), number(9)], &log, "7-12"), nothing);
        assert_eq!(found(&items, &[number(4), number(9)], &log, "7-10"), nothing);
        assert_eq!(
            found(&items, &[number(7), number(8)], &log, "7-12"),
            ["wallet 1: 7, 6", "wallet 2: 8, 9"]
        );
    }

    #[test]
    fn a_wallet_on_its_way_to_mysql_is_no_stranger() {
        let log = log_behind("1-1", &[entry("1-2", "user_created:1", "1 7")]);
        let (seven, eight) = (AuditItem::Holding(wallet(7)), AuditItem::Holding(wallet(8)));
        let nothing: [&str; 0] = [];
        assert_eq!(found(&[(seven, None)], &[number(0)], &log, "1-2"), nothing);
        assert_eq!(found(&[(eight, None)], &[Stored::Missing], &log, "1-2"), nothing);
        assert_eq!(
            found(&[(eight, None), (seven, Some(0))], &[number(0), Stored::Missing], &log, "1-1"),
            ["wallet 8: 0, missing", "wallet 7: missing, 0"]
        );
    }

    #[test]
    fn coupons_and_their_issues_are_told_in_words() {
        let log = log_behind("1-1", &[issued("1-2", 9, 3, 4)]);
        let (pool, count) =
            (AuditItem::Holding(Holding::Coupon(coupon(9))), AuditItem::IssueCount(coupon(9)));
        let mut items = vec![(pool, Some(5)), (count, Some(1))];
        items.extend(
            [(3, None), (4, Some(2048)), (5, Some(-2048)), (6, None)]
                .map(|(user, mysql)| (AuditItem::Holding(issue(9, user)), mysql)),
        );
        let right = [number(4), number(2), number(0), number(2048), number(-2048), Stored::Missing];
        let nothing: [&str; 0] = [];
        assert_eq!(found(&items, &right, &log, "1-2"), nothing);
        let garbage = Stored::Unreadable("lost".to_owned());
        let wrong = [number(5), number(1), number(1024), Stored::Missing, garbage, number(0)];
        assert_eq!(
            found(&items, &wrong, &log, "1-2"),
            [
                "coupon 9: 5, 4",
                "coupon 9: 1 issues, 2 issues",
                "coupon_issue 9:3: used by order 1024, issued",
                "coupon_issue 9:4: missing, used by order 2048",
                "coupon_issue 9:5: unreadable: lost, held by order 2048",
                "coupon_issue 9:6: issued, missing",
            ]
        );
        let suspects = mismatches(&items, wrong.to_vec(), &log, at("1-2"));
        assert_eq!(suspects.iter().filter_map(Mismatch::campaign).count(), 5);
    }
}
