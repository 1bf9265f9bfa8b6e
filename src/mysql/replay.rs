//! Changes of the catalogue in their order, although one of them comes late.
//!
//! A life of a product or campaign begins with the first change behind the end of the one before, and what a life put
//! in stays put in. So the rows do not tell what a change in between would have made of them. Therefore, while a cell has
//! dead events, `catalogue_replay` keeps what a product or campaign was before the first change beside them, and
//! each change since. A retried one is put in its place, and all of them are applied anew.

use sqlx::MySqlConnection;

use super::catalogue::{CatalogueChange, State, Subject};
use super::decode;
use crate::cell::{CellId, Seq};
use crate::event::Event;

/// Keeps a change, and what its subject was before, where that is the first one.
pub(super) async fn note<S: State>(
    cell: CellId,
    change: &CatalogueChange,
    before: &S,
    connection: &mut MySqlConnection,
) -> Result<(), sqlx::Error> {
    let (subject, id) = named(change.subject);
    let base: Option<Seq> = sqlx::query_scalar(
        "SELECT seq FROM catalogue_replay WHERE cell = ? AND subject = ? AND id = ? AND seq = 0",
    )
    .bind(cell.0)
    .bind(subject)
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let before = match base {
        Some(_) => None,
        None => Some(serde_json::to_string(before).map_err(decode)?),
    };
    let base = before.as_deref().map(|json| (0, "", json));
    for (seq, kind, body) in base.into_iter().chain([(change.seq, &*change.kind, &*change.body)]) {
        sqlx::query(
            "INSERT INTO catalogue_replay (cell, subject, id, seq, kind, body) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(cell.0)
        .bind(subject)
        .bind(id)
        .bind(seq)
        .bind(kind)
        .bind(body)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// What the kept changes make of their subject, without this one and with it.
pub(super) async fn with_and_without<S: State>(
    cell: CellId,
    change: &CatalogueChange,
    connection: &mut MySqlConnection,
) -> Result<(S, S), sqlx::Error> {
    let (subject, id) = named(change.subject);
    let kept: Vec<(Seq, String, String)> = sqlx::query_as(
        "SELECT seq, kind, body FROM catalogue_replay WHERE cell = ? AND subject = ? AND id = ? ORDER BY seq",
    )
    .bind(cell.0)
    .bind(subject)
    .bind(id)
    .fetch_all(connection)
    .await?;
    let Some(((_, _, base), kept)) = kept.split_first() else { return Err(sqlx::Error::RowNotFound) };
    let mut without: S = serde_json::from_str(base).map_err(decode)?;
    let mut with = without.clone();
    for (seq, kind, body) in kept {
        let event = Event::parse(kind, body).map_err(decode)?;
        with.apply(*seq, &event);
        if *seq != change.seq {
            without.apply(*seq, &event);
        }
    }
    Ok((without, with))
}

/// Forgets the kept changes of a cell that has no dead events any more.
pub(super) async fn clear(cell: CellId, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM catalogue_replay WHERE cell = ?")
        .bind(cell.0)
        .execute(connection)
        .await
        .map(|_| ())
}

fn named(subject: Subject) -> (&'static str, u64) {
    match subject {
        Subject::Product(id) => ("product", id),
        Subject::Coupon(id) => ("coupon", id),
    }
}
