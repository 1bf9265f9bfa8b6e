//! Reads of the audit: rows of MySQL that do not agree with each other.

use futures::TryStreamExt;
use sqlx::QueryBuilder;
use sqlx::mysql::MySqlPool;

use crate::cell::CellId;
use crate::ids::ProductId;
use crate::money::Amount;

/// A SKU of a cell whose units do not add up.
#[derive(Debug, sqlx::FromRow)]
pub struct StockRow {
    pub product_id: u64,
    pub option_id: u64,
    /// Initial stock, what was added since, and what came from other cells.
    pub put_in: i64,
    pub remaining: i64,
    /// Units that orders hold.
    pub held: i64,
}

/// Units of each of some products that are left or that orders hold: all that were ever put in.
pub async fn supplied(pool: &MySqlPool, products: &[ProductId]) -> Result<Vec<(u64, i64)>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "SELECT product_id, CAST(SUM(initial_stock + restocked) AS SIGNED) FROM skus WHERE deleted = 0 AND \
         product_id IN (0",
    );
    for product in products {
        query.push(", ").push_bind(product.get());
    }
    query.push(") GROUP BY product_id").build_query_as().fetch_all(pool).await
}

/// SKUs where initial and restocked units are not those left plus those that orders hold.
pub async fn stock_that_differs(pool: &MySqlPool, cell: CellId) -> Result<Vec<StockRow>, sqlx::Error> {
    // One statement sees one instant.
    sqlx::query_as(
        "SELECT s.product_id, s.option_id, s.initial_stock + s.restocked + s.moved AS put_in, s.remaining, \
         COALESCE(h.units, 0) AS held \
         FROM skus s LEFT JOIN (\
             SELECT l.product_id, l.option_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
             FROM orders o JOIN order_lines l ON l.order_id = o.id \
             WHERE o.cell = ? AND o.status IN ('pending', 'paid') GROUP BY l.product_id, l.option_id\
         ) h ON h.product_id = s.product_id AND h.option_id = s.option_id \
         WHERE s.cell = ? AND s.initial_stock + s.restocked + s.moved <> s.remaining + COALESCE(h.units, 0)",
    )
    .bind(cell.0)
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// A transfer of which one cell says what the other cannot have seen.
#[derive(Debug, sqlx::FromRow)]
pub struct TransferRow {
    pub kind: String,
    pub item_id: u64,
    pub option_id: u64,
    /// The giver.
    pub cell: u16,
    /// The taker.
    pub peer: u16,
    pub given: u64,
    pub taken: u64,
}

/// Transfers where the taker's number is neither the giver's nor the one before. MySQL has what was given before anybody
/// takes it, so this holds in every instant, of pools in the same life.
pub async fn transfers_that_differ(pool: &MySqlPool) -> Result<Vec<TransferRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT g.kind, g.item_id, g.option_id, g.cell, g.peer, g.given_number AS given, \
         CAST(COALESCE(t.taken_number, 0) AS UNSIGNED) AS taken \
         FROM transfers g LEFT JOIN transfers t ON t.kind = g.kind AND t.item_id = g.item_id \
             AND t.option_id = g.option_id AND t.cell = g.peer AND t.peer = g.cell \
         WHERE g.life = COALESCE(t.life, g.life) \
             AND NOT COALESCE(t.taken_number, 0) IN (g.given_number, CAST(g.given_number AS SIGNED) - 1) \
         UNION ALL \
         SELECT t.kind, t.item_id, t.option_id, t.peer, t.cell, CAST(0 AS UNSIGNED), t.taken_number \
         FROM transfers t LEFT JOIN transfers g ON g.kind = t.kind AND g.item_id = t.item_id \
             AND g.option_id = t.option_id AND g.cell = t.peer AND g.peer = t.cell \
         WHERE t.taken_number > 0 AND g.cell IS NULL",
    )
    .fetch_all(pool)
    .await
}

/// A pool of which units came or went by themselves.
#[derive(Debug, sqlx::FromRow)]
pub struct MovedRow {
    pub kind: String,
    pub item_id: u64,
    pub option_id: u64,
    /// What came to all cells less what went.
    pub moved: i64,
    /// Units that a cell gave and none has taken.
    pub under_way: i64,
}

/// Pools where more or fewer units left cells than came to others and are under way; those in the middle of a change of
/// life are passed over.
pub async fn moves_that_differ(pool: &MySqlPool) -> Result<Vec<MovedRow>, sqlx::Error> {
    const UNDER_WAY: &str = "SELECT g.kind, g.item_id, g.option_id, SUM(g.given_units) AS units \
         FROM transfers g LEFT JOIN transfers t ON t.kind = g.kind AND t.item_id = g.item_id \
             AND t.option_id = g.option_id AND t.cell = g.peer AND t.peer = g.cell AND t.life = g.life \
         WHERE g.given_number > COALESCE(t.taken_number, 0) GROUP BY g.kind, g.item_id, g.option_id";
    let text = format!(
        "SELECT 's' AS kind, s.product_id AS item_id, s.option_id, CAST(SUM(s.moved) AS SIGNED) AS moved, \
         CAST(COALESCE(MAX(u.units), 0) AS SIGNED) AS under_way \
         FROM skus s JOIN products p ON p.product_id = s.product_id AND p.cell = s.cell \
         LEFT JOIN ({UNDER_WAY}) u ON u.kind = 's' AND u.item_id = s.product_id AND u.option_id = s.option_id \
         GROUP BY s.product_id, s.option_id \
         HAVING MIN(p.life) = MAX(p.life) AND MAX(p.deleted) = 0 AND moved + under_way <> 0 \
         UNION ALL \
         SELECT 'c', c.coupon_id, CAST(0 AS UNSIGNED), CAST(SUM(c.moved) AS SIGNED) AS moved, \
         CAST(COALESCE(MAX(u.units), 0) AS SIGNED) AS under_way \
         FROM coupons c LEFT JOIN ({UNDER_WAY}) u ON u.kind = 'c' AND u.item_id = c.coupon_id \
         GROUP BY c.coupon_id \
         HAVING MIN(c.life) = MAX(c.life) AND MAX(c.forgotten) = 0 AND moved + under_way <> 0"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(text)).fetch_all(pool).await
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
    /// Of its refund, likewise.
    pub refund_amount: Option<Amount>,
}

impl OrderRow {
    /// Whether the order itself does not add up.
    pub fn sums_differ(&self) -> bool {
        self.lines_total != Some(self.total) || (self.was_paid() && self.paid != self.total - self.discount)
    }

    /// Whether payment and ledger entry are not there exactly if it was paid, with its amount.
    pub fn payment_differs(&self) -> bool {
        let paid = self.was_paid().then_some(self.paid);
        let refunded = (self.status == "refunded").then_some(self.paid);
        self.payment != paid || self.ledger_amount != paid.map(|it| -it) || self.refund_amount != refunded
    }

    fn was_paid(&self) -> bool {
        ["paid", "refunded"].contains(&self.status.as_str())
    }
}

/// Orders with ids in `(after, last]` where the total is not that of the lines, where a paid order's
/// `paid` is not total less discount, or where payment and ledger entries are not there for exactly the
/// orders that were paid, and refunded, with the same amount and user.
pub async fn orders_that_differ(
    pool: &MySqlPool,
    after: u64,
    last: u64,
) -> Result<Vec<OrderRow>, sqlx::Error> {
    // The rows of an order are written in one transaction, and one statement sees one instant.
    sqlx::query_as(
        "SELECT id, status, total, discount, paid, lines_total, payment, ledger_amount, refund_amount FROM (\
             SELECT o.id, o.status, o.total, o.discount, o.paid, \
             (SELECT CAST(SUM(CAST(l.quantity AS SIGNED) * l.unit_price) AS SIGNED) \
              FROM order_lines l WHERE l.order_id = o.id) AS lines_total, \
             p.amount AS payment, g.amount AS ledger_amount, \
             CASE WHEN o.status = 'refunded' THEN (SELECT r.amount FROM ledger r WHERE r.user_id = o.user_id \
                 AND r.cell = o.cell AND r.kind = 'refund' AND r.order_id = o.id) END AS refund_amount \
             FROM orders o LEFT JOIN payments p ON p.order_id = o.id AND p.user_id = o.user_id \
             LEFT JOIN ledger g ON g.cell = p.cell AND g.seq = p.seq AND g.kind = 'payment' \
                 AND g.order_id = o.id AND g.user_id = o.user_id \
             WHERE o.id > ? AND o.id <= ?\
         ) checked \
         WHERE lines_total IS NULL OR lines_total <> total OR CASE WHEN status IN ('paid', 'refunded') \
             THEN paid <> total - discount OR payment IS NULL OR payment <> paid \
                 OR ledger_amount IS NULL OR ledger_amount <> -paid \
                 OR (status = 'refunded' AND NOT refund_amount <=> paid) \
             ELSE payment IS NOT NULL END",
    )
    .bind(after)
    .bind(last)
    .fetch_all(pool)
    .await
}

/// An order whose coupon does not say so.
#[derive(Debug, sqlx::FromRow)]
pub struct CouponOrderRow {
    pub id: u64,
    pub user_id: u64,
    pub coupon_id: u64,
    pub status: String,
    /// Of the user's unit; `None`: they have none.
    pub state: Option<String>,
    pub order_id: Option<u64>,
}

/// Orders with ids in `(after, last]` that were paid with a coupon which is not used by them, or that are
/// pending with one which is not held by them; but for coupons of an earlier life of their id, where the user
/// has one of a later life since.
pub async fn coupon_orders_that_differ(
    pool: &MySqlPool,
    after: u64,
    last: u64,
) -> Result<Vec<CouponOrderRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT o.id, o.user_id, o.coupon_id, o.status, i.state, i.order_id FROM orders o \
         LEFT JOIN coupons c ON c.coupon_id = o.coupon_id AND c.cell = o.cell \
         LEFT JOIN coupon_issues i ON i.coupon_id = o.coupon_id AND i.user_id = o.user_id \
         WHERE o.id > ? AND o.id <= ? AND o.coupon_id IS NOT NULL AND o.status IN ('paid', 'pending') \
         AND NOT (i.order_id <=> o.id AND i.state <=> IF(o.status = 'paid', 'used', 'held')) \
         AND NOT COALESCE(c.born_seq > o.seq AND i.issued_seq > o.seq, 0)",
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
    pub refunded_orders: i64,
    pub ledger_refunds: i64,
    /// Messages that wait.
    pub waiting: i64,
    /// `None`: the cell was never prepared.
    pub published: Option<u64>,
}

/// Counts a cell's paid and refunded orders, payments and messages.
pub async fn totals(pool: &MySqlPool, cell: CellId) -> Result<Totals, sqlx::Error> {
    let query = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM orders WHERE cell = ? AND status IN ('paid', 'refunded')) AS paid_orders, \
         (SELECT COUNT(*) FROM payments WHERE cell = ?) AS payments, \
         (SELECT COUNT(*) FROM ledger WHERE cell = ? AND kind = 'payment') AS ledger_payments, \
         (SELECT COUNT(*) FROM orders WHERE cell = ? AND status = 'refunded') AS refunded_orders, \
         (SELECT COUNT(*) FROM ledger WHERE cell = ? AND kind = 'refund') AS ledger_refunds, \
         (SELECT COUNT(*) FROM outbox WHERE cell = ?) AS waiting, \
         (SELECT published FROM publishing WHERE cell = ?) AS published",
    );
    (0..7).fold(query, |query, _| query.bind(cell.0)).fetch_one(pool).await
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
