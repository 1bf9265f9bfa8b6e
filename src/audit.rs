//! The audit: does MySQL tell the same story as Redis, and does it add up?
//!
//! It runs while the shop sells, and raises no false alarm. For a page of wallets or SKUs it takes, in
//! this order, (a) MySQL's values and position p in one snapshot, (b) Redis's values and the newest
//! event s in one instant, (c) the events in (p, s] from the log. Then Redis(s) must be MySQL(p) with
//! those events applied, so the hottest row is checked like any other. What MySQL holds by itself
//! (ledger, stock, orders, payments, messages) is checked by rules that hold in every snapshot.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBuilder};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use sqlx::mysql::MySqlPool;

use crate::cell::{CellId, CellState, Epoch, Position, Seq};
use crate::event::{Entry, Event};
use crate::ids::{ID_MAX, NotAnId, OptionId, ProductId, UserId};
use crate::mysql::audit::{self as rows, IDS_MAX, Snapshot};
use crate::mysql::cells;
use crate::product::SkuId;
use crate::scripts::audit_read::{audit_skus, audit_wallets};
use crate::scripts::audit_scan::audit_scan;
use crate::scripts::events_read::events_read;
use crate::scripts::{ScriptError, Scripts};

/// Most differences that a report lists; all are counted.
pub const DIFFERENCES_MAX: usize = 1_000;

/// Wallets or SKUs compared at once.
const PAGE: usize = IDS_MAX;

/// Orders checked at once.
const ORDER_PAGE: usize = 5_000;

/// Keys that one call of `audit_scan` looks at: about half a millisecond of Redis.
const SCAN_COUNT: usize = 1_000;

/// Entries that one call reads from the log: short enough not to delay purchases.
const LOG_READ: usize = 1_000;

/// Changes that the log keeps in memory, at about 100 bytes each. More than two for each event of a
/// full backlog of the default size.
const CHANGES_MAX: usize = 2_500_000;

/// How often a step that met a recovery or a trimmed log is tried again: about 7 seconds altogether.
const TRIES_MAX: usize = 10;

/// What a wrong row is about; also the `kind` of its difference.
mod kind {
    pub const WALLET: &str = "wallet";
    pub const SKU: &str = "sku";
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

impl Serialize for AuditReport {
    /// `{clean, checked, differences}`, as the contract has it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut report = to.serialize_struct("AuditReport", 3)?;
        report.serialize_field("clean", &self.clean())?;
        report.serialize_field("checked", &self.checked)?;
        report.serialize_field("differences", &self.differences)?;
        report.end()
    }
}

/// How many rows were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Wallets in MySQL, each against Redis and against its ledger entries.
    pub wallets: u64,
    pub ledger_entries: u64,
    /// SKUs in MySQL, each against Redis and against its orders.
    pub skus: u64,
    /// Wallets and SKUs in Redis that MySQL must know.
    pub redis_keys: u64,
    pub orders: u64,
    pub payments: u64,
    /// Published and waiting.
    pub messages: u64,
}

impl Checked {
    fn rows(&self) -> u64 {
        let Self { wallets, ledger_entries, skus, redis_keys, orders, payments, messages } = *self;
        wallets + ledger_entries + skus + redis_keys + orders + payments + messages
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Difference {
    /// `wallet`, `sku`: Redis and MySQL differ. `ledger`, `stock`, `order`, `payment`, `message`: MySQL
    /// does not add up. `dead_event`: an event whose rows could not be applied.
    pub kind: &'static str,
    /// A user, `product:option`, an order, `cell-seq` of an event, or a cell.
    pub id: String,
    /// What Redis holds; `-` where Redis has no say.
    pub redis: String,
    /// What it should hold after MySQL and the events on their way; or what does not add up.
    pub mysql: String,
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
            log: Log::default(),
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
    let Checked { wallets, skus, orders, .. } = report.checked;
    let checked = format!("checked {wallets} wallets, {skus} SKUs, {orders} orders");
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
struct Findings {
    report: AuditReport,
    /// What is listed: a scan of Redis may show a key twice.
    listed: HashSet<Difference>,
}

impl Findings {
    /// Adds something that MySQL alone shows.
    fn add(&mut self, kind: &'static str, id: String, mysql: String) {
        self.push(Difference { kind, id, redis: "-".to_owned(), mysql });
    }

    fn push(&mut self, difference: Difference) {
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

/// What Redis and MySQL both hold, as one number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wallets,
    Skus,
}

/// One wallet or SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Wallet(UserId),
    Sku(SkuId),
}

impl Item {
    fn kind(self) -> &'static str {
        match self {
            Self::Wallet(_) => kind::WALLET,
            Self::Sku(_) => kind::SKU,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(user) => user.fmt(f),
            Self::Sku(SkuId { product, option }) => write!(f, "{product}:{option}"),
        }
    }
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
    items: Vec<(Item, Option<i64>)>,
    ledger_entries: u64,
    /// What MySQL alone shows to be wrong: id, text.
    ledger: Vec<(String, String)>,
    /// Behind which the next page begins; `None` where there is none.
    next: Option<(u64, u64)>,
}

/// The comparison of one cell, page after page.
struct CellAudit<'a> {
    scripts: &'a Scripts,
    mysql: &'a MySqlPool,
    cell: CellId,
    progress: &'a dyn AuditProgress,
    log: Log,
    findings: &'a mut Findings,
}

impl CellAudit<'_> {
    /// Compares all that MySQL has of a kind.
    async fn compare_all(&mut self, kind: Kind) -> Result<(), AuditError> {
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
    async fn look_for_strangers(&mut self) -> Result<(), AuditError> {
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
        self.log = Log::default();
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
        let (mut users, mut skus) = (Vec::new(), Vec::new());
        for (item, _) in &page.items {
            match item {
                Item::Wallet(user) => users.push(*user),
                Item::Sku(sku) => skus.push(*sku),
            }
        }
        // A page holds one kind; an empty one still compares the positions.
        let read = if skus.is_empty() {
            audit_wallets(self.scripts, self.cell, &users).await?
        } else {
            audit_skus(self.scripts, self.cell, &skus).await?
        };
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
            .map(|(user, balance)| Ok((Item::Wallet(UserId::new(*user)?), Some(*balance))))
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
        Ok((Item::Sku(sku), Some(it.remaining)))
    };
    Ok(Page { items: skus.iter().map(item).collect::<Result<_, NotAnId>>()?, next, ..Page::default() })
}

/// Those users that have no wallet in MySQL (yet).
async fn unknown_users(snapshot: &mut Snapshot, cell: CellId, users: &[UserId]) -> Result<Page, AuditError> {
    let ids: Vec<u64> = users.iter().map(|it| it.get()).collect();
    let known: HashSet<u64> = snapshot.wallets_of(cell, &ids).await?.iter().map(|it| it.user_id).collect();
    let unknown = users.iter().filter(|it| !known.contains(&it.get()));
    Ok(Page { items: unknown.map(|it| (Item::Wallet(*it), None)).collect(), ..Page::default() })
}

/// Those SKUs that have no row in MySQL (yet).
async fn unknown_skus(snapshot: &mut Snapshot, cell: CellId, skus: &[SkuId]) -> Result<Page, AuditError> {
    let products: Vec<u64> = skus.iter().map(|it| it.product.get()).collect();
    let rows = snapshot.skus_of(cell, &products).await?;
    let known: HashSet<(u64, u64)> = rows.iter().map(|it| (it.product_id, it.option_id)).collect();
    let unknown = skus.iter().filter(|it| !known.contains(&(it.product.get(), it.option.get())));
    Ok(Page { items: unknown.map(|it| (Item::Sku(*it), None)).collect(), ..Page::default() })
}

/// Users whose balance is not the sum of their ledger entries, and such sums without a wallet.
fn ledger_differences(balances: &[(u64, i64)], sums: &[(u64, i64)]) -> Vec<(String, String)> {
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

/// Compares Redis at `to` with MySQL plus the log's events up to `to`.
fn differences(
    items: &[(Item, Option<i64>)],
    redis: &[Option<i64>],
    log: &Log,
    to: Position,
) -> Vec<Difference> {
    let text = |it: Option<i64>| it.map_or("missing".to_owned(), |it| it.to_string());
    let compare = |((item, mysql), redis): (&(Item, Option<i64>), &Option<i64>)| {
        let expected = log.last(*item, to).or(*mysql);
        (*redis != expected).then(|| Difference {
            kind: item.kind(),
            id: item.to_string(),
            redis: text(*redis),
            mysql: text(expected),
        })
    };
    items.iter().zip(redis).filter_map(compare).collect()
}

/// The absolute values that the events of a stretch of the log carry: all in `(from, to]`.
#[derive(Default)]
struct Log {
    from: Position,
    to: Position,
    changes: VecDeque<Change>,
    /// How many changes were forgotten: the number of the first one kept.
    forgotten: u64,
    /// The number of each item's newest change.
    newest: HashMap<Item, u64>,
}

struct Change {
    at: Position,
    item: Item,
    value: i64,
    /// The number of this item's change before, kept or forgotten.
    before: Option<u64>,
}

impl Log {
    /// Forgets what is not behind `from`; begins anew where the log does not reach.
    fn begin_behind(&mut self, from: Position) {
        if from < self.from || from > self.to {
            *self = Self { from, to: from, ..Self::default() };
            return;
        }
        self.from = from;
        while let Some(change) = self.changes.pop_front_if(|it| it.at <= from) {
            if self.newest.get(&change.item) == Some(&self.forgotten) {
                self.newest.remove(&change.item);
            }
            self.forgotten += 1;
        }
    }

    /// Adds the next entry. False: it is not the very next one.
    fn append(&mut self, entry: &Entry) -> bool {
        let event = entry.event().ok();
        if !entry.follows(self.to) {
            return false;
        }
        self.to = entry.position;
        // An entry that nobody can read ends up in the dead events, and shows there.
        match event {
            None | Some(Event::Opener { .. }) => {}
            Some(Event::UserCreated { user, .. }) => self.change(Item::Wallet(user), 0),
            Some(Event::Charged { user, balance, .. }) => self.change(Item::Wallet(user), balance),
            Some(Event::ProductSet(set)) => {
                for sku in set.skus {
                    let id = SkuId { product: set.product, option: sku.option };
                    self.change(Item::Sku(id), sku.remaining);
                }
            }
            Some(Event::Restocked { sku, remaining, .. }) => self.change(Item::Sku(sku), remaining),
            Some(Event::OrderPaid(paid)) => {
                self.change(Item::Wallet(paid.user), paid.balance);
                for line in paid.lines {
                    self.change(Item::Sku(line.sku), line.remaining);
                }
            }
        }
        true
    }

    fn change(&mut self, item: Item, value: i64) {
        let number = self.forgotten + self.changes.len() as u64;
        let before = self.newest.insert(item, number);
        self.changes.push_back(Change { at: self.to, item, value, before });
    }

    /// The item's value after its last event in `(from, to]`; `None`: no such event.
    fn last(&self, item: Item, to: Position) -> Option<i64> {
        let mut number = self.newest.get(&item).copied();
        loop {
            let index = number?.checked_sub(self.forgotten)?;
            let change = self.changes.get(usize::try_from(index).ok()?)?;
            if change.at <= to {
                return Some(change.value);
            }
            number = change.before;
        }
    }
}

async fn check_stock(mysql: &MySqlPool, cell: CellId, findings: &mut Findings) -> Result<(), AuditError> {
    for row in rows::stock_that_differs(mysql, cell).await? {
        let rows::StockRow { product_id, option_id, put_in, remaining, held } = row;
        let text = format!("{put_in} units, but {remaining} remain and orders hold {held}");
        findings.add(kind::STOCK, format!("{product_id}:{option_id}"), text);
    }
    Ok(())
}

/// Orders up to the newest one at the beginning; later ones are the next audit's.
async fn check_orders(
    mysql: &MySqlPool,
    newest: u64,
    findings: &mut Findings,
    progress: &dyn AuditProgress,
) -> Result<(), AuditError> {
    let mut after = 0;
    while let Some((last, count)) = rows::order_page(mysql, after, newest, ORDER_PAGE).await? {
        for row in rows::orders_that_differ(mysql, after, last).await? {
            let text = |it: Option<i64>| it.map_or("none".to_owned(), |it| it.to_string());
            let rows::OrderRow { id, status, total, discount, paid, .. } = &row;
            let order = format!("{status}, total {total}, discount {discount}, paid {paid}");
            if row.sums_differ() {
                let text = format!("{order}; lines {}", text(row.lines_total));
                findings.add(kind::ORDER, id.to_string(), text);
            }
            if row.payment_differs() {
                let (payment, ledger) = (text(row.payment), text(row.ledger_amount));
                findings.add(
                    kind::PAYMENT,
                    id.to_string(),
                    format!("{order}; payment {payment}, ledger {ledger}"),
                );
            }
        }
        findings.report.checked.orders += count;
        progress.advance(count);
        after = last;
    }
    Ok(())
}

/// Paid orders, payments and ledger entries one for one, and one message for each. That each order has
/// its payment and entry is checked order by order; here, that there are no others.
async fn check_totals(mysql: &MySqlPool, cell: CellId, findings: &mut Findings) -> Result<(), AuditError> {
    let totals = rows::totals(mysql, cell).await?;
    let rows::Totals { paid_orders, payments, ledger_payments, waiting, published } = totals;
    let published = published.unwrap_or(0);
    findings.report.checked.payments += payments as u64;
    findings.report.checked.messages += waiting as u64 + published;
    if paid_orders as u64 != published + waiting as u64 {
        let text = format!("{paid_orders} paid orders, {published} messages published, {waiting} waiting");
        findings.add(kind::MESSAGE, format!("cell {cell}"), text);
    }
    if paid_orders != payments {
        rows::payments_without_order(mysql, cell, |order, amount| {
            findings.add(kind::PAYMENT, order.to_string(), format!("payment {amount} without a paid order"));
        })
        .await?;
    }
    if payments != ledger_payments {
        rows::ledger_without_payment(mysql, cell, |seq: Seq, amount| {
            let text = format!("ledger entry {amount} without a payment");
            findings.add(kind::LEDGER, format!("{cell}-{seq}"), text);
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn wallet(id: u64) -> Item {
        Item::Wallet(user(id))
    }

    fn entry(position: &str, kind: &str, body: &str) -> Entry {
        Entry { position: at(position), kind: kind.to_owned(), body: body.to_owned() }
    }

    fn charged(position: &str, id: u64, balance: i64) -> Entry {
        entry(position, "charged:1", &format!("1 {id} 1 {balance} -"))
    }

    fn log_behind(from: &str, entries: &[Entry]) -> Log {
        let mut log = Log::default();
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
            Item::Sku(SkuId {
                product: ProductId::new(product).unwrap(),
                option: OptionId::new(option).unwrap(),
            })
        };
        let of = |item| log.last(item, at("1-2"));
        assert_eq!((of(wallet(7)), of(sku(1, 0)), of(sku(2, 5))), (Some(70), Some(8), Some(0)));
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
        assert_eq!((log.last(wallet(1), at("7-13")), log.last(wallet(2), at("7-13"))), (Some(7), None));
        // The change before was forgotten: MySQL's value counts.
        assert_eq!(log.last(wallet(1), at("7-12")), None);
        assert!(log.append(&charged("7-14", 2, 8)));
        assert_eq!(log.last(wallet(2), at("7-14")), Some(8));
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
        assert_eq!(log.last(wallet(1), at("8-501")), Some(5));
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
