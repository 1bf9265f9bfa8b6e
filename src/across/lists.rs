//! What is listed, with the units of all cells.

use super::{any, stock};
use crate::coupon::Coupon;
use crate::ids::{CouponId, OptionId, ProductId};
use crate::pool::Pool;
use crate::product::{Product, SkuId};
use crate::scripts::coupon_list::coupon_list;
use crate::scripts::product_list::{ProductPage, Which, product_list};
use crate::scripts::{ScriptError, Scripts};
use crate::time::Millis;

/// Products, and the clock that their sale windows go by.
pub async fn products(scripts: &Scripts, which: Which<'_>) -> Result<ProductPage, ScriptError> {
    let mut page = product_list(scripts, any(scripts), which).await?;
    count_stock(scripts, &mut page.products).await?;
    Ok(page)
}

/// One product as its home cell has it, and that cell's clock; `None` where it is not listed.
pub async fn product(scripts: &Scripts, id: ProductId) -> Result<Option<(Product, Millis)>, ScriptError> {
    let home = scripts.cells().home(id);
    let mut page = product_list(scripts, home, Which::Named(&[id])).await?;
    count_stock(scripts, &mut page.products).await?;
    Ok(page.products.pop().map(|it| (it, page.now_ms)))
}

/// Up to `limit` (1 to 201) campaigns with ids above `after`, in order of their ids.
pub async fn coupons(scripts: &Scripts, after: u64, limit: usize) -> Result<Vec<Coupon>, ScriptError> {
    let mut coupons = coupon_list(scripts, any(scripts), after, limit).await?;
    if scripts.cells().count() > 1 {
        let pools: Vec<Pool> = coupons.iter().map(|it| Pool::Coupon(it.coupon_id)).collect();
        let totals = stock::totals(scripts, &pools).await?;
        coupons.iter_mut().zip(totals).for_each(|(coupon, total)| coupon.remaining = total);
    }
    Ok(coupons)
}

/// Units of a campaign that nobody has.
pub async fn coupons_left(scripts: &Scripts, coupon: CouponId) -> Result<i64, ScriptError> {
    Ok(stock::totals(scripts, &[Pool::Coupon(coupon)]).await?[0])
}

/// Replaces the units of one cell with those of all.
async fn count_stock(scripts: &Scripts, products: &mut [Product]) -> Result<(), ScriptError> {
    if scripts.cells().count() == 1 {
        return Ok(());
    }
    let pools: Vec<Pool> = products.iter().flat_map(pools_of).collect();
    let mut totals = stock::totals(scripts, &pools).await?.into_iter();
    for product in products {
        let mut next = || totals.next().unwrap_or_default();
        if product.options.is_empty() {
            product.stock = next();
        } else {
            product.options.iter_mut().for_each(|it| it.stock = next());
            product.stock = product.options.iter().map(|it| it.stock).sum();
        }
    }
    Ok(())
}

/// One for each option, or the one of a product without.
fn pools_of(product: &Product) -> Vec<Pool> {
    let pool = |option| Pool::Stock(SkuId { product: product.id, option });
    if product.options.is_empty() {
        return vec![pool(OptionId::NONE)];
    }
    product.options.iter().map(|it| pool(it.id)).collect()
}
