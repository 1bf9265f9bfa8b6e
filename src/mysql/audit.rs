//! Reads of the audit: pages together with the position they belong to.

use sqlx::mysql::{MySql, MySqlPool};
use sqlx::{AssertSqlSafe, Transaction};

use super::cells::{self, CellRow};
use crate::cell::CellId;
use crate::money::Amount;
use crate::ranking::{HOUR_MS, Hour};
use crate::time::from_millis;

/// Most ids that one of the reads by id takes.
pub const IDS_MAX: usize = 1_000;

/// Sessions are READ COMMITTED, which shows each statement another instant; this asks for one instant,
/// for the next transaction only.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// One instant of the database. Kept for one page: an old snapshot makes the server keep old rows.
pub struct Snapshot(Transaction<'static, MySql>);

/// A wallet, as the audit needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct WalletRow {
    pub user_id: u64,
    pub balance: Amount,
}

/// The sum of a user's ledger entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct LedgerSum {
    pub user_id: u64,
    pub amount: Amount,
    pub entries: i64,
}

/// A SKU, as the audit needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct SkuRow {
    pub product_id: u64,
    pub option_id: u64,
    pub remaining: i64,
    /// Units that came from other cells, less those that went there.
    pub moved: i64,
}

/// A campaign, as the audit needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct CouponRow {
    pub coupon_id: u64,
    pub quantity: i64,
    pub remaining: i64,
    /// No longer in Redis.
    pub forgotten: bool,
    /// Its quantity counts here.
    pub home: bool,
    /// Units that came from other cells, less those that went there.
    pub moved: i64,
    /// Units of this life that users of the cell have.
    pub issues: i64,
}

/// A user's unit of a campaign, and the order that it names.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IssueRow {
    pub coupon_id: u64,
    pub user_id: u64,
    pub state: String,
    pub order_id: Option<u64>,
    /// 1: of this life of a campaign that was not forgotten; 0: no longer in Redis; `None`: there is no such
    /// campaign.
    pub live: Option<i64>,
    /// Of the order; `None`: there is none.
    pub order_user: Option<u64>,
    pub order_coupon: Option<u64>,
    pub order_status: Option<String>,
}

/// Units of a product that were paid for in one hour and have not been refunded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct SoldRow {
    pub product_id: u64,
    pub paid_hour: Hour,
    pub units: i64,
}

impl Snapshot {
    pub async fn begin(pool: &MySqlPool) -> Result<Self, sqlx::Error> {
        pool.begin_with(BEGIN).await.map(Self)
    }

    pub async fn end(self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }

    /// The cell's row: the position that all other rows of this snapshot reflect.
    pub async fn cell(&mut self, cell: CellId) -> Result<CellRow, sqlx::Error> {
        cells::read(&mut *self.0, cell).await
    }

    /// The next wallets behind a user id, by id.
    pub async fn wallets(
        &mut self,
        cell: CellId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<WalletRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT user_id, balance FROM wallets WHERE cell = ? AND user_id > ? ORDER BY user_id LIMIT ?",
        )
        .bind(cell.0)
        .bind(after)
        .bind(limit as u64)
        .fetch_all(&mut *self.0)
        .await
    }

    /// Sums over the ledger for users with ids in `(after, last]`, with or without a wallet.
    pub async fn ledger_sums(
        &mut self,
        cell: CellId,
        after: u64,
        last: u64,
    ) -> Result<Vec<LedgerSum>, sqlx::Error> {
        sqlx::query_as(
            "SELECT user_id, CAST(SUM(amount) AS SIGNED) AS amount, COUNT(*) AS entries FROM ledger \
             WHERE cell = ? AND user_id > ? AND user_id <= ? GROUP BY user_id",
        )
        .bind(cell.0)
        .bind(after)
        .bind(last)
        .fetch_all(&mut *self.0)
        .await
    }

    /// Those of up to [`IDS_MAX`] users that have a wallet.
    pub async fn wallets_of(&mut self, cell: CellId, users: &[u64]) -> Result<Vec<WalletRow>, sqlx::Error> {
        let text =
            format!("SELECT user_id, balance FROM wallets WHERE cell = ? AND user_id IN ({})", marks());
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(cell.0);
        padded(users).fold(query, |query, id| query.bind(id)).fetch_all(&mut *self.0).await
    }

    /// The next SKUs behind one, by product and option; those no longer sold included.
    pub async fn skus(
        &mut self,
        cell: CellId,
        (product, option): (u64, u64),
        limit: usize,
    ) -> Result<Vec<SkuRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT product_id, option_id, remaining, moved FROM skus \
             WHERE (product_id > ? OR (product_id = ? AND option_id > ?)) AND cell = ? AND deleted = 0 \
             ORDER BY product_id, option_id LIMIT ?",
        )
        .bind(product)
        .bind(product)
        .bind(option)
        .bind(cell.0)
        .bind(limit as u64)
        .fetch_all(&mut *self.0)
        .await
    }

    /// All SKUs of up to [`IDS_MAX`] products.
    pub async fn skus_of(&mut self, cell: CellId, products: &[u64]) -> Result<Vec<SkuRow>, sqlx::Error> {
        let text = format!(
            "SELECT product_id, option_id, remaining, moved FROM skus WHERE cell = ? AND deleted = 0 AND product_id IN ({})",
            marks()
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(cell.0);
        padded(products).fold(query, |query, id| query.bind(id)).fetch_all(&mut *self.0).await
    }

    /// The next campaigns behind a coupon id, by id; those that were forgotten included.
    pub async fn coupons(
        &mut self,
        cell: CellId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<CouponRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT c.coupon_id, c.quantity, c.remaining, c.forgotten, \
             c.home, c.moved, (SELECT COUNT(*) FROM coupon_issues i \
              WHERE i.coupon_id = c.coupon_id AND i.cell = c.cell AND i.issued_seq > c.born_seq) AS issues \
             FROM coupons c WHERE c.cell = ? AND c.coupon_id > ? ORDER BY c.coupon_id LIMIT ?",
        )
        .bind(cell.0)
        .bind(after)
        .bind(limit as u64)
        .fetch_all(&mut *self.0)
        .await
    }

    /// Those of up to [`IDS_MAX`] coupons that have a campaign which was not forgotten.
    pub async fn coupons_of(&mut self, cell: CellId, coupons: &[u64]) -> Result<Vec<u64>, sqlx::Error> {
        let text = format!(
            "SELECT coupon_id FROM coupons WHERE cell = ? AND forgotten = 0 AND coupon_id IN ({})",
            marks()
        );
        let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(cell.0);
        padded(coupons).fold(query, |query, id| query.bind(id)).fetch_all(&mut *self.0).await
    }

    /// The next units of campaigns behind a coupon and user, in that order; those of campaigns that were
    /// forgotten, and of earlier lives, included.
    pub async fn issues(
        &mut self,
        cell: CellId,
        (coupon, user): (u64, u64),
        limit: usize,
    ) -> Result<Vec<IssueRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT i.coupon_id, i.user_id, i.state, i.order_id, \
             CAST(c.forgotten = 0 AND i.issued_seq > c.born_seq AS SIGNED) AS live, \
             o.user_id AS order_user, o.coupon_id AS order_coupon, o.status AS order_status \
             FROM coupon_issues i LEFT JOIN coupons c ON c.coupon_id = i.coupon_id AND c.cell = i.cell \
             LEFT JOIN orders o ON o.id = i.order_id \
             WHERE (i.coupon_id > ? OR (i.coupon_id = ? AND i.user_id > ?)) AND i.cell = ? \
             ORDER BY i.coupon_id, i.user_id LIMIT ?",
        )
        .bind(coupon)
        .bind(coupon)
        .bind(user)
        .bind(cell.0)
        .bind(limit as u64)
        .fetch_all(&mut *self.0)
        .await
    }

    /// Those of up to [`IDS_MAX`] users that have a unit of this life of a campaign which was not forgotten.
    pub async fn issues_of(
        &mut self,
        cell: CellId,
        coupon: u64,
        users: &[u64],
    ) -> Result<Vec<u64>, sqlx::Error> {
        let text = format!(
            "SELECT i.user_id FROM coupon_issues i JOIN coupons c ON c.coupon_id = i.coupon_id AND c.cell = i.cell \
             AND c.forgotten = 0 AND i.issued_seq > c.born_seq \
             WHERE i.cell = ? AND i.coupon_id = ? AND i.user_id IN ({})",
            marks()
        );
        let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(cell.0).bind(coupon);
        padded(users).fold(query, |query, id| query.bind(id)).fetch_all(&mut *self.0).await
    }

    /// What was sold since the beginning of an hour, by product and hour.
    pub async fn sold_since(&mut self, cell: CellId, since: Hour) -> Result<Vec<SoldRow>, sqlx::Error> {
        sqlx::query_as(
            "SELECT l.product_id, CAST(TIMESTAMPDIFF(HOUR, '1970-01-01', o.paid_at) AS SIGNED) AS paid_hour, \
             CAST(SUM(l.quantity) AS SIGNED) AS units \
             FROM orders o JOIN order_lines l ON l.order_id = o.id \
             WHERE o.cell = ? AND o.status = 'paid' AND o.paid_at >= ? GROUP BY l.product_id, paid_hour",
        )
        .bind(cell.0)
        .bind(from_millis(since * HOUR_MS))
        .fetch_all(&mut *self.0)
        .await
    }
}

/// Always as many marks, so that the statement is prepared once.
fn marks() -> String {
    vec!["?"; IDS_MAX].join(",")
}

/// The ids, then the last one again and again: naming it twice changes nothing.
fn padded(ids: &[u64]) -> impl Iterator<Item = u64> {
    debug_assert!(ids.len() <= IDS_MAX);
    let last = ids.last().copied().unwrap_or(0);
    ids.iter().copied().chain(std::iter::repeat(last)).take(IDS_MAX)
}

/// How much there is to check, for a progress bar.
pub async fn rows_to_check(pool: &MySqlPool) -> Result<RowsToCheck, sqlx::Error> {
    sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM wallets) AS wallets, (SELECT COUNT(*) FROM skus) AS skus, \
         (SELECT COUNT(*) FROM coupons) AS coupons, (SELECT COUNT(*) FROM coupon_issues) AS coupon_issues, \
         (SELECT COUNT(*) FROM products) AS products, (SELECT COUNT(*) FROM orders) AS orders, \
         (SELECT MAX(id) FROM orders) AS newest_order",
    )
    .fetch_one(pool)
    .await
}

#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct RowsToCheck {
    pub wallets: i64,
    pub skus: i64,
    pub coupons: i64,
    pub coupon_issues: i64,
    pub products: i64,
    pub orders: i64,
    /// `None`: there is no order.
    pub newest_order: Option<u64>,
}
