//! Products as buyers see them.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::json::Json;
use super::page::{cut, link};
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use super::query::{List, Query};
use super::shared_reads::{IfNoneMatch, Rendered, Shared};
use crate::across::lists;
use crate::ids::{OptionId, ProductId};
use crate::order::QUANTITY_MAX;
use crate::product::Product;
use crate::scripts::product_list::{ProductPage, Which};
use crate::scripts::{ScriptError, Scripts};

/// Products that one read takes while it looks for those that can be bought: the script's most.
const SCAN_LIMIT: usize = 201;

/// Most reads for one page. A page behind them is short, and its cursor goes on from there.
const SCANS_MAX: usize = 20;

/// One page of what is listed, by id; `available=true`: only what can be bought now.
pub async fn list_products(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    held: IfNoneMatch,
) -> Result<Response, Problem> {
    let query = query.only(&["available", "limit", "cursor"])?;
    let (limit, after) = (query.limit()?, query.after(List::Products)?);
    let available = query.flag("available", false)?;
    caller.known()?;
    let read = || async {
        let (products, behind) = if available {
            page_of_available(&app.scripts, after, limit).await?
        } else {
            let which = Which::Behind { after, limit: limit + 1 };
            let mut products = lists::products(&app.scripts, which).await?.products;
            let behind = cut(&mut products, limit, |it| it.id.get());
            (products, behind)
        };
        Ok(Rendered::new(&products, link(&app, List::Products, &query, behind)))
    };
    Ok(app.shared_reads.get(Shared::Products, &query, read).await?.answer(&held))
}

/// One product.
pub async fn get_product(
    State(app): State<App>,
    caller: Caller,
    Path(product): Path<ProductId>,
) -> Result<Json<Product>, Problem> {
    caller.known()?;
    match lists::product(&app.scripts, product).await? {
        None => Err(ProblemKind::ProductNotFound.into()),
        Some((product, _)) => Ok(Json(product)),
    }
}

/// Whether units of a SKU could be bought now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockCheck {
    product_id: ProductId,
    #[serde(skip_serializing_if = "Option::is_none")]
    option_id: Option<OptionId>,
    quantity: u64,
    available: bool,
    stock: i64,
}

/// Whether so many units are in stock, in the product's sale window.
pub async fn check_stock(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ProductId>,
    query: Query,
) -> Result<Json<StockCheck>, Problem> {
    let query = query.only(&["quantity", "optionId"])?;
    let quantity = query.integer("quantity", 1..=u64::from(QUANTITY_MAX), 1)?;
    // Left empty, as the contract spells it, it is left out.
    let option_id = match query.get("optionId").filter(|it| !it.is_empty()) {
        None => None,
        Some(text) => {
            let option = OptionId::from_text(text);
            Some(option.map_err(|error| Problem::parameter("optionId", error.to_string()))?)
        }
    };
    caller.known()?;
    let Some((product, now_ms)) = lists::product(&app.scripts, id).await? else {
        return Err(ProblemKind::ProductNotFound.into());
    };
    let stock = match option_id {
        None if product.options.is_empty() => product.stock,
        None => return Err(Problem::parameter("optionId", "is required: the product has options")),
        Some(wanted) => match product.options.iter().find(|it| it.id == wanted) {
            Some(option) => option.stock,
            None => return Err(ProblemKind::ProductNotFound.into()),
        },
    };
    let available = product.is_on_sale(now_ms) && stock >= quantity as i64;
    Ok(Json(StockCheck { product_id: id, option_id, quantity, available, stock }))
}

/// A page of what can be bought now, and the id behind which the next one begins.
async fn page_of_available(
    scripts: &Scripts,
    mut after: u64,
    limit: usize,
) -> Result<(Vec<Product>, Option<u64>), ScriptError> {
    let mut page: Vec<Product> = Vec::with_capacity(limit);
    for _ in 0..SCANS_MAX {
        let which = Which::Behind { after, limit: SCAN_LIMIT };
        let ProductPage { products, now_ms } = lists::products(scripts, which).await?;
        let ended = products.len() < SCAN_LIMIT;
        for product in products {
            let id = product.id.get();
            if product.stock > 0 && product.is_on_sale(now_ms) {
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
