//! What operators and probes ask: alive, ready, metrics.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::json::Json;
use super::overview::{SHOWN_MAX, coupons_on_offer, products_on_sale};
use super::problem::{Problem, ProblemKind};
use crate::cell::{CellId, CellState, CellView, Epoch, Position};
use crate::scripts::ScriptError;
use crate::scripts::events_read::{EventsRead, events_read};
use crate::scripts::fence::fence_check;

/// Longest wait for MySQL's answer to a probe.
const MYSQL_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait of a scrape for what is left of what is on sale.
const UNITS_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize, ToSchema)]
pub struct Alive {
    status: &'static str,
}

/// The process answers.
pub async fn healthz() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

#[derive(Serialize, ToSchema)]
pub struct Readiness {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize, ToSchema)]
struct Checks {
    cells: Vec<CellCheck>,
    mysql: MysqlCheck,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellCheck {
    cell: u16,
    /// Whether a purchase can be made in it now.
    sells: bool,
    /// `open` or `closed` as MySQL has it; `unknown` before it was read.
    state: &'static str,
    /// Why it does not sell.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    /// Acknowledged events that were lost for good, in all recoveries so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_events: Option<u64>,
}

/// MySQL may be down while the engine sells: this is told, but does not make it unready.
#[derive(Serialize, ToSchema)]
struct MysqlCheck {
    reachable: bool,
}

/// Whether every cell can sell, and if not, why.
pub async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let views = app.cells.borrow().clone().unwrap_or_default();
    let cells = app.scripts.cells().all();
    let cells = join_all(cells.map(async |cell| {
        let view = views.iter().find(|it| it.cell == cell);
        look_at_cell(&app, cell, view, Position::LAST).await.0
    }));
    let probe = sqlx::query("SELECT 1").execute(&app.mysql);
    let mysql = tokio::time::timeout(MYSQL_TIMEOUT, probe);
    let (cells, mysql) = futures::join!(cells, mysql);

    let reachable = matches!(mysql, Ok(Ok(_)));
    let (code, status) = if cells.iter().all(|it| it.sells) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    (code, Json(Readiness { status, checks: Checks { cells, mysql: MysqlCheck { reachable } } }))
}

/// Asks a cell whether it sells, and reads its log: the first event behind `after`, if it sells.
pub async fn look_at_cell(
    app: &App,
    cell: CellId,
    view: Option<&CellView>,
    after: Position,
) -> (CellCheck, Option<EventsRead>) {
    let (state, closed_for) = match view.map(|it| &it.state) {
        None => ("unknown", None),
        Some(CellState::Open) => ("open", None),
        Some(CellState::Closed { reason }) => ("closed", Some(reason.clone())),
    };
    // The script decides: a node that cannot read MySQL goes on selling behind an open gate.
    let (refused, log) = why_not_selling(app, cell, after).await;
    let reason = match (&refused, closed_for) {
        (Some(_), Some(closed_for)) => Some(closed_for),
        (refused, _) => refused.clone(),
    };
    let check = CellCheck {
        cell: cell.0,
        sells: refused.is_none(),
        state,
        reason,
        epoch: view.map(|it| it.epoch),
        lost_events: view.map(|it| it.lost_events),
    };
    (check, log)
}

/// Asks the cell itself. `None`: it sells.
async fn why_not_selling(app: &App, cell: CellId, after: Position) -> (Option<String>, Option<EventsRead>) {
    let answer = async {
        fence_check(&app.scripts, cell).await?;
        // The fence script appends nothing, so the prologue does not compare the backlog for it.
        events_read(&app.scripts, cell, after, 1).await
    };
    let refused = match answer.await {
        Ok(log) if log.length >= app.settings.stream_bound() => {
            return (Some("backlog_full".to_owned()), Some(log));
        }
        Ok(log) => return (None, Some(log)),
        Err(ScriptError::CellClosed(_)) => "recovering".to_owned(),
        Err(ScriptError::BacklogFull(_)) => "backlog_full".to_owned(),
        Err(error @ (ScriptError::Refused(_) | ScriptError::Unknown(_) | ScriptError::Failed { .. })) => {
            error.to_string()
        }
    };
    (Some(refused), None)
}

/// All metrics, in Prometheus' text format; nowhere to be found where they have a listener of their own.
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    match app.settings.metrics_listen {
        Some(_) => Err(ProblemKind::NotFound.into()),
        None => Ok(rendered(app.prometheus.render() + &units_left(&app).await)),
    }
}

/// The routes of that listener. A process that answers no calls has no `app`, and tells what it knows of itself.
pub fn metrics_router(prometheus: PrometheusHandle, app: Option<App>) -> Router {
    let metrics = async move || {
        let left = match &app {
            Some(app) => units_left(app).await,
            None => String::new(),
        };
        rendered(prometheus.render() + &left)
    };
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz))
}

fn rendered(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What is left of what is on sale, read now: as gauges that somebody sets, those of a sale that is over would stay.
/// Nothing where Redis does not answer.
async fn units_left(app: &App) -> String {
    let both = async { futures::join!(products_on_sale(&app.scripts), coupons_on_offer(&app.scripts)) };
    // Who scrapes must not take a node for dead because Redis is.
    let Ok((products, coupons)) = tokio::time::timeout(UNITS_TIMEOUT, both).await else {
        return String::new();
    };
    let products = products.unwrap_or_default().into_iter().map(|it| (it.id.get(), it.stock));
    let coupons = coupons.unwrap_or_default().into_iter().map(|it| (it.coupon_id.get(), it.remaining));
    let mut text = String::new();
    let mut family = |name: &str, help: &str, label: &str, left: Vec<(u64, i64)>| {
        text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (id, units) in left {
            text += &format!("{name}{{{label}=\"{id}\"}} {units}\n");
        }
    };
    let shown = format!("those with the lowest ids, at most {SHOWN_MAX}");
    let help = format!("Units left of products on sale; {shown}");
    family("firstcome_stock_units", &help, "product", products.collect());
    let help = format!("Units left of campaigns that issue now; {shown}");
    family("firstcome_coupon_units", &help, "coupon", coupons.collect());
    text
}
