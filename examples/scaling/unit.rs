//! What each script takes of Redis's processor, alone: the simulation's unit costs.

use firstcome::cell::{CellId, Cells, Fence};
use firstcome::scripts::{Script, keys, loaded_text};
use redis::aio::MultiplexedConnection;

use crate::servers::Servers;

/// Calls of each, so many at once.
const CALLS: usize = 40_000;
const PIPELINE: usize = 16;

/// The cell whose scripts are called, of eight.
const CELL: CellId = CellId(0);

/// As good as no bound for the event log.
const STREAM_BOUND: u64 = 100_000_000;

const POOL: &str = "s:1:0";

/// The name of what is measured, and its calls: scripts with keys and arguments.
type Case = (&'static str, Vec<(Script, Vec<String>, Vec<&'static str>)>);

fn key(name: &str) -> String {
    format!("{{c{CELL}}}:{name}")
}

fn cases() -> Vec<Case> {
    let order = |sku: &str| {
        let mut keys = vec![key("user:1"), keys::no_idempotency(CELL), key("coupon"), key("coupon:issues")];
        keys.extend([keys::rolling_sales(CELL), keys::due(CELL), key(sku)]);
        keys
    };
    let order_args = vec!["1", "", "", "86400000", "0", "0", "1", "0", "1"];
    let give = |sku: &str| vec![key(sku), key("quota:s:1:0"), key("gifts"), key("asks:s:1:0")];
    let (full, none) = ("sku:1:0", "sku:2:0");
    let move_units = vec![
        (Script::QuotaGive, give(full), vec![POOL, "5", "1", "10", "1000000000"]),
        (
            Script::QuotaSettle,
            vec![key("quota:s:1:0"), key("gifts"), key(full)],
            vec![POOL, "5", "NUMBER", "1"],
        ),
    ];
    let take =
        (Script::QuotaTake, vec![key(full), key("quota:s:1:0")], vec![POOL, "3", "1", "NUMBER", "10", "0"]);
    vec![
        ("order_place, PAID", vec![(Script::OrderPlace, order(full), order_args.clone())]),
        ("order_place, OUT_OF_STOCK", vec![(Script::OrderPlace, order(none), order_args)]),
        ("quota_read", vec![(Script::QuotaRead, vec![key(full)], vec![])]),
        (
            "quota_ask, WAITING",
            vec![(
                Script::QuotaAsk,
                vec![key(none), key("quota:s:2:0"), key("asks:s:2:0")],
                vec!["3", "1", "500"],
            )],
        ),
        (
            "quota_give, WAIT",
            vec![(
                Script::QuotaGive,
                vec![key(none), key("quota:s:2:0"), key("gifts"), key("asks:s:2:0")],
                vec!["s:2:0", "5", "1", "10", "16"],
            )],
        ),
        ("quota_give, GIVEN, with quota_settle", move_units),
        ("quota_take", vec![take]),
        ("events_read, nothing new", vec![(Script::EventsRead, vec![], vec!["9-0", "2048"])]),
    ]
}

/// Processor time of the server in microseconds, until now.
pub async fn cpu_us(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let text: String = redis::cmd("INFO").arg("cpu").query_async(redis).await?;
    let of = |field: &str| {
        let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|it| it.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    Ok((of("used_cpu_user") + of("used_cpu_sys")) * 1e6)
}

/// Prints each script's cost.
pub async fn measure(servers: &Servers) -> anyhow::Result<()> {
    let server = servers.redis("units").await?;
    let client = redis::Client::open(server.url())?;
    let mut redis = client.get_multiplexed_async_connection().await?;
    redis::cmd("SET").arg(keys::gate(CELL)).arg(1).exec_async(&mut redis).await?;
    redis::cmd("XADD").arg(&[&keys::events(CELL), "1-1", "opener:1", "1 0-0"]).exec_async(&mut redis).await?;
    for (sku, units) in [("sku:1:0", "1000000000"), ("sku:2:0", "0")] {
        let fields = ["price", "10", "remaining", units, "initial", units, "life", "1"];
        redis::cmd("HSET").arg(key(sku)).arg(&fields).exec_async(&mut redis).await?;
    }
    redis::cmd("HSET").arg(key("user:1")).arg(&["balance", "9000000000000"]).exec_async(&mut redis).await?;
    let (cells, fence) = (Cells::new(8).expect("a power of two"), Fence { epoch: 1, replid: None });
    println!("| script, {PIPELINE} at once, appendfsync always | Redis µs |\n| --- | --: |");
    for (name, calls) in cases() {
        let mut digests = Vec::new();
        for (script, ..) in &calls {
            let text = loaded_text(script.text(), CELL, cells, &fence, STREAM_BOUND);
            let digest: String = redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(&mut redis).await?;
            digests.push(digest);
        }
        let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
        let before = cpu_us(&mut redis).await?;
        for round in 0..CALLS / PIPELINE {
            let mut pipeline = redis::pipe();
            for place in 0..PIPELINE {
                let number = (round * PIPELINE + place + 1).to_string();
                for ((_, keys, args), digest) in calls.iter().zip(&digests) {
                    let args = args.iter().map(|it| if *it == "NUMBER" { number.as_str() } else { *it });
                    let command = pipeline.cmd("EVALSHA").arg(digest).arg(keys.len() + 2);
                    command.arg(keys::gate(CELL)).arg(keys::events(CELL)).arg(keys);
                    command.arg(args.collect::<Vec<_>>());
                }
            }
            let replies: Vec<Vec<redis::Value>> = pipeline.query_async(&mut redis).await?;
            for reply in replies {
                let outcome: String = redis::from_redis_value(reply[0].clone())?;
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
        let used = cpu_us(&mut redis).await? - before;
        println!("| {name} {outcomes:?} | {:.1} |", used / CALLS as f64);
    }
    Ok(())
}
