//! Rows for a rebuild of a cell in Redis, page by page.

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlPool;

use super::datetime;
use super::orders::{StoredOrder, stored_orders};
use crate::cell::CellId;
use crate::money::Amount;
use crate::ranking::{HOUR_MS, Hour};
use crate::time::Millis;

/// A wallet.
#[derive(Debug, sqlx::FromRow)]
pub struct WalletRow {
    pub user_id: u64,
    pub balance: Amount,
}

/// About how many rows of the large tables a cell has, for a progress bar.
pub async fn count_rows(pool: &MySqlPool, cell: CellId) -> Result<u64, sqlx::Error> {
    let (wallets, issues, pending, records): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM wallets WHERE cell = ?), \
         (SELECT COUNT(*) FROM coupon_issues WHERE cell = ?), \
         (SELECT COUNT(*) FROM orders WHERE cell = ? AND status = 'pending'), \
         (SELECT COUNT(*) FROM idempotency WHERE cell = ?)",
    )
    .bind(cell.0)
    .bind(cell.0)
    .bind(cell.0)
    .bind(cell.0)
    .fetch_one(pool)
    .await?;
    Ok((wallets + issues + pending + records) as u64)
}

/// The next wallets behind a user id, by id.
pub async fn wallets(
    pool: &MySqlPool,
    cell: CellId,
    after: u64,
    limit: u32,
) -> Result<Vec<WalletRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, balance FROM wallets WHERE cell = ? AND user_id > ? ORDER BY user_id LIMIT ?",
    )
    .bind(cell.0)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// A product's description.
#[derive(Debug, sqlx::FromRow)]
pub struct ProductRow {
    pub product_id: u64,
    pub name: String,
    pub options: String,
    pub sale_starts_at: Option<DateTime<Utc>>,
    pub sale_ends_at: Option<DateTime<Utc>>,
    pub limit_per_user: Option<u32>,
    pub set_at: DateTime<Utc>,
    pub born_seq: u64,
    pub version: u64,
    pub life: u64,
}

/// All products of a cell; a catalogue fits into memory.
pub async fn products(pool: &MySqlPool, cell: CellId) -> Result<Vec<ProductRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT product_id, name, options, sale_starts_at, sale_ends_at, limit_per_user, set_at, born_seq, \
         version, life FROM products \
         WHERE cell = ? AND deleted = 0",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// A SKU.
#[derive(Debug, sqlx::FromRow)]
pub struct SkuRow {
    pub product_id: u64,
    pub option_id: u64,
    pub name: String,
    pub price: Amount,
    pub listed: bool,
    pub initial_stock: i64,
    pub remaining: i64,
    pub moved: i64,
}

/// All SKUs of a cell's products, those left out of them included; by product and option.
pub async fn skus(pool: &MySqlPool, cell: CellId) -> Result<Vec<SkuRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT product_id, option_id, name, price, listed, initial_stock, remaining, moved FROM skus \
         WHERE cell = ? AND deleted = 0 ORDER BY product_id, option_id",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// Units a user bought of a product while it had a limit per user.
#[derive(Debug, sqlx::FromRow)]
pub struct BoughtRow {
    pub user_id: u64,
    pub product_id: u64,
    pub units: i64,
}

/// The next counts against limits per user, behind a user and product: what was bought in the product's
/// present life.
pub async fn bought(
    pool: &MySqlPool,
    cell: CellId,
    after: (u64, u64),
    limit: u32,
) -> Result<Vec<BoughtRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT o.user_id, l.product_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
         FROM order_lines l JOIN orders o ON o.id = l.order_id \
         JOIN products p ON p.product_id = l.product_id AND p.cell = o.cell AND p.deleted = 0 AND o.seq > p.born_seq \
         WHERE l.limited = 1 AND o.cell = ? AND o.status IN ('pending', 'paid') \
         AND (o.user_id > ? OR (o.user_id = ? AND l.product_id > ?)) AND o.user_id >= ? \
         GROUP BY o.user_id, l.product_id ORDER BY o.user_id, l.product_id LIMIT ?",
    )
    .bind(cell.0)
    .bind(after.0)
    .bind(after.0)
    .bind(after.1)
    .bind(after.0)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// A campaign.
#[derive(Debug, sqlx::FromRow)]
pub struct CouponRow {
    pub coupon_id: u64,
    pub name: String,
    pub kind: String,
    pub value: i64,
    pub max_amount: Option<Amount>,
    pub min_order_amount: Option<Amount>,
    pub quantity: i64,
    pub remaining: i64,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub set_at: DateTime<Utc>,
    pub version: u64,
    pub life: u64,
    pub moved: i64,
}

/// All campaigns of a cell that were not forgotten.
pub async fn coupons(pool: &MySqlPool, cell: CellId) -> Result<Vec<CouponRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT coupon_id, name, kind, value, max_amount, min_order_amount, quantity, remaining, starts_at, ends_at, \
         expires_at, set_at, version, life, moved FROM coupons WHERE cell = ? AND forgotten = 0",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// One user's unit of a campaign.
#[derive(Debug, sqlx::FromRow)]
pub struct IssueRow {
    pub coupon_id: u64,
    pub user_id: u64,
    pub state: String,
    pub order_id: Option<u64>,
    pub issued_at: DateTime<Utc>,
}

/// The next units of campaigns that were not forgotten, behind a coupon and user.
pub async fn coupon_issues(
    pool: &MySqlPool,
    cell: CellId,
    after: (u64, u64),
    limit: u32,
) -> Result<Vec<IssueRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT i.coupon_id, i.user_id, i.state, i.order_id, i.issued_at FROM coupon_issues i \
         JOIN coupons c ON c.coupon_id = i.coupon_id AND c.cell = i.cell AND c.forgotten = 0 \
             AND i.issued_seq > c.born_seq \
         WHERE i.cell = ? AND (i.coupon_id > ? OR (i.coupon_id = ? AND i.user_id > ?)) AND i.coupon_id >= ? \
         ORDER BY i.coupon_id, i.user_id LIMIT ?",
    )
    .bind(cell.0)
    .bind(after.0)
    .bind(after.0)
    .bind(after.1)
    .bind(after.0)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The next pending orders behind an id, by id.
pub async fn pending_orders(
    pool: &MySqlPool,
    cell: CellId,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredOrder>, sqlx::Error> {
    let ids: Vec<u64> = sqlx::query_scalar(
        "SELECT id FROM orders WHERE cell = ? AND status = 'pending' AND id > ? ORDER BY id LIMIT ?",
    )
    .bind(cell.0)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    stored_orders(pool, &ids).await
}

/// Units of a product sold in some time.
#[derive(Debug, sqlx::FromRow)]
pub struct SoldRow {
    pub product_id: u64,
    pub units: i64,
}

/// What a cell's buyers paid for in one hour and have not been refunded, by product.
pub async fn sold_in_hour(pool: &MySqlPool, cell: CellId, hour: Hour) -> Result<Vec<SoldRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT l.product_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
         FROM orders o JOIN order_lines l ON l.order_id = o.id \
         WHERE o.cell = ? AND o.status = 'paid' AND o.paid_at >= ? AND o.paid_at < ? GROUP BY l.product_id",
    )
    .bind(cell.0)
    .bind(datetime(hour * HOUR_MS))
    .bind(datetime((hour + 1) * HOUR_MS))
    .fetch_all(pool)
    .await
}

/// The record of an idempotency key.
#[derive(Debug, sqlx::FromRow)]
pub struct IdempotencyRow {
    pub user_id: u64,
    pub idem_key: String,
    pub fingerprint: String,
    pub answer: String,
    pub at: DateTime<Utc>,
}

/// The next records younger than `since_ms`, behind a user and key.
pub async fn idempotency(
    pool: &MySqlPool,
    cell: CellId,
    since_ms: Millis,
    after: (u64, &str),
    limit: u32,
) -> Result<Vec<IdempotencyRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT user_id, idem_key, fingerprint, answer, at FROM idempotency \
         WHERE (user_id > ? OR (user_id = ? AND idem_key > ?)) AND cell = ? AND at > ? \
         ORDER BY user_id, idem_key LIMIT ?",
    )
    .bind(after.0)
    .bind(after.0)
    .bind(after.1)
    .bind(cell.0)
    .bind(datetime(since_ms))
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The last transfers of a pool between a cell and another one, and how far the other one has got.
#[derive(Debug, sqlx::FromRow)]
pub struct TransferRow {
    pub peer: u16,
    pub kind: String,
    pub item_id: u64,
    pub option_id: u64,
    pub life: u64,
    pub given_number: u64,
    pub given_units: i64,
    pub given_epoch: u64,
    pub given_seq: u64,
    pub taken_number: u64,
    pub taken_epoch: u64,
    pub taken_seq: u64,
    /// Of the other cell: the last one that it took, of the same life.
    pub arrived_number: u64,
}

/// All transfers from and to a cell.
pub async fn transfers(pool: &MySqlPool, cell: CellId) -> Result<Vec<TransferRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT t.peer, t.kind, t.item_id, t.option_id, t.life, t.given_number, t.given_units, t.given_epoch, \
         t.given_seq, t.taken_number, t.taken_epoch, t.taken_seq, \
         CAST(COALESCE(IF(p.life = t.life, p.taken_number, 0), 0) AS UNSIGNED) AS arrived_number \
         FROM transfers t LEFT JOIN transfers p ON p.kind = t.kind AND p.item_id = t.item_id \
             AND p.option_id = t.option_id AND p.cell = t.peer AND p.peer = t.cell \
         WHERE t.cell = ?",
    )
    .bind(cell.0)
    .fetch_all(pool)
    .await
}

/// Products and campaigns of a home cell that some other cell has no copy of yet, or an older one.
pub async fn uncopied(
    pool: &MySqlPool,
    home: CellId,
    cells: u16,
) -> Result<Vec<(String, u64, u64)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT 'p', h.product_id, h.version FROM products h WHERE h.cell = ? AND h.home = 1 AND ? > 1 + (\
             SELECT COUNT(*) FROM products c WHERE c.product_id = h.product_id AND c.home = 0 \
             AND (c.version >= h.version OR (h.deleted = 1 AND c.deleted = 1))) \
         AND (h.deleted = 0 OR EXISTS (SELECT 1 FROM products c WHERE c.product_id = h.product_id AND c.home = 0 \
             AND c.deleted = 0)) \
         UNION ALL \
         SELECT 'c', h.coupon_id, h.version FROM coupons h WHERE h.cell = ? AND h.home = 1 AND ? > 1 + (\
             SELECT COUNT(*) FROM coupons c WHERE c.coupon_id = h.coupon_id AND c.home = 0 \
             AND (c.version >= h.version OR (h.forgotten = 1 AND c.forgotten = 1))) \
         AND (h.forgotten = 0 OR EXISTS (SELECT 1 FROM coupons c WHERE c.coupon_id = h.coupon_id AND c.home = 0 \
             AND c.forgotten = 0))",
    )
    .bind(home.0)
    .bind(cells)
    .bind(home.0)
    .bind(cells)
    .fetch_all(pool)
    .await
}

/// Events of a cell whose rows are missing: a rebuild refuses such a cell.
pub async fn dead_events(pool: &MySqlPool, cell: CellId) -> Result<u64, sqlx::Error> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM dead_events WHERE cell = ?")
        .bind(cell.0)
        .fetch_one(pool)
        .await?;
    Ok(count as u64)
}
