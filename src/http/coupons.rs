//! Coupons as buyers see them: campaigns, claims, and what a user has.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::fields::present;
use super::find_order::{cell_of, find_order, first_answer};
use super::idempotency_key::{Keyed, Replay};
use super::json::Json;
use super::openapi::AmountOrDiscount;
use super::page::{Page, cut, link, page};
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use super::query::{List, Query};
use super::reads::{catch_up, in_time, list_of_user};
use super::shared_reads::{IfNoneMatch, Rendered, Shared};
use super::sold_out::{Asking, is_sold_out};
use crate::across::desk::Fetched;
use crate::across::{catalogue, lists};
use crate::coupon::{Coupon, Discount, IssueId, OwnCoupon, OwnCouponStatus};
use crate::idempotency::{Idempotency, Seen};
use crate::ids::{CouponId, NotAnId, OrderId, UserId};
use crate::money::Amount;
use crate::mysql::coupons::{coupons_of_user, usable_coupons};
use crate::order::OrderStatus;
use crate::pool::Pool;
use crate::scripts::ScriptError;
use crate::scripts::clock_read::clock_read;
use crate::scripts::coupon_issue::{CouponIssue, coupon_issue};
use crate::scripts::coupon_release::{CouponRelease, ReleaseRequest, coupon_release};
use crate::time;

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    user_id: Option<UserId>,
    coupon_id: CouponId,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssueBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    user_id: Option<UserId>,
}

/// A coupon that was just issued.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    coupon_id: CouponId,
    user_id: UserId,
    #[serde(serialize_with = "amount_or_object")]
    #[schema(value_type = AmountOrDiscount)]
    discount: Discount,
    #[schema(value_type = OwnCouponStatus)]
    status: &'static str,
    #[serde(serialize_with = "time::serialize")]
    issued_at: DateTime<Utc>,
    #[serde(serialize_with = "time::serialize")]
    expires_at: DateTime<Utc>,
}

/// By the contract: a fixed discount is its amount, any other is an object.
fn amount_or_object<S: Serializer>(discount: &Discount, to: S) -> Result<S::Ok, S::Error> {
    match discount {
        Discount::Fixed(amount) => to.serialize_i64(*amount),
        Discount::Percent { .. } => discount.serialize(to),
    }
}

/// One page of the campaigns, by id.
pub async fn list_coupons(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    held: IfNoneMatch,
) -> Result<Response, Problem> {
    let query = query.only(&["limit", "cursor"])?;
    let (limit, after) = (query.limit()?, query.after(List::Coupons)?);
    caller.known()?;
    let read = || async {
        let mut coupons: Vec<Coupon> = lists::coupons(&app.scripts, after, limit + 1).await?;
        let behind = cut(&mut coupons, limit, |it| it.coupon_id.get());
        Ok(Rendered::new(&coupons, link(&app, List::Coupons, &query, behind)))
    };
    Ok(app.shared_reads.get(Shared::Coupons, &query, read).await?.answer(&held))
}

/// Takes one unit of a limited coupon for a user who exists.
pub async fn claim_coupon(
    State(app): State<App>,
    caller: Caller,
    keyed: Keyed,
    Json(mut body): Json<ClaimBody>,
) -> Result<(StatusCode, Replay, Json<Claimed>), Problem> {
    let user = caller.acting_for_named(body.user_id)?;
    // Left out or named, it is the same request.
    body.user_id = Some(user);
    issue(&app, IssueId { coupon: body.coupon_id, user }, false, keyed.with(&body)).await
}

/// The same; it creates a missing user.
pub async fn issue_coupon(
    State(app): State<App>,
    caller: Caller,
    Path(coupon): Path<CouponId>,
    keyed: Keyed,
    Json(mut body): Json<IssueBody>,
) -> Result<(StatusCode, Replay, Json<Claimed>), Problem> {
    let user = caller.acting_for_named(body.user_id)?;
    // Left out or named, it is the same request.
    body.user_id = Some(user);
    issue(&app, IssueId { coupon, user }, true, keyed.with(&body)).await
}

async fn issue(
    app: &App,
    id: IssueId,
    create: bool,
    idempotency: Option<Idempotency>,
) -> Result<(StatusCode, Replay, Json<Claimed>), Problem> {
    let ttl_ms = app.settings.idempotency_ttl_ms;
    let shown = |at_ms| time::rfc3339(time::from_millis(at_ms));
    let pool = Pool::Coupon(id.coupon);
    if is_sold_out(app, pool, id.user, idempotency.as_ref()).await? {
        return Err(ProblemKind::CouponSoldOut.into());
    }
    let asking = Asking::now(app);
    let mut issued = coupon_issue(&app.scripts, id, create, idempotency.as_ref(), ttl_ms).await?;
    if app.scripts.cells().count() > 1 {
        // Rarely more than the look: boxed, so that no request's future grows by it.
        issued = Box::pin(issue_across(app, id, create, idempotency.as_ref(), issued)).await?;
    }
    match issued {
        CouponIssue::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        CouponIssue::NotFound => Err(ProblemKind::CouponNotFound.into()),
        CouponIssue::UserNotFound => Err(ProblemKind::UserNotFound.into()),
        CouponIssue::NotStarted { starts_at_ms } => {
            Err(Problem::new(ProblemKind::CouponNotStarted).with("startsAt", shown(starts_at_ms)))
        }
        CouponIssue::Expired { ended_at_ms } => {
            Err(Problem::new(ProblemKind::CouponExpired).with("endsAt", shown(ended_at_ms)))
        }
        CouponIssue::AlreadyIssued => Err(ProblemKind::CouponAlreadyIssued.into()),
        CouponIssue::SoldOut => {
            app.sold_out.told(pool, asking);
            Err(ProblemKind::CouponSoldOut.into())
        }
        CouponIssue::Issued { issued, seen, left } => {
            if let Some(left) = left {
                app.desk.bought(pool, id.user, left);
            }
            let claimed = Claimed {
                coupon_id: id.coupon,
                user_id: id.user,
                discount: issued.discount,
                status: "issued",
                issued_at: time::from_millis(issued.issued_at_ms),
                expires_at: time::from_millis(issued.expires_at_ms),
            };
            Ok((StatusCode::CREATED, Replay(seen), Json(claimed)))
        }
    }
}

/// Longest time that a claim waits for units of other cells.
const UNITS_PATIENCE: Duration = Duration::from_secs(10);

/// Where the user's cell is short of units, waits for those of other cells and tries again, until one is issued, refused
/// for another reason, or proven not to be there.
async fn issue_across(
    app: &App,
    id: IssueId,
    create: bool,
    idempotency: Option<&Idempotency>,
    mut issued: CouponIssue,
) -> Result<CouponIssue, ScriptError> {
    let (cell, pool) = (app.scripts.cells().of_user(id.user), Pool::Coupon(id.coupon));
    let (began, mut brought) = (Instant::now(), false);
    loop {
        match issued {
            CouponIssue::SoldOut => match app.desk.fetch(pool, cell, 1).await? {
                Fetched::Short { .. } => return Ok(issued),
                Fetched::Again if began.elapsed() > UNITS_PATIENCE => {
                    return Err(ScriptError::Refused("units are on their way between cells".to_owned()));
                }
                Fetched::Again => {}
            },
            // Opened a moment ago, and not here yet.
            CouponIssue::NotFound if !brought => {
                brought = true;
                if !catalogue::bring(&app.scripts, &app.watermark, pool, cell).await? {
                    return Ok(issued);
                }
            }
            issued => return Ok(issued),
        }
        let ttl_ms = app.settings.idempotency_ttl_ms;
        issued = coupon_issue(&app.scripts, id, create, idempotency, ttl_ms).await?;
    }
}

/// One page of a user's coupons, newest first.
pub async fn list_coupons_of_user(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<UserId>,
    query: Query,
) -> Result<Page<OwnCoupon>, Problem> {
    let (list, query) = (List::CouponsOfUser(user), query.only(&["status", "limit", "cursor"])?);
    let (limit, before, status) = (query.limit()?, query.before(list)?, status_of(&query)?);
    list_of_user(&app, caller, user).await?;
    let now_ms = clock_read(&app.scripts, app.scripts.cells().of_user(user)).await?;
    let mut coupons = in_time(coupons_of_user(&app.mysql, user, now_ms, status, before, limit + 1)).await?;
    let behind = cut(&mut coupons, limit, |it| it.seq);
    Ok(page(&app, list, &query, coupons, behind))
}

/// The status that a list is asked for; `None`: any.
fn status_of(query: &Query) -> Result<Option<OwnCouponStatus>, Problem> {
    let Some(text) = query.get("status") else { return Ok(None) };
    let status = OwnCouponStatus::parse(text);
    status.map(Some).ok_or_else(|| Problem::parameter("status", "must be issued, held, used or expired"))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    order_id: OrderId,
}

/// A coupon that its order let go of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    coupon_id: CouponId,
    order_id: OrderId,
    #[schema(value_type = OwnCouponStatus)]
    status: &'static str,
}

/// A coupon that a pending order could use.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidCoupon {
    coupon_id: CouponId,
    name: String,
    discount_amount: Amount,
    payable: Amount,
}

/// Lets a pending order go of its coupon.
pub async fn release_coupon(
    State(app): State<App>,
    caller: Caller,
    Path(coupon_id): Path<CouponId>,
    keyed: Keyed,
    Json(body): Json<ReleaseBody>,
) -> Result<(Replay, Json<Released>), Problem> {
    let only_for = caller.only_for()?;
    let idempotency = keyed.with(&body);
    let order_id = body.order_id;
    let cell = cell_of(&app, order_id)?;
    let request = ReleaseRequest {
        order: order_id,
        coupon: coupon_id,
        caller: only_for,
        idempotency: idempotency.as_ref(),
        idempotency_ttl_ms: app.settings.idempotency_ttl_ms,
    };
    let released = |seen| Ok((Replay(seen), Json(Released { coupon_id, order_id, status: "issued" })));
    match coupon_release(&app.scripts, cell, request).await? {
        CouponRelease::NotFound => {
            let order = find_order(&app, caller, order_id).await?;
            match first_answer(&app, &order, idempotency.as_ref()).await? {
                Some(_) => released(Seen::Replayed),
                None => Err(ProblemKind::OrderNotPayable.into()),
            }
        }
        CouponRelease::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        CouponRelease::NotPayable => Err(ProblemKind::OrderNotPayable.into()),
        CouponRelease::NotHeld => Err(ProblemKind::CouponNotFound.into()),
        CouponRelease::Released { seen } => released(seen),
    }
}

/// All of the buyer's coupons that a pending order could use, best first.
pub async fn list_valid(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<ValidCoupon>>, Problem> {
    let query = query.only(&["orderId"])?;
    let Some(text) = query.get("orderId") else { return Err(Problem::parameter("orderId", "is required")) };
    let id: OrderId =
        text.parse().map_err(|error: NotAnId| Problem::parameter("orderId", error.to_string()))?;
    let order = find_order(&app, caller, id).await?;
    let cell = cell_of(&app, id)?;
    let now_ms = clock_read(&app.scripts, cell).await?;
    let expires_at = order.expires_at.filter(|_| order.status == OrderStatus::Pending);
    if expires_at.is_none_or(|it| it <= time::from_millis(now_ms)) {
        return Ok(Json(Vec::new()));
    }
    catch_up(&app, cell).await;
    let usable = in_time(usable_coupons(&app.mysql, order.user_id, now_ms, order.total, id)).await?;
    let mut valid: Vec<ValidCoupon> = usable
        .into_iter()
        .map(|(coupon_id, name, discount)| {
            // The one that it holds takes off what it was placed with, whatever its campaign says by now.
            let is_held = order.coupon_id == Some(coupon_id);
            let discount_amount = if is_held { order.discount } else { discount.amount(order.total) };
            ValidCoupon { coupon_id, name, discount_amount, payable: order.total - discount_amount }
        })
        .collect();
    valid.sort_by_key(|it| (it.payable, it.coupon_id));
    Ok(Json(valid))
}
