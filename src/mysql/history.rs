//! Changes of a wallet as read from MySQL.

use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{FromRow, Row};

use super::decode;
use crate::cell::Seq;
use crate::ids::{OrderId, UserId};
use crate::ledger::{LedgerEntry, LedgerKind};

/// The newest `limit` changes of a wallet whose number is below `before`, newest first. A user's numbers
/// are of one cell, so they tell the order.
pub async fn ledger_of_user(
    pool: &MySqlPool,
    user: UserId,
    before: Seq,
    limit: usize,
) -> Result<Vec<LedgerEntry>, sqlx::Error> {
    sqlx::query_as(
        "SELECT seq, kind, amount, balance, order_id, at FROM ledger \
         WHERE user_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
    )
    .bind(user.get())
    .bind(before)
    .bind(limit as u64)
    .fetch_all(pool)
    .await
}

impl FromRow<'_, MySqlRow> for LedgerEntry {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let kind: String = row.try_get("kind")?;
        let order: Option<u64> = row.try_get("order_id")?;
        Ok(Self {
            seq: row.try_get("seq")?,
            kind: LedgerKind::parse(&kind).ok_or_else(|| decode(format!("ledger kind {kind:?}")))?,
            amount: row.try_get("amount")?,
            balance: row.try_get("balance")?,
            order_id: order.map(OrderId::new).transpose().map_err(decode)?,
            at: row.try_get("at")?,
        })
    }
}
