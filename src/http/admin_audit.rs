//! The audit, asked for over HTTP.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::json::{Json, NoBody};
use super::problem::{Problem, ProblemKind};
use crate::audit::{self, AuditError, Checked, Difference};

/// What an audit found. At most 1,000 differences are listed; `clean` counts all.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditAnswer {
    /// Whether nothing differs.
    clean: bool,
    checked: Checked,
    differences: Vec<Difference>,
}

/// Compares Redis, MySQL and the outbox while the shop sells; the answer takes as long as that does. One at a time:
/// who comes later waits for their turn. A client that goes away ends its audit.
pub async fn run_audit(
    State(app): State<App>,
    caller: Caller,
    _: NoBody,
) -> Result<Json<AuditAnswer>, Problem> {
    caller.administers()?;
    let _turn = app.audit_turn.lock().await;
    let report = audit::audit(&app.scripts, &app.mysql, &audit::Silent).await?;
    Ok(Json(AuditAnswer { clean: report.clean(), checked: report.checked, differences: report.differences }))
}

/// An audit that could not finish says nothing about differences.
impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        let kind = match error {
            AuditError::Script(error) => return error.into(),
            AuditError::Mysql(error) => return error.into(),
            AuditError::Closed { .. }
            | AuditError::Gap { .. }
            | AuditError::RedisBehind { .. }
            | AuditError::Recovering(_) => ProblemKind::CellClosed,
            AuditError::TooFarBehind { .. } => ProblemKind::NotYetPersisted,
            AuditError::Row(_) => ProblemKind::InternalError,
        };
        Self::new(kind).because(error)
    }
}
