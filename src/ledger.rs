//! What happened to a wallet.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::cell::Seq;
use crate::ids::OrderId;
use crate::money::Amount;

/// Why a wallet changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LedgerKind {
    Charge,
    Payment,
    Refund,
}

impl LedgerKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Charge, Self::Payment, Self::Refund].into_iter().find(|it| it.as_str() == text)
    }
}

/// One change of a wallet, as the contract shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// The number of the event that changed it.
    pub seq: Seq,
    pub kind: LedgerKind,
    /// Signed: a payment is negative.
    pub amount: Amount,
    /// What the wallet held afterwards.
    pub balance: Amount,
    /// Which order was paid, or paid back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    #[serde(serialize_with = "crate::time::serialize")]
    pub at: DateTime<Utc>,
}
