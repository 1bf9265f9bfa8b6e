//! What MySQL has after a run, and whether it is what clients were told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ledger::{Deed, Entry};
use super::shop;
use super::stage::Stage;

pub struct StoredKey {
    pub user: u64,
    pub seq: u64,
}

#[derive(sqlx::FromRow)]
pub struct StoredOrder {
    id: u64,
    user_id: u64,
    pub status: String,
    total: i64,
    discount: i64,
    paid: i64,
}

#[derive(sqlx::FromRow)]
struct LedgerRow {
    seq: u64,
    user_id: u64,
    kind: String,
    amount: i64,
    balance: i64,
}

/// Rows of MySQL, by what names them.
pub struct Effects {
    pub keys: BTreeMap<String, StoredKey>,
    pub orders: BTreeMap<u64, StoredOrder>,
    ledger: BTreeMap<u64, LedgerRow>,
    /// order → number of the event that paid it
    payments: BTreeMap<u64, u64>,
    /// (coupon, user) → number of the event that issued it
    issues: BTreeMap<(u64, u64), u64>,
    wallets: BTreeMap<u64, i64>,
    remaining: BTreeMap<u64, i64>,
    /// product → units of orders that hold them
    held: BTreeMap<u64, i64>,
}

impl Effects {
    pub async fn read(stage: &Stage<'_>) -> Self {
        let keys: Vec<(u64, String, u64)> =
            stage.rows("SELECT user_id, idem_key, seq FROM idempotency").await;
        let orders: Vec<StoredOrder> =
            stage.rows("SELECT id, user_id, status, total, discount, paid FROM orders").await;
        let ledger: Vec<LedgerRow> =
            stage.rows("SELECT seq, user_id, kind, amount, balance FROM ledger").await;
        let payments: Vec<(u64, u64)> = stage.rows("SELECT order_id, seq FROM payments").await;
        let issues: Vec<(u64, u64, u64)> =
            stage.rows("SELECT coupon_id, user_id, issued_seq FROM coupon_issues").await;
        let held: Vec<(u64, i64)> = stage
            .rows(
                "SELECT l.product_id, CAST(SUM(l.quantity) AS SIGNED) FROM order_lines l JOIN orders o \
                 ON o.id = l.order_id WHERE o.status IN ('pending', 'paid') GROUP BY l.product_id",
            )
            .await;
        Self {
            keys: keys.into_iter().map(|(user, key, seq)| (key, StoredKey { user, seq })).collect(),
            orders: orders.into_iter().map(|it| (it.id, it)).collect(),
            ledger: ledger.into_iter().map(|it| (it.seq, it)).collect(),
            payments: payments.into_iter().collect(),
            issues: issues.into_iter().map(|(coupon, user, seq)| ((coupon, user), seq)).collect(),
            wallets: stage.rows("SELECT user_id, balance FROM wallets").await.into_iter().collect(),
            remaining: stage.rows("SELECT product_id, remaining FROM skus").await.into_iter().collect(),
            held: held.into_iter().collect(),
        }
    }

    /// Each key that is there did exactly what its client was told.
    pub fn values(&self, told: &[Entry], missing: &BTreeSet<String>, broken: &mut Vec<String>) {
        for entry in told.iter().filter(|it| !missing.contains(&it.key)) {
            let Some(key) = self.keys.get(&entry.key) else { continue };
            if let Err(what) = self.is_as_told(entry, key.seq) {
                broken.push(format!("{} {:?}: {what}; told {}", entry.key, entry.deed, entry.body));
            }
        }
    }

    fn is_as_told(&self, entry: &Entry, seq: u64) -> Result<(), String> {
        let number = |name: &str| entry.body[name].as_i64();
        let order = |id: u64| self.orders.get(&id).ok_or(format!("order {id} does not exist"));
        let same = |what: &str, one: Option<i64>, other: i64| match one {
            Some(one) if one == other => Ok(()),
            one => Err(format!("{what}: told {one:?}, stored {other}")),
        };
        let entry_of = |kind: &str, amount: i64| {
            let row = self.ledger.get(&seq).ok_or(format!("no ledger entry {seq}"))?;
            if row.kind != kind || row.user_id != entry.user {
                return Err(format!("ledger entry {seq} is a {} of user {}", row.kind, row.user_id));
            }
            same("amount", Some(amount), row.amount)?;
            same("balance", number("balance"), row.balance)
        };
        match entry.deed {
            Deed::Charge { amount } => entry_of("charge", amount),
            Deed::Buy | Deed::Place => {
                let id = entry.order().ok_or("no orderId")?;
                same("order", Some(id as i64), (seq * 1024) as i64)?;
                let stored = order(id)?;
                same("user", Some(stored.user_id as i64), entry.user as i64)?;
                same("total", number("total"), stored.total)?;
                if entry.deed == Deed::Place {
                    return Ok(());
                }
                same("discount", number("discount"), stored.discount)?;
                same("paid", number("paid"), stored.paid)?;
                entry_of("payment", -stored.paid)
            }
            Deed::Pay { order: id } => {
                same("payment", self.payments.get(&id).map(|it| *it as i64), seq as i64)?;
                let stored = order(id)?;
                same("paid", number("paid"), stored.paid)?;
                if !matches!(stored.status.as_str(), "paid" | "refunded") {
                    return Err(format!("the order is {}", stored.status));
                }
                entry_of("payment", -stored.paid)
            }
            Deed::Cancel { order: id } => match order(id)?.status.as_str() {
                "cancelled" => Ok(()),
                status => Err(format!("the order is {status}")),
            },
            Deed::Refund { order: id } => {
                let stored = order(id)?;
                if stored.status != "refunded" {
                    return Err(format!("the order is {}", stored.status));
                }
                entry_of("refund", stored.paid)
            }
            Deed::Claim { coupon } => {
                let issued = self.issues.get(&(coupon, entry.user));
                same("issue", issued.map(|it| *it as i64), seq as i64)
            }
        }
    }

    /// There is nothing but what clients were told, and it adds up. Returns how many rows are too many.
    pub fn totals(&self, told: &[Entry], missing: &BTreeSet<String>, broken: &mut Vec<String>) -> u64 {
        let mut surplus = 0;
        let there: Vec<&Entry> = told.iter().filter(|it| !missing.contains(&it.key)).collect();
        let count = |passes: &dyn Fn(&Deed) -> bool| there.iter().filter(|it| passes(&it.deed)).count();
        let status = |status: &str| self.orders.values().filter(|it| it.status == status).count();
        let moves_money = |it: &Deed| {
            matches!(it, Deed::Charge { .. } | Deed::Buy | Deed::Pay { .. } | Deed::Refund { .. })
        };
        for (what, stored, known) in [
            ("orders", self.orders.len(), count(&|it| matches!(it, Deed::Buy | Deed::Place))),
            ("payments", self.payments.len(), count(&|it| matches!(it, Deed::Buy | Deed::Pay { .. }))),
            ("cancelled orders", status("cancelled"), count(&|it| matches!(it, Deed::Cancel { .. }))),
            ("refunded orders", status("refunded"), count(&|it| matches!(it, Deed::Refund { .. }))),
            ("issues", self.issues.len(), count(&|it| matches!(it, Deed::Claim { .. }))),
            ("ledger entries", self.ledger.len(), count(&moves_money)),
        ] {
            if stored != known {
                surplus += stored.saturating_sub(known) as u64;
                broken.push(format!("{stored} {what}, but clients were told of {known}"));
            }
        }
        let mut balances: BTreeMap<u64, i64> = (1..=shop::USERS).map(|it| (it, 0)).collect();
        for entry in &there {
            let paid = |body: &Value| body["paid"].as_i64().unwrap_or_default();
            *balances.entry(entry.user).or_default() += match entry.deed {
                Deed::Charge { amount } => amount,
                Deed::Buy | Deed::Pay { .. } => -paid(&entry.body),
                Deed::Refund { .. } => paid(&entry.body),
                Deed::Place | Deed::Cancel { .. } | Deed::Claim { .. } => 0,
            };
        }
        if balances != self.wallets {
            broken.push(format!("wallets: clients reckon {balances:?}, MySQL has {:?}", self.wallets));
        }
        for product in 1..=shop::PRODUCTS {
            let stock = if product == shop::PRODUCTS { shop::SCARCE_STOCK } else { shop::STOCK };
            let held = self.held.get(&product).copied().unwrap_or(0);
            if self.remaining.get(&product) != Some(&(stock - held)) {
                broken.push(format!(
                    "product {product}: {stock} units, {held} held, {:?} left",
                    self.remaining.get(&product)
                ));
            }
        }
        surplus
    }
}
