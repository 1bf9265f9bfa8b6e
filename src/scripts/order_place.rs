//! Typed binding of `lua/order_place.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{idempotency_parts, keys};
use crate::cell::{Seq, order_id};
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{CouponId, OrderId, UserId};
use crate::money::Amount;
use crate::order::{Order, OrderItem, OrderLine, OrderStatus};
use crate::time::{self, Millis};

/// What can happen when an order is placed, in the order the script tests it.
/// `item` is an index into the items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderPlace {
    KeyReused,
    UserNotFound,
    NotFound {
        item: usize,
    },
    OptionRequired {
        item: usize,
    },
    TotalTooLarge,
    SaleNotOpen {
        item: usize,
    },
    LimitExceeded {
        item: usize,
        remaining: i64,
    },
    OutOfStock {
        item: usize,
        remaining: i64,
    },
    /// Why: `not_issued`, `held`, `used`, `expired` or `below_minimum`.
    CouponInvalid {
        reason: String,
    },
    BalanceTooLow,
    /// `balance`: what is left, of an order that was paid at once; `None`: it is to be paid later. `fewest`: `None` for
    /// an answer from before.
    Placed {
        order: Order,
        balance: Option<Amount>,
        seen: Seen,
        fewest: Option<Fewest>,
    },
}

/// The item of which the fewest units are left in the buyer's cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fewest {
    /// An index into the items.
    pub item: usize,
    pub left: i64,
}

/// What a buyer asks for.
#[derive(Debug, Clone, Copy)]
pub struct PlaceRequest<'a> {
    pub user: UserId,
    /// Each SKU once, 1 to 50.
    pub items: &'a [OrderItem],
    pub coupon: Option<CouponId>,
    /// How long the order can be paid; `None`: it is paid at once.
    pub pay_within_ms: Option<u64>,
    pub idempotency: Option<&'a Idempotency>,
    pub idempotency_ttl_ms: u64,
}

/// The stored answer: what the first request with a key was told, but for what the request says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    seq: Seq,
    at_ms: Millis,
    total: Amount,
    discount: Amount,
    balance: Option<Amount>,
    coupon: Option<CouponId>,
    unit_prices: Vec<Amount>,
    expires_at_ms: Option<Millis>,
}

impl Answer {
    /// Reads `<seq> <at_ms> <total> <discount> <balance or -> <coupon_id or 0> <unit price,…> [<expires_at_ms>]`.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        Some(Self {
            seq: next()?.parse().ok()?,
            at_ms: next()?.parse().ok()?,
            total: next()?.parse().ok()?,
            discount: next()?.parse().ok()?,
            balance: next()?.parse().ok(),
            coupon: next()?.parse().ok(),
            unit_prices: next()?.split(',').map(|it| it.parse().ok()).collect::<Option<_>>()?,
            expires_at_ms: next().and_then(|it| it.parse().ok()),
        })
    }
}

/// Places an order, and pays for it unless it is to be paid later, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] the order may have been placed; a retry is safe with a key.
pub async fn order_place(scripts: &Scripts, request: PlaceRequest<'_>) -> Result<OrderPlace, ScriptError> {
    let PlaceRequest { user, items, coupon, idempotency, .. } = request;
    let cell = scripts.cells().of_user(user);
    let (idem_key, fingerprint, key) = idempotency_parts(cell, Some(user), idempotency);
    let [coupon_key, issues_key] = match coupon {
        Some(coupon) => [keys::coupon(cell, coupon), keys::issues(cell, coupon)],
        None => keys::no_coupon(cell),
    };
    let mut extra_keys = Vec::with_capacity(items.len() + 6);
    extra_keys.extend([keys::user(cell, user), idem_key, coupon_key, issues_key]);
    extra_keys.extend([keys::rolling_sales(cell), keys::due(cell)]);
    extra_keys.extend(items.iter().map(|it| keys::sku(cell, it.sku)));
    let (user_text, ttl_text) = (user.to_string(), request.idempotency_ttl_ms.to_string());
    let coupon_text = coupon.map_or(0, CouponId::get).to_string();
    let within_text = request.pay_within_ms.unwrap_or(0).to_string();
    let numbers: Vec<String> = items
        .iter()
        .flat_map(|it| [it.sku.product.to_string(), it.sku.option.to_string(), it.quantity.to_string()])
        .collect();
    let mut args = vec![
        user_text.as_str(),
        fingerprint,
        key,
        ttl_text.as_str(),
        coupon_text.as_str(),
        within_text.as_str(),
    ];
    args.extend(numbers.iter().map(String::as_str));

    let reply = scripts.call(Script::OrderPlace, cell, &extra_keys, &args).await?;
    let item = || Ok::<_, ScriptError>(reply.int(2)? as usize - 1);
    let placed = |seen| {
        let answer = Answer::parse(reply.text(1)?).filter(|it| it.unit_prices.len() == items.len());
        let answer = answer.ok_or_else(|| reply.unexpected())?;
        let id = order_id(cell, answer.seq).ok_or_else(|| reply.unexpected())?;
        scripts.acknowledge(cell, reply.epoch, answer.seq)?;
        Ok(OrderPlace::Placed {
            balance: answer.balance,
            order: placed_order(id, user, items, &answer),
            seen,
            fewest: match seen {
                Seen::New => Some(Fewest { item: item()?, left: reply.int(3)? }),
                Seen::Replayed => None,
            },
        })
    };
    match reply.outcome {
        "KEY_REUSED" => Ok(OrderPlace::KeyReused),
        "REPLAYED" => placed(Seen::Replayed),
        "USER_NOT_FOUND" => Ok(OrderPlace::UserNotFound),
        "NOT_FOUND" => Ok(OrderPlace::NotFound { item: item()? }),
        "OPTION_REQUIRED" => Ok(OrderPlace::OptionRequired { item: item()? }),
        "TOTAL_TOO_LARGE" => Ok(OrderPlace::TotalTooLarge),
        "SALE_NOT_OPEN" => Ok(OrderPlace::SaleNotOpen { item: item()? }),
        "LIMIT_EXCEEDED" => Ok(OrderPlace::LimitExceeded { item: item()?, remaining: reply.int(3)? }),
        "OUT_OF_STOCK" => Ok(OrderPlace::OutOfStock { item: item()?, remaining: reply.int(3)? }),
        "COUPON_INVALID" => Ok(OrderPlace::CouponInvalid { reason: reply.text(1)?.to_owned() }),
        "BALANCE_TOO_LOW" => Ok(OrderPlace::BalanceTooLow),
        "PAID" => placed(Seen::New),
        "PLACED" => placed(Seen::New),
        _ => Err(reply.unexpected()),
    }
}

fn placed_order(id: OrderId, user: UserId, items: &[OrderItem], answer: &Answer) -> Order {
    let lines = items.iter().zip(&answer.unit_prices).map(|(item, unit_price)| OrderLine {
        product_id: item.sku.product,
        option_id: item.sku.option.shown(),
        quantity: item.quantity,
        unit_price: *unit_price,
    });
    let is_paid = answer.balance.is_some();
    Order {
        order_id: id,
        user_id: user,
        status: if is_paid { OrderStatus::Paid } else { OrderStatus::Pending },
        items: lines.collect(),
        total: answer.total,
        discount: answer.discount,
        paid: if is_paid { answer.total - answer.discount } else { 0 },
        coupon_id: answer.coupon,
        placed_at: time::from_millis(answer.at_ms),
        expires_at: answer.expires_at_ms.map(time::from_millis),
        paid_at: is_paid.then(|| time::from_millis(answer.at_ms)),
        cancelled_at: None,
        refunded_at: None,
    }
}
