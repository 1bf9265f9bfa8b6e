//! Reads of the audit: pages together with the position they belong to, and what must add up.

use futures::TryStreamExt;
use sqlx::mysql::{MySql, MySqlPool};
use sqlx::{AssertSqlSafe, Transaction};

use super::cells::{self, CellRow};
use crate::cell::CellId;
use crate::money::Amount;

/// Most ids that [`Snapshot::wallets_of`] and [`Snapshot::skus_of`] take.
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
            "SELECT product_id, option_id, remaining FROM skus \
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
            "SELECT product_id, option_id, remaining FROM skus WHERE cell = ? AND deleted = 0 AND product_id IN ({})",
            marks()
        );
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(cell.0);
        padded(products).fold(query, |query, id| query.bind(id)).fetch_all(&mut *self.0).await
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
         (SELECT COUNT(*) FROM orders) AS orders, (SELECT MAX(id) FROM orders) AS newest_order",
    )
    .fetch_one(pool)
    .await
}

#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct RowsToCheck {
    pub wallets: i64,
    pub skus: i64,
    pub orders: i64,
    /// `None`: there is no order.
    pub newest_order: Option<u64>,
}

/// A SKU whose units do not add up.
#[derive(Debug, sqlx::FromRow)]
pub struct StockRow {
    pub product_id: u64,
    pub option_id: u64,
    /// Initial stock and what was added since.
    pub put_in: i64,
    pub remaining: i64,
    /// Units that orders hold.
    pub held: i64,
}

/// SKUs where initial and restocked units are not those left plus those that orders hold.
pub async fn stock_that_differs(pool: &MySqlPool, cell: CellId) -> Result<Vec<StockRow>, sqlx::Error> {
    // One statement sees one instant.
    sqlx::query_as(
        "SELECT s.product_id, s.option_id, s.initial_stock + s.restocked AS put_in, s.remaining, \
         COALESCE(h.units, 0) AS held \
         FROM skus s LEFT JOIN (\
             SELECT l.product_id, l.option_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
             FROM orders o JOIN order_lines l ON l.order_id = o.id \
             WHERE o.cell = ? AND o.status IN ('pending', 'paid') GROUP BY l.product_id, l.option_id\
         ) h ON h.product_id = s.product_id AND h.option_id = s.option_id \
         WHERE s.cell = ? AND s.initial_stock + s.restocked <> s.remaining + COALESCE(h.units, 0)",
    )
    .bind(cell.0)
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// The id at which the next page of orders behind `after` ends, and how many it has.
pub async fn order_page(
    pool: &MySqlPool,
    after: u64,
    newest: u64,
    limit: usize,
) -> Result<Option<(u64, u64)>, sqlx::Error> {
    let (last, count): (Option<u64>, i64) = sqlx::query_as(
        "SELECT MAX(id), COUNT(*) FROM \
         (SELECT id FROM orders WHERE id > ? AND id <= ? ORDER BY id LIMIT ?) page",
    )
    .bind(after)
    .bind(newest)
    .bind(limit as u64)
    .fetch_one(pool)
    .await?;
    Ok(last.map(|it| (it, count as u64)))
}

/// An order that does not agree with its lines, its payment or its ledger entry.
#[derive(Debug, sqlx::FromRow)]
pub struct OrderRow {
    pub id: u64,
    pub status: String,
    pub total: Amount,
    pub discount: Amount,
    pub paid: Amount,
    /// Sum over its lines; `None`: it has none.
    pub lines_total: Option<Amount>,
    pub payment: Option<Amount>,
    /// Of its payment, if that entry is of this order and user.
    pub ledger_amount: Option<Amount>,
}

impl OrderRow {
    /// Whether the order itself does not add up.
    pub fn sums_differ(&self) -> bool {
        self.lines_total != Some(self.total) || (self.was_paid() && self.paid != self.total - self.discount)
    }

    /// Whether payment and ledger entry are not there exactly if it was paid, with its amount.
    pub fn payment_differs(&self) -> bool {
        let paid = self.was_paid().then_some(self.paid);
        self.payment != paid || self.ledger_amount != paid.map(|it| -it)
    }

    fn was_paid(&self) -> bool {
        ["paid", "refunded"].contains(&self.status.as_str())
    }
}

/// Orders with ids in `(after, last]` where the total is not that of the lines, where a paid order's
/// `paid` is not total less discount, or where payment and ledger entry are not there for exactly the
/// orders that were paid, with the same amount and user.
pub async fn orders_that_differ(
    pool: &MySqlPool,
    after: u64,
    last: u64,
) -> Result<Vec<OrderRow>, sqlx::Error> {
    // The rows of an order are written in one transaction, and one statement sees one instant.
    sqlx::query_as(
        "SELECT id, status, total, discount, paid, lines_total, payment, ledger_amount FROM (\
             SELECT o.id, o.status, o.total, o.discount, o.paid, \
             (SELECT CAST(SUM(CAST(l.quantity AS SIGNED) * l.unit_price) AS SIGNED) \
              FROM order_lines l WHERE l.order_id = o.id) AS lines_total, \
             p.amount AS payment, g.amount AS ledger_amount \
             FROM orders o LEFT JOIN payments p ON p.order_id = o.id AND p.user_id = o.user_id \
             LEFT JOIN ledger g ON g.cell = p.cell AND g.seq = p.seq AND g.kind = 'payment' \
                 AND g.order_id = o.id AND g.user_id = o.user_id \
             WHERE o.id > ? AND o.id <= ?\
         ) checked \
         WHERE lines_total IS NULL OR lines_total <> total OR CASE WHEN status IN ('paid', 'refunded') \
             THEN paid <> total - discount OR payment IS NULL OR payment <> paid \
                 OR ledger_amount IS NULL OR ledger_amount <> -paid \
             ELSE payment IS NOT NULL END",
    )
    .bind(after)
    .bind(last)
    .fetch_all(pool)
    .await
}

/// Rows that must be there one for one, counted in one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Totals {
    pub paid_orders: i64,
    pub payments: i64,
    pub ledger_payments: i64,
    /// Paid orders whose message waits.
    pub waiting: i64,
    /// `None`: the cell was never prepared.
    pub published: Option<u64>,
}

/// Counts a cell's paid orders, payments and messages.
pub async fn totals(pool: &MySqlPool, cell: CellId) -> Result<Totals, sqlx::Error> {
    let query = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM orders WHERE cell = ? AND status IN ('paid', 'refunded')) AS paid_orders, \
         (SELECT COUNT(*) FROM payments WHERE cell = ?) AS payments, \
         (SELECT COUNT(*) FROM ledger WHERE cell = ? AND kind = 'payment') AS ledger_payments, \
         (SELECT COUNT(*) FROM outbox WHERE cell = ? AND kind = 'order.paid') AS waiting, \
         (SELECT published FROM publishing WHERE cell = ?) AS published",
    );
    (0..5).fold(query, |query, _| query.bind(cell.0)).fetch_one(pool).await
}

/// Hands over each payment without an order that was paid: order, amount.
pub async fn payments_without_order(
    pool: &MySqlPool,
    cell: CellId,
    mut found: impl FnMut(u64, Amount),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(
        "SELECT p.order_id, p.amount FROM payments p \
         LEFT JOIN orders o ON o.id = p.order_id AND o.status IN ('paid', 'refunded') \
         WHERE p.cell = ? AND o.id IS NULL",
    )
    .bind(cell.0)
    .fetch(pool);
    while let Some((order, amount)) = rows.try_next().await? {
        found(order, amount);
    }
    Ok(())
}

/// Hands over each ledger entry of a payment that is not there: event number, amount.
pub async fn ledger_without_payment(
    pool: &MySqlPool,
    cell: CellId,
    mut found: impl FnMut(u64, Amount),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as(
        "SELECT g.seq, g.amount FROM ledger g \
         LEFT JOIN payments p ON p.order_id = g.order_id AND p.cell = g.cell AND p.seq = g.seq \
         WHERE g.cell = ? AND g.kind = 'payment' AND p.order_id IS NULL",
    )
    .bind(cell.0)
    .fetch(pool);
    while let Some((seq, amount)) = rows.try_next().await? {
        found(seq, amount);
    }
    Ok(())
}

/// Hands over each dead event: number, kind, why.
pub async fn dead_events(
    pool: &MySqlPool,
    cell: CellId,
    mut found: impl FnMut(u64, String, String),
) -> Result<(), sqlx::Error> {
    let mut rows = sqlx::query_as("SELECT seq, kind, error FROM dead_events WHERE cell = ? ORDER BY seq")
        .bind(cell.0)
        .fetch(pool);
    while let Some((seq, kind, error)) = rows.try_next().await? {
        found(seq, kind, error);
    }
    Ok(())
}
