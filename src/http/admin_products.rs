//! Products as administrators describe them.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::AppendHeaders;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::fields::{Int, Object, Time, check_name, present};
use super::idempotency_key::{Keyed, Replay};
use super::json::Json;
use super::openapi;
use super::path::Path;
use super::problem::{Fault, Problem, ProblemKind};
use crate::across::keys::ForeignKey;
use crate::across::{catalogue, lists};
use crate::ids::{OptionId, ProductId};
use crate::money::{PRICE_MAX, STOCK_MAX};
use crate::pool::Pool;
use crate::product::{OPTIONS_MAX, Product, SkuId};
use crate::scripts::product_delete::ProductDelete;
use crate::scripts::product_restock::ProductRestock;
use crate::scripts::product_set::{ProductDescription, ProductSet, SkuDescription};

/// Most units per user that a limit can name.
const LIMIT_MAX: i64 = 1_000_000;

type Price = Int<0, PRICE_MAX>;
type Stock = Int<0, STOCK_MAX>;
type Limit = Int<1, LIMIT_MAX>;
type Delta = Int<{ -STOCK_MAX }, STOCK_MAX>;

/// A product to list. `null` for window and limit is the same as leaving them out: there is none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductBody {
    #[schema(schema_with = openapi::name)]
    name: String,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    price: Option<Price>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    stock: Option<Stock>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<OptionBody>>, nullable = false)]
    options: Option<Vec<Object<OptionBody>>>,
    sale_starts_at: Option<Time>,
    sale_ends_at: Option<Time>,
    limit_per_user: Option<Limit>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionBody {
    id: OptionId,
    #[schema(schema_with = openapi::name)]
    name: String,
    price: Price,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    stock: Option<Stock>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestockBody {
    delta: Delta,
    #[serde(skip_serializing_if = "Option::is_none")]
    option_id: Option<OptionId>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Restocked {
    stock: i64,
}

/// Lists a product, or replaces what is described.
pub async fn set_product(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ProductId>,
    Json(body): Json<ProductBody>,
) -> Result<(StatusCode, AppendHeaders<Option<(header::HeaderName, HeaderValue)>>, Json<Product>), Problem> {
    let has_options = body.options.is_some();
    let description = describe(id, body).map_err(Problem::invalid)?;
    caller.administers()?;
    let answer = catalogue::set_product(&app.scripts, &app.watermark, &description).await;
    // An answer that was lost may have been a success.
    app.sold_out.forget_product(id);
    app.shared_reads.forget();
    let (status, location) = match answer? {
        ProductSet::StockDiffers { index } => {
            let pointer = if has_options { format!("#/options/{index}/stock") } else { "#/stock".to_owned() };
            return Err(Problem::at(pointer, "differs from the initial stock; restock to change it"));
        }
        ProductSet::TooManyOptions => {
            return Err(Problem::at(
                "#/options",
                "leaves out too many: a product has at most 1,000 in its life",
            ));
        }
        ProductSet::Created(_) => (StatusCode::CREATED, Some(format!("/products/{id}"))),
        // The other two are of copies.
        ProductSet::Updated(_) | ProductSet::Known | ProductSet::OtherLife => (StatusCode::OK, None),
    };
    let location = location.and_then(|it| HeaderValue::try_from(it).ok()).map(|it| (header::LOCATION, it));
    match lists::product(&app.scripts, id).await? {
        // Taken off the list between the two calls.
        None => Err(ProblemKind::ProductNotFound.into()),
        Some((product, _)) => Ok((status, AppendHeaders(location), Json(product))),
    }
}

/// Takes a product off the list for good; its orders keep it.
pub async fn delete_product(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ProductId>,
) -> Result<StatusCode, Problem> {
    caller.administers()?;
    let answer = catalogue::delete_product(&app.scripts, &app.watermark, id).await;
    app.sold_out.forget_product(id);
    app.shared_reads.forget();
    match answer? {
        ProductDelete::NotFound | ProductDelete::NotEnded | ProductDelete::Newer => {
            Err(ProblemKind::ProductNotFound.into())
        }
        ProductDelete::Deleted(_) => Ok(StatusCode::NO_CONTENT),
    }
}

/// Adds units to what is in stock, or takes unsold ones away.
pub async fn restock(
    State(app): State<App>,
    caller: Caller,
    Path(product): Path<ProductId>,
    keyed: Keyed,
    Json(body): Json<RestockBody>,
) -> Result<(Replay, Json<Restocked>), Problem> {
    let delta = body.delta.get();
    if delta == 0 {
        return Err(Problem::at("#/delta", "must not be zero"));
    }
    caller.administers()?;
    let idempotency = keyed.with(&body);
    let sku = SkuId { product, option: body.option_id.unwrap_or(OptionId::NONE) };
    let ttl_ms = app.settings.idempotency_ttl_ms;
    let scope = caller.key_scope();
    let home = app.scripts.cells().home(product);
    let foreign_key = ForeignKey::new(&app.scripts, home, scope, idempotency.as_ref());
    if let Some(key) = foreign_key
        && key.is_of_another_request(&app.scripts).await?
    {
        return Err(ProblemKind::IdempotencyKeyReused.into());
    }
    let answer =
        catalogue::restock(&app.scripts, &app.desk, sku, delta, idempotency.as_ref(), ttl_ms, scope).await;
    app.sold_out.forget(Pool::Stock(sku));
    app.shared_reads.forget();
    match answer? {
        ProductRestock::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        ProductRestock::NotFound => Err(ProblemKind::ProductNotFound.into()),
        ProductRestock::OptionRequired => {
            Err(Problem::at("#/optionId", "is required: the product has options"))
        }
        ProductRestock::OutOfRange { remaining } => {
            let detail = format!("must leave 0 to {STOCK_MAX} units; there are {remaining}");
            Err(Problem::at("#/delta", detail))
        }
        // It waits until they came.
        ProductRestock::Short => Err(ProblemKind::NotYetPersisted.into()),
        ProductRestock::Restocked { remaining, seen, .. } => {
            if let Some(key) = foreign_key {
                key.note(&app.scripts, ttl_ms).await?;
            }
            Ok((Replay(seen), Json(Restocked { stock: remaining })))
        }
    }
}

/// Checks what one field's type cannot, and tells everything that is wrong at once.
fn describe(id: ProductId, body: ProductBody) -> Result<ProductDescription, Vec<Fault>> {
    let mut faults = Vec::new();
    check_name("#/name", &body.name, &mut faults);
    if let (Some(starts), Some(ends)) = (body.sale_starts_at, body.sale_ends_at)
        && starts.0 >= ends.0
    {
        faults.push(Fault::at("#/saleEndsAt", "must be later than saleStartsAt"));
    }
    let skus = match body.options {
        Some(options) => {
            for (given, pointer) in [(body.price.is_some(), "#/price"), (body.stock.is_some(), "#/stock")] {
                if given {
                    faults.push(Fault::at(pointer, "must be left out: each option has its own"));
                }
            }
            describe_options(options, &mut faults)
        }
        None => {
            if body.price.is_none() {
                faults.push(Fault::at("#/price", "is required where there are no options"));
            }
            vec![SkuDescription {
                option: OptionId::NONE,
                name: String::new(),
                price: body.price.map_or(0, Int::get),
                stock: body.stock.map(Int::get),
            }]
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(ProductDescription {
        id,
        name: body.name,
        starts_at_ms: body.sale_starts_at.map(|it| it.0),
        ends_at_ms: body.sale_ends_at.map(|it| it.0),
        limit_per_user: body.limit_per_user.map(|it| it.get() as u32),
        skus,
    })
}

fn describe_options(options: Vec<Object<OptionBody>>, faults: &mut Vec<Fault>) -> Vec<SkuDescription> {
    if !(1..=OPTIONS_MAX).contains(&options.len()) {
        faults.push(Fault::at("#/options", format!("must be 1 to {OPTIONS_MAX} options")));
        return Vec::new();
    }
    let mut skus: Vec<SkuDescription> = Vec::with_capacity(options.len());
    for (index, Object(option)) in options.into_iter().enumerate() {
        check_name(&format!("#/options/{index}/name"), &option.name, faults);
        if skus.iter().any(|it| it.option == option.id) {
            faults.push(Fault::at(format!("#/options/{index}/id"), "is that of another option"));
        }
        if skus.iter().any(|it| it.name == option.name) {
            faults.push(Fault::at(format!("#/options/{index}/name"), "is that of another option"));
        }
        skus.push(SkuDescription {
            option: option.id,
            name: option.name,
            price: option.price.get(),
            stock: option.stock.map(Int::get),
        });
    }
    skus
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: serde_json::Value) -> Vec<String> {
        let body: ProductBody = serde_json::from_value(body).unwrap();
        let faults = describe(ProductId::new(1).unwrap(), body).err().unwrap_or_default();
        faults.into_iter().filter_map(|it| it.pointer).collect()
    }

    #[test]
    fn all_faults_of_a_description_are_told_at_once() {
        let good = serde_json::json!({"name": "Mug", "price": 0, "stock": 5});
        assert_eq!(faults(good), [] as [&str; 0]);
        let window = serde_json::json!({
            "name": "", "saleStartsAt": "2026-11-20T20:00:00+09:00", "saleEndsAt": "2026-11-20T11:00:00Z"
        });
        assert_eq!(faults(window), ["#/name", "#/saleEndsAt", "#/price"]);
        let options = serde_json::json!({
            "name": "a\u{7}b", "price": 1, "stock": 1,
            "options": [{"id": 1, "name": "S", "price": 1}, {"id": 1, "name": "S", "price": 1}]
        });
        assert_eq!(faults(options), ["#/name", "#/price", "#/stock", "#/options/1/id", "#/options/1/name"]);
        assert_eq!(faults(serde_json::json!({"name": "Mug", "options": []})), ["#/options"]);
        let korean = serde_json::json!({"name": "머".repeat(200), "price": 1});
        assert_eq!(faults(korean), [] as [&str; 0]);
    }
}
