//! What sells.

use axum::extract::State;
use axum::response::Response;

use super::App;
use super::caller::Caller;
use super::problem::Problem;
use super::query::Query;
use super::reads::{catch_up, within};
use super::shared_reads::{IfNoneMatch, Rendered, Shared};
use crate::across::{lists, ranking};
use crate::mysql::ranking::most_sold;
use crate::ranking::{RANKED_DEFAULT, RANKED_MAX, RankedProduct, WINDOW_HOURS, hour_of};
use crate::scripts::clock_read::clock_read;

/// How long MySQL may add up the window's orders: it reads them all.
const ORDERS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The products of which most units were sold in the running UTC hour and the 71 before it: from the sorted
/// set, or computed from the order rows in MySQL.
pub async fn top_products(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    held: IfNoneMatch,
) -> Result<Response, Problem> {
    let query = query.only(&["limit", "source"])?;
    let limit = query.integer("limit", 1..=RANKED_MAX as u64, RANKED_DEFAULT)? as usize;
    let from_rows = match query.get("source") {
        None | Some("ranking") => false,
        Some("orders") => true,
        Some(_) => return Err(Problem::parameter("source", "must be ranking or orders")),
    };
    caller.known()?;
    let read = || async {
        let ranked = match from_rows {
            true => from_orders(&app, limit).await?,
            false => ranking::top(&app.scripts, limit).await?,
        };
        Ok(Rendered::new(&ranked, None))
    };
    Ok(app.shared_reads.get(Shared::Ranking, &query, read).await?.answer(&held))
}

async fn from_orders(app: &App, limit: usize) -> Result<Vec<RankedProduct>, Problem> {
    for cell in app.scripts.cells().all() {
        catch_up(app, cell).await;
    }
    let since = hour_of(clock_read(&app.scripts, app.scripts.cells().first()).await?) - WINDOW_HOURS + 1;
    let mut ranked = Vec::with_capacity(limit);
    for (product, sold) in within(ORDERS_TIMEOUT, most_sold(&app.mysql, since, limit)).await? {
        // Deleted since MySQL was read: it has no place any more.
        let Some((product, _)) = lists::product(&app.scripts, product).await? else { continue };
        let rank = ranked.len() + 1;
        let (id, price, stock) = (product.id, product.price, product.stock);
        ranked.push(RankedProduct { rank, id, name: product.name, price, stock, sold });
    }
    Ok(ranked)
}
