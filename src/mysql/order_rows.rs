//! Rows of orders: placed, changed, paid.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, MySqlConnection};

use super::datetime;
use super::tables::{ORDER_LINES, ORDERS, PAYMENTS};
use crate::cell::{CellId, Seq};
use crate::ids::{OrderId, UserId};
use crate::money::Amount;
use crate::order::{FactLine, OrderFacts, OrderStatus};
use crate::time::Millis;

/// What a batch does to orders. Of several changes of one order the last one counts.
#[derive(Default)]
pub(super) struct OrderRows {
    placed: Vec<PlacedRow>,
    changed: BTreeMap<OrderId, ChangedRow>,
    payments: Vec<PaymentRow>,
}

struct PlacedRow {
    id: OrderId,
    seq: Seq,
    status: OrderStatus,
    facts: OrderFacts,
}

struct ChangedRow {
    status: OrderStatus,
    facts: OrderFacts,
    ended_at: Option<NaiveDateTime>,
}

struct PaymentRow {
    order: OrderId,
    seq: Seq,
    user: UserId,
    amount: Amount,
    at: NaiveDateTime,
}

impl OrderRows {
    /// A new order, pending or paid at once.
    pub fn place(&mut self, id: OrderId, seq: Seq, status: OrderStatus, facts: OrderFacts) {
        self.placed.push(PlacedRow { id, seq, status, facts });
    }

    /// An order came to another state, at `ended_at_ms` where that is an end.
    pub fn change(
        &mut self,
        id: OrderId,
        status: OrderStatus,
        facts: OrderFacts,
        ended_at_ms: Option<Millis>,
    ) {
        self.changed.insert(id, ChangedRow { status, facts, ended_at: ended_at_ms.map(datetime) });
    }

    pub fn pay(&mut self, order: OrderId, seq: Seq, facts: &OrderFacts, at_ms: Millis) {
        let (user, amount) = (facts.user, facts.total - facts.discount);
        self.payments.push(PaymentRow { order, seq, user, amount, at: datetime(at_ms) });
    }

    pub async fn write(&self, cell: CellId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let row = |to: &mut MySqlArguments, PlacedRow { id, seq, status, facts }: &PlacedRow| {
            to.add(id.get())?;
            to.add(cell.0)?;
            to.add(seq)?;
            to.add(facts.user.get())?;
            to.add(status.as_str())?;
            to.add(facts.total)?;
            to.add(facts.discount)?;
            to.add(paid(facts))?;
            to.add(facts.coupon.map(|it| it.get()))?;
            to.add(datetime(facts.placed_at_ms))?;
            to.add(facts.expires_at_ms.map(datetime))?;
            to.add(facts.paid_at_ms.map(datetime))
        };
        ORDERS.execute(connection, &self.placed, row).await?;
        let lines: Vec<(OrderId, usize, &FactLine)> = self
            .placed
            .iter()
            .flat_map(|order| order.facts.lines.iter().enumerate().map(|(number, it)| (order.id, number, it)))
            .collect();
        let row = |to: &mut MySqlArguments, (id, number, line): &(OrderId, usize, &FactLine)| {
            to.add(id.get())?;
            to.add(*number as u8)?;
            to.add(line.sku.product.get())?;
            to.add(line.sku.option.get())?;
            to.add(line.quantity)?;
            to.add(line.unit_price)?;
            to.add(line.limited)
        };
        ORDER_LINES.execute(connection, &lines, row).await?;
        for (id, row) in &self.changed {
            row.write(*id, connection).await?;
        }
        let row = |to: &mut MySqlArguments, it: &PaymentRow| {
            to.add(it.order.get())?;
            to.add(cell.0)?;
            to.add(it.seq)?;
            to.add(it.user.get())?;
            to.add(it.amount)?;
            to.add(it.at)
        };
        PAYMENTS.execute(connection, &self.payments, row).await
    }
}

fn paid(facts: &OrderFacts) -> Amount {
    if facts.paid_at_ms.is_some() { facts.total - facts.discount } else { 0 }
}

impl ChangedRow {
    async fn write(&self, id: OrderId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let Self { status, facts, ended_at } = self;
        let ended = |at: OrderStatus| ended_at.filter(|_| *status == at);
        sqlx::query(
            "UPDATE orders SET status = ?, discount = ?, paid = ?, coupon_id = ?, paid_at = ?, cancelled_at = ?, \
             refunded_at = ? WHERE id = ?",
        )
        .bind(status.as_str())
        .bind(facts.discount)
        .bind(paid(facts))
        .bind(facts.coupon.map(|it| it.get()))
        .bind(facts.paid_at_ms.map(datetime))
        .bind(ended(OrderStatus::Cancelled))
        .bind(ended(OrderStatus::Refunded))
        .bind(id.get())
        .execute(connection)
        .await
        .map(|_| ())
    }
}
