//! `firstcome events`: dead events, looked at, applied after all, or dropped. It needs MySQL only.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use firstcome::cell::{CellId, EventId};
use firstcome::config::Settings;
use firstcome::mysql;
use firstcome::mysql::dead_events::{self, DeadEvent, Resolved, RetryError};
use firstcome::time::{from_millis, rfc3339};
use sqlx::mysql::MySqlPool;

/// Characters of an error that a list shows; `show` has all.
const ERROR_SHOWN: usize = 100;

#[derive(Subcommand)]
pub enum EventsCommand {
    /// All dead events, by cell and number
    List {
        /// Of one cell only
        #[arg(long)]
        cell: Option<u16>,
        #[arg(long, value_enum, default_value = "table")]
        format: ListFormat,
    },
    /// Everything about one: its body as it is, why it is dead, and what it means
    Show {
        /// <cell>-<seq>
        id: EventId,
    },
    /// Write the rows of some, or of all, after all; exit 1 where one stays dead
    Retry(RetryOptions),
    /// Drop one that can never be written; exit 1 without --yes
    Drop {
        /// <cell>-<seq>
        id: EventId,
        /// Yes, its rows will never be written
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct RetryOptions {
    /// <cell>-<seq> of each
    #[arg(value_name = "ID")]
    ids: Vec<EventId>,
    /// All that there are, oldest first
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

/// Runs one of the commands; false: something stays dead.
pub async fn run(settings: Settings, command: EventsCommand) -> anyhow::Result<bool> {
    let url = &settings.mysql_url;
    let mysql = mysql::connect(url, &settings.tls_ca_file, 1).await;
    let mysql = mysql.with_context(|| format!("cannot connect to {url}"))?;
    match command {
        EventsCommand::List { cell, format } => {
            let dead = dead_events::list(&mysql, cell.map(CellId)).await?;
            match format {
                ListFormat::Table => print_table(&dead),
                ListFormat::Json => println!("{}", as_json(&dead)),
            }
            Ok(true)
        }
        EventsCommand::Show { id } => {
            show(&find(&mysql, id).await?);
            Ok(true)
        }
        EventsCommand::Retry(RetryOptions { ids, all }) => {
            let ids = if all {
                dead_events::list(&mysql, None).await?.iter().map(DeadEvent::id).collect()
            } else {
                ids
            };
            retry(&mysql, &ids).await
        }
        EventsCommand::Drop { id, yes } => drop(&mysql, id, yes).await,
    }
}

async fn find(mysql: &MySqlPool, id: EventId) -> anyhow::Result<DeadEvent> {
    dead_events::read(mysql, id).await?.with_context(|| format!("there is no dead event {id}"))
}

fn print_table(dead: &[DeadEvent]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["id", "epoch", "kind", "at", "error"]);
    for event in dead {
        let mut error: String = event.error.chars().take(ERROR_SHOWN).collect();
        if error.len() < event.error.len() {
            error.push('…');
        }
        let (id, epoch) = (event.id().to_string(), event.epoch.to_string());
        table.add_row([id, epoch, printable(&event.kind), rfc3339(event.at), printable(&error)]);
    }
    println!("{table}\n{} dead events", dead.len());
}

/// Garbage may hold anything, also what a terminal would obey.
fn printable(text: &str) -> String {
    let shown = |it: char| if it.is_control() { it.escape_default().collect() } else { it.to_string() };
    text.chars().map(shown).collect()
}

fn as_json(dead: &[DeadEvent]) -> serde_json::Value {
    let row = |it: &DeadEvent| {
        serde_json::json!({
            "id": it.id().to_string(), "cell": it.cell, "seq": it.seq, "epoch": it.epoch, "kind": it.kind,
            "at": rfc3339(it.at), "error": it.error, "body": it.body,
        })
    };
    dead.iter().map(row).collect()
}

fn show(dead: &DeadEvent) {
    println!("id       {}", dead.id());
    println!("in log   {}-{}", dead.epoch, dead.seq);
    println!("kind     {}", printable(&dead.kind));
    println!("parked   {}", rfc3339(dead.at));
    println!("error    {}", printable(&dead.error));
    println!("body     {}", printable(&dead.body));
    match dead.event() {
        Ok(event) => println!("happened {}\nmeans    {event:#?}", rfc3339(from_millis(event.at_ms()))),
        Err(error) => println!("means    nothing that this release can read: {error}"),
    }
}

async fn retry(mysql: &MySqlPool, ids: &[EventId]) -> anyhow::Result<bool> {
    let mut all_done = true;
    for id in ids {
        match dead_events::retry(mysql, *id).await {
            Ok(Resolved::Done) => println!("{id} is written"),
            Ok(Resolved::NotDead) => println!("{id} is not dead (any more)"),
            Err(error @ (RetryError::Unreadable(_) | RetryError::Refused(_))) => {
                all_done = false;
                println!("{id} stays dead: {}", printable(&error.to_string()));
            }
            // The next ones would meet the same.
            Err(error @ RetryError::Mysql(_)) => {
                return Err(error).with_context(|| format!("{id} was not written, as far as is known"));
            }
        }
    }
    Ok(all_done)
}

async fn drop(mysql: &MySqlPool, id: EventId, yes: bool) -> anyhow::Result<bool> {
    let dead = find(mysql, id).await?;
    show(&dead);
    if dead.event().is_ok() {
        println!(
            "This release can read it: `firstcome events retry {id}` writes its rows once MySQL takes them."
        );
    }
    if !yes {
        println!("Nothing was dropped. With --yes its rows will never be written.");
        return Ok(false);
    }
    // The body is told nowhere else afterwards.
    tracing::warn!(%id, epoch = dead.epoch, kind = dead.kind, body = dead.body, error = dead.error, "a dead event is dropped");
    match dead_events::drop(mysql, id).await? {
        Resolved::Done => println!("{id} is dropped"),
        Resolved::NotDead => println!("{id} is not dead any more"),
    }
    Ok(true)
}
