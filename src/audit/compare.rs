//! Redis against MySQL, page after page, while the shop sells.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::mysql::MySqlPool;

use super::log::Log;
use super::report::{Difference, Findings, kind};
use super::{AuditError, AuditProgress};
use crate::cell::{CellId, CellState, Epoch, Position, Seq};
use crate::event::Holding;
use crate::ids::{ID_MAX, NotAnId, OptionId, ProductId, UserId};
use crate::mysql::audit::{self as rows, IDS_MAX, Snapshot};
use crate::mysql::cells;
use crate::product::SkuId;
use crate::scripts::Scripts;
use crate::scripts::audit_read::audit_read;
use crate::scripts::audit_scan::audit_scan;
use crate::scripts::events_read::events_read;

/// Wallets or SKUs compared at once.
const PAGE: usize = IDS_MAX;

/// Keys that one call of `audit_scan` looks at: about half a millisecond of Redis.
const SCAN_COUNT: usize = 1_000;

/// Entries that one call reads from the log: short enough not to delay purchases.
const LOG_READ: usize = 1_000;

/// Changes that the log keeps in memory, at about 100 bytes each. More than two for each event of a
/// full backlog of the default size.
const CHANGES_MAX: usize = 2_500_000;

/// How often a step that met a recovery or a trimmed log is tried again: about 7 seconds altogether.
const TRIES_MAX: usize = 10;

/// What Redis and MySQL both hold, as one number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Wallets,
    Skus,
}

/// What a page is about.
#[derive(Debug, Clone, Copy)]
enum PageOf<'a> {
    /// MySQL's next rows behind these two numbers: user and 0, or product and option.
    Behind(Kind, (u64, u64)),
    /// Users that Redis has.
    Users(&'a [UserId]),
    /// SKUs that Redis has.
    Skus(&'a [SkuId]),
}

/// MySQL's side of a page.
#[derive(Default)]
struct Page {
    /// What to compare, and MySQL's value; `None` where it has no row.
    items: Vec<(Holding, Option<i64>)>,
    ledger_entries: u64,
    /// What MySQL alone shows to be wrong: id, text.
    ledger: Vec<(String, String)>,
    /// Behind which the next page begins; `None` where there is none.
    next: Option<(u64, u64)>,
}

/// The comparison of one cell, page after page.
pub(super) struct CellAudit<'a> {
    pub(super) scripts: &'a Scripts,
    pub(super) mysql: &'a MySqlPool,
    pub(super) cell: CellId,
    pub(super) progress: &'a dyn AuditProgress,
    pub(super) log: Log,
    pub(super) findings: &'a mut Findings,
}

impl CellAudit<'_> {
    /// Compares all that MySQL has of a kind.
    pub(super) async fn compare_all(&mut self, kind: Kind) -> Result<(), AuditError> {
        let mut after = Some((0, 0));
        while let Some(behind) = after {
            let (page, differences) = self.compare(PageOf::Behind(kind, behind)).await?;
            let count = page.items.len() as u64;
            let checked = &mut self.findings.report.checked;
            match kind {
                Kind::Wallets => checked.wallets += count,
                Kind::Skus => checked.skus += count,
            }
            checked.ledger_entries += page.ledger_entries;
            differences.into_iter().for_each(|it| self.findings.push(it));
            for (id, text) in page.ledger {
                self.findings.add(kind::LEDGER, id, text);
            }
            self.progress.advance(count);
            after = page.next;
        }
        Ok(())
    }

    /// Looks at every wallet and SKU that Redis has, for those that MySQL does not know.
    pub(super) async fn look_for_strangers(&mut self) -> Result<(), AuditError> {
        let mut pauses = pauses();
        loop {
            match self.scan().await {
                Err(error) if error.may_pass() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                other => return other,
            }
        }
    }

    /// One walk over the keys of one epoch.
    async fn scan(&mut self) -> Result<(), AuditError> {
        let (mut cursor, mut epoch) = (None::<String>, None);
        let (mut users, mut skus) = (Vec::new(), Vec::new());
        let mut seen = 0;
        loop {
            let found = audit_scan(self.scripts, self.cell, cursor.as_deref(), SCAN_COUNT).await?;
            if *epoch.get_or_insert(found.epoch) != found.epoch {
                return Err(AuditError::Recovering(self.cell));
            }
            seen += (found.users.len() + found.skus.len()) as u64;
            self.progress.advance((found.users.len() + found.skus.len()) as u64);
            users.extend(found.users);
            skus.extend(found.skus);
            cursor = found.cursor;
            let done = cursor.is_none();
            while users.len() >= PAGE || (done && !users.is_empty()) {
                let page: Vec<UserId> = users.drain(..users.len().min(PAGE)).collect();
                let (_, differences) = self.compare(PageOf::Users(&page)).await?;
                differences.into_iter().for_each(|it| self.findings.push(it));
            }
            while skus.len() >= PAGE || (done && !skus.is_empty()) {
                let page: Vec<SkuId> = skus.drain(..skus.len().min(PAGE)).collect();
                let (_, differences) = self.compare(PageOf::Skus(&page)).await?;
                differences.into_iter().for_each(|it| self.findings.push(it));
            }
            if done {
                self.findings.report.checked.redis_keys += seen;
                return Ok(());
            }
        }
    }

    /// Compares one page, with patience for recoveries and for a log that was trimmed in between.
    async fn compare(&mut self, of: PageOf<'_>) -> Result<(Page, Vec<Difference>), AuditError> {
        let mut pauses = pauses();
        loop {
            match self.compare_once(of).await {
                Err(error) if error.may_pass() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tokio::time::sleep(pause).await;
                    self.read_ahead().await?;
                }
                other => return other,
            }
        }
    }

    /// Reads the log anew and to its end, since what was read may belong to one that is gone. Done before
    /// a page, it leaves little to read behind it: a trimmer that keeps next to nothing is not so fast.
    async fn read_ahead(&mut self) -> Result<(), AuditError> {
        let persisted = cells::read(self.mysql, self.cell).await?.view.persisted;
        self.log = Log::of(self.cell);
        // There is no such event: it ends where the log does.
        match self.follow(persisted, Position { epoch: Epoch::MAX, seq: Seq::MAX }).await {
            Err(error) if !error.may_pass() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn compare_once(&mut self, of: PageOf<'_>) -> Result<(Page, Vec<Difference>), AuditError> {
        // MySQL first: then the events between the two are still in the log.
        let mut snapshot = Snapshot::begin(self.mysql).await?;
        let view = snapshot.cell(self.cell).await?.view;
        if let CellState::Closed { reason } = view.state {
            return Err(AuditError::Closed { cell: self.cell, reason });
        }
        let page = match of {
            PageOf::Behind(Kind::Wallets, (after, _)) => wallets(&mut snapshot, self.cell, after).await?,
            PageOf::Behind(Kind::Skus, after) => skus(&mut snapshot, self.cell, after).await?,
            PageOf::Users(users) => unknown_users(&mut snapshot, self.cell, users).await?,
            PageOf::Skus(skus) => unknown_skus(&mut snapshot, self.cell, skus).await?,
        };
        snapshot.end().await?;
        if page.items.is_empty() && matches!(of, PageOf::Users(_) | PageOf::Skus(_)) {
            return Ok((page, Vec::new()));
        }
        // An empty page still compares the positions.
        let items: Vec<Holding> = page.items.iter().map(|(item, _)| *item).collect();
        let read = audit_read(self.scripts, self.cell, &items).await?;
        self.follow(view.persisted, read.newest).await?;
        let differences = differences(&page.items, &read.values, &self.log, read.newest);
        Ok((page, differences))
    }

    /// Makes the log hold the events in `(from, to]`, each the very next one after the one before: any
    /// other gap than an epoch's opener would be proof of loss.
    async fn follow(&mut self, from: Position, to: Position) -> Result<(), AuditError> {
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
            if self.log.changes.len() > CHANGES_MAX {
                let redis = self.log.to;
                return Err(AuditError::TooFarBehind { cell: self.cell, redis, mysql: from });
            }
        }
        Ok(())
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(TRIES_MAX - 1)
        .build()
}

/// The next wallets, and whether each is the sum of its ledger entries.
async fn wallets(snapshot: &mut Snapshot, cell: CellId, after: u64) -> Result<Page, AuditError> {
    let wallets = snapshot.wallets(cell, after, PAGE).await?;
    let next = wallets.last().filter(|_| wallets.len() == PAGE).map(|it| it.user_id);
    let sums = snapshot.ledger_sums(cell, after, next.unwrap_or(ID_MAX)).await?;
    let balances: Vec<(u64, i64)> = wallets.iter().map(|it| (it.user_id, it.balance)).collect();
    let sums_by_user: Vec<(u64, i64)> = sums.iter().map(|it| (it.user_id, it.amount)).collect();
    Ok(Page {
        items: balances
            .iter()
            .map(|(user, balance)| Ok((Holding::Wallet(UserId::new(*user)?), Some(*balance))))
            .collect::<Result<_, NotAnId>>()?,
        ledger_entries: sums.iter().map(|it| it.entries as u64).sum(),
        ledger: ledger_differences(&balances, &sums_by_user),
        next: next.map(|it| (it, 0)),
    })
}

async fn skus(snapshot: &mut Snapshot, cell: CellId, after: (u64, u64)) -> Result<Page, AuditError> {
    let skus = snapshot.skus(cell, after, PAGE).await?;
    let next = skus.last().filter(|_| skus.len() == PAGE).map(|it| (it.product_id, it.option_id));
    let item = |it: &rows::SkuRow| {
        let sku = SkuId { product: ProductId::new(it.product_id)?, option: OptionId::new(it.option_id)? };
        Ok((Holding::Sku(sku), Some(it.remaining)))
    };
    Ok(Page { items: skus.iter().map(item).collect::<Result<_, NotAnId>>()?, next, ..Page::default() })
}

/// Those users that have no wallet in MySQL (yet).
async fn unknown_users(snapshot: &mut Snapshot, cell: CellId, users: &[UserId]) -> Result<Page, AuditError> {
    let ids: Vec<u64> = users.iter().map(|it| it.get()).collect();
    let known: HashSet<u64> = snapshot.wallets_of(cell, &ids).await?.iter().map(|it| it.user_id).collect();
    let unknown = users.iter().filter(|it| !known.contains(&it.get()));
    Ok(Page { items: unknown.map(|it| (Holding::Wallet(*it), None)).collect(), ..Page::default() })
}

/// Those SKUs that have no row in MySQL (yet).
async fn unknown_skus(snapshot: &mut Snapshot, cell: CellId, skus: &[SkuId]) -> Result<Page, AuditError> {
    let products: Vec<u64> = skus.iter().map(|it| it.product.get()).collect();
    let rows = snapshot.skus_of(cell, &products).await?;
    let known: HashSet<(u64, u64)> = rows.iter().map(|it| (it.product_id, it.option_id)).collect();
    let unknown = skus.iter().filter(|it| !known.contains(&(it.product.get(), it.option.get())));
    Ok(Page { items: unknown.map(|it| (Holding::Sku(*it), None)).collect(), ..Page::default() })
}

/// Users whose balance is not the sum of their ledger entries, and such sums without a wallet.
pub(super) fn ledger_differences(balances: &[(u64, i64)], sums: &[(u64, i64)]) -> Vec<(String, String)> {
    let mut sums: HashMap<u64, i64> = sums.iter().copied().collect();
    let mut found = Vec::new();
    for (user, balance) in balances {
        let sum = sums.remove(user).unwrap_or(0);
        if sum != *balance {
            found.push((user.to_string(), format!("balance {balance}, ledger {sum}")));
        }
    }
    let mut without_wallet: Vec<_> = sums.into_iter().collect();
    without_wallet.sort_unstable();
    found.extend(
        without_wallet.iter().map(|(user, sum)| (user.to_string(), format!("no wallet, ledger {sum}"))),
    );
    found
}

fn kind_of(item: Holding) -> &'static str {
    match item {
        Holding::Wallet(_) => kind::WALLET,
        Holding::Sku(_) => kind::SKU,
        Holding::Coupon(_) => kind::COUPON,
        Holding::Issue(_) => kind::COUPON_ISSUE,
    }
}

/// Compares Redis at `to` with MySQL plus the log's events up to `to`.
pub(super) fn differences(
    items: &[(Holding, Option<i64>)],
    redis: &[Option<i64>],
    log: &Log,
    to: Position,
) -> Vec<Difference> {
    let text = |it: Option<i64>| it.map_or("missing".to_owned(), |it| it.to_string());
    let compare = |((item, mysql), redis): (&(Holding, Option<i64>), &Option<i64>)| {
        let expected = log.last(*item, to).unwrap_or(*mysql);
        (*redis != expected).then(|| Difference {
            kind: kind_of(*item),
            id: item.to_string(),
            redis: text(*redis),
            mysql: text(expected),
        })
    };
    items.iter().zip(redis).filter_map(compare).collect()
}
