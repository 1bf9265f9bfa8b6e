//! Logs, metrics and traces: set up once per process.

mod lines;
pub mod samples;
pub mod scope;
pub mod timings;
pub mod traces;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::lines::Lines;
use crate::cell::Cells;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Logs to standard error, each line with the id of its request; `RUST_LOG` chooses what, `info` by default. Other crates
/// say no more than `debug`: at `trace` they print what they send, such as the password for RabbitMQ.
pub fn install_logs(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,lapin=warn"));
    let discreet = filter_fn(|it| *it.level() <= Level::DEBUG || it.target().starts_with("firstcome"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Lines(format))
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(discreet)).with(filter).init();
}

/// Upper bounds in seconds, from half a millisecond to what a client's time-out is.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const EVENTS: [f64; 8] = [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_000.0, 10_000.0];

/// Installs the recorder that `/metrics` renders, and keeps it tidy. Call inside a runtime.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS)?
        .install_recorder()?;
    describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// HELP texts, and series that exist at 0 from the start.
fn describe() {
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

    describe_histogram!(
        "firstcome_script_duration_seconds",
        "One call of a Lua script, as the engine sees it"
    );
    describe_gauge!("firstcome_gate_open", "1 while the cell sells");
    describe_gauge!("firstcome_epoch", "How often the cell was recovered");
    describe_gauge!(
        "firstcome_lost_events",
        "Acknowledged events that are gone for good, as MySQL has counted them"
    );
    describe_gauge!(
        "firstcome_dead_events",
        "Events whose rows MySQL lacks, until somebody retries or drops them"
    );
    describe_gauge!("firstcome_backlog_events", "Events appended and not yet persisted");
    describe_gauge!("firstcome_backlog_bound_events", "Backlog at which new writes are refused");
    describe_gauge!("firstcome_events_bytes", "Memory of the event log in Redis");
    describe_gauge!("firstcome_redis_memory_bytes", "Memory that Redis uses");
    describe_gauge!(
        "firstcome_redis_memory_bound_bytes",
        "Memory of Redis beyond which new writes are refused; 0 where Redis has no maxmemory"
    );
    describe_gauge!("firstcome_persist_lag_seconds", "Age of the oldest event that is not persisted yet");
    describe_histogram!("firstcome_persist_commit_seconds", "One batch, from reading done to COMMIT");
    describe_histogram!("firstcome_persist_batch_events", "Events per batch");
    describe_gauge!(
        "firstcome_weak_settings",
        "Settings of Redis and MySQL, at the start, under which a crash can lose what was acknowledged"
    );
    describe_gauge!("firstcome_audit_differences", "Differences that the last audit found");
    describe_gauge!("firstcome_audit_checked_rows", "Rows that the last audit looked at");
    describe_gauge!(
        "firstcome_audit_finished_timestamp_seconds",
        "When the last audit finished, on any node; absent before the first"
    );
    describe_gauge!("firstcome_outbox_messages", "Messages that RabbitMQ has not confirmed yet");
    describe_gauge!(
        "firstcome_publish_lag_seconds",
        "Age of the oldest message that the publisher has not had confirmed"
    );
    describe_histogram!(
        "firstcome_publish_batch_seconds",
        "One batch of messages, from sending to the last confirm"
    );
    for (name, help) in [
        ("firstcome_persisted_events_total", "Events committed in MySQL"),
        ("firstcome_published_messages_total", "Messages confirmed by RabbitMQ"),
        ("firstcome_publish_failures_total", "Batches of messages that failed as a whole"),
    ] {
        describe_counter!(name, help);
        counter!(name).increment(0);
    }
    describe_counter!(
        "firstcome_publish_refusals_total",
        "Messages that RabbitMQ returned, refused, or did not confirm in time; they are sent again"
    );
    for reason in ["returned", "refused", "late"] {
        counter!("firstcome_publish_refusals_total", "reason" => reason).increment(0);
    }
    describe_counter!("firstcome_spans_total", "Spans for the collector, and what came of them");
    for outcome in ["exported", "failed", "dropped"] {
        counter!("firstcome_spans_total", "outcome" => outcome).increment(0);
    }
    for (name, help) in OF_CELLS {
        describe_counter!(name, help);
    }
    describe_gauge!("firstcome_worker_cells", "Cells that this worker works on");
    for (name, help) in [
        (
            "firstcome_quota_transfers_total",
            "Transfers of units to another cell that this process brought there",
        ),
        (
            "firstcome_quota_recalls_total",
            "Times that this node had other cells give back what they have not sold",
        ),
    ] {
        describe_counter!(name, help);
        for kind in ["stock", "coupon"] {
            counter!(name, "kind" => kind).increment(0);
        }
    }
    begin_cells(Cells::ONE);
}

/// Counters by cell.
const OF_CELLS: [(&str, &str); 4] = [
    ("firstcome_persist_failures_total", "Batches that failed and are tried again"),
    ("firstcome_dead_events_total", "Events whose rows MySQL refused"),
    ("firstcome_recoveries_total", "Recoveries that opened the cell"),
    ("firstcome_lost_events_total", "Acknowledged events that this process found lost"),
];

/// Has the counters of each cell begin at 0.
pub fn begin_cells(cells: Cells) {
    for cell in cells.all() {
        for (name, _) in OF_CELLS {
            metrics::counter!(name, "cell" => cell.to_string()).increment(0);
        }
    }
}
