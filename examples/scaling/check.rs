//! Sales on the real engine, and the same ones simulated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::clock::{MS, US};
use crate::costs::{Costs, SCRIPT_NAMES, SCRIPTS, Script};
use crate::report;
use crate::sale;
use crate::servers::{Engine, Servers};
use crate::unit;
use crate::world::{Inputs, Load};

/// The time in which what nobody asks for is counted.
const IDLE: Duration = Duration::from_secs(4);

#[derive(Args)]
pub struct Check {
    /// Cells of each run, all on one Redis
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    cells: Vec<u16>,
    /// Units that are sold
    #[arg(long, default_value_t = 10_000)]
    stock: i64,
    /// Users, each of whom asks for one unit
    #[arg(long, default_value_t = 12_000)]
    buyers: u64,
    /// Connections that ask at once
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Users who come each second, so that runs of several sizes go at one pace; else each as soon as a connection is free
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 1)]
    api_nodes: usize,
    /// How often each is repeated
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The simulated groups of a node count each by itself
    #[arg(long)]
    own_counts: bool,
    /// Measures the scripts' unit costs, and nothing else
    #[arg(long)]
    units: bool,
}

/// What one sale came to, real or simulated.
#[derive(Debug, Default)]
struct Found {
    seconds: f64,
    sold: u64,
    sold_out: u64,
    other: u64,
    /// By script, in the order of `SCRIPT_NAMES`.
    calls: BTreeMap<String, f64>,
    transfers: f64,
    recalls: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    redis_us: f64,
    /// Of that, what a Redis of an idle engine takes in as many seconds.
    idle_us: f64,
    commit_ms: f64,
    batch: f64,
    commits: f64,
    script_bytes: u64,
    lua_bytes: u64,
    scripts_cached: u64,
}

pub async fn run(check: &Check) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    if check.units {
        return unit::measure(&servers).await;
    }
    println!("{}", report::head(&header()));
    for round in 0..check.rounds {
        for cells in &check.cells {
            let name = format!("cells_{cells}_{round}");
            let real = sell(&servers, &name, *cells, check).await.context(name)?;
            println!("{}", report::line(&row(&format!("{cells}, real"), check, &real)));
            if check.rate.is_none() {
                let simulated = simulate(*cells, check, &real);
                println!("{}", report::line(&row(&format!("{cells}, simulated"), check, &simulated)));
            }
        }
    }
    Ok(())
}

fn header() -> Vec<&'static str> {
    let mut header =
        vec!["cells", "sold", "sold out", "other", "orders/s", "transfers", "recalls", "p50/p99/max ms"];
    header.extend(SCRIPT_NAMES);
    header.extend([
        "others",
        "work/order",
        "Redis µs/order",
        "without idle",
        "idle µs/s",
        "commit ms",
        "batch",
        "commits",
        "cached scripts",
        "their texts kB",
        "Lua kB",
    ]);
    header
}

fn row(name: &str, check: &Check, found: &Found) -> Vec<String> {
    let sold = found.sold.max(1) as f64;
    let mut row = vec![
        name.to_owned(),
        found.sold.to_string(),
        found.sold_out.to_string(),
        found.other.to_string(),
        format!("{:.0}", check.buyers as f64 / found.seconds),
        format!("{:.0}", found.transfers),
        format!("{:.0}", found.recalls),
        format!("{:.1}/{:.0}/{:.0}", found.p50_ms, found.p99_ms, found.max_ms),
    ];
    let of = |name: &str| found.calls.get(name).copied().unwrap_or_default();
    row.extend(SCRIPT_NAMES.map(|it| format!("{:.0}", of(it))));
    let others: f64 =
        found.calls.iter().filter(|it| !SCRIPT_NAMES.contains(&it.0.as_str())).map(|it| it.1).sum();
    row.extend([
        format!("{others:.0}"),
        format!("{:.2}", work(found) / sold),
        format!("{:.1}", found.redis_us / sold),
        format!("{:.1}", (found.redis_us - found.idle_us) / sold),
        format!("{:.0}", found.idle_us / found.seconds),
        format!("{:.1}", found.commit_ms),
        format!("{:.0}", found.batch),
        format!("{:.0}", found.commits),
        found.scripts_cached.to_string(),
        (found.script_bytes / 1_024).to_string(),
        (found.lua_bytes / 1_024).to_string(),
    ]);
    row
}

/// What the calls take of Redis if each takes its unit cost, as a number of purchases. Unlike the processor's time it does not
/// depend on what else the machine does.
fn work(found: &Found) -> f64 {
    let costs = Costs::default();
    let calls = |script: Script| found.calls.get(SCRIPT_NAMES[script as usize]).copied().unwrap_or_default();
    let refused = calls(Script::OrderPlace) - found.sold as f64;
    let quota =
        [Script::QuotaAsk, Script::QuotaGive, Script::QuotaRead, Script::QuotaSettle, Script::QuotaTake];
    let quota: f64 = quota.iter().map(|it| calls(*it) * costs.of(*it) as f64).sum();
    found.sold as f64 + (refused * costs.refused as f64 + quota) / costs.order as f64
}

/// A sale on the engine.
async fn sell(servers: &Servers, name: &str, cells: u16, check: &Check) -> anyhow::Result<Found> {
    let mut engine = Engine::start(servers, name, cells, check.api_nodes, check.buyers).await?;
    let client = reqwest::Client::builder().pool_max_idle_per_host(check.connections).build()?;
    let product = json!({ "name": "Mug", "price": 1, "stock": check.stock });
    let listed = client.put(format!("{}/admin/products/1", engine.nodes[0])).json(&product).send().await?;
    anyhow::ensure!(listed.status().is_success(), "{}", listed.text().await?);
    engine.drain(cells).await?;
    // Copies are noted, and lists forgotten.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut redis = redis::Client::open(engine.redis.url())?.get_multiplexed_async_connection().await?;
    let quiet = unit::cpu_us(&mut redis).await?;
    tokio::time::sleep(IDLE).await;
    let before = unit::cpu_us(&mut redis).await?;
    let idle_us_per_second = (before - quiet) / IDLE.as_secs_f64();

    let metrics_before = metrics(&client, &engine).await?;
    let cpu_before = unit::cpu_us(&mut redis).await?;
    let began = Instant::now();
    let (sold, sold_out, other, waits) = all_buy(&client, &engine, check).await?;
    let selling = began.elapsed();
    engine.drain(cells).await?;
    let cpu = unit::cpu_us(&mut redis).await? - cpu_before;
    let whole = began.elapsed().as_secs_f64();
    let after = metrics(&client, &engine).await?;
    anyhow::ensure!(engine.is_alive()?, "the engine ended");

    let grown = |name: &str| {
        let sum = |of: &Metrics| of.iter().filter(|it| it.0.starts_with(name)).map(|it| it.1).sum::<f64>();
        sum(&after) - sum(&metrics_before)
    };
    let mut calls = BTreeMap::<String, f64>::new();
    for (name, count) in &after {
        if let Some(rest) = name.strip_prefix("firstcome_script_duration_seconds_count") {
            let script = rest.split("script=\"").nth(1).and_then(|it| it.split('"').next());
            let count = count - metrics_before.get(name).copied().unwrap_or_default();
            *calls.entry(script.unwrap_or_default().to_owned()).or_default() += count;
        }
    }
    let transfers: Option<i64> =
        sqlx::query_scalar("SELECT CAST(SUM(given_number) AS SIGNED) FROM transfers WHERE kind = 's'")
            .fetch_one(&engine.mysql)
            .await?;
    let commits = grown("firstcome_persist_commit_seconds_count").max(1.0);
    Ok(Found {
        seconds: selling.as_secs_f64(),
        sold,
        sold_out,
        other,
        calls,
        transfers: transfers.unwrap_or(0) as f64,
        recalls: grown("firstcome_quota_recalls_total"),
        p50_ms: waits.value_at_quantile(0.5) as f64 / 1e3,
        p99_ms: waits.value_at_quantile(0.99) as f64 / 1e3,
        max_ms: waits.max() as f64 / 1e3,
        redis_us: cpu,
        idle_us: idle_us_per_second * whole,
        commit_ms: 1e3 * grown("firstcome_persist_commit_seconds_sum") / commits,
        batch: grown("firstcome_persisted_events_total") / commits,
        commits,
        lua_bytes: memory(&mut redis, "used_memory_vm_eval").await?,
        script_bytes: memory(&mut redis, "used_memory_scripts_eval").await?,
        scripts_cached: memory(&mut redis, "number_of_cached_scripts").await?,
    })
}

/// All users ask, so many at once: how many were sold, heard "sold out", or something else, and how long they waited.
async fn all_buy(
    client: &reqwest::Client,
    engine: &Engine,
    check: &Check,
) -> anyhow::Result<(u64, u64, u64, Histogram<u64>)> {
    let next = Arc::new(AtomicU64::new(1));
    let (buyers, rate, began) = (check.buyers, check.rate, tokio::time::Instant::now());
    let mut tasks = Vec::new();
    for connection in 0..check.connections {
        let (client, next) = (client.clone(), next.clone());
        let url = format!("{}/orders", engine.nodes[connection % engine.nodes.len()]);
        tasks.push(tokio::spawn(async move {
            let mut waits = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
            let mut answers = [0; 3];
            loop {
                let user = next.fetch_add(1, Ordering::Relaxed);
                if user > buyers {
                    return anyhow::Ok((answers, waits));
                }
                if let Some(rate) = rate {
                    tokio::time::sleep_until(began + Duration::from_secs_f64(user as f64 / rate)).await;
                }
                let body = json!({ "userId": user, "items": [{ "productId": 1, "quantity": 1 }] });
                let asked = Instant::now();
                let answer = client.post(&url).json(&body).send().await?;
                let status = answer.status().as_u16();
                let text = answer.text().await?;
                waits.saturating_record(asked.elapsed().as_micros().max(1) as u64);
                match status {
                    201 => answers[0] += 1,
                    400 if text.contains("out_of_stock") => answers[1] += 1,
                    _ => answers[2] += 1,
                }
            }
        }));
    }
    let mut all = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut answers = [0; 3];
    for task in tasks {
        let (some, waits) = task.await??;
        all.add(waits)?;
        answers.iter_mut().zip(some).for_each(|(sum, it)| *sum += it);
    }
    Ok((answers[0], answers[1], answers[2], all))
}

type Metrics = BTreeMap<String, f64>;

/// Of all nodes together.
async fn metrics(client: &reqwest::Client, engine: &Engine) -> anyhow::Result<Metrics> {
    let mut sums = Metrics::new();
    for node in &engine.nodes {
        let text = client.get(format!("{node}/metrics")).send().await?.error_for_status()?.text().await?;
        for (name, value) in text.lines().filter_map(|it| it.rsplit_once(' ')) {
            if let Ok(value) = value.parse::<f64>() {
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
    }
    Ok(sums)
}

async fn memory(redis: &mut MultiplexedConnection, field: &str) -> anyhow::Result<u64> {
    let text: String = redis::cmd("INFO").arg("memory").query_async(redis).await?;
    let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.context("a field of INFO")?.trim().parse()?)
}

/// The same sale, as fast as the real one, with its commits.
fn simulate(cells: u16, check: &Check, real: &Found) -> Found {
    let mut costs = Costs { round_trip: 100 * US, ..Costs::default() };
    costs.commit_wait = ((real.commit_ms * MS as f64) as u64)
        .saturating_sub(costs.mysql_commit + (costs.mysql_event as f64 * real.batch) as u64);
    // What a client and a busy machine take is known by what half of the answers took.
    let think = (real.p50_ms * MS as f64) as u64;
    let inputs = Inputs {
        cells,
        servers: 1,
        api_nodes: check.api_nodes,
        api_cores: 1,
        mysql_cores: 8,
        stock: check.stock,
        load: Load::Closed { connections: check.connections, buyers: check.buyers, think },
        skew: 0.0,
        max_in_flight: 2_048,
        sold_out_memory: 100 * MS,
        returns: 0,
        costs,
        shared_counts: !check.own_counts,
        seed: 1,
    };
    // A thread of its own: inside of a runtime, its locks would wait for that to give them turns.
    std::thread::scope(|it| it.spawn(|| found(inputs)).join()).expect("the simulation ends")
}

fn found(inputs: Inputs) -> Found {
    let world = sale::run(inputs);
    let (counts, waits) = (world.counts.borrow().clone(), world.waits.borrow());
    let calls = (0..SCRIPTS).map(|it| (SCRIPT_NAMES[it].to_owned(), counts.calls[it] as f64));
    let mut all = waits.served_us.clone();
    let _ = all.add(&waits.refused_us);
    Found {
        seconds: world.clock.now() as f64 / 1e9,
        sold: counts.sold,
        sold_out: counts.sold_out + counts.from_memory,
        other: counts.failed + counts.shed,
        calls: calls.collect(),
        transfers: (counts.transfers + counts.recalled) as f64,
        recalls: counts.recalls as f64,
        p50_ms: all.value_at_quantile(0.5) as f64 / 1e3,
        p99_ms: all.value_at_quantile(0.99) as f64 / 1e3,
        max_ms: all.max() as f64 / 1e3,
        redis_us: counts.redis_us.iter().sum(),
        commits: counts.commits as f64,
        batch: counts.events as f64 / counts.commits.max(1) as f64,
        ..Found::default()
    }
}
