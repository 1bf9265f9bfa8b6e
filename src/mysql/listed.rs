//! The rows of products and campaigns, as events make them.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::catalogue::State;
use super::datetime;
use super::tables::LISTED_SKUS;
use crate::cell::{CellId, Seq};
use crate::event::{Event, Left, ProductSetEvent};
use crate::money::Amount;
use crate::scripts::product_set::CopyOf;

/// A product and its SKUs, but for the units left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ProductState {
    /// `None`: it was never set.
    product: Option<ProductRow>,
    /// By option.
    skus: BTreeMap<u64, SkuRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
struct ProductRow {
    name: String,
    options: String,
    sale_starts_at: Option<NaiveDateTime>,
    sale_ends_at: Option<NaiveDateTime>,
    limit_per_user: Option<u32>,
    set_at: NaiveDateTime,
    born_seq: Seq,
    deleted: bool,
    seq: Seq,
    #[serde(flatten)]
    #[sqlx(flatten)]
    source: Source,
}

/// Whether this is what the home cell says, or of what it is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
struct Source {
    /// Rows that were kept by an earlier release have none: they were the only ones.
    #[serde(default = "yes")]
    home: bool,
    /// Of the home cell's events, the one that this is of.
    #[serde(default)]
    version: Seq,
    /// Of the home cell's events, the first one of this life.
    #[serde(default)]
    life: Seq,
}

fn yes() -> bool {
    true
}

impl Source {
    fn new(copy_of: Option<CopyOf>, seq: Seq, born_seq: Seq) -> Self {
        match copy_of {
            Some(CopyOf { version, life }) => Self { home: false, version, life },
            None => Self { home: true, version: seq, life: born_seq },
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct SkuRow {
    name: String,
    price: Amount,
    listed: bool,
    deleted: bool,
    initial_stock: i64,
    /// Counted from what it was when the state was read.
    restocked: i64,
}

impl State for ProductState {
    fn apply(&mut self, seq: Seq, event: &Event) {
        match event {
            Event::ProductSet(set) => self.set(seq, set),
            Event::ProductDeleted { left, .. } => self.delete(seq, left),
            // Of other things.
            _ => {}
        }
    }

    async fn load(connection: &mut MySqlConnection, cell: CellId, id: u64) -> Result<Self, sqlx::Error> {
        let product = sqlx::query_as(
            "SELECT name, options, sale_starts_at, sale_ends_at, limit_per_user, set_at, born_seq, deleted, seq, \
             home, version, life FROM products WHERE product_id = ? AND cell = ?",
        )
        .bind(id)
        .bind(cell.0)
        .fetch_optional(&mut *connection)
        .await?;
        let skus: Vec<(u64, String, Amount, bool, bool, i64)> = sqlx::query_as(
            "SELECT option_id, name, price, listed, deleted, initial_stock FROM skus WHERE product_id = ? \
             AND cell = ?",
        )
        .bind(id)
        .bind(cell.0)
        .fetch_all(connection)
        .await?;
        let sku = |(option, name, price, listed, deleted, initial_stock)| {
            (option, SkuRow { name, price, listed, deleted, initial_stock, restocked: 0 })
        };
        Ok(Self { product, skus: skus.into_iter().map(sku).collect() })
    }

    async fn store(
        connection: &mut MySqlConnection,
        cell: CellId,
        id: u64,
        before: &Self,
        after: &Self,
    ) -> Result<(), sqlx::Error> {
        if let Some(product) = after.product.as_ref().filter(|it| before.product.as_ref() != Some(it)) {
            product.store(connection, cell, id).await?;
        }
        let changed: Vec<(u64, &SkuRow, i64)> = after
            .skus
            .iter()
            .filter(|(option, sku)| before.skus.get(option) != Some(sku))
            .map(|(option, sku)| {
                let restocked_before = before.skus.get(option).map_or(0, |it| it.restocked);
                (*option, sku, sku.restocked - restocked_before)
            })
            .collect();
        let row = |to: &mut MySqlArguments, (option, sku, restocked): &(u64, &SkuRow, i64)| {
            to.add(id)?;
            to.add(option)?;
            to.add(cell.0)?;
            to.add(&sku.name)?;
            to.add(sku.price)?;
            to.add(sku.listed)?;
            to.add(sku.deleted)?;
            to.add(sku.initial_stock)?;
            to.add(restocked)
        };
        LISTED_SKUS.execute(connection, &changed, row).await
    }
}

impl ProductState {
    /// A product that was deleted begins a new life. What its orders hold of an earlier one is in `restocked`, so
    /// that initial and restocked units are still those left plus those that orders hold.
    fn set(&mut self, seq: Seq, set: &ProductSetEvent) {
        let options: Vec<String> = set.skus.iter().map(|it| it.option.to_string()).collect();
        let alive = self.product.as_ref().filter(|it| !it.deleted);
        let born_seq = alive.map_or(seq, |it| it.born_seq);
        self.product = Some(ProductRow {
            name: set.name.clone(),
            options: options.join(","),
            sale_starts_at: set.starts_at_ms.map(datetime),
            sale_ends_at: set.ends_at_ms.map(datetime),
            limit_per_user: set.limit_per_user,
            set_at: datetime(set.at_ms),
            born_seq,
            deleted: false,
            seq,
            source: Source::new(set.copy_of, seq, born_seq),
        });
        self.skus.values_mut().for_each(|it| it.listed = false);
        for sku in &set.skus {
            let row = self.skus.entry(sku.option.get()).or_default();
            let ended = if row.deleted { row.initial_stock } else { 0 };
            *row = SkuRow {
                name: sku.name.clone(),
                price: sku.price,
                listed: true,
                deleted: false,
                initial_stock: sku.initial,
                restocked: row.restocked + ended,
            };
        }
    }

    /// Unsold units leave with the product.
    fn delete(&mut self, seq: Seq, left: &[Left]) {
        if let Some(product) = &mut self.product {
            product.deleted = true;
            if product.source.home {
                product.source.version = seq;
            }
        }
        for Left { sku, remaining, moved } in left {
            let row = self.skus.entry(sku.option.get()).or_default();
            // What moved is counted anew in the next life.
            row.restocked += moved - remaining;
            (row.listed, row.deleted) = (false, true);
        }
    }
}

impl ProductRow {
    async fn store(
        &self,
        connection: &mut MySqlConnection,
        cell: CellId,
        id: u64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO products (product_id, cell, name, options, sale_starts_at, sale_ends_at, limit_per_user, \
             set_at, born_seq, deleted, seq, home, version, life) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE name = VALUES(name), options = VALUES(options), \
             sale_starts_at = VALUES(sale_starts_at), sale_ends_at = VALUES(sale_ends_at), \
             limit_per_user = VALUES(limit_per_user), set_at = VALUES(set_at), born_seq = VALUES(born_seq), \
             deleted = VALUES(deleted), seq = VALUES(seq), home = VALUES(home), version = VALUES(version), \
             life = VALUES(life)",
        )
        .bind(id)
        .bind(cell.0)
        .bind(&self.name)
        .bind(&self.options)
        .bind(self.sale_starts_at)
        .bind(self.sale_ends_at)
        .bind(self.limit_per_user)
        .bind(self.set_at)
        .bind(self.born_seq)
        .bind(self.deleted)
        .bind(self.seq)
        .bind(self.source.home)
        .bind(self.source.version)
        .bind(self.source.life)
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// A campaign, but for the units left; `None`: it was never set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CouponState(Option<CouponRow>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
struct CouponRow {
    name: String,
    kind: String,
    value: i64,
    max_amount: Option<Amount>,
    min_order_amount: Option<Amount>,
    quantity: i64,
    starts_at: NaiveDateTime,
    ends_at: NaiveDateTime,
    expires_at: NaiveDateTime,
    set_at: NaiveDateTime,
    born_seq: Seq,
    forgotten: bool,
    #[serde(flatten)]
    #[sqlx(flatten)]
    source: Source,
}

impl State for CouponState {
    fn apply(&mut self, seq: Seq, event: &Event) {
        match event {
            Event::CouponSet { at_ms, coupon, copy_of, .. } => {
                let alive = self.0.as_ref().filter(|it| !it.forgotten);
                let born_seq = alive.map_or(seq, |it| it.born_seq);
                self.0 = Some(CouponRow {
                    name: coupon.name.clone(),
                    kind: coupon.discount.kind().to_owned(),
                    value: coupon.discount.value(),
                    max_amount: coupon.discount.max_amount(),
                    min_order_amount: coupon.min_order_amount,
                    quantity: coupon.quantity,
                    starts_at: datetime(coupon.starts_at_ms),
                    ends_at: datetime(coupon.ends_at_ms),
                    expires_at: datetime(coupon.expires_at_ms),
                    set_at: datetime(*at_ms),
                    born_seq,
                    forgotten: false,
                    source: Source::new(*copy_of, seq, born_seq),
                });
            }
            Event::CouponForgotten { .. } => {
                if let Some(coupon) = &mut self.0 {
                    coupon.forgotten = true;
                    if coupon.source.home {
                        coupon.source.version = seq;
                    }
                }
            }
            // Of other things.
            _ => {}
        }
    }

    async fn load(connection: &mut MySqlConnection, cell: CellId, id: u64) -> Result<Self, sqlx::Error> {
        // Number 0 began no life: such a row was made for its units left.
        sqlx::query_as(
            "SELECT name, kind, value, max_amount, min_order_amount, quantity, starts_at, ends_at, expires_at, set_at, \
             born_seq, forgotten, home, version, life FROM coupons \
             WHERE coupon_id = ? AND cell = ? AND born_seq > 0",
        )
        .bind(id)
        .bind(cell.0)
        .fetch_optional(connection)
        .await
        .map(Self)
    }

    async fn store(
        connection: &mut MySqlConnection,
        cell: CellId,
        id: u64,
        before: &Self,
        after: &Self,
    ) -> Result<(), sqlx::Error> {
        let Some(coupon) = after.0.as_ref().filter(|_| before != after) else { return Ok(()) };
        sqlx::query(
            "INSERT INTO coupons (coupon_id, cell, name, kind, value, max_amount, min_order_amount, quantity, \
             remaining, starts_at, ends_at, expires_at, set_at, born_seq, forgotten, seq, home, version, life) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name), \
             kind = VALUES(kind), value = VALUES(value), max_amount = VALUES(max_amount), \
             min_order_amount = VALUES(min_order_amount), quantity = VALUES(quantity), \
             starts_at = VALUES(starts_at), ends_at = VALUES(ends_at), expires_at = VALUES(expires_at), \
             set_at = VALUES(set_at), born_seq = VALUES(born_seq), forgotten = VALUES(forgotten), \
             home = VALUES(home), version = VALUES(version), life = VALUES(life)",
        )
        .bind(id)
        .bind(cell.0)
        .bind(&coupon.name)
        .bind(&coupon.kind)
        .bind(coupon.value)
        .bind(coupon.max_amount)
        .bind(coupon.min_order_amount)
        .bind(coupon.quantity)
        .bind(coupon.starts_at)
        .bind(coupon.ends_at)
        .bind(coupon.expires_at)
        .bind(coupon.set_at)
        .bind(coupon.born_seq)
        .bind(coupon.forgotten)
        .bind(coupon.source.home)
        .bind(coupon.source.version)
        .bind(coupon.source.life)
        .execute(connection)
        .await
        .map(|_| ())
    }
}
