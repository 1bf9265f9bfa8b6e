//! Orders: placed, paid at once or later, and looked up.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::fields::{Int, Object, Payment, present};
use super::find_order::find_order;
use super::idempotency_key::{Keyed, Replay};
use super::json::Json;
use super::page::{Page, cut, page};
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use super::query::{List, Query};
use super::reads::{in_time, list_of_user};
use super::sold_out::{Asking, is_sold_out};
use crate::across::catalogue;
use crate::across::desk::Fetched;
use crate::ids::{CouponId, OptionId, OrderId, ProductId, UserId};
use crate::money::{AMOUNT_MAX, Amount};
use crate::mysql::orders::orders_of_user;
use crate::order::{ITEMS_MAX, Order, OrderItem, OrderStatus, QUANTITY_MAX, merge_items};
use crate::pool::Pool;
use crate::product::SkuId;
use crate::scripts::ScriptError;
use crate::scripts::order_place::{Fewest, OrderPlace, PlaceRequest, order_place};

type Quantity = Int<1, { QUANTITY_MAX as i64 }>;

/// What a buyer asks for. `null` for a coupon or option is the same as leaving it out, because many
/// clients write what they do not have as `null`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    user_id: Option<UserId>,
    #[schema(value_type = Vec<ItemBody>)]
    items: Vec<Object<ItemBody>>,
    coupon_id: Option<CouponId>,
    #[serde(default)]
    payment: Payment,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemBody {
    product_id: ProductId,
    option_id: Option<OptionId>,
    quantity: Quantity,
}

impl ItemBody {
    fn wanted(self) -> OrderItem {
        let sku = SkuId { product: self.product_id, option: self.option_id.unwrap_or(OptionId::NONE) };
        OrderItem { sku, quantity: self.quantity.get() as u32 }
    }
}

/// An order, and what is left in the wallet where money moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderAnswer {
    #[serde(flatten)]
    pub order: Order,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Amount>,
}

type Placed = (StatusCode, Replay, [(header::HeaderName, HeaderValue); 1], Json<OrderAnswer>);

/// Places an order, all or nothing, and pays for it in the same step unless it is to be paid later.
pub async fn place_order(
    State(app): State<App>,
    caller: Caller,
    keyed: Keyed,
    Json(mut body): Json<OrderBody>,
) -> Result<Placed, Problem> {
    let (wanted, items) = items_of(&body)?;
    let user = caller.acting_for_named(body.user_id)?;
    // Left out or named, it is the same request.
    body.user_id = Some(user);
    let idempotency = keyed.with(&body);
    let request = PlaceRequest {
        user,
        items: &items,
        coupon: body.coupon_id,
        pay_within_ms: match body.payment {
            Payment::Now => None,
            Payment::Later => Some(app.settings.payment_window_ms),
        },
        idempotency: idempotency.as_ref(),
        idempotency_ttl_ms: app.settings.idempotency_ttl_ms,
    };
    if let [item] = items[..]
        && is_sold_out(&app, Pool::Stock(item.sku), user, idempotency.as_ref()).await?
    {
        return Err(out_of_stock(item.sku, 0));
    }
    let asking = Asking::now(&app);
    let mut placed = order_place(&app.scripts, request).await?;
    if app.scripts.cells().count() > 1 {
        // Rarely more than the look: boxed, so that no request's future grows by it.
        placed = Box::pin(place_across(&app, request, placed)).await?;
    }
    match placed {
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
            let sku = items[item].sku;
            if remaining == 0 {
                app.sold_out.told(Pool::Stock(sku), asking);
            }
            Err(out_of_stock(sku, remaining))
        }
        OrderPlace::CouponInvalid { reason } => {
            Err(Problem::new(ProblemKind::InvalidCoupon).with("reason", reason))
        }
        OrderPlace::BalanceTooLow => Err(ProblemKind::InsufficientBalance.into()),
        OrderPlace::Placed { order, balance, seen, fewest } => {
            if let Some(Fewest { item, left }) = fewest {
                app.desk.bought(Pool::Stock(items[item].sku), user, left);
            }
            let location = HeaderValue::try_from(format!("/orders/{}", order.order_id)).expect("digits");
            let headers = [(header::LOCATION, location)];
            Ok((StatusCode::CREATED, Replay(seen), headers, Json(OrderAnswer { order, balance })))
        }
    }
}

/// Longest time that an order waits for units of other cells.
const UNITS_PATIENCE: Duration = Duration::from_secs(10);

/// Where the buyer's cell is short of something, waits for what other cells have of it and tries again, until the order is
/// placed, refused for another reason, or proven to ask for more than all cells have.
async fn place_across(
    app: &App,
    request: PlaceRequest<'_>,
    mut placed: OrderPlace,
) -> Result<OrderPlace, ScriptError> {
    let (cell, began) = (app.scripts.cells().of_user(request.user), Instant::now());
    let mut brought = None;
    loop {
        match placed {
            OrderPlace::OutOfStock { item, .. } => {
                let OrderItem { sku, quantity } = request.items[item];
                match app.desk.fetch(Pool::Stock(sku), cell, i64::from(quantity)).await? {
                    Fetched::Short { left } => return Ok(OrderPlace::OutOfStock { item, remaining: left }),
                    Fetched::Again if began.elapsed() > UNITS_PATIENCE => {
                        return Err(ScriptError::Refused("units are on their way between cells".to_owned()));
                    }
                    Fetched::Again => {}
                }
            }
            // Listed a moment ago, and not here yet.
            OrderPlace::NotFound { item } if brought != Some(item) => {
                brought = Some(item);
                let pool = Pool::Stock(request.items[item].sku);
                if !catalogue::bring(&app.scripts, &app.watermark, pool, cell).await? {
                    return Ok(placed);
                }
            }
            placed => return Ok(placed),
        }
        placed = order_place(&app.scripts, request).await?;
    }
}

/// One order, wherever it is.
pub async fn get_order(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<OrderId>,
) -> Result<Json<Order>, Problem> {
    find_order(&app, caller, id).await.map(Json)
}

/// A user's orders, newest first; of one status, or of any.
pub async fn list_orders(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<UserId>,
    query: Query,
) -> Result<Page<Order>, Problem> {
    let (list, query) = (List::Orders(user), query.only(&["status", "limit", "cursor"])?);
    let (limit, before, status) = (query.limit()?, query.before(list)?, status_of(&query)?);
    list_of_user(&app, caller, user).await?;
    let mut orders = in_time(orders_of_user(&app.mysql, user, status, before, limit + 1)).await?;
    let behind = cut(&mut orders, limit, |it| it.order_id.get());
    Ok(page(&app, list, &query, orders, behind))
}

/// The status that a list is asked for; `None`: any.
fn status_of(query: &Query) -> Result<Option<OrderStatus>, Problem> {
    let Some(text) = query.get("status") else { return Ok(None) };
    let status = OrderStatus::parse(text);
    status
        .map(Some)
        .ok_or_else(|| Problem::parameter("status", "must be pending, paid, cancelled, expired or refunded"))
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
    Ok((wanted, items))
}

fn out_of_stock(sku: SkuId, remaining: i64) -> Problem {
    about(ProblemKind::OutOfStock, sku).with("remaining", remaining)
}

/// A problem with one SKU, named.
fn about(kind: ProblemKind, sku: SkuId) -> Problem {
    let problem = Problem::new(kind).with("productId", sku.product);
    match sku.option.shown() {
        Some(option) => problem.with("optionId", option),
        None => problem,
    }
}
