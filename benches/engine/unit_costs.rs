//! What each part costs alone.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use firstcome::cell::{CellId, Cells, Position};
use firstcome::config::Secret;
use firstcome::event::{Entry, Event};
use firstcome::message::{MessageKind, cloud_event, message_id};
use firstcome::mysql::persist::{Batch, persist};
use firstcome::mysql::{self, cells};
use firstcome::rabbitmq::{Message, Outcome, Publisher};
use serde::Serialize;

use crate::child::Running;
use crate::generator::Plan;
use crate::load::{self, Load};
use crate::order_script::{CELL, Called, Cost, ScriptServer, USERS};
use crate::process::CpuTimes;
use crate::responder::Part;
use crate::servers::Servers;
use crate::settings::BenchSettings;
use crate::traffic::{FIRST_PRODUCT, Kind, PRICE};

/// Orders of one transaction, and messages on their way at once.
const BATCH: usize = 1_000;

/// Commands that are sent together where `redis-benchmark` pipelines.
const PIPELINE: usize = 16;

/// Each part alone; what it costs is the processor's time of the processes named.
#[derive(Debug, Clone, Serialize)]
pub struct UnitCost {
    pub name: &'static str,
    pub per_second: f64,
    pub cpu_us: Vec<(&'static str, f64)>,
    /// What a prototype made on the machine that issue 6 speaks of; none: it had no such part.
    pub expected_per_second: Option<f64>,
}

impl UnitCost {
    /// Microseconds of the processor for one order, in all processes that belong to the part.
    pub fn us(&self) -> f64 {
        self.cpu_us.iter().map(|it| it.1).sum()
    }
}

/// Measured on 2 cores, all servers on one machine, before this engine was written (issue 6).
const PIPELINED: f64 = 72_000.0;
const ONE_BY_ONE: f64 = 49_000.0;
const EVALSHA_OVER_HTTP: f64 = 45_000.0;
const MYSQL_ROWS: f64 = 51_000.0;
const CONFIRMED: f64 = 38_000.0;

pub const GENERATOR: &str = "generator against a trivial responder";
pub const HANDLER: &str = "handler without Redis";
pub const EVALSHA: &str = "handler with one EVALSHA of the order script";
pub const SCRIPT: &str = "order script, pipelined by 16";
pub const SCRIPT_ALONE: &str = "order script, one by one";
pub const SCRIPT_DURABLE: &str = "order script, pipelined by 16, appendfsync always";
pub const SCRIPT_WITH_KEY: &str = "order script with a key, pipelined by 16";
pub const CLAIM: &str = "claim script, pipelined by 16";
pub const EMPTY: &str = "empty script behind the same prologue, pipelined by 16";
pub const ROWS: &str = "MySQL rows, 1,000 orders a transaction";
pub const MESSAGES: &str = "confirmed messages to a quorum queue";

/// Measures all parts, one after the other.
pub async fn measure(servers: &Servers, settings: &BenchSettings) -> anyhow::Result<Vec<UnitCost>> {
    let mut script = ScriptServer::new(servers.another_redis("script").await?).await?;
    let mut all = Vec::new();
    all.push(of_load(GENERATOR, None, &["generator"], &against(Part::Trivial, None, settings).await?));
    all.push(of_load(HANDLER, None, &["handler"], &against(Part::Handler, None, settings).await?));
    all.extend(scripts(&mut script, settings).await?);
    let load = against(Part::Evalsha, Some(&script), settings).await?;
    all.push(of_load(EVALSHA, Some(EVALSHA_OVER_HTTP), &["handler", "redis"], &load));
    drop(script);
    // As tasks, as the engine's worker runs: a future outside of the pool is woken through the kernel.
    let (url, pid) = (servers.mysql.url(), servers.mysql.pid());
    all.push(tokio::spawn(rows(url, pid, settings.clone())).await??);
    let (url, pid) = (servers.rabbitmq.url(), servers.rabbitmq.pid());
    all.push(tokio::spawn(messages(url, pid, settings.clone())).await??);
    Ok(all)
}

/// In turns, so that a mood of the machine meets all of them; the cheapest round counts.
async fn scripts(server: &mut ScriptServer, settings: &BenchSettings) -> anyhow::Result<Vec<UnitCost>> {
    const ROUNDS: u64 = 3;
    let wanted = [
        (SCRIPT, Called::Order, PIPELINE, Some(PIPELINED)),
        (EMPTY, Called::Empty, PIPELINE, None),
        (SCRIPT_WITH_KEY, Called::OrderWithKey, PIPELINE, None),
        (CLAIM, Called::Claim, PIPELINE, None),
        (SCRIPT_ALONE, Called::Order, 1, Some(ONE_BY_ONE)),
        (SCRIPT_DURABLE, Called::Order, PIPELINE, None),
    ];
    let calls = 60_000 * settings.seconds.min(10) / ROUNDS;
    let mut best: Vec<Option<Cost>> = vec![None; wanted.len()];
    for _ in 0..ROUNDS {
        for ((name, called, pipeline, _), best) in wanted.iter().zip(&mut best) {
            server.set_append_only(*name == SCRIPT_DURABLE).await?;
            let cost = server.measure(*called, settings.connections, *pipeline, calls).await?;
            let known = best.get_or_insert(cost);
            known.per_second = known.per_second.max(cost.per_second);
            known.redis_us = known.redis_us.min(cost.redis_us);
        }
    }
    let costs = wanted.iter().zip(best).filter_map(|((name, _, _, expected), best)| {
        let Cost { per_second, redis_us } = best?;
        let cpu_us = vec![("redis", redis_us)];
        Some(UnitCost { name, per_second, cpu_us, expected_per_second: *expected })
    });
    Ok(costs.collect())
}

/// The generator against a responder of its own.
async fn against(
    part: Part,
    script: Option<&ScriptServer>,
    settings: &BenchSettings,
) -> anyhow::Result<Load> {
    let mut command = Command::new(load::this_program()?);
    command.args(["respond", part.name()]).stdout(Stdio::piped());
    command.env("TOKIO_WORKER_THREADS", settings.threads.to_string());
    if let Some(script) = script {
        command.args([&script.url(), script.order_digest()]);
    }
    let mut responder = Running::start("responder", &mut command)?;
    let mut line = String::new();
    BufReader::new(responder.child().stdout.take().context("a pipe")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse().context("a port")?;
    let plan = Plan {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        connections: settings.connections,
        rate: None,
        warm_up: Duration::from_millis(500),
        time: settings.load_time(),
        users: USERS,
        kind: Kind::Purchase { products: 1, keyed: false },
        first: 0,
        run: 0,
    };
    let mut watched = vec![("handler", responder.pid())];
    watched.extend(script.map(|it| ("redis", it.pid())));
    let load = load::run(&plan, &watched).await?;
    if let Some(complaint) = load.complaint() {
        anyhow::bail!("{}: {complaint}", part.name());
    }
    Ok(load)
}

/// `counted`: the processes whose time is the part's cost.
fn of_load(name: &'static str, expected: Option<f64>, counted: &[&str], load: &Load) -> UnitCost {
    let cpu_us = load.cpu_us.iter().filter(|it| counted.contains(&it.0)).copied().collect();
    UnitCost { name, per_second: load.per_second(), cpu_us, expected_per_second: expected }
}

/// The body of an event as the order script writes it, without a key.
fn body(number: u64) -> String {
    let user = 1 + number * 7_919 % USERS;
    let at_ms = Utc::now().timestamp_millis();
    let left = 1_000_000_000 - number;
    format!("{at_ms} {user} {PRICE} 0 {left} 0 {FIRST_PRODUCT}:0:1:{PRICE}:{left}:0 -")
}

fn entry(number: u64, kind: &str, body: String) -> Entry {
    Entry { position: Position { epoch: 0, seq: number }, kind: kind.to_owned(), body }
}

/// The engine's own way from events to rows, on a database of its own.
async fn rows(server: String, pid: u32, settings: BenchSettings) -> anyhow::Result<UnitCost> {
    let url = Secret::new(format!("{server}rows"));
    mysql::migrate(&url, &Default::default()).await?;
    let pool = mysql::connect(&url, &Default::default(), 4).await?;
    cells::prepare(&pool, Cells::new(1).context("one cell")?, 100_000_000).await?;
    let at_ms = Utc::now().timestamp_millis();
    // The wallets and the product are there before the first order.
    let product = format!("{at_ms} {FIRST_PRODUCT} - - - 0:{PRICE}:1000000000:1000000000 [\"P\",\"\"]");
    let mut before = vec![entry(1, "product_set:1", product)];
    before.extend(
        (1..=USERS)
            .map(|user| entry(user + 1, "charged:1", format!("{at_ms} {user} 1000000000 1000000000 -"))),
    );
    let mut from = Position::default();
    for entries in before.chunks(2_000) {
        from = persist(&pool, Batch { cell: CELL, writer: 0, from, entries }).await?;
    }
    let count = 50_000 * settings.seconds;
    let orders: Vec<Entry> = (1..=count).map(|it| entry(from.seq + it, "order_paid:1", body(it))).collect();
    let watched = [("mysql", pid), ("worker", std::process::id())];
    let (before, began, mut done) = (CpuTimes::of(&watched), Instant::now(), 0_usize);
    for entries in orders.chunks(BATCH) {
        from = persist(&pool, Batch { cell: CELL, writer: 0, from, entries }).await?;
        done += entries.len();
        if began.elapsed() >= settings.load_time() {
            break;
        }
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), CpuTimes::of(&watched));
    for (table, wanted) in [("orders", done), ("dead_events", 0)] {
        let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let found: i64 = sqlx::query_scalar(text).fetch_one(&pool).await?;
        anyhow::ensure!(found == wanted as i64, "{found} rows of {table}, not {wanted}");
    }
    sqlx::query("DROP DATABASE `rows`").execute(&pool).await?;
    pool.close().await;
    Ok(UnitCost {
        name: ROWS,
        per_second: done as f64 / seconds,
        cpu_us: after.per_thing_since(&before, done as u64),
        expected_per_second: Some(MYSQL_ROWS),
    })
}

/// The message of the same order, to a queue of its own that is declared in the same way.
async fn messages(server: String, pid: u32, settings: BenchSettings) -> anyhow::Result<UnitCost> {
    let url = Secret::new(&server);
    let patience = Duration::from_secs(60);
    let publisher = Publisher::connect(&url, &Default::default(), "unit", "unit.messages", patience).await?;
    let bodies: Vec<(String, String)> = (1..=BATCH as u64).map(message).collect::<anyhow::Result<_>>()?;
    let messages: Vec<Message> = bodies
        .iter()
        .map(|(id, body)| Message { id, routing_key: MessageKind::OrderPaid.routing_key(), body })
        .collect();
    // A broker that has just started compiles what it runs.
    let warm = Instant::now() + settings.load_time() / 2;
    while Instant::now() < warm {
        publisher.publish(&messages).await?;
    }
    let watched = [("rabbitmq", pid), ("worker", std::process::id())];
    let (before, began, mut done) = (CpuTimes::of(&watched), Instant::now(), 0_usize);
    while began.elapsed() < settings.load_time() {
        let outcomes = publisher.publish(&messages).await?;
        anyhow::ensure!(outcomes.iter().all(|it| *it == Outcome::Confirmed), "a message was not confirmed");
        done += outcomes.len();
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), CpuTimes::of(&watched));
    publisher.close().await;
    delete_queue(&server).await?;
    Ok(UnitCost {
        name: MESSAGES,
        per_second: done as f64 / seconds,
        cpu_us: after.per_thing_since(&before, done as u64),
        expected_per_second: Some(CONFIRMED),
    })
}

/// Id and body.
fn message(number: u64) -> anyhow::Result<(String, String)> {
    let Event::OrderPaid(paid) = Event::parse("order_paid:1", &body(number))? else {
        anyhow::bail!("another event")
    };
    let order = paid.order(CellId(0), Position { epoch: 1, seq: number }).context("a small number")?;
    Ok((message_id(CELL, number), cloud_event(MessageKind::OrderPaid, CELL, number, &order)))
}

async fn delete_queue(url: &str) -> anyhow::Result<()> {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_delete("unit.messages".into(), Default::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}
