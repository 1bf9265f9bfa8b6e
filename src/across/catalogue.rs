//! Products and campaigns: described in their home cell, and copied to all others.
//!
//! A copy is made once MySQL has what it is a copy of, so that no recovery of the home cell leaves another one with what
//! the home never said. Until then, and while a cell is closed, that cell sells by what it knew before; each answer says
//! the price that was paid. A worker makes the copies that are missing (`worker::copies`).

use std::time::Duration;

use futures::future::join_all;

use super::{desk::Desk, lists, stock};
use crate::cell::{CellId, Position};
use crate::coupon::{Coupon, CouponDescription};
use crate::idempotency::Idempotency;
use crate::ids::{OptionId, ProductId, UserId};
use crate::pool::Pool;
use crate::product::{Product, SkuId};
use crate::scripts::coupon_forget::{Forgetting, coupon_forget};
use crate::scripts::coupon_list::coupon_to_copy;
use crate::scripts::coupon_set::{CouponSet, coupon_set};
use crate::scripts::product_delete::{Deletion, ProductDelete, product_delete};
use crate::scripts::product_list::product_to_copy;
use crate::scripts::product_restock::{ProductRestock, product_restock};
use crate::scripts::product_set::{
    CopyOf, Described, ProductDescription, ProductSet, SkuDescription, product_set,
};
use crate::scripts::{ScriptError, Scripts};
use crate::watermark::{Reached, Watermark};

/// Longest wait for MySQL before copies are left to a worker.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often units are recalled for one change.
const RECALLS_MAX: usize = 20;

/// Lists a product, or changes what is listed, in all cells.
///
/// # Errors
/// After [`ScriptError::Unknown`] the product may have been set; calling again is safe.
pub async fn set_product(
    scripts: &Scripts,
    watermark: &Watermark,
    product: &ProductDescription,
) -> Result<ProductSet, ScriptError> {
    let home = scripts.cells().home(product.id);
    let set = product_set(scripts, home, product, None).await?;
    if let ProductSet::Created(described) | ProductSet::Updated(described) = set {
        let copies = |cell| copy_product(scripts, cell, product, copy_of(described));
        to_others(scripts, watermark, home, described.at, copies).await;
    }
    Ok(set)
}

/// Takes a product off the list of all cells.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may be gone; calling again is safe.
pub async fn delete_product(
    scripts: &Scripts,
    watermark: &Watermark,
    product: ProductId,
) -> Result<ProductDelete, ScriptError> {
    let home = scripts.cells().home(product);
    let deleted = product_delete(scripts, home, product, Deletion::Asked).await?;
    if let ProductDelete::Deleted(at) = deleted {
        let deletion = Deletion::Copy { before: at.seq };
        let copies = |cell| product_delete(scripts, cell, product, deletion);
        to_others(scripts, watermark, home, at, copies).await;
    }
    Ok(deleted)
}

/// Opens a campaign, or changes what it says, in all cells. `issued` of what it answers counts issued units only.
///
/// # Errors
/// After [`ScriptError::Unknown`] it may have been set; calling again is safe.
pub async fn set_coupon(
    scripts: &Scripts,
    watermark: &Watermark,
    desk: &Desk,
    coupon: &CouponDescription,
) -> Result<CouponSet, ScriptError> {
    let (home, pool) = (scripts.cells().coupon_home(coupon.id), Pool::Coupon(coupon.id));
    let mut set = coupon_set(scripts, home, coupon, None).await?;
    if scripts.cells().count() == 1 {
        return Ok(set);
    }
    for _ in 0..RECALLS_MAX {
        let CouponSet::BelowIssued { issued } = set else { break };
        let total = stock::count(scripts, pool).await?;
        let gone = issued - coupon.quantity;
        let here = total.quotas[usize::from(home.0)].remaining;
        if total.at_most.is_some_and(|it| it - here < gone) {
            set = CouponSet::BelowIssued { issued: issued - (total.now - here) };
            break;
        }
        desk.recall(pool, gone, &total).await?;
        set = coupon_set(scripts, home, coupon, None).await?;
    }
    if let CouponSet::Created { described, issued } | CouponSet::Updated { described, issued } = &mut set {
        *issued = coupon.quantity - lists::coupons_left(scripts, coupon.id).await?;
        let of = copy_of(*described);
        let copies = |cell| copy_coupon(scripts, cell, coupon, of);
        to_others(scripts, watermark, home, described.at, copies).await;
    }
    Ok(set)
}

/// Adds units to a SKU, or takes unsold ones away, wherever they are.
///
/// # Errors
/// After [`ScriptError::Unknown`] the units may have been added; a retry is safe with a key.
pub async fn restock(
    scripts: &Scripts,
    desk: &Desk,
    sku: SkuId,
    delta: i64,
    idempotency: Option<&Idempotency>,
    idempotency_ttl_ms: u64,
    key_scope: Option<UserId>,
) -> Result<ProductRestock, ScriptError> {
    let (home, pool) = (scripts.cells().home(sku.product), Pool::Stock(sku));
    for _ in 0..RECALLS_MAX {
        let elsewhere = stock::elsewhere(scripts, pool, home).await?;
        let done =
            product_restock(scripts, sku, delta, idempotency, idempotency_ttl_ms, key_scope, elsewhere)
                .await?;
        match done {
            ProductRestock::Short => {
                desk.recall(pool, -delta, &stock::count(scripts, pool).await?).await?;
            }
            done => return Ok(done),
        }
    }
    Err(ScriptError::Refused("the units are on their way between cells".to_owned()))
}

/// Copies a pool's product or campaign to a cell that does not have it; false: its home does not have it (any more), or the
/// cell has all that the home says.
pub async fn bring(
    scripts: &Scripts,
    watermark: &Watermark,
    pool: Pool,
    cell: CellId,
) -> Result<bool, ScriptError> {
    let home = pool.home(scripts.cells());
    if home == cell {
        return Ok(false);
    }
    match pool {
        Pool::Stock(sku) => {
            let Some((product, of)) = product_to_copy(scripts, home, sku.product).await? else {
                return Ok(false);
            };
            if !has(scripts, watermark, home, of).await {
                return Err(ScriptError::Refused(format!(
                    "product {} is on its way to this cell",
                    sku.product
                )));
            }
            copy_product(scripts, cell, &description(product), of).await
        }
        Pool::Coupon(coupon) => {
            let Some((coupon, of)) = coupon_to_copy(scripts, home, coupon).await? else { return Ok(false) };
            if !has(scripts, watermark, home, of).await {
                return Err(ScriptError::Refused("the campaign is on its way to this cell".to_owned()));
            }
            copy_coupon(scripts, cell, &coupon_description(coupon), of).await
        }
    }
}

/// Whether MySQL has what a home cell says, after a wait.
async fn has(scripts: &Scripts, watermark: &Watermark, home: CellId, of: CopyOf) -> bool {
    let Some(epoch) = scripts.epoch(home) else { return false };
    let told = Position { epoch, seq: of.version };
    watermark.reach_told(home, told, PATIENCE).await == Reached::Persisted
}

/// Makes a copy of a product in a cell; false: it, or a newer one, is there.
pub async fn copy_product(
    scripts: &Scripts,
    cell: CellId,
    product: &ProductDescription,
    of: CopyOf,
) -> Result<bool, ScriptError> {
    loop {
        match product_set(scripts, cell, product, Some(of)).await? {
            ProductSet::OtherLife => {
                let before = Deletion::Copy { before: of.life };
                product_delete(scripts, cell, product.id, before).await?;
            }
            ProductSet::Created(_) | ProductSet::Updated(_) => return Ok(true),
            // A copy has no stock of its own that could differ, and the home had room for its options.
            ProductSet::Known | ProductSet::StockDiffers { .. } | ProductSet::TooManyOptions => {
                return Ok(false);
            }
        }
    }
}

/// Makes a copy of a campaign in a cell; false: it, or a newer one, is there.
pub async fn copy_coupon(
    scripts: &Scripts,
    cell: CellId,
    coupon: &CouponDescription,
    of: CopyOf,
) -> Result<bool, ScriptError> {
    loop {
        match coupon_set(scripts, cell, coupon, Some(of)).await? {
            CouponSet::OtherLife => {
                let before = Forgetting::Copy { before: of.life };
                coupon_forget(scripts, cell, coupon.id, before).await?;
            }
            CouponSet::Created { .. } | CouponSet::Updated { .. } => return Ok(true),
            CouponSet::Known | CouponSet::BelowIssued { .. } => return Ok(false),
        }
    }
}

/// Does something in all cells but the home, once MySQL has the home's event. A worker does what fails here.
async fn to_others<T, Copying>(
    scripts: &Scripts,
    watermark: &Watermark,
    home: CellId,
    at: Position,
    copy: impl Fn(CellId) -> Copying,
) where
    Copying: Future<Output = Result<T, ScriptError>>,
{
    if scripts.cells().count() == 1 || watermark.reach(home, at, PATIENCE).await != Reached::Persisted {
        return;
    }
    let others = scripts.cells().all().filter(|it| *it != home);
    for failed in join_all(others.map(copy)).await.into_iter().filter_map(Result::err) {
        tracing::info!(error = %failed, %home, "a copy is made later");
    }
}

fn copy_of(Described { at, life }: Described) -> CopyOf {
    CopyOf { version: at.seq, life }
}

/// A listed product as an administrator described it; the units are not copied.
pub fn description(product: Product) -> ProductDescription {
    let whole =
        SkuDescription { option: OptionId::NONE, name: String::new(), price: product.price, stock: None };
    let skus = product
        .options
        .into_iter()
        .map(|it| SkuDescription { option: it.id, name: it.name, price: it.price, stock: None })
        .collect::<Vec<_>>();
    ProductDescription {
        id: product.id,
        name: product.name,
        starts_at_ms: product.sale_starts_at.map(|it| it.timestamp_millis()),
        ends_at_ms: product.sale_ends_at.map(|it| it.timestamp_millis()),
        limit_per_user: product.limit_per_user,
        skus: if skus.is_empty() { vec![whole] } else { skus },
    }
}

/// A campaign as an administrator described it.
pub fn coupon_description(coupon: Coupon) -> CouponDescription {
    CouponDescription {
        id: coupon.coupon_id,
        name: coupon.name,
        discount: coupon.discount,
        min_order_amount: coupon.min_order_amount,
        quantity: coupon.quantity,
        starts_at_ms: coupon.starts_at.timestamp_millis(),
        ends_at_ms: coupon.ends_at.timestamp_millis(),
        expires_at_ms: coupon.expires_at.timestamp_millis(),
    }
}
