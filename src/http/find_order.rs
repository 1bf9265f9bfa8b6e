//! An order wherever it is: in its own hash, in the log, or in MySQL.

use std::time::Duration;

use super::AppState;
use super::caller::Caller;
use super::problem::{Problem, ProblemKind};
use super::reads::in_time;
use crate::cell::{CellId, CellView, Position, order_seq};
use crate::idempotency::Idempotency;
use crate::ids::OrderId;
use crate::money::Amount;
use crate::mysql::orders::{StoredOrder, order_by_id, payment_of};
use crate::mysql::{cells, dead_events};
use crate::order::{Order, OrderStatus};
use crate::scripts::events_read::events_read;
use crate::scripts::idempotency_read::{IdempotencyRead, idempotency_read};
use crate::scripts::order_end::ReadOrder;
use crate::scripts::order_get::{OrderGet, order_get};
use crate::scripts::{ScriptError, acknowledged};

/// An order that Redis has no hash of, and what a script needs to change it.
pub struct Unheld {
    pub order: Order,
    /// Of a paid one: what the log or MySQL says of it, and what was left in the wallet.
    pub paid: Option<(ReadOrder, Amount)>,
}

/// The cell that an order id names.
pub fn cell_of(app: &AppState, id: OrderId) -> Result<CellId, Problem> {
    app.scripts.cells().of_order(id).ok_or_else(|| ProblemKind::OrderNotFound.into())
}

/// One order as it stands, if the caller may see it.
pub async fn find_order(app: &AppState, caller: Caller, id: OrderId) -> Result<Order, Problem> {
    caller.known()?;
    let cell = cell_of(app, id)?;
    // First Redis, then the rows: an event is persisted before it is trimmed, so an order is never in neither.
    let order = match order_get(&app.scripts, cell, id).await? {
        OrderGet::Held(order) => Some(order),
        OrderGet::Logged { position, paid } => paid.order(cell, position),
        OrderGet::NotFound => in_time(order_by_id(&app.mysql, id)).await?.map(|it| it.order),
    };
    let order = order.ok_or(ProblemKind::OrderNotFound)?;
    caller.reaches(order.user_id, ProblemKind::OrderNotFound)?;
    Ok(order)
}

/// Reads an order of which a script found no hash. `None`: it has one by now; ask the script again. Who prefers to hear
/// of it once MySQL has it waits for what was read, though that happened before.
pub async fn find_unheld(app: &AppState, caller: Caller, id: OrderId) -> Result<Option<Unheld>, Problem> {
    let cell = cell_of(app, id)?;
    let unheld = match order_get(&app.scripts, cell, id).await? {
        OrderGet::Held(order) => {
            // Scripts say "not found" of another's, too.
            caller.reaches(order.user_id, ProblemKind::OrderNotFound)?;
            return Ok(None);
        }
        OrderGet::Logged { position, paid } => {
            acknowledged::note(cell, position);
            // While its own event is in the log, so is all that came after it.
            let known_to = Position { seq: position.seq - 1, ..position };
            let read = ReadOrder { facts: paid.facts(), paid_seq: position.seq, known_to };
            let order = paid.order(cell, position).ok_or(ProblemKind::OrderNotFound)?;
            Unheld { order, paid: Some((read, paid.balance)) }
        }
        OrderGet::NotFound => in_mysql(app, cell, id).await?,
    };
    caller.reaches(unheld.order.user_id, ProblemKind::OrderNotFound)?;
    Ok(Some(unheld))
}

async fn in_mysql(app: &AppState, cell: CellId, id: OrderId) -> Result<Unheld, Problem> {
    // The position first: what happened up to it is in the row.
    let CellView { persisted: known_to, dead_events, .. } =
        in_time(cells::read(&app.mysql, cell)).await?.view;
    // But for what is dead. Asked before the row is read, since one that is retried is in the row.
    if dead_events > 0 && in_time(dead_events::may_hold_refund(&app.mysql, cell, id)).await? {
        return Err(too_busy());
    }
    acknowledged::note(cell, known_to);
    let Some(stored) = in_time(order_by_id(&app.mysql, id)).await? else {
        return Err(nowhere(app, cell, id, known_to).await?);
    };
    let StoredOrder { order, facts } = stored;
    let paid = match order.status {
        OrderStatus::Paid => in_time(payment_of(&app.mysql, id))
            .await?
            .map(|payment| (ReadOrder { facts, paid_seq: payment.seq, known_to }, payment.balance)),
        OrderStatus::Pending | OrderStatus::Cancelled | OrderStatus::Expired | OrderStatus::Refunded => None,
    };
    Ok(Unheld { order, paid })
}

/// What to say of an order that is neither in the log nor in MySQL, which has everything up to `known_to`: there is none,
/// unless the log has trimmed its number already. Then MySQL was set back, and the order may be in what it lacks.
async fn nowhere(
    app: &AppState,
    cell: CellId,
    id: OrderId,
    known_to: Position,
) -> Result<Problem, ScriptError> {
    let seq = order_seq(id);
    if seq <= known_to.seq {
        return Ok(ProblemKind::OrderNotFound.into());
    }
    let log = events_read(&app.scripts, cell, Position::default(), 1).await?;
    let is_trimmed = log.entries.first().is_some_and(|oldest| seq < oldest.position.seq);
    Ok(if is_trimmed { ProblemKind::NotYetPersisted } else { ProblemKind::OrderNotFound }.into())
}

/// The first answer under a key, of an operation whose order has left Redis; `None`: the key is new.
pub async fn first_answer(
    app: &AppState,
    order: &Order,
    idempotency: Option<&Idempotency>,
) -> Result<Option<String>, Problem> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let cell = cell_of(app, order.order_id)?;
    match idempotency_read(&app.scripts, cell, Some(order.user_id), idempotency).await? {
        IdempotencyRead::Unused => Ok(None),
        IdempotencyRead::KeyReused => Err(ProblemKind::IdempotencyKeyReused.into()),
        IdempotencyRead::Replayed { answer } => Ok(Some(answer)),
    }
}

/// How often an order is read again that changes while it is read, or that MySQL and the log do not both reach yet
/// because the cell was recovered a moment ago.
pub const READS_MAX: usize = 25;

/// Pause between two of these readings: MySQL follows within some milliseconds.
pub const READ_PAUSE: Duration = Duration::from_millis(20);

/// An order that changed whenever it was read, or whose refund MySQL has not written yet.
pub fn too_busy() -> Problem {
    ProblemKind::NotYetPersisted.into()
}
