//! The HTTP API. Handlers are thin: parse, authorise, call one script, map the outcome.

mod address;
mod admin_audit;
mod admin_coupons;
mod admin_products;
mod admission;
mod balance;
mod caller;
mod console;
mod cors;
mod coupons;
mod edge;
mod fields;
mod find_order;
mod idempotency_key;
mod json;
mod language;
mod limits;
mod openapi;
mod operations;
mod orders;
mod overview;
mod page;
mod pages;
mod path;
mod payments;
pub mod problem;
mod products;
mod query;
mod ranking;
mod reads;
mod serve;
mod shared_reads;
mod sold_out;
mod traced;
mod wait_persisted;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::MySqlPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use console::Console;
pub use operations::metrics_router;
pub use serve::serve;
pub use shared_reads::SharedReads;
pub use sold_out::SoldOut;

use crate::across::desk::Desk;
use crate::config::Settings;
use crate::console::rush::Rush;
use crate::identity::Tokens;
use crate::scripts::Scripts;
use crate::telemetry::traces::Traces;
use crate::watermark::{CellWatch, Watermark};
use edge::{Edge, every_request};
use problem::{Problem, ProblemKind};
use wait_persisted::WaitPersisted;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub scripts: Scripts,
    /// For reads only: `http` never writes MySQL.
    pub mysql: MySqlPool,
    pub settings: Arc<Settings>,
    /// What tokens are checked with; `None`: nobody is asked for one.
    pub tokens: Option<Arc<Tokens>>,
    pub cells: CellWatch,
    pub watermark: Watermark,
    /// Where buyers wait for units of other cells.
    pub desk: Arc<Desk>,
    pub sold_out: Arc<SoldOut>,
    pub shared_reads: Arc<SharedReads>,
    /// `None`: nothing is traced.
    pub traces: Option<Traces>,
    pub prometheus: PrometheusHandle,
    /// When this node began to answer.
    pub started: Instant,
    /// Held by the audit that runs.
    pub audit_turn: Arc<Mutex<()>>,
    pub console: Arc<Console>,
    /// Shoppers that an operator can have come, and a shop to look at; in `dev`.
    pub rush: Option<Arc<Rush>>,
    /// Ends what has no end of its own.
    pub stop: CancellationToken,
}

/// The state as handlers take it: one pointer, because it is cloned for every request.
type App = Arc<AppState>;

/// All routes. Call it once the metrics recorder is installed.
#[rustfmt::skip]
pub fn router(state: Arc<AppState>) -> Router {
    let wait = WaitPersisted {
        watermark: state.watermark.clone(),
        mysql: state.mysql.clone(),
        patience: Duration::from_millis(state.settings.persist_wait_ms),
    };
    let edge = Arc::new(Edge::new(&state.settings, state.tokens.clone()).waiting(wait).traced(state.traces.clone()));
    let document = openapi::Document::of(&state.settings);
    // Of `dev` alone, and no part of the contract.
    let demo = if state.rush.is_some() { demo_routes() } else { Router::new() };
    demo
        .route("/users/{userId}",                  put(balance::create_user))
        .route("/users/{userId}/balance",          get(balance::get_balance).post(balance::charge))
        .route("/users/{userId}/balance/history",  get(balance::list_history))
        .route("/users/{userId}/orders",           get(orders::list_orders))
        .route("/balance",                         get(balance::get_balance_by_query))
        .route("/balance/charge",                  post(balance::charge_or_create))
        .route("/products",                        get(products::list_products))
        .route("/products/top",                    get(ranking::top_products))
        .route("/products/rank",                   get(ranking::top_products))
        .route("/products/{productId}",            get(products::get_product))
        .route("/products/{productId}/stock-check", get(products::check_stock))
        .route("/coupons",                         get(coupons::list_coupons).post(coupons::claim_coupon))
        .route("/coupons/{couponId}/issue",        post(coupons::issue_coupon))
        .route("/users/{userId}/coupons",          get(coupons::list_coupons_of_user))
        .route("/orders",                          post(orders::place_order))
        .route("/orders/{orderId}",                get(orders::get_order))
        .route("/orders/{orderId}/cancel",         post(payments::cancel))
        .route("/orders/{orderId}/refund",         post(payments::refund))
        .route("/payments",                        post(payments::pay))
        .route("/coupons/valid",                   get(coupons::list_valid))
        .route("/coupons/{couponId}/cancel",       post(coupons::release_coupon))
        .route("/admin/products/{productId}",      put(admin_products::set_product).delete(admin_products::delete_product))
        .route("/admin/products/{productId}/stock", post(admin_products::restock))
        .route("/admin/coupons/{couponId}",        put(admin_coupons::set_coupon))
        .route("/admin/audit",                     post(admin_audit::run_audit))
        .route("/admin/overview",                  get(overview::get_overview))
        .route("/healthz",                         get(operations::healthz))
        .route("/readyz",                          get(operations::readyz))
        .route("/metrics",                         get(operations::metrics))
        .route("/openapi.json",                    get(async || document))
        .route("/docs",                            get(openapi::docs::page))
        .route("/docs/{file}",                     get(openapi::docs::file))
        .route("/console",                         get(pages::console))
        .route("/console/stream",                  get(console::stream))
        .route("/console/ticket",                  post(console::give_ticket))
        .route("/console/{file}",                  get(pages::console_file))
        .fallback(|| async { Problem::new(ProblemKind::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(ProblemKind::MethodNotAllowed) })
        .layer(from_fn_with_state(edge, every_request))
        .with_state(state)
}

fn demo_routes() -> Router<App> {
    let rush = post(console::start_rush).delete(console::stop_rush);
    let pages = Router::new().route("/", get(pages::shop)).route("/shop/{file}", get(pages::shop_file));
    pages.route("/console/rush", rush)
}
