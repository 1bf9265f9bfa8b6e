//! What Redis has and MySQL does not know.

use std::collections::VecDeque;

use super::AuditError;
use super::compare::{CellAudit, pauses};
use super::pages::{COUPON_PAGE, PAGE, PageOf};
use super::report::{Difference, kind};
use crate::cell::{CellId, Epoch};
use crate::ids::{CouponId, UserId};
use crate::product::SkuId;
use crate::scripts::Scripts;
use crate::scripts::audit_members::{MembersOf, audit_members};
use crate::scripts::audit_scan::audit_scan;

/// Keys that one call looks at: about half a millisecond of Redis.
const SCAN_COUNT: usize = 1_000;

/// Members that one call looks at: the same (7.0.15, 1,000 issues: 1.3 ms).
const WALK_COUNT: usize = 400;

/// Those that wait for a page.
#[derive(Default)]
struct Found {
    users: VecDeque<UserId>,
    skus: VecDeque<SkuId>,
    coupons: VecDeque<CouponId>,
}

impl CellAudit<'_> {
    /// Looks at every wallet, SKU and campaign that Redis has, and at all issues of campaigns that have others
    /// than MySQL knows, for those that MySQL does not know.
    pub(super) async fn look_for_strangers(&mut self) -> Result<(), AuditError> {
        let mut tries = pauses();
        loop {
            match self.scan().await {
                Err(error) if error.may_pass() => match tries.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                other => break other?,
            }
        }
        for coupon in std::mem::take(&mut self.suspects) {
            self.look_for_strange_issues(coupon).await?;
        }
        Ok(())
    }

    /// One walk over the keys of one epoch.
    async fn scan(&mut self) -> Result<(), AuditError> {
        let (mut cursor, mut epoch) = (None::<String>, None);
        let mut found = Found::default();
        let mut seen = 0;
        loop {
            let scanned = audit_scan(self.scripts, self.cell, cursor.as_deref(), SCAN_COUNT).await?;
            if *epoch.get_or_insert(scanned.epoch) != scanned.epoch {
                return Err(AuditError::Recovering(self.cell));
            }
            let keys = (scanned.users.len() + scanned.skus.len() + scanned.coupons.len()) as u64;
            seen += keys;
            self.progress.advance(keys);
            found.users.extend(scanned.users);
            found.skus.extend(scanned.skus);
            found.coupons.extend(scanned.coupons);
            cursor = scanned.cursor;
            let done = cursor.is_none();
            while let Some(page) = next_page(&mut found.users, PAGE, done) {
                self.compare(PageOf::Users(&page)).await?;
            }
            while let Some(page) = next_page(&mut found.skus, PAGE, done) {
                self.compare(PageOf::Skus(&page)).await?;
            }
            while let Some(page) = next_page(&mut found.coupons, COUPON_PAGE, done) {
                self.compare(PageOf::Coupons(&page)).await?;
            }
            if done {
                self.findings.report.checked.redis_keys += seen;
                return Ok(());
            }
        }
    }

    /// Looks at each issue of a campaign that Redis has.
    async fn look_for_strange_issues(&mut self, coupon: CouponId) -> Result<(), AuditError> {
        let mut tries = pauses();
        loop {
            match self.walk_through_issues(coupon).await {
                Err(error) if error.may_pass() => match tries.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                other => return other,
            }
        }
    }

    async fn walk_through_issues(&mut self, coupon: CouponId) -> Result<(), AuditError> {
        let mut walk = Walk::of(MembersOf::Issues(coupon));
        while let Some(names) = walk.next(self.scripts, self.cell).await? {
            let mut users = Vec::new();
            for name in names {
                match name.parse::<UserId>() {
                    Ok(user) => users.push(user),
                    Err(_) => self.findings.push(Difference {
                        kind: kind::COUPON_ISSUE,
                        id: format!("{coupon}:{name:.100}"),
                        redis: "of no user".to_owned(),
                        mysql: "missing".to_owned(),
                    }),
                }
            }
            // Of a small hash Redis gives all at once, however many it was asked for.
            for page in users.chunks(PAGE) {
                self.compare(PageOf::IssuesOf(coupon, page)).await?;
            }
        }
        Ok(())
    }
}

/// A walk through the members of one key, in one epoch.
pub(super) struct Walk {
    of: MembersOf,
    cursor: Option<String>,
    epoch: Option<Epoch>,
    done: bool,
}

impl Walk {
    pub(super) fn of(of: MembersOf) -> Self {
        Self { of, cursor: None, epoch: None, done: false }
    }

    /// Some more members, perhaps some of them again; `None`: all were seen that were there all the time.
    pub(super) async fn next(
        &mut self,
        scripts: &Scripts,
        cell: CellId,
    ) -> Result<Option<Vec<String>>, AuditError> {
        if self.done {
            return Ok(None);
        }
        let members = audit_members(scripts, cell, self.of, self.cursor.as_deref(), WALK_COUNT).await?;
        if *self.epoch.get_or_insert(members.epoch) != members.epoch {
            return Err(AuditError::Recovering(cell));
        }
        self.done = members.cursor.is_none();
        self.cursor = members.cursor;
        Ok(Some(members.names))
    }
}

/// The next full page, or whatever is left at the end.
fn next_page<T>(waiting: &mut VecDeque<T>, size: usize, done: bool) -> Option<Vec<T>> {
    let ready = waiting.len() >= size || done && !waiting.is_empty();
    ready.then(|| waiting.drain(..waiting.len().min(size)).collect())
}
