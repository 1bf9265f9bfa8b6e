//! Products as buyers see them.

use axum::extract::State;
use chrono::{DateTime, Utc};

use super::App;
use super::json::Json;
use super::page::{Page, cut, page};
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use super::query::{List, Query};
use crate::ids::ProductId;
use crate::product::Product;
use crate::scripts::product_list::{product_get, product_list};
use crate::scripts::{ScriptError, Scripts};

/// Products that one read takes while it looks for those that can be bought: the script's most.
const SCAN_LIMIT: usize = 201;

/// Most reads for one page. A page behind them is short, and its cursor goes on from there.
const SCANS_MAX: usize = 20;

/// One page of what is listed, by id; `available=true`: only what can be bought now.
pub async fn list_products(State(app): State<App>, query: Query) -> Result<Page<Product>, Problem> {
    let query = query.only(&["available", "limit", "cursor"])?;
    let (limit, after) = (query.limit()?, query.after(List::Products)?);
    let available = query.flag("available", false)?;
    let (products, behind) = if available {
        page_of_available(&app.scripts, after, limit).await?
    } else {
        let mut products = product_list(&app.scripts, after, limit + 1).await?;
        let behind = cut(&mut products, limit, |it| it.id.get());
        (products, behind)
    };
    Ok(page(&app, List::Products, &query, products, behind))
}

/// One product.
pub async fn get_product(
    State(app): State<App>,
    Path(product): Path<ProductId>,
) -> Result<Json<Product>, Problem> {
    match product_get(&app.scripts, product).await? {
        None => Err(ProblemKind::ProductNotFound.into()),
        Some(product) => Ok(Json(product)),
    }
}

/// A page of what can be bought now, and the id behind which the next one begins.
async fn page_of_available(
    scripts: &Scripts,
    mut after: u64,
    limit: usize,
) -> Result<(Vec<Product>, Option<u64>), ScriptError> {
    let now = Utc::now();
    let mut page: Vec<Product> = Vec::with_capacity(limit);
    for _ in 0..SCANS_MAX {
        let read = product_list(scripts, after, SCAN_LIMIT).await?;
        let ended = read.len() < SCAN_LIMIT;
        for product in read {
            let id = product.id.get();
            if can_be_bought(&product, now) {
                if page.len() == limit {
                    return Ok((page, Some(after)));
                }
                page.push(product);
            }
            after = id;
        }
        if ended {
            return Ok((page, None));
        }
    }
    Ok((page, Some(after)))
}

/// In stock and inside its sale window, by this node's clock: lists may lag, orders ask the cell's.
fn can_be_bought(product: &Product, now: DateTime<Utc>) -> bool {
    let opened = product.sale_starts_at.is_none_or(|it| it <= now);
    let closed = product.sale_ends_at.is_some_and(|it| it <= now);
    opened && !closed && product.stock > 0
}
