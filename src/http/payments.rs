//! What becomes of an order that was placed: paid, cancelled, refunded.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::find_order::{READ_PAUSE, READS_MAX, cell_of, find_unheld, first_answer, too_busy};
use super::idempotency_key::{Keyed, Replay};
use super::json::{Json, NoBody};
use super::orders::OrderAnswer;
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use crate::cell::CellId;
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{CouponId, OrderId};
use crate::order::OrderStatus;
use crate::pool::Pool;
use crate::scripts::key_note::{KeyNote, key_note};
use crate::scripts::order_end::{EndRequest, OrderEnd, OrderEnding, ReadOrder, order_end};
use crate::scripts::order_pay::{OrderPay, PayRequest, order_pay};
use crate::scripts::settled::SettledOrder;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaymentBody {
    order_id: OrderId,
    coupon_id: Option<CouponId>,
}

type Answered = (Replay, Json<OrderAnswer>);

/// Pays for a pending order. Paying a paid one answers with the first payment.
pub async fn pay(
    State(app): State<App>,
    caller: Caller,
    keyed: Keyed,
    Json(body): Json<PaymentBody>,
) -> Result<Answered, Problem> {
    let only_for = caller.only_for()?;
    let idempotency = keyed.with(&body);
    let cell = cell_of(&app, body.order_id)?;
    let request = PayRequest {
        order: body.order_id,
        caller: only_for,
        coupon: body.coupon_id,
        idempotency: idempotency.as_ref(),
        idempotency_ttl_ms: app.settings.idempotency_ttl_ms,
    };
    for _ in 0..READS_MAX {
        return match order_pay(&app.scripts, cell, request).await? {
            OrderPay::NotFound => {
                match pay_unheld(&app, caller, body.order_id, idempotency.as_ref()).await? {
                    Some(answer) => Ok(answer),
                    None => continue,
                }
            }
            OrderPay::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
            OrderPay::NotPayable => Err(ProblemKind::OrderNotPayable.into()),
            OrderPay::CouponInvalid { reason } => {
                Err(Problem::new(ProblemKind::InvalidCoupon).with("reason", reason))
            }
            OrderPay::BalanceTooLow => Err(ProblemKind::InsufficientBalance.into()),
            OrderPay::AlreadyPaid { paid } => {
                let seen = remember(&app, cell, &paid, idempotency.as_ref()).await?;
                Ok(answer(body.order_id, OrderStatus::Paid, paid, seen))
            }
            OrderPay::Paid { paid, seen } => Ok(answer(body.order_id, OrderStatus::Paid, paid, seen)),
        };
    }
    Err(too_busy())
}

/// The answer for an order that has no hash: it was paid at once, or has come to an end long ago. `None`: it has
/// a hash by now.
async fn pay_unheld(
    app: &App,
    caller: Caller,
    id: OrderId,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Answered>, Problem> {
    let Some(unheld) = find_unheld(app, caller, id).await? else { return Ok(None) };
    if let Some(text) = first_answer(app, &unheld.order, idempotency).await? {
        return replay(id, OrderStatus::Paid, &text).map(Some);
    }
    let Some((ReadOrder { facts, paid_seq, .. }, balance)) = unheld.paid else {
        return Err(ProblemKind::OrderNotPayable.into());
    };
    let at_ms = facts.paid_at_ms.unwrap_or(facts.placed_at_ms);
    let paid = SettledOrder { seq: paid_seq, at_ms, balance: Some(balance), facts };
    let seen = remember(app, cell_of(app, id)?, &paid, idempotency).await?;
    Ok(Some(answer(id, OrderStatus::Paid, paid, seen)))
}

/// Remembers for a key that it was told of a payment made before. A request with the same key may have been faster.
async fn remember(
    app: &App,
    cell: CellId,
    paid: &SettledOrder,
    idempotency: Option<&Idempotency>,
) -> Result<Seen, Problem> {
    let Some(idempotency) = idempotency else { return Ok(Seen::New) };
    let ttl_ms = app.settings.idempotency_ttl_ms;
    match key_note(&app.scripts, cell, Some(paid.facts.user), idempotency, ttl_ms, &paid.to_string()).await? {
        KeyNote::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        // What was noted is the same payment.
        KeyNote::Replayed { .. } => Ok(Seen::Replayed),
        KeyNote::Noted => Ok(Seen::New),
    }
}

/// Cancels a pending order.
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<OrderId>,
    keyed: Keyed,
    NoBody: NoBody,
) -> Result<Answered, Problem> {
    end(&app, caller, id, OrderEnding::Cancelled, keyed).await
}

/// Refunds a paid order, whole.
pub async fn refund(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<OrderId>,
    keyed: Keyed,
    NoBody: NoBody,
) -> Result<Answered, Problem> {
    caller.puts_money(&app.settings)?;
    end(&app, caller, id, OrderEnding::Refunded, keyed).await
}

async fn end(
    app: &App,
    caller: Caller,
    id: OrderId,
    ending: OrderEnding,
    keyed: Keyed,
) -> Result<Answered, Problem> {
    let refused = match ending {
        OrderEnding::Cancelled | OrderEnding::Expired => ProblemKind::OrderNotCancellable,
        OrderEnding::Refunded => ProblemKind::OrderNotRefundable,
    };
    let only_for = caller.only_for()?;
    let idempotency = keyed.with(&());
    let cell = cell_of(app, id)?;
    let mut read: Option<ReadOrder> = None;
    for _ in 0..READS_MAX {
        let request = EndRequest {
            order: id,
            ending,
            caller: only_for,
            idempotency: idempotency.as_ref(),
            idempotency_ttl_ms: app.settings.idempotency_ttl_ms,
            read: read.as_ref(),
        };
        match order_end(&app.scripts, cell, request).await? {
            OrderEnd::KeyReused => return Err(ProblemKind::IdempotencyKeyReused.into()),
            OrderEnd::NotNow | OrderEnd::NotDue => return Err(refused.into()),
            OrderEnd::Ended { ended, seen } => {
                let lines = &ended.facts.lines;
                lines.iter().for_each(|it| app.sold_out.forget(Pool::Stock(it.sku)));
                return Ok(answer(id, ending.status(), ended, seen));
            }
            OrderEnd::NotFound => {}
            OrderEnd::Stale => tokio::time::sleep(READ_PAUSE).await,
        }
        let Some(unheld) = find_unheld(app, caller, id).await? else {
            read = None;
            continue;
        };
        read = match unheld.paid {
            Some((paid, _)) if ending == OrderEnding::Refunded => Some(paid),
            Some(_) | None => {
                return match first_answer(app, &unheld.order, idempotency.as_ref()).await? {
                    Some(text) => replay(id, ending.status(), &text),
                    None => Err(refused.into()),
                };
            }
        };
    }
    Err(too_busy())
}

fn replay(id: OrderId, status: OrderStatus, text: &str) -> Result<Answered, Problem> {
    let settled = SettledOrder::parse(text)
        .ok_or_else(|| Problem::new(ProblemKind::InternalError).because(format!("stored answer {text:?}")))?;
    Ok(answer(id, status, settled, Seen::Replayed))
}

fn answer(id: OrderId, status: OrderStatus, settled: SettledOrder, seen: Seen) -> Answered {
    let SettledOrder { at_ms, balance, facts, .. } = settled;
    let order = facts.order(id, status, Some(at_ms));
    (Replay(seen), Json(OrderAnswer { order, balance }))
}
