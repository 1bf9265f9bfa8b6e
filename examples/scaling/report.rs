//! What a sale came to, as a row of a table.

use crate::clock::{MS, Nanos, SECOND};
use crate::costs::Script;
use crate::world::{Counts, Inputs, World};

pub const COLUMNS: [&str; 18] = [
    "Redis servers",
    "cells",
    "API nodes",
    "MySQL cores",
    "orders/s",
    "limited by",
    "Redis: home, middle",
    "API, MySQL",
    "503",
    "transfers, of them recalls; by the formula",
    "scripts/order",
    "Redis µs/order",
    "last cell's first sale, ms",
    "buyers wait ms: p50, p99, longest",
    "last unit to \"sold out\" on the first, the last node, ms",
    "a unit that comes back: found after, \"sold out\" for, ms",
    "wrong proofs",
    "commits/s, events/s, backlog",
];

/// The table's head, and one of its lines.
pub fn head(columns: &[&str]) -> String {
    let cells: Vec<String> = columns.iter().map(|it| (*it).to_owned()).collect();
    format!("{}\n{}", line(&cells), line(&vec!["--:".to_owned(); columns.len()]))
}

pub fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

fn ms(time: Nanos) -> String {
    format!("{:.0}", time as f64 / MS as f64)
}

fn us(time: u64) -> String {
    format!("{:.0}", time as f64 / 1_000.0)
}

pub fn row(world: &World) -> Vec<String> {
    let (inputs, waits) = (&world.inputs, world.waits.borrow());
    let end = waits.last_unit_sold.unwrap_or(world.clock.now());
    let counts = waits.at_last_sale.clone().unwrap_or_else(|| world.counts.borrow().clone());
    let busy = if waits.at_last_sale.is_some() { waits.busy_at_last_sale.clone() } else { world.busy() };
    let share = |busy: Nanos, of: u64| busy as f64 / (end * of).max(1) as f64;
    let mut servers: Vec<f64> = busy.servers.iter().map(|it| share(*it, 1)).collect();
    servers.sort_by(f64::total_cmp);
    let middle = servers[servers.len() / 2];
    let redis = servers[servers.len() - 1];
    let api = busy.nodes.iter().map(|it| share(*it, inputs.api_cores)).fold(0.0, f64::max);
    let mysql = share(busy.mysql, inputs.mysql_cores as u64);
    let limits = [(redis, "Redis"), (api, "API"), (mysql, "MySQL")];
    let most = limits.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("three");
    let limit = if most.0 > 0.9 { most.1 } else { "buyers" };
    let percent = |it: f64| format!("{:.0} %", 100.0 * it);
    let sold = counts.sold.max(1) as f64;
    let first_sales = world.cells.iter().map(|it| it.borrow().first_sale);
    let last_first = first_sales.collect::<Option<Vec<Nanos>>>().and_then(|it| it.into_iter().max());
    let last_first = last_first.map_or("never".to_owned(), ms);
    let served = &waits.served_us;
    let all_told = waits.node_told.iter().copied().collect::<Option<Vec<Nanos>>>();
    let all_told = all_told.and_then(|it| it.into_iter().max());
    let since = |it: Option<Nanos>| it.map_or("-".to_owned(), |it| ms(it.saturating_sub(end)));
    let found = waits.found_us.iter().max().map_or("-".to_owned(), |it| us(*it));
    let per_second = |count: u64| count as f64 / (end as f64 / SECOND as f64);
    let home = share(busy.servers[usize::from(world.home) % busy.servers.len()], 1);
    let quantile = |it: f64| us(served.value_at_quantile(it));
    let shed = counts.shed + counts.failed;
    vec![
        inputs.servers.to_string(),
        inputs.cells.to_string(),
        inputs.api_nodes.to_string(),
        inputs.mysql_cores.to_string(),
        format!("{:.0}", per_second(counts.sold)),
        limit.to_owned(),
        format!("{}, {}", percent(home), percent(middle)),
        format!("{}, {}", percent(api), percent(mysql)),
        percent(shed as f64 / (shed as f64 + sold)),
        format!(
            "{}, {}; {:.0}",
            counts.transfers + counts.recalled,
            counts.recalled,
            transfers_expected(inputs)
        ),
        format!("{:.2}", scripts_of_sales(&counts) as f64 / sold),
        format!("{:.1}", redis_us(&counts) / sold),
        last_first,
        format!("{}, {}, {}", quantile(0.5), quantile(0.99), us(served.max())),
        format!("{}, {}", since(waits.first_sold_out), since(all_told)),
        format!("{found}, {}", us(waits.told_late_us)),
        waits.unfair_proofs.to_string(),
        format!("{:.0}, {:.0}, {}", per_second(counts.commits), per_second(counts.events), busy.backlog),
    ]
}

/// Transfers of a sale: each takes its share of what the home has until that is less than what is waited for, while the home
/// sells a share of its own. Buyers who wait are taken to be as many as the nodes let in, evenly over the cells.
fn transfers_expected(inputs: &Inputs) -> f64 {
    let cells = f64::from(inputs.cells);
    let wait = (inputs.max_in_flight as f64 / cells).max(1.0);
    2.0 * (cells - 1.0) * (1.0 + (inputs.stock as f64 / (2.0 * cells * wait)).ln().max(0.0))
}

/// Without the worker's.
fn scripts_of_sales(counts: &Counts) -> u64 {
    counts.calls.iter().sum::<u64>() - counts.calls[Script::EventsRead as usize]
}

fn redis_us(counts: &Counts) -> f64 {
    counts.redis_us.iter().sum()
}
