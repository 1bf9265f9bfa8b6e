//! Rows for a rebuild of a cell in Redis, page by page.

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlPool;

use crate::cell::CellId;
use crate::money::Amount;

/// A wallet.
#[derive(Debug, sqlx::FromRow)]
pub struct WalletRow {
    pub user_id: u64,
    pub balance: Amount,
}

/// What a cell holds, for a progress bar.
pub async fn count_wallets(pool: &MySqlPool, cell: CellId) -> Result<u64, sqlx::Error> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM wallets WHERE cell = ?").bind(cell.0).fetch_one(pool).await?;
    Ok(count as u64)
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
}

/// All products of a cell; a catalogue fits into memory.
pub async fn products(pool: &MySqlPool, cell: CellId) -> Result<Vec<ProductRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT product_id, name, options, sale_starts_at, sale_ends_at, limit_per_user FROM products WHERE cell = ?",
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
}

/// All SKUs of a cell, those no longer sold included.
pub async fn skus(pool: &MySqlPool, cell: CellId) -> Result<Vec<SkuRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT product_id, option_id, name, price, listed, initial_stock, remaining FROM skus WHERE cell = ?",
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

/// The next counts against limits per user, behind a user and product.
pub async fn bought(
    pool: &MySqlPool,
    cell: CellId,
    after: (u64, u64),
    limit: u32,
) -> Result<Vec<BoughtRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT o.user_id, l.product_id, CAST(SUM(l.quantity) AS SIGNED) AS units \
         FROM order_lines l JOIN orders o ON o.id = l.order_id \
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

/// The record of an idempotency key.
#[derive(Debug, sqlx::FromRow)]
pub struct IdempotencyRow {
    pub user_id: u64,
    pub idem_key: String,
    pub fingerprint: String,
    pub answer: String,
    pub at: DateTime<Utc>,
}

/// The next records younger than `since`, behind a user and key.
pub async fn idempotency(
    pool: &MySqlPool,
    cell: CellId,
    since: DateTime<Utc>,
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
    .bind(since)
    .bind(limit)
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
