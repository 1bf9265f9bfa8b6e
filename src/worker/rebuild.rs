//! A cell's keys from MySQL: the one step of a recovery that refills Redis.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlPool;

use super::recover::RecoverError;
use crate::cell::CellId;
use crate::coupon::IssueState;
use crate::idempotency::IdempotencyKey;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::mysql::restore;
use crate::product::SkuId;
use crate::ranking::{WINDOW_HOURS, hour_of};
use crate::scripts::keys;
use crate::scripts::recovery::{CellInRecovery, RestoreChunks};

/// Rows read from MySQL at once.
const PAGE: u32 = 20_000;

/// What a rebuild tells while it runs.
pub trait Progress: Send + Sync {
    /// How many wallets there are: most of the work.
    fn begin(&self, _wallets: u64) {}
    fn advance(&self, _rows: u64) {}
}

/// Nobody watches.
pub struct Silent;

impl Progress for Silent {}

/// Clears the cell and writes all it holds from MySQL, whose position does not move meanwhile: the
/// caller owns the epoch.
pub(super) async fn rebuild(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
    idempotency_ttl_ms: u64,
    progress: &dyn Progress,
) -> Result<(), RecoverError> {
    let dead = restore::dead_events(mysql, id).await?;
    if dead > 0 {
        return Err(RecoverError::DeadEvents(dead));
    }
    progress.begin(restore::count_wallets(mysql, id).await?);
    cell.clear().await?;
    restore_wallets(cell, id, mysql, progress).await?;
    restore_catalogue(cell, id, mysql).await?;
    restore_bought(cell, id, mysql).await?;
    restore_coupons(cell, id, mysql).await?;
    restore_issues(cell, id, mysql).await?;
    restore_sales(cell, id, mysql).await?;
    restore_idempotency(cell, id, mysql, idempotency_ttl_ms).await
}

async fn restore_wallets(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
    progress: &dyn Progress,
) -> Result<(), RecoverError> {
    let mut after = 0;
    loop {
        let page = restore::wallets(mysql, id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.user_id;
        let mut chunks = RestoreChunks::default();
        for row in &page {
            let key = keys::user(id, stored(UserId::new(row.user_id))?);
            chunks.push(["HSET".to_owned(), key, "balance".to_owned(), row.balance.to_string()]);
        }
        cell.restore(&chunks.finish()).await?;
        progress.advance(page.len() as u64);
    }
}

async fn restore_catalogue(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
) -> Result<(), RecoverError> {
    let mut chunks = RestoreChunks::default();
    let products = restore::products(mysql, id).await?;
    let skus = restore::skus(mysql, id).await?;
    let mut unlisted: HashMap<u64, Vec<String>> = HashMap::new();
    for sku in skus.iter().filter(|it| !it.listed) {
        unlisted.entry(sku.product_id).or_default().push(sku.option_id.to_string());
    }
    for row in &products {
        let product = stored(ProductId::new(row.product_id))?;
        let mut words = vec!["HSET".to_owned(), keys::product(id, product)];
        words.extend(["name".to_owned(), row.name.clone(), "options".to_owned(), row.options.clone()]);
        words.extend(["set_at_ms".to_owned(), row.set_at.timestamp_millis().to_string()]);
        if let Some(options) = unlisted.get(&row.product_id) {
            words.extend(["unlisted".to_owned(), options.join(",")]);
        }
        words.extend(window_and_limit(row));
        chunks.push_all(words);
        let text = product.to_string();
        chunks.push(["ZADD".to_owned(), keys::products(id), text.clone(), text]);
        if !row.options.split(',').any(|it| it == "0") {
            let key = keys::sku(id, SkuId { product, option: OptionId::NONE });
            chunks.push(["HSET".to_owned(), key, "has_options".to_owned(), "1".to_owned()]);
        }
    }
    let by_id: HashMap<u64, &restore::ProductRow> = products.iter().map(|it| (it.product_id, it)).collect();
    for row in skus {
        let product = stored(ProductId::new(row.product_id))?;
        let sku = SkuId { product, option: stored(OptionId::new(row.option_id))? };
        let mut words = vec!["HSET".to_owned(), keys::sku(id, sku), "name".to_owned(), row.name];
        words.extend(["initial".to_owned(), row.initial_stock.to_string()]);
        words.extend(["remaining".to_owned(), row.remaining.to_string()]);
        if row.listed {
            words.extend(["price".to_owned(), row.price.to_string()]);
            if let Some(product) = by_id.get(&row.product_id) {
                words.extend(window_and_limit(product));
            }
        }
        chunks.push_all(words);
    }
    Ok(cell.restore(&chunks.finish()).await?)
}

fn window_and_limit(row: &restore::ProductRow) -> Vec<String> {
    let time = |it: Option<DateTime<Utc>>| it.map(|it| it.timestamp_millis().to_string());
    let fields = [
        ("starts_at_ms", time(row.sale_starts_at)),
        ("ends_at_ms", time(row.sale_ends_at)),
        ("limit", row.limit_per_user.map(|it| it.to_string())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten().collect()
}

async fn restore_bought(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
) -> Result<(), RecoverError> {
    let mut after = (0, 0);
    loop {
        let page = restore::bought(mysql, id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.user_id, last.product_id);
        let mut chunks = RestoreChunks::default();
        for row in page {
            let key = keys::bought(id, stored(ProductId::new(row.product_id))?);
            chunks.push(["HSET".to_owned(), key, row.user_id.to_string(), row.units.to_string()]);
        }
        cell.restore(&chunks.finish()).await?;
    }
}

async fn restore_coupons(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
) -> Result<(), RecoverError> {
    let mut chunks = RestoreChunks::default();
    for row in restore::coupons(mysql, id).await? {
        let coupon = stored(CouponId::new(row.coupon_id))?;
        let time = |it: DateTime<Utc>| Some(it.timestamp_millis().to_string());
        let number = |it: i64| Some(it.to_string());
        let fields = [
            ("name", Some(row.name)),
            ("kind", Some(row.kind)),
            ("value", number(row.value)),
            ("max_amount", row.max_amount.and_then(number)),
            ("min_order", row.min_order_amount.and_then(number)),
            ("quantity", number(row.quantity)),
            ("remaining", number(row.remaining)),
            ("starts_at_ms", time(row.starts_at)),
            ("ends_at_ms", time(row.ends_at)),
            ("expires_at_ms", time(row.expires_at)),
            ("set_at_ms", time(row.set_at)),
        ];
        let mut words = vec!["HSET".to_owned(), keys::coupon(id, coupon)];
        words
            .extend(fields.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten());
        chunks.push_all(words);
        let text = coupon.to_string();
        chunks.push(["ZADD".to_owned(), keys::coupons(id), text.clone(), text]);
    }
    Ok(cell.restore(&chunks.finish()).await?)
}

async fn restore_issues(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
) -> Result<(), RecoverError> {
    let mut after = (0, 0);
    loop {
        let page = restore::coupon_issues(mysql, id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.coupon_id, last.user_id);
        let mut chunks = RestoreChunks::default();
        for row in page {
            let key = keys::issues(id, stored(CouponId::new(row.coupon_id))?);
            let order = stored(row.order_id.map(OrderId::new).transpose())?;
            let state = IssueState::from_parts(&row.state, order)
                .ok_or_else(|| RecoverError::Row(format!("coupon state {:?} {order:?}", row.state)))?;
            let mut text = format!("{} {}", state.as_str(), row.issued_at.timestamp_millis());
            if let Some(order) = state.order() {
                text += &format!(" {order}");
            }
            chunks.push(["HSET".to_owned(), key, row.user_id.to_string(), text]);
        }
        cell.restore(&chunks.finish()).await?;
    }
}

/// The ranking's hours, and their sum.
async fn restore_sales(cell: &mut CellInRecovery, id: CellId, mysql: &MySqlPool) -> Result<(), RecoverError> {
    let running = hour_of(cell.clock_ms().await?);
    let add = |key: String, product: ProductId, units: i64| {
        ["ZADD".to_owned(), key, (-units).to_string(), keys::sold_member(product)]
    };
    let mut window: HashMap<ProductId, i64> = HashMap::new();
    for hour in running - WINDOW_HOURS + 1..=running {
        let mut chunks = RestoreChunks::default();
        for row in restore::sold_in_hour(mysql, id, hour).await? {
            let product = stored(ProductId::new(row.product_id))?;
            *window.entry(product).or_default() += row.units;
            chunks.push(add(keys::hour_sales(id, hour), product, row.units));
        }
        cell.restore(&chunks.finish()).await?;
    }
    let mut chunks = RestoreChunks::default();
    for (product, units) in window {
        chunks.push(add(keys::rolling_sales(id), product, units));
    }
    let rolled_to = (running - WINDOW_HOURS).to_string();
    chunks.push(["HSET".to_owned(), keys::sales(id), "rolled_to".to_owned(), rolled_to]);
    Ok(cell.restore(&chunks.finish()).await?)
}

async fn restore_idempotency(
    cell: &mut CellInRecovery,
    id: CellId,
    mysql: &MySqlPool,
    ttl_ms: u64,
) -> Result<(), RecoverError> {
    let ttl_ms = ttl_ms as i64;
    // The clock that set the records decides when they end.
    let since_ms = cell.clock_ms().await? - ttl_ms;
    let mut after = (0, String::new());
    loop {
        let page = restore::idempotency(mysql, id, since_ms, (after.0, &after.1), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.user_id, last.idem_key.clone());
        let mut chunks = RestoreChunks::default();
        for row in page {
            let scope = UserId::new(row.user_id).ok();
            let key = IdempotencyKey::new(&row.idem_key)
                .ok_or_else(|| RecoverError::Row(format!("idempotency key {:?}", row.idem_key)))?;
            let ends_at_ms = row.at.timestamp_millis() + ttl_ms;
            chunks.push([
                "SET".to_owned(),
                keys::idempotency(id, scope, &key),
                format!("{} {}", row.fingerprint, row.answer),
                "PXAT".to_owned(),
                ends_at_ms.to_string(),
            ]);
        }
        cell.restore(&chunks.finish()).await?;
    }
}

fn stored<T>(id: Result<T, crate::ids::NotAnId>) -> Result<T, RecoverError> {
    id.map_err(|error| RecoverError::Row(error.to_string()))
}
