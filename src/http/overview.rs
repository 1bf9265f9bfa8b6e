//! What an operator wants to see at a glance: the state of the cells, what is on sale, what was answered.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::caller::Caller;
use super::json::Json;
use super::operations::{CellCheck, look_at_cell};
use super::problem::Problem;
use super::reads::in_time;
use crate::across::{lists, ranking};
use crate::cell::{CellId, CellView, Position, Seq};
use crate::coupon::Coupon;
use crate::ids::ProductId;
use crate::money::Amount;
use crate::mysql::{audits, books, cells, outbox};
use crate::product::Product;
use crate::ranking::RankedProduct;
use crate::scripts::product_list::{ProductPage, Which};
use crate::scripts::{ScriptError, Scripts};
use crate::telemetry::samples::samples;
use crate::time;

/// Products, and campaigns, that are shown; those with the lowest ids.
pub const SHOWN_MAX: usize = 50;

/// Looked at to find them.
const LOOKED_AT_MAX: usize = 200;

/// Places of the ranking that are shown.
const RANKED: usize = 10;

/// What an operator sees. Parts that a server did not tell are left out: the page is for bad days, too.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    #[serde(serialize_with = "time::serialize")]
    at: DateTime<Utc>,
    /// The release that answers.
    version: &'static str,
    /// How long this node has been up.
    uptime_seconds: u64,
    mysql_reachable: bool,
    cells: Vec<CellOverview>,
    /// In their sale window, sold out or not; at most 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    products: Option<Vec<OnSale>>,
    /// Campaigns that issue now, exhausted or not; at most 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    coupons: Option<Vec<Coupon>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking: Option<Vec<RankedProduct>>,
    /// The last one that finished, on any node; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_audit: Option<LastAudit>,
    /// What the scripts came to, as called by this node since it started.
    outcomes: Vec<OutcomeCount>,
    /// What this node refused since it started, by code.
    problems: Vec<ProblemCount>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CellOverview {
    #[serde(flatten)]
    check: CellCheck,
    /// The newest event in Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_seq: Option<Seq>,
    /// The last event that MySQL has.
    #[serde(skip_serializing_if = "Option::is_none")]
    persisted_seq: Option<Seq>,
    /// Events that MySQL does not have yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog_events: Option<u64>,
    /// Age of the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    /// Messages that RabbitMQ has not confirmed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox_messages: Option<u64>,
    /// Age of the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_lag_ms: Option<u64>,
    /// Events whose rows could not be applied, and wait for somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_events: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OnSale {
    id: ProductId,
    name: String,
    price: Amount,
    /// Units left; with options, their sum.
    stock: i64,
    /// Units left and units that orders hold, by MySQL; left out where it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    supplied: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time::serialize_option")]
    sale_ends_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastAudit {
    #[serde(serialize_with = "time::serialize")]
    finished_at: DateTime<Utc>,
    took_ms: u64,
    clean: bool,
    checked_rows: u64,
    differences: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct OutcomeCount {
    script: String,
    outcome: String,
    count: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProblemCount {
    code: String,
    count: u64,
}

pub async fn get_overview(State(app): State<App>, caller: Caller) -> Result<Json<Overview>, Problem> {
    caller.administers()?;
    Ok(Json(overview(&app, &app.prometheus.render()).await))
}

/// `rendered`: this node's metrics.
pub async fn overview(app: &App, rendered: &str) -> Overview {
    // That of the counts, which rates are taken from: what follows is slow where a server does not answer.
    let at = Utc::now();
    // Fresh ones: what the node knows may be a second old.
    let views = match in_time(cells::read_all(&app.mysql)).await {
        Ok(rows) => rows.into_iter().map(|it| it.view).collect(),
        Err(_) => app.cells.borrow().clone().unwrap_or_default(),
    };
    let cells = app.scripts.cells().all();
    let cells = join_all(cells.map(|cell| {
        let view = views.iter().find(|it| it.cell == cell);
        async move { cell_overview(app, cell, view).await }
    }));
    let audit = in_time(audits::last(&app.mysql));
    let ranking = ranking::top(&app.scripts, RANKED);
    let (cells, products, coupons, ranking, audit) =
        futures::join!(cells, on_sale(app), coupons_on_offer(&app.scripts), ranking, audit);
    let (outcomes, problems) = counts(rendered);
    Overview {
        at,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        mysql_reachable: audit.is_ok(),
        cells,
        products: products.ok(),
        coupons: coupons.ok(),
        ranking: ranking.ok(),
        last_audit: audit.ok().flatten().map(|it| LastAudit {
            finished_at: it.finished_at,
            took_ms: it.took_ms,
            clean: it.differences == 0,
            checked_rows: it.checked_rows,
            differences: it.differences,
        }),
        outcomes,
        problems,
    }
}

async fn cell_overview(app: &App, cell: CellId, view: Option<&CellView>) -> CellOverview {
    let persisted = view.map(|it| it.persisted);
    let looked = look_at_cell(app, cell, view, persisted.unwrap_or(Position::LAST));
    let ((check, log), outbox) = futures::join!(looked, in_time(outbox_of(app, cell)));
    let (outbox_messages, publish_lag_ms) = outbox.ok().unzip();
    // Across an opener the difference would count its jump.
    let backlog = log.as_ref().zip(persisted).filter(|(log, persisted)| log.newest.epoch == persisted.epoch);
    let oldest_ms = log.as_ref().and_then(|log| log.entries.first()?.at_ms());
    CellOverview {
        check,
        newest_seq: log.as_ref().map(|it| it.newest.seq),
        persisted_seq: persisted.map(|it| it.seq),
        backlog_events: backlog.map(|(log, persisted)| log.newest.seq.saturating_sub(persisted.seq)),
        lag_ms: log
            .as_ref()
            .map(|_| oldest_ms.map_or(0, |it| (Utc::now().timestamp_millis() - it).max(0) as u64)),
        outbox_messages,
        publish_lag_ms,
        dead_events: view.map(|it| it.dead_events),
    }
}

/// How many messages of a cell wait, and for how long the oldest of them.
async fn outbox_of(app: &App, cell: CellId) -> Result<(u64, u64), sqlx::Error> {
    let messages = outbox::depth(&app.mysql, cell).await?;
    let oldest = outbox::waiting(&app.mysql, cell, 0, 1).await?;
    let age = oldest.first().map_or(TimeDelta::zero(), |it| it.age(Utc::now()));
    Ok((messages, age.num_milliseconds().unsigned_abs()))
}

async fn on_sale(app: &App) -> Result<Vec<OnSale>, ScriptError> {
    let products = products_on_sale(&app.scripts).await?;
    let ids: Vec<ProductId> = products.iter().map(|it| it.id).collect();
    let supplied: BTreeMap<u64, i64> =
        in_time(books::supplied(&app.mysql, &ids)).await.unwrap_or_default().into_iter().collect();
    let shown = products.into_iter().map(|it| OnSale {
        supplied: supplied.get(&it.id.get()).copied(),
        id: it.id,
        name: it.name,
        price: it.price,
        stock: it.stock,
        sale_ends_at: it.sale_ends_at,
    });
    Ok(shown.collect())
}

/// Those in their sale window, sold out or not.
pub async fn products_on_sale(scripts: &Scripts) -> Result<Vec<Product>, ScriptError> {
    let which = Which::Behind { after: 0, limit: LOOKED_AT_MAX };
    let ProductPage { products, now_ms } = lists::products(scripts, which).await?;
    Ok(products.into_iter().filter(|it| it.is_on_sale(now_ms)).take(SHOWN_MAX).collect())
}

/// Campaigns that issue now, exhausted or not.
pub async fn coupons_on_offer(scripts: &Scripts) -> Result<Vec<Coupon>, ScriptError> {
    let (coupons, now) = (lists::coupons(scripts, 0, LOOKED_AT_MAX).await?, Utc::now());
    let issuing = coupons.into_iter().filter(|it| it.starts_at <= now && now < it.ends_at);
    Ok(issuing.take(SHOWN_MAX).collect())
}

/// Outcomes of scripts and problems told, out of the metrics.
fn counts(rendered: &str) -> (Vec<OutcomeCount>, Vec<ProblemCount>) {
    let (mut outcomes, mut problems) = (Vec::new(), Vec::new());
    for sample in samples(rendered) {
        let (label, count) = (|name| sample.label(name).unwrap_or_default().to_owned(), sample.value as u64);
        match sample.name {
            "firstcome_script_duration_seconds_count" => {
                outcomes.push(OutcomeCount { script: label("script"), outcome: label("outcome"), count });
            }
            "firstcome_http_problems_total" if count > 0 => {
                problems.push(ProblemCount { code: label("code"), count });
            }
            _ => {}
        }
    }
    outcomes.sort_by(|a, b| (&a.script, &a.outcome).cmp(&(&b.script, &b.outcome)));
    problems.sort_by(|a, b| a.code.cmp(&b.code));
    (outcomes, problems)
}
