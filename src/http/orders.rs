//! Orders: placed and paid in one step, and looked up.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::App;
use super::caller::Caller;
use super::fields::{Int, Object, Payment};
use super::idempotency_key::{Keyed, Replay};
use super::json::Json;
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use crate::cell::order_seq;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::{AMOUNT_MAX, Amount};
use crate::mysql::orders::order_by_id;
use crate::order::{ITEMS_MAX, Order, OrderItem, QUANTITY_MAX, merge_items};
use crate::product::SkuId;
use crate::scripts::order_get::order_get;
use crate::scripts::order_place::{OrderPlace, order_place};

/// How long MySQL may take to find one order: reads must not hold the places of purchases.
const MYSQL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a buyer asks for. `null` for a coupon or option is the same as leaving it out, because many
/// clients write what they do not have as `null`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderBody {
    user_id: UserId,
    items: Vec<Object<ItemBody>>,
    coupon_id: Option<CouponId>,
    #[serde(default)]
    payment: Payment,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemBody {
    product_id: ProductId,
    option_id: Option<OptionId>,
    quantity: Int<1, { QUANTITY_MAX as i64 }>,
}

impl ItemBody {
    fn wanted(self) -> OrderItem {
        let sku = SkuId { product: self.product_id, option: self.option_id.unwrap_or(OptionId::NONE) };
        OrderItem { sku, quantity: self.quantity.get() as u32 }
    }
}

/// A paid order, and what is left in the wallet.
#[derive(Debug, Serialize)]
pub struct PaidOrder {
    #[serde(flatten)]
    order: Order,
    balance: Amount,
}

type Placed = (StatusCode, Replay, [(header::HeaderName, HeaderValue); 1], Json<PaidOrder>);

/// Places and pays an order in one step, all or nothing.
pub async fn place_order(
    State(app): State<App>,
    caller: Caller,
    keyed: Keyed,
    Json(body): Json<OrderBody>,
) -> Result<Placed, Problem> {
    let (wanted, items) = items_of(&body)?;
    let user = caller.acting_for(body.user_id)?;
    let idempotency = keyed.with(&body);
    let ttl_ms = app.settings.idempotency_ttl_ms;
    match order_place(&app.scripts, user, &items, idempotency.as_ref(), ttl_ms).await? {
        OrderPlace::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        OrderPlace::UserNotFound => Err(ProblemKind::UserNotFound.into()),
        OrderPlace::NotFound { item } => Err(about(ProblemKind::ProductNotFound, items[item].sku)),
        OrderPlace::OptionRequired { item } => {
            let index = wanted.iter().position(|it| it.sku == items[item].sku).unwrap_or_default();
            let detail = "is required: the product has options";
            Err(Problem::at(format!("#/items/{index}/optionId"), detail))
        }
        OrderPlace::TotalTooLarge => {
            Err(Problem::at("#/items", format!("must cost at most {AMOUNT_MAX} in total")))
        }
        OrderPlace::SaleNotOpen { item } => Err(about(ProblemKind::SaleNotOpen, items[item].sku)),
        OrderPlace::LimitExceeded { item, remaining } => {
            Err(about(ProblemKind::PurchaseLimitExceeded, items[item].sku).with("remaining", remaining))
        }
        OrderPlace::OutOfStock { item, remaining } => {
            Err(about(ProblemKind::OutOfStock, items[item].sku).with("remaining", remaining))
        }
        OrderPlace::BalanceTooLow => Err(ProblemKind::InsufficientBalance.into()),
        OrderPlace::Paid { order, balance, seen } => {
            let location = HeaderValue::try_from(format!("/orders/{}", order.order_id)).expect("digits");
            let headers = [(header::LOCATION, location)];
            Ok((StatusCode::CREATED, Replay(seen), headers, Json(PaidOrder { order, balance })))
        }
    }
}

/// One order, wherever it is.
pub async fn get_order(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<OrderId>,
) -> Result<Json<Order>, Problem> {
    let Some(cell) = app.scripts.cells().of_order(id) else { return Err(ProblemKind::OrderNotFound.into()) };
    // First the log, then the rows: an event is persisted before it is trimmed, so it is never in neither.
    let order = match order_get(&app.scripts, cell, order_seq(id)).await? {
        Some(order) => Some(order),
        None => tokio::time::timeout(MYSQL_TIMEOUT, order_by_id(&app.mysql, id))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))?,
    };
    let order = order.ok_or(ProblemKind::OrderNotFound)?;
    caller.acting_for(order.user_id).map_err(|_| ProblemKind::OrderNotFound)?;
    Ok(Json(order))
}

/// The items as asked for, and with equal SKUs added up.
fn items_of(body: &OrderBody) -> Result<(Vec<OrderItem>, Vec<OrderItem>), Problem> {
    if !(1..=ITEMS_MAX).contains(&body.items.len()) {
        return Err(Problem::at("#/items", format!("must be 1 to {ITEMS_MAX} items")));
    }
    let wanted: Vec<OrderItem> = body.items.iter().map(|it| it.0.wanted()).collect();
    let items = merge_items(&wanted).map_err(|index| {
        let detail = format!("must not take the units of one product and option over {QUANTITY_MAX}");
        Problem::at(format!("#/items/{index}/quantity"), detail)
    })?;
    match body.payment {
        Payment::Now => {}
        Payment::Later => return Err(Problem::at("#/payment", "not supported yet")),
    }
    if body.coupon_id.is_some() {
        return Err(Problem::at("#/couponId", "not supported yet"));
    }
    Ok((wanted, items))
}

/// A problem with one SKU, named.
fn about(kind: ProblemKind, sku: SkuId) -> Problem {
    let problem = Problem::new(kind).with("productId", sku.product);
    match sku.option.shown() {
        Some(option) => problem.with("optionId", option),
        None => problem,
    }
}
