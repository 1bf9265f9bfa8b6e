//! A cell's keys from MySQL: the one step of a recovery that refills Redis.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::mysql::MySqlPool;

use super::recover::RecoverError;
use crate::cell::{CellId, Cells};
use crate::coupon::IssueState;
use crate::idempotency::IdempotencyKey;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::mysql::orders::StoredOrder;
use crate::mysql::restore;
use crate::pool::Pool;
use crate::product::SkuId;
use crate::ranking::{WINDOW_HOURS, hour_of};
use crate::scripts::keys;
use crate::scripts::recovery::{CellInRecovery, RestoreChunks};

/// Rows read from MySQL at once.
const PAGE: u32 = 20_000;

/// Orders with all their lines read from MySQL at once.
const ORDER_PAGE: u32 = 1_000;

/// What a rebuild tells while it runs.
pub trait Progress: Send + Sync {
    /// About how many rows there are to restore.
    fn begin(&self, _rows: u64) {}
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
    cells: Cells,
    mysql: &MySqlPool,
    idempotency_ttl_ms: u64,
    progress: &dyn Progress,
) -> Result<(), RecoverError> {
    let dead = restore::dead_events(mysql, id).await?;
    if dead > 0 {
        return Err(RecoverError::DeadEvents(dead));
    }
    progress.begin(restore::count_rows(mysql, id).await?);
    cell.clear().await?;
    let mut lives = HashMap::new();
    restore_catalogue(cell, id, cells, mysql, &mut lives).await?;
    restore_coupons(cell, id, cells, mysql, &mut lives).await?;
    if cells.count() > 1 {
        restore_transfers(cell, id, cells, mysql, &lives).await?;
    }
    restore_sales(cell, id, mysql).await?;
    let mut rebuild = Rebuild { cell, id, mysql, progress };
    rebuild.wallets().await?;
    rebuild.bought().await?;
    rebuild.issues().await?;
    rebuild.pending().await?;
    rebuild.idempotency(idempotency_ttl_ms).await
}

/// The large tables, page by page: the next page is read while the last one is written.
struct Rebuild<'a> {
    cell: &'a mut CellInRecovery,
    id: CellId,
    mysql: &'a MySqlPool,
    progress: &'a dyn Progress,
}

impl Rebuild<'_> {
    /// Restores what `read` gives, from behind `first` on: `write` gives each row's commands, `place` its place in the
    /// order of reading.
    async fn pages<Row, Place, Read>(
        &mut self,
        first: Place,
        read: impl Fn(Place) -> Read,
        place: impl Fn(&Row) -> Place,
        write: impl Fn(Row, &mut RestoreChunks) -> Result<(), RecoverError>,
    ) -> Result<(), RecoverError>
    where
        Read: Future<Output = Result<Vec<Row>, sqlx::Error>>,
    {
        let mut page = read(first).await?;
        while let Some(last) = page.last() {
            let (place, rows) = (place(last), page.len() as u64);
            let mut chunks = RestoreChunks::default();
            for row in page {
                write(row, &mut chunks)?;
            }
            let chunks = chunks.finish();
            let (restored, next) = futures::join!(self.cell.restore(&chunks), read(place));
            restored?;
            self.progress.advance(rows);
            page = next?;
        }
        Ok(())
    }

    async fn wallets(&mut self) -> Result<(), RecoverError> {
        let Self { id, mysql, .. } = *self;
        let read = |after| restore::wallets(mysql, id, after, PAGE);
        self.pages(
            0,
            read,
            |it| it.user_id,
            |row, chunks| {
                let key = keys::user(id, stored(UserId::new(row.user_id))?);
                chunks.push(["HSET".to_owned(), key, "balance".to_owned(), row.balance.to_string()]);
                Ok(())
            },
        )
        .await
    }

    async fn bought(&mut self) -> Result<(), RecoverError> {
        let Self { id, mysql, .. } = *self;
        let read = |after| restore::bought(mysql, id, after, PAGE);
        self.pages(
            (0, 0),
            read,
            |it| (it.user_id, it.product_id),
            |row, chunks| {
                let key = keys::bought(id, stored(ProductId::new(row.product_id))?);
                chunks.push(["HSET".to_owned(), key, row.user_id.to_string(), row.units.to_string()]);
                Ok(())
            },
        )
        .await
    }

    async fn issues(&mut self) -> Result<(), RecoverError> {
        let Self { id, mysql, .. } = *self;
        let read = |after| restore::coupon_issues(mysql, id, after, PAGE);
        self.pages(
            (0, 0),
            read,
            |it| (it.coupon_id, it.user_id),
            |row, chunks| {
                let key = keys::issues(id, stored(CouponId::new(row.coupon_id))?);
                let order = stored(row.order_id.map(OrderId::new).transpose())?;
                let state = IssueState::from_parts(&row.state, order)
                    .ok_or_else(|| RecoverError::Row(format!("coupon state {:?} {order:?}", row.state)))?;
                let mut text = format!("{} {}", state.as_str(), row.issued_at.timestamp_millis());
                if let Some(order) = state.order() {
                    text += &format!(" {order}");
                }
                chunks.push(["HSET".to_owned(), key, row.user_id.to_string(), text]);
                Ok(())
            },
        )
        .await
    }

    /// Pending orders and their deadlines.
    async fn pending(&mut self) -> Result<(), RecoverError> {
        let Self { id, mysql, .. } = *self;
        let read = |after| restore::pending_orders(mysql, id, after, ORDER_PAGE);
        self.pages(
            0,
            read,
            |it| it.order.order_id.get(),
            |row, chunks| {
                let StoredOrder { order, facts, .. } = row;
                let key = keys::order(id, order.order_id);
                let fields = ["status", "pending", "facts"].map(str::to_owned);
                chunks.push_all(
                    ["HSET".to_owned(), key].into_iter().chain(fields).chain([facts.to_string()]).collect(),
                );
                let expires_at_ms = facts.expires_at_ms.unwrap_or_default().to_string();
                chunks.push(["ZADD".to_owned(), keys::due(id), expires_at_ms, order.order_id.to_string()]);
                Ok(())
            },
        )
        .await
    }

    async fn idempotency(&mut self, ttl_ms: u64) -> Result<(), RecoverError> {
        let Self { id, mysql, .. } = *self;
        let ttl_ms = ttl_ms as i64;
        // The clock that set the records decides when they end.
        let since_ms = self.cell.clock_ms().await? - ttl_ms;
        let read = |after: (u64, String)| async move {
            restore::idempotency(mysql, id, since_ms, (after.0, &after.1), PAGE).await
        };
        self.pages(
            (0, String::new()),
            read,
            |it| (it.user_id, it.idem_key.clone()),
            |row, chunks| {
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
                Ok(())
            },
        )
        .await
    }
}

/// The life of each pool, as its transfers must name it.
type Lives = HashMap<Pool, u64>;

async fn restore_catalogue(
    cell: &mut CellInRecovery,
    id: CellId,
    cells: Cells,
    mysql: &MySqlPool,
    lives: &mut Lives,
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
        words.extend(["born".to_owned(), row.born_seq.to_string()]);
        if cells.count() > 1 {
            words.extend(["version".to_owned(), row.version.to_string()]);
            words.extend(["life".to_owned(), row.life.to_string()]);
        }
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
        if row.moved != 0 {
            words.extend(["moved".to_owned(), row.moved.to_string()]);
        }
        if let Some(product) = by_id.get(&row.product_id).filter(|_| cells.count() > 1) {
            lives.insert(Pool::Stock(sku), product.life);
            words.extend(["life".to_owned(), product.life.to_string()]);
        }
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

async fn restore_coupons(
    cell: &mut CellInRecovery,
    id: CellId,
    cells: Cells,
    mysql: &MySqlPool,
    lives: &mut Lives,
) -> Result<(), RecoverError> {
    let mut chunks = RestoreChunks::default();
    for row in restore::coupons(mysql, id).await? {
        let coupon = stored(CouponId::new(row.coupon_id))?;
        let time = |it: DateTime<Utc>| Some(it.timestamp_millis().to_string());
        let number = |it: i64| Some(it.to_string());
        let in_several = |it: u64| (cells.count() > 1).then(|| it.to_string());
        lives.insert(Pool::Coupon(coupon), row.life);
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
            ("version", in_several(row.version)),
            ("life", in_several(row.life)),
            ("moved", (row.moved != 0).then(|| row.moved.to_string())),
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

/// The last transfers from and to the cell, and what changed here and is not everywhere. A transfer counts as under way until
/// MySQL has its arrival: whoever takes it to its end finds that the other cell has it.
async fn restore_transfers(
    cell: &mut CellInRecovery,
    id: CellId,
    cells: Cells,
    mysql: &MySqlPool,
    lives: &Lives,
) -> Result<(), RecoverError> {
    let mut chunks = RestoreChunks::default();
    for row in restore::transfers(mysql, id).await? {
        let restore::TransferRow { peer, kind, item_id, option_id, .. } = &row;
        let pool = match kind.as_str() {
            "s" => Pool::Stock(SkuId {
                product: stored(ProductId::new(*item_id))?,
                option: stored(OptionId::new(*option_id))?,
            }),
            _ => Pool::Coupon(stored(CouponId::new(*item_id))?),
        };
        // Of an earlier life nothing is left.
        if lives.get(&pool) != Some(&row.life) {
            continue;
        }
        if row.given_number > 0 {
            let text =
                format!("{} {} {} {}", row.given_number, row.given_units, row.given_epoch, row.given_seq);
            chunks.push(["HSET".to_owned(), keys::quota(id, pool), format!("out{peer}"), text]);
            if row.arrived_number < row.given_number {
                chunks.push(["SADD".to_owned(), keys::gifts(id), format!("{pool} {peer}")]);
            }
        }
        if row.taken_number > 0 {
            let text = format!("{} {} {}", row.taken_number, row.taken_epoch, row.taken_seq);
            chunks.push(["HSET".to_owned(), keys::quota(id, pool), format!("in{peer}"), text]);
        }
    }
    for (kind, item, version) in restore::uncopied(mysql, id, cells.count()).await? {
        let name = format!("{kind}:{item}");
        chunks.push(["ZADD".to_owned(), keys::uncopied(id), version.to_string(), name]);
    }
    Ok(cell.restore(&chunks.finish()).await?)
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

fn stored<T>(id: Result<T, crate::ids::NotAnId>) -> Result<T, RecoverError> {
    id.map_err(|error| RecoverError::Row(error.to_string()))
}
