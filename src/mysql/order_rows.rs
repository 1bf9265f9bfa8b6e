//! Rows of orders: placed, changed, paid.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, AssertSqlSafe, MySqlConnection};

use super::catalogue::Turn;
use super::datetime;
use super::tables::{ORDER_LINES, ORDERS, PAYMENTS};
use crate::cell::{CellId, Seq, order_seq};
use crate::ids::{OrderId, UserId};
use crate::money::Amount;
use crate::order::{FactLine, OrderFacts, OrderStatus};
use crate::time::Millis;

/// What a batch does to orders. Of several changes of one order the last one counts.
#[derive(Default)]
pub(super) struct OrderRows {
    placed: Vec<OrderRow>,
    changed: BTreeMap<OrderId, OrderRow>,
    payments: Vec<PaymentRow>,
}

/// An order as an event leaves it: each carries all facts.
struct OrderRow {
    id: OrderId,
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
    pub fn place(&mut self, id: OrderId, status: OrderStatus, facts: OrderFacts) {
        self.placed.push(OrderRow { id, status, facts, ended_at: None });
    }

    /// An order came to another state, at `ended_at_ms` where that is an end.
    pub fn change(
        &mut self,
        id: OrderId,
        status: OrderStatus,
        facts: OrderFacts,
        ended_at_ms: Option<Millis>,
    ) {
        self.changed.insert(id, OrderRow { id, status, facts, ended_at: ended_at_ms.map(datetime) });
    }

    pub fn pay(&mut self, order: OrderId, seq: Seq, facts: &OrderFacts, at_ms: Millis) {
        let (user, amount) = (facts.user, facts.total - facts.discount);
        self.payments.push(PaymentRow { order, seq, user, amount, at: datetime(at_ms) });
    }

    pub async fn write(
        &self,
        cell: CellId,
        turn: Turn,
        connection: &mut MySqlConnection,
    ) -> Result<(), sqlx::Error> {
        let mut placed: Vec<&OrderRow> = self.placed.iter().collect();
        if turn == Turn::Late {
            // What came of the order since has made its row.
            let mut missing = Vec::new();
            for row in placed {
                if !row.is_there(connection).await? {
                    missing.push(row);
                }
            }
            placed = missing;
        }
        insert(&placed, cell, connection).await?;
        let mut missing = Vec::new();
        for row in self.changed.values() {
            if !row.update(cell, connection).await? && !row.is_there(connection).await? {
                missing.push(row);
            }
        }
        // The event that placed it is dead: this one has the facts, too.
        insert(&missing, cell, connection).await?;
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

async fn insert(
    orders: &[&OrderRow],
    cell: CellId,
    connection: &mut MySqlConnection,
) -> Result<(), sqlx::Error> {
    let row = |to: &mut MySqlArguments, order: &&OrderRow| {
        let OrderRow { id, status, facts, .. } = order;
        to.add(id.get())?;
        to.add(cell.0)?;
        to.add(order_seq(*id))?;
        to.add(facts.user.get())?;
        to.add(status.as_str())?;
        to.add(facts.total)?;
        to.add(facts.discount)?;
        to.add(paid(facts))?;
        to.add(facts.coupon.map(|it| it.get()))?;
        to.add(datetime(facts.placed_at_ms))?;
        to.add(facts.expires_at_ms.map(datetime))?;
        to.add(facts.paid_at_ms.map(datetime))?;
        to.add(order.ended_as(OrderStatus::Cancelled))?;
        to.add(order.ended_as(OrderStatus::Refunded))
    };
    ORDERS.execute(connection, orders, row).await?;
    let lines: Vec<(OrderId, usize, &FactLine)> = orders
        .iter()
        .flat_map(|order| order.facts.lines.iter().enumerate().map(|(number, it)| (order.id, number, it)))
        .collect();
    let row = |to: &mut MySqlArguments, (id, number, line): &(OrderId, usize, &FactLine)| {
        to.add(id.get())?;
        to.add(*number as u8)?;
        to.add(cell.0)?;
        to.add(line.sku.product.get())?;
        to.add(line.sku.option.get())?;
        to.add(line.quantity)?;
        to.add(line.unit_price)?;
        to.add(line.limited)
    };
    ORDER_LINES.execute(connection, &lines, row).await
}

fn paid(facts: &OrderFacts) -> Amount {
    if facts.paid_at_ms.is_some() { facts.total - facts.discount } else { 0 }
}

impl OrderRow {
    fn ended_as(&self, end: OrderStatus) -> Option<NaiveDateTime> {
        self.ended_at.filter(|_| self.status == end)
    }

    /// The states out of which an order comes to this one, as a list. A row in another state is newer.
    fn before(&self) -> &'static str {
        match self.status {
            // It let go of its coupon.
            OrderStatus::Pending => "'pending'",
            OrderStatus::Paid | OrderStatus::Cancelled | OrderStatus::Expired => "'pending'",
            // It may have been paid in the same batch, or by an event that is dead.
            OrderStatus::Refunded => "'pending', 'paid'",
        }
    }

    /// Writes a change over an older row. False: there is none.
    async fn update(&self, cell: CellId, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let Self { id, status, facts, .. } = self;
        let text = format!(
            "UPDATE orders SET status = ?, discount = ?, paid = ?, coupon_id = ?, paid_at = ?, cancelled_at = ?, \
             refunded_at = ? WHERE id = ? AND cell = ? AND status IN ({})",
            self.before()
        );
        let done = sqlx::query(AssertSqlSafe(text))
            .bind(status.as_str())
            .bind(facts.discount)
            .bind(paid(facts))
            .bind(facts.coupon.map(|it| it.get()))
            .bind(facts.paid_at_ms.map(datetime))
            .bind(self.ended_as(OrderStatus::Cancelled))
            .bind(self.ended_as(OrderStatus::Refunded))
            .bind(id.get())
            .bind(cell.0)
            .execute(connection)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn is_there(&self, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let found: Option<u64> = sqlx::query_scalar("SELECT id FROM orders WHERE id = ?")
            .bind(self.id.get())
            .fetch_optional(connection)
            .await?;
        Ok(found.is_some())
    }
}
