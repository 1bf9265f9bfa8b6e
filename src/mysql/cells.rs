//! Rows of `cells`, `nodes`, `recoveries` and `engine`: epochs, positions, notes, fixed facts.

use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{FromRow, QueryBuilder, Row};

use crate::cell::{CellId, CellState, CellView, Cells, Epoch, Fence, Position, Seq};

/// A row of `cells`.
#[derive(Debug, Clone)]
pub struct CellRow {
    pub view: CellView,
    pub replid: Option<String>,
    pub base: Seq,
}

impl CellRow {
    /// What scripts of the running epoch carry; `None` before the first recovery.
    pub fn fence(&self) -> Option<Fence> {
        (self.view.epoch > 0).then(|| Fence { epoch: self.view.epoch, replid: self.replid.clone() })
    }
}

impl FromRow<'_, MySqlRow> for CellRow {
    fn from_row(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let state = match row.try_get::<String, _>("state")?.as_str() {
            "open" => CellState::Open,
            _ => CellState::Closed { reason: row.try_get("reason")? },
        };
        let persisted =
            Position { epoch: row.try_get("persisted_epoch")?, seq: row.try_get("persisted_seq")? };
        let replid: String = row.try_get("replid")?;
        Ok(Self {
            view: CellView {
                cell: CellId(row.try_get("cell")?),
                state,
                epoch: row.try_get("epoch")?,
                persisted,
                lost_events: row.try_get("lost_events")?,
                dead_events: row.try_get::<i64, _>("dead_events")? as u64,
            },
            replid: (!replid.is_empty()).then_some(replid),
            base: row.try_get("base")?,
        })
    }
}

/// The engine's number of cells does not fit the database.
#[derive(Debug, thiserror::Error)]
pub enum CellsError {
    #[error(
        "the database was created with {stored} cells, and `cells` is {set}: the number is fixed, so set it to {stored}"
    )]
    OtherCount { stored: u64, set: u16 },
    #[error("mysql: {0}")]
    Mysql(#[from] sqlx::Error),
}

/// Writes the fixed facts of a new database and its cells, or checks them.
pub async fn prepare(pool: &MySqlPool, cells: Cells, stream_bound: u64) -> Result<(), CellsError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT IGNORE INTO engine (name, value) VALUES ('cells', ?)")
        .bind(cells.count())
        .execute(&mut *transaction)
        .await?;
    let stored: u64 = sqlx::query_scalar("SELECT value FROM engine WHERE name = 'cells'")
        .fetch_one(&mut *transaction)
        .await?;
    if stored != u64::from(cells.count()) {
        return Err(CellsError::OtherCount { stored, set: cells.count() });
    }
    // A recovery must step past whatever any node's scripts may have handed out.
    sqlx::query(
        "INSERT INTO engine (name, value) VALUES ('stream_bound', ?) \
         ON DUPLICATE KEY UPDATE value = GREATEST(value, VALUES(value))",
    )
    .bind(stream_bound)
    .execute(&mut *transaction)
    .await?;
    for cell in cells.all() {
        sqlx::query("INSERT IGNORE INTO cells (cell) VALUES (?)")
            .bind(cell.0)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT IGNORE INTO publishing (cell) VALUES (?)")
            .bind(cell.0)
            .execute(&mut *transaction)
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// All cells, by id.
pub async fn read_all(pool: &MySqlPool) -> Result<Vec<CellRow>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.*, (SELECT COUNT(*) FROM dead_events d WHERE d.cell = c.cell) AS dead_events \
         FROM cells c ORDER BY cell",
    )
    .fetch_all(pool)
    .await
}

/// One cell.
pub async fn read<'c>(executor: impl sqlx::MySqlExecutor<'c>, cell: CellId) -> Result<CellRow, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.*, (SELECT COUNT(*) FROM dead_events d WHERE d.cell = c.cell) AS dead_events \
         FROM cells c WHERE cell = ?",
    )
    .bind(cell.0)
    .fetch_one(executor)
    .await
}

/// Whether an event is one whose rows could not be applied.
pub async fn is_dead(pool: &MySqlPool, cell: CellId, seq: Seq) -> Result<bool, sqlx::Error> {
    let found: Option<u64> = sqlx::query_scalar("SELECT seq FROM dead_events WHERE cell = ? AND seq = ?")
        .bind(cell.0)
        .bind(seq)
        .fetch_optional(pool)
        .await?;
    Ok(found.is_some())
}

/// Raises the epoch of an open cell by compare-and-set. False: somebody else did, or the cell is closed.
pub async fn claim_epoch(
    pool: &MySqlPool,
    cell: CellId,
    from: Epoch,
    to: Epoch,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE cells SET epoch = ? WHERE cell = ? AND epoch = ? AND state = 'open'")
        .bind(to)
        .bind(cell.0)
        .bind(from)
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The largest bound of the event log that any node ever had.
pub async fn stream_bound(pool: &MySqlPool) -> Result<u64, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM engine WHERE name = 'stream_bound'").fetch_one(pool).await
}

/// What a recovery found, written before it opens the cell.
#[derive(Debug, Clone)]
pub struct Recovered {
    pub cell: CellId,
    pub epoch: Epoch,
    /// The last event that MySQL has.
    pub kept: Position,
    pub rebuilt: bool,
    /// Acknowledged numbers `(lost_from, lost_to]` are gone; none where it is no range.
    pub lost_from: Seq,
    pub lost_to: Seq,
    pub base: Seq,
    pub replid: Option<String>,
}

impl Recovered {
    /// Acknowledged events that are gone.
    pub fn lost(&self) -> u64 {
        self.lost_to.saturating_sub(self.lost_from)
    }
}

/// Commits base, fence and loss of a recovery. False: a newer one has the cell.
pub async fn commit_recovery(pool: &MySqlPool, found: &Recovered) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let done = sqlx::query(
        "UPDATE cells SET base = ?, replid = ?, lost_events = lost_events + ? WHERE cell = ? AND epoch = ? AND state = 'open'",
    )
    .bind(found.base)
    .bind(found.replid.as_deref().unwrap_or_default())
    .bind(found.lost())
    .bind(found.cell.0)
    .bind(found.epoch)
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO recoveries (cell, epoch, kept_epoch, kept_seq, rebuilt, lost_to, at) VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))",
    )
    .bind(found.cell.0)
    .bind(found.epoch)
    .bind(found.kept.epoch)
    .bind(found.kept.seq)
    .bind(found.rebuilt)
    .bind(found.lost_to)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Up to which number earlier attempts from the same position have counted a loss already; 0: none.
pub async fn counted_loss(pool: &MySqlPool, cell: CellId, kept: Position) -> Result<Seq, sqlx::Error> {
    let (counted,): (Option<Seq>,) = sqlx::query_as(
        "SELECT MAX(lost_to) FROM recoveries WHERE cell = ? AND kept_epoch = ? AND kept_seq = ?",
    )
    .bind(cell.0)
    .bind(kept.epoch)
    .bind(kept.seq)
    .fetch_one(pool)
    .await?;
    Ok(counted.unwrap_or(0))
}

/// Forgets nodes that a recovery has heard and that have been silent since long before it.
pub async fn forget_silent_nodes(pool: &MySqlPool, cell: CellId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM nodes WHERE cell = ? AND noted_at < UTC_TIMESTAMP(3) - INTERVAL 60 SECOND")
        .bind(cell.0)
        .execute(pool)
        .await
        .map(|_| ())
}

/// Closes a cell for a reason, or opens it (`None`). What is running in Redis is not touched.
pub async fn set_state(pool: &MySqlPool, cell: CellId, closed: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE cells SET state = ?, reason = ? WHERE cell = ?")
        .bind(if closed.is_some() { "closed" } else { "open" })
        .bind(closed.unwrap_or_default())
        .bind(cell.0)
        .execute(pool)
        .await
        .map(|_| ())
}

/// What one node vouches for in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    pub epoch: Epoch,
    pub highest: Seq,
}

/// Writes a node's notes of some cells.
pub async fn write_notes(pool: &MySqlPool, node: &str, notes: &[(CellId, Note)]) -> Result<(), sqlx::Error> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::new("INSERT INTO nodes (node, cell, epoch, highest_seq, noted_at) ");
    insert.push_values(notes, |mut row, (cell, note)| {
        row.push_bind(node).push_bind(cell.0).push_bind(note.epoch).push_bind(note.highest);
        row.push("UTC_TIMESTAMP(3)");
    });
    insert.push(
        " ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, VALUES(epoch)), \
         highest_seq = GREATEST(highest_seq, VALUES(highest_seq)), noted_at = VALUES(noted_at)",
    );
    insert.build().execute(pool).await.map(|_| ())
}

/// Settles what a node vouched for, `(epoch, highest)`, with the first recovery after that epoch: what lies
/// beyond what was kept and was not counted yet, because the recovery did not hear of it in time, is counted
/// now. Returns the number; `None` while that recovery has not ended.
pub async fn settle(
    pool: &MySqlPool,
    cell: CellId,
    vouched: (Epoch, Seq),
) -> Result<Option<u64>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let recovery: Option<(Epoch, Seq, Seq)> = sqlx::query_as(
        "SELECT epoch, kept_seq, lost_to FROM recoveries WHERE cell = ? AND epoch > ? ORDER BY epoch LIMIT 1 FOR UPDATE",
    )
    .bind(cell.0)
    .bind(vouched.0)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((epoch, kept, lost_to)) = recovery else { return Ok(None) };
    let lost = vouched.1.saturating_sub(kept.max(lost_to));
    if lost > 0 {
        sqlx::query("UPDATE recoveries SET lost_to = ? WHERE cell = ? AND epoch = ?")
            .bind(vouched.1)
            .bind(cell.0)
            .bind(epoch)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE cells SET lost_events = lost_events + ? WHERE cell = ?")
            .bind(lost)
            .bind(cell.0)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(Some(lost))
}

/// Notes of a cell as a recovery reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// The highest number that any node ever vouched for.
    pub highest: Seq,
    /// Nodes heard of in the last three seconds that have not turned to the epoch yet.
    pub waiting: u64,
}

/// Reads what all nodes vouch for, the silent ones included.
pub async fn read_notes(pool: &MySqlPool, cell: CellId, epoch: Epoch) -> Result<Notes, sqlx::Error> {
    let (highest, waiting): (Option<Seq>, i64) = sqlx::query_as(
        "SELECT MAX(highest_seq), \
         COUNT(CASE WHEN epoch < ? AND noted_at > UTC_TIMESTAMP(3) - INTERVAL 3 SECOND THEN 1 END) \
         FROM nodes WHERE cell = ?",
    )
    .bind(epoch)
    .bind(cell.0)
    .fetch_one(pool)
    .await?;
    Ok(Notes { highest: highest.unwrap_or(0), waiting: waiting as u64 })
}
