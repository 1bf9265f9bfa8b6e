//! What administrators change, event after event: a later change may build on an earlier one of its batch.

use sqlx::MySqlConnection;

use super::datetime;
use crate::cell::{CellId, Seq};
use crate::coupon::CouponDescription;
use crate::event::ProductSetEvent;
use crate::ids::{CouponId, ProductId};
use crate::product::SkuId;
use crate::time::Millis;

/// Everything but the units left, which are folded with those that buyers change.
pub(super) enum CatalogueChange {
    Product(Seq, ProductSetEvent),
    /// With what remained of each SKU.
    ProductDeleted(ProductId, Vec<(SkuId, i64)>),
    Restocked(SkuId, i64),
    /// With the time of the event.
    Coupon(Seq, Millis, CouponDescription),
    CouponForgotten(CouponId),
}

impl CatalogueChange {
    pub async fn write(&self, cell: CellId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        match self {
            Self::Product(seq, product) => write_product(cell, connection, *seq, product).await,
            Self::ProductDeleted(product, remaining) => delete_product(connection, *product, remaining).await,
            Self::Restocked(sku, delta) => restock(connection, *sku, *delta).await,
            Self::Coupon(seq, at_ms, coupon) => write_coupon(cell, connection, *seq, *at_ms, coupon).await,
            Self::CouponForgotten(coupon) => {
                let query = sqlx::query("UPDATE coupons SET forgotten = 1 WHERE coupon_id = ?");
                query.bind(coupon.get()).execute(connection).await.map(|_| ())
            }
        }
    }
}

/// A product that was deleted begins a new life. What its orders hold of an earlier one is in `restocked`, so
/// that initial and restocked units are still those left plus those that orders hold.
async fn write_product(
    cell: CellId,
    connection: &mut MySqlConnection,
    seq: Seq,
    set: &ProductSetEvent,
) -> Result<(), sqlx::Error> {
    let options: Vec<String> = set.skus.iter().map(|it| it.option.to_string()).collect();
    sqlx::query(
        "INSERT INTO products \
         (product_id, cell, name, options, sale_starts_at, sale_ends_at, limit_per_user, set_at, born_seq, seq) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name), options = VALUES(options), \
         sale_starts_at = VALUES(sale_starts_at), sale_ends_at = VALUES(sale_ends_at), \
         limit_per_user = VALUES(limit_per_user), set_at = VALUES(set_at), \
         born_seq = IF(deleted = 1, VALUES(born_seq), born_seq), \
         deleted = 0, seq = VALUES(seq)",
    )
    .bind(set.product.get())
    .bind(cell.0)
    .bind(&set.name)
    .bind(options.join(","))
    .bind(set.starts_at_ms.map(datetime))
    .bind(set.ends_at_ms.map(datetime))
    .bind(set.limit_per_user)
    .bind(datetime(set.at_ms))
    .bind(seq)
    .bind(seq)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE skus SET listed = 0 WHERE product_id = ?")
        .bind(set.product.get())
        .execute(&mut *connection)
        .await?;
    for sku in &set.skus {
        sqlx::query(
            "INSERT INTO skus (product_id, option_id, cell, name, price, listed, initial_stock, remaining, seq) \
             VALUES (?, ?, ?, ?, ?, 1, ?, 0, 0) ON DUPLICATE KEY UPDATE name = VALUES(name), \
             price = VALUES(price), listed = 1, \
             restocked = IF(deleted = 1, restocked + initial_stock, restocked), \
             initial_stock = VALUES(initial_stock), deleted = 0",
        )
        .bind(set.product.get())
        .bind(sku.option.get())
        .bind(cell.0)
        .bind(&sku.name)
        .bind(sku.price)
        .bind(sku.initial)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Unsold units leave with the product.
async fn delete_product(
    connection: &mut MySqlConnection,
    product: ProductId,
    remaining: &[(SkuId, i64)],
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE products SET deleted = 1 WHERE product_id = ?")
        .bind(product.get())
        .execute(&mut *connection)
        .await?;
    for (sku, units) in remaining {
        sqlx::query(
            "UPDATE skus SET restocked = restocked - ?, listed = 0, deleted = 1 \
             WHERE product_id = ? AND option_id = ?",
        )
        .bind(units)
        .bind(sku.product.get())
        .bind(sku.option.get())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn restock(connection: &mut MySqlConnection, sku: SkuId, delta: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE skus SET restocked = restocked + ? WHERE product_id = ? AND option_id = ?")
        .bind(delta)
        .bind(sku.product.get())
        .bind(sku.option.get())
        .execute(connection)
        .await
        .map(|_| ())
}

async fn write_coupon(
    cell: CellId,
    connection: &mut MySqlConnection,
    seq: Seq,
    at_ms: Millis,
    coupon: &CouponDescription,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO coupons (coupon_id, cell, name, kind, value, max_amount, min_order_amount, quantity, \
         remaining, starts_at, ends_at, expires_at, set_at, born_seq, seq) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 0) ON DUPLICATE KEY UPDATE name = VALUES(name), \
         kind = VALUES(kind), value = VALUES(value), max_amount = VALUES(max_amount), \
         min_order_amount = VALUES(min_order_amount), quantity = VALUES(quantity), \
         starts_at = VALUES(starts_at), ends_at = VALUES(ends_at), expires_at = VALUES(expires_at), \
         set_at = VALUES(set_at), \
         born_seq = IF(forgotten = 1, VALUES(born_seq), born_seq), forgotten = 0",
    )
    .bind(coupon.id.get())
    .bind(cell.0)
    .bind(&coupon.name)
    .bind(coupon.discount.kind())
    .bind(coupon.discount.value())
    .bind(coupon.discount.max_amount())
    .bind(coupon.min_order_amount)
    .bind(coupon.quantity)
    .bind(datetime(coupon.starts_at_ms))
    .bind(datetime(coupon.ends_at_ms))
    .bind(datetime(coupon.expires_at_ms))
    .bind(datetime(at_ms))
    .bind(seq)
    .execute(connection)
    .await
    .map(|_| ())
}
