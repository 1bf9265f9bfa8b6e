//! Typed binding of `lua/balance_charge.lua`; the header of that file is the contract.

use super::load::{ScriptError, Scripts};
use super::text::Script;
use super::{idempotency_parts, keys};
use crate::cell::Seq;
use crate::idempotency::{Idempotency, Seen};
use crate::ids::UserId;
use crate::money::Amount;
use crate::time::Millis;

/// Money to put into a wallet. The caller has checked the limit per charge.
#[derive(Debug, Clone)]
pub struct ChargeRequest<'a> {
    pub user: UserId,
    pub amount: Amount,
    /// Most the wallet may hold afterwards.
    pub wallet_limit: Amount,
    /// Whether the first charge creates the wallet.
    pub create: bool,
    pub idempotency: Option<&'a Idempotency>,
    pub idempotency_ttl_ms: u64,
}

/// What can happen when a wallet is charged, in the order the script tests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalanceCharge {
    KeyReused,
    UserNotFound,
    LimitExceeded { balance: Amount },
    Charged { charge: Charge, seen: Seen },
}

/// The stored answer: what the first request with a key was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub seq: Seq,
    pub at_ms: Millis,
    /// What the wallet held after the charge.
    pub balance: Amount,
}

impl Charge {
    /// Reads `<seq> <at_ms> <balance>`.
    fn parse(answer: &str) -> Option<Self> {
        let mut words = answer.split(' ');
        let mut next = || words.next();
        Some(Self {
            seq: next()?.parse().ok()?,
            at_ms: next()?.parse().ok()?,
            balance: next()?.parse().ok()?,
        })
    }
}

/// Puts money into a wallet, in one atomic step.
///
/// # Errors
/// After [`ScriptError::Unknown`] the money may have been charged; a retry is safe with a key.
pub async fn balance_charge(
    scripts: &Scripts,
    request: ChargeRequest<'_>,
) -> Result<BalanceCharge, ScriptError> {
    let ChargeRequest { user, amount, wallet_limit, create, idempotency, idempotency_ttl_ms } = request;
    let cell = scripts.cells().of_user(user);
    let (idem_key, fingerprint, key) = idempotency_parts(cell, Some(user), idempotency);
    let args = [
        user.to_string(),
        amount.to_string(),
        wallet_limit.to_string(),
        u8::from(create).to_string(),
        fingerprint.to_owned(),
        key.to_owned(),
        idempotency_ttl_ms.to_string(),
    ];
    let reply = scripts.call(Script::BalanceCharge, cell, &[keys::user(cell, user), idem_key], &args).await?;
    let charged = |seen| {
        let charge = Charge::parse(reply.text(1)?).ok_or_else(|| reply.unexpected())?;
        scripts.acknowledge(cell, reply.epoch, charge.seq)?;
        Ok(BalanceCharge::Charged { charge, seen })
    };
    match reply.outcome {
        "KEY_REUSED" => Ok(BalanceCharge::KeyReused),
        "REPLAYED" => charged(Seen::Replayed),
        "USER_NOT_FOUND" => Ok(BalanceCharge::UserNotFound),
        "LIMIT_EXCEEDED" => Ok(BalanceCharge::LimitExceeded { balance: reply.int(2)? }),
        "CHARGED" => charged(Seen::New),
        _ => Err(reply.unexpected()),
    }
}
