//! What takes several cells: sums over all of them, copies of the catalogue in each, and units that move between them.
//!
//! One cell needs none of it, and these functions then cost what its scripts cost.

pub mod catalogue;
pub mod desk;
pub mod keys;
pub mod lists;
pub mod ranking;
pub mod stock;
pub mod transfer;

use futures::future::try_join_all;

use crate::cell::CellId;
use crate::scripts::{ScriptError, Scripts};

/// Asks all cells at once.
async fn of_all<T, Call>(scripts: &Scripts, call: impl Fn(CellId) -> Call) -> Result<Vec<T>, ScriptError>
where
    Call: Future<Output = Result<T, ScriptError>>,
{
    try_join_all(scripts.cells().all().map(call)).await
}

/// The cell that is asked for what all of them have.
fn any(scripts: &Scripts) -> CellId {
    scripts.cells().first()
}
