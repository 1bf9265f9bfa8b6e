//! Users and their balance.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::fields::{Integer, present};
use super::idempotency_key::{Keyed, Replay};
use super::json::Json;
use super::page::{Page, cut, page};
use super::path::Path;
use super::problem::{Problem, ProblemKind};
use super::query::{List, Query};
use super::reads::{in_time, list_of_user};
use crate::idempotency::Idempotency;
use crate::ids::UserId;
use crate::ledger::LedgerEntry;
use crate::money::Amount;
use crate::mysql::history::ledger_of_user;
use crate::scripts::balance_charge::{BalanceCharge, ChargeRequest, balance_charge};
use crate::scripts::balance_get::balance_get;
use crate::scripts::idempotency_read::{IdempotencyRead, idempotency_read};
use crate::scripts::user_create::{UserCreate, user_create};

/// What a wallet holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    user_id: UserId,
    balance: Amount,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeBody {
    amount: Integer,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChargeUserBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    user_id: Option<UserId>,
    amount: Integer,
}

/// Makes a user with an empty wallet, unless they exist.
pub async fn create_user(
    State(app): State<App>,
    caller: Caller,
    Path(user_id): Path<UserId>,
) -> Result<(StatusCode, Json<Balance>), Problem> {
    let user_id = caller.acting_for(user_id)?;
    match user_create(&app.scripts, user_id).await? {
        UserCreate::Exists { balance } => Ok((StatusCode::OK, Json(Balance { user_id, balance }))),
        UserCreate::Created { .. } => Ok((StatusCode::CREATED, Json(Balance { user_id, balance: 0 }))),
    }
}

/// What a user's wallet holds.
pub async fn get_balance(
    State(app): State<App>,
    caller: Caller,
    Path(user_id): Path<UserId>,
) -> Result<Json<Balance>, Problem> {
    let user_id = caller.acting_for(user_id)?;
    match balance_get(&app.scripts, user_id).await? {
        None => Err(ProblemKind::UserNotFound.into()),
        Some(balance) => Ok(Json(Balance { user_id, balance })),
    }
}

/// The same by query; an unknown user has nothing.
pub async fn get_balance_by_query(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Balance>, Problem> {
    let query = query.only(&["userId"])?;
    let user_id = query.get("userId").map(str::parse::<UserId>).transpose();
    let user_id = user_id.map_err(|error| Problem::parameter("userId", error.to_string()))?;
    let user_id = caller.acting_for_or_self(user_id, || Problem::parameter("userId", "is required"))?;
    let balance = balance_get(&app.scripts, user_id).await?.unwrap_or_default();
    Ok(Json(Balance { user_id, balance }))
}

/// What happened to a user's wallet, newest first.
pub async fn list_history(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<UserId>,
    query: Query,
) -> Result<Page<LedgerEntry>, Problem> {
    let (list, query) = (List::History(user), query.only(&["limit", "cursor"])?);
    let (limit, before) = (query.limit()?, query.before(list)?);
    list_of_user(&app, caller, user).await?;
    let mut entries = in_time(ledger_of_user(&app.mysql, user, before, limit + 1)).await?;
    let behind = cut(&mut entries, limit, |it| it.seq);
    Ok(page(&app, list, &query, entries, behind))
}

/// Puts money into the wallet of a user who exists.
pub async fn charge(
    State(app): State<App>,
    caller: Caller,
    Path(user_id): Path<UserId>,
    keyed: Keyed,
    Json(body): Json<ChargeBody>,
) -> Result<(StatusCode, Replay, Json<Balance>), Problem> {
    caller.puts_money(&app.settings)?;
    let user_id = caller.acting_for(user_id)?;
    let (replay, balance) = put(&app, user_id, body.amount, false, keyed.with(&body)).await?;
    Ok((StatusCode::CREATED, replay, balance))
}

/// Puts money into a wallet; the first charge makes it.
pub async fn charge_or_create(
    State(app): State<App>,
    caller: Caller,
    keyed: Keyed,
    Json(mut body): Json<ChargeUserBody>,
) -> Result<(Replay, Json<Balance>), Problem> {
    caller.puts_money(&app.settings)?;
    let user_id = caller.acting_for_named(body.user_id)?;
    // Left out or named, it is the same request.
    body.user_id = Some(user_id);
    put(&app, user_id, body.amount, true, keyed.with(&body)).await
}

async fn put(
    app: &App,
    user_id: UserId,
    amount: Integer,
    create: bool,
    idempotency: Option<Idempotency>,
) -> Result<(Replay, Json<Balance>), Problem> {
    if !(1..=app.settings.charge_limit).contains(&amount.get()) {
        return Err(refusal_of_amount(app, user_id, idempotency.as_ref()).await?);
    }
    let request = ChargeRequest {
        user: user_id,
        amount: amount.get(),
        wallet_limit: app.settings.wallet_limit,
        create,
        idempotency: idempotency.as_ref(),
        idempotency_ttl_ms: app.settings.idempotency_ttl_ms,
    };
    match balance_charge(&app.scripts, request).await? {
        BalanceCharge::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        BalanceCharge::UserNotFound => Err(ProblemKind::UserNotFound.into()),
        BalanceCharge::LimitExceeded { .. } => Err(ProblemKind::BalanceLimitExceeded.into()),
        BalanceCharge::Charged { charge, seen } => {
            Ok((Replay(seen), Json(Balance { user_id, balance: charge.balance })))
        }
    }
}

/// Why an amount out of bounds is refused: by the contract's order a key that was used for another request is told
/// first.
async fn refusal_of_amount(
    app: &App,
    user: UserId,
    idempotency: Option<&Idempotency>,
) -> Result<Problem, Problem> {
    let Some(idempotency) = idempotency else { return Ok(ProblemKind::InvalidAmount.into()) };
    let cell = app.scripts.cells().of_user(user);
    Ok(match idempotency_read(&app.scripts, cell, Some(user), idempotency).await? {
        IdempotencyRead::KeyReused => ProblemKind::IdempotencyKeyReused.into(),
        // The same request was carried out under a larger limit: it cannot be told again, and nothing was charged now.
        IdempotencyRead::Unused | IdempotencyRead::Replayed { .. } => ProblemKind::InvalidAmount.into(),
    })
}
