//! The command line: flags, and what each command does with the library.

mod events;
mod ready;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::Table;
use firstcome::app::{self, Connections, Engine, Role, check_exposure, check_protection};
use firstcome::cell::{CellId, CellState};
use firstcome::config::{Address, DEV_DEFAULTS, Settings};
use firstcome::dev::run::DevOptions;
use firstcome::ids::UserId;
use firstcome::mysql::cells;
use firstcome::telemetry::{self, LogFormat};
use firstcome::worker::moving;
use firstcome::worker::recover::{self, Because, RecoverOutcome};
use firstcome::{audit, dev, identity, mysql, seed};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

/// A Redis-first commerce engine for flash sales.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

/// Settings that have a flag; all others are in firstcome.toml or FIRSTCOME_* variables.
#[derive(Args)]
struct Flags {
    /// Settings file [default: firstcome.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address the API listens on
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[arg(long, global = true, value_name = "URL")]
    redis_url: Option<String>,
    #[arg(long, global = true, value_name = "URL")]
    mysql_url: Option<String>,
    #[arg(long, global = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Serve with private servers as child processes, a demo catalogue, API and worker in one process
    Dev(DevOptions),
    /// Serve with configured servers
    Serve {
        #[arg(long, value_enum, default_value = "all")]
        role: Role,
        /// Allow auth = "none" on an address that others can reach
        #[arg(long)]
        allow_insecure: bool,
        /// Refuse Redis and MySQL settings under which a crash can lose what was acknowledged
        #[arg(long)]
        require_durable: bool,
    },
    /// Create the database where it is missing, and bring its schema up to date
    Migrate,
    /// Fill a catalogue, users and balances of a given size
    Seed(seed::SeedPlan),
    /// Compare Redis, MySQL and the outbox, while sales go on; exit 1 on any difference, 2 where it could not finish
    Audit,
    /// Show and steer cells
    #[command(subcommand)]
    Cell(CellCommand),
    /// Look at dead events, apply them after all, or drop them
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Ask a running engine whether it sells; exit 1 where it does not, or gives no answer
    Ready(ready::ReadyOptions),
    /// Print a token for development, signed with the configured jwt_secret
    Token(TokenOptions),
    /// Ends the private servers of a process that died
    #[command(hide = true)]
    Reaper,
}

#[derive(Args)]
struct TokenOptions {
    /// Whom the token speaks for
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// What the token allows beyond its user's own wallet and orders
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// For how many seconds it is good
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    expires: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Act for everybody, and administer
    Admin,
}

#[derive(Subcommand)]
enum CellCommand {
    /// All cells: state, epoch, position, losses
    List,
    /// Shut a cell until it is opened again
    Close { cell: u16 },
    /// Allow a closed cell to sell again, after recovering it
    Open { cell: u16 },
    /// Rebuild a cell's keys from MySQL
    Rebuild { cell: u16 },
    /// Move a cell, and those in the same slot, to another server of the Redis Cluster; run again, it goes on
    Move {
        cell: u16,
        /// A primary of the cluster
        #[arg(long, value_name = "HOST:PORT", value_parser = address)]
        to: Address,
    },
}

impl Flags {
    fn settings(&self, defaults: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let mut flags = Vec::new();
        if let Some(listen) = self.listen {
            flags.push(("listen", listen.to_string()));
        }
        for (key, url) in
            [("redis_url", &self.redis_url), ("mysql_url", &self.mysql_url), ("amqp_url", &self.amqp_url)]
        {
            if let Some(url) = url {
                flags.push((key, url.clone()));
            }
        }
        Ok(Settings::load(self.config.as_deref(), defaults, &flags)?)
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Reaper = cli.command {
        dev::reaper::run();
    }
    telemetry::install_logs(cli.flags.log_format);
    let settings = cli.flags.settings(match cli.command {
        Command::Dev(_) => DEV_DEFAULTS,
        _ => &[],
    })?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(cli.command, Command::Dev(_)) && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        runtime.worker_threads(dev::threads());
    }
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Dev(options) => dev::run::run(settings, options, stop_signal()?).await,
            Command::Serve { role, allow_insecure, require_durable } => {
                serve(settings, role, allow_insecure, require_durable).await
            }
            Command::Migrate => migrate(&settings).await,
            Command::Seed(plan) => seed_all(settings, plan).await,
            Command::Audit => audit_all(settings).await,
            Command::Cell(command) => cell(settings, command).await,
            Command::Events(command) => {
                if !events::run(settings, command).await? {
                    std::process::exit(1);
                }
                Ok(())
            }
            Command::Ready(options) => {
                if let Err(why) = ready::run(options, settings.listen).await {
                    eprintln!("not ready: {why}");
                    std::process::exit(1);
                }
                println!("ready");
                Ok(())
            }
            Command::Token(options) => token(&settings, &options),
            Command::Reaper => unreachable!("handled before the runtime"),
        }
    })
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn serve(
    settings: Settings,
    role: Role,
    allow_insecure: bool,
    require_durable: bool,
) -> anyhow::Result<()> {
    check_exposure(&settings, allow_insecure)?;
    check_protection(&settings)?;
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let start = Engine::start(settings, role, require_durable, telemetry::install_metrics()?);
    let engine = tokio::select! {
        engine = start => engine?,
        () = &mut stop => return Ok(()),
    };
    match engine.address() {
        Some(address) => tracing::info!(%address, ?role, "serving"),
        None => tracing::info!(?role, "working"),
    }
    stop.await;
    tracing::info!("stopping: requests in flight and the current batch are finished first");
    engine.stop().await;
    Ok(())
}

async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let url = &settings.mysql_url;
    mysql::migrate(url, &settings.tls_ca_file).await.with_context(|| format!("cannot migrate {url}"))?;
    println!("the schema at {url} is up to date");
    Ok(())
}

fn token(settings: &Settings, options: &TokenOptions) -> anyhow::Result<()> {
    let is_admin = options.scope == Some(Scope::Admin);
    println!("{}", identity::mint(settings, options.user, is_admin, options.expires)?);
    Ok(())
}

async fn seed_all(settings: Settings, plan: seed::SeedPlan) -> anyhow::Result<()> {
    let connections = app::connect(settings).await?;
    let _node = connections.follow_epochs().await?;
    let seeded = seed::seed(&connections.scripts, &connections.settings, plan, &seed::Bars::new()).await?;
    println!(
        "{} products and {} users are new; {} products and {} users were there",
        seeded.products_created, seeded.users_made, seeded.products_updated, seeded.users_found
    );
    Ok(())
}

async fn audit_all(settings: Settings) -> anyhow::Result<()> {
    let connections = app::connect(settings).await?;
    let _node = connections.follow_epochs().await?;
    let bar = audit::Bar::new();
    let report = match audit::audit(&connections.scripts, &connections.mysql, &bar).await {
        Ok(report) => report,
        Err(error) => {
            bar.finish();
            eprintln!("the audit did not finish, and says nothing about differences: {error}");
            std::process::exit(2);
        }
    };
    bar.finish();
    audit::print_report(&report);
    if !report.clean() {
        std::process::exit(1);
    }
    Ok(())
}

async fn cell(settings: Settings, command: CellCommand) -> anyhow::Result<()> {
    let cells = settings.cells();
    let known = |cell: u16| {
        let found = cells.all().find(|it| it.0 == cell);
        found.with_context(|| format!("there is no cell {cell}; cells are 0 to {}", cells.count() - 1))
    };
    let connections = app::connect(settings).await?;
    let _node = connections.follow_epochs().await?;
    let worker = connections.worker();
    match command {
        CellCommand::List => list_cells(&connections).await,
        CellCommand::Close { cell } => {
            recover::close(&worker, known(cell)?).await?;
            println!("cell {cell} is closed");
            Ok(())
        }
        CellCommand::Open { cell } => {
            let outcome = recover::reopen(&worker, known(cell)?, &Bar::named("rebuild")).await?;
            tell(known(cell)?, &outcome);
            Ok(())
        }
        CellCommand::Rebuild { cell } => {
            let outcome =
                recover::recover_in_turn(&worker, known(cell)?, Because::Asked, &Bar::named("rebuild"))
                    .await?;
            tell(known(cell)?, &outcome);
            Ok(())
        }
        CellCommand::Move { cell, to } => {
            let moved = moving::move_cell(&worker, known(cell)?, &to, &Bar::named("move")).await;
            let moved = moved.with_context(|| format!("cell {cell} did not get to {to}"))?;
            println!("slot {} is on {to}: {} keys came with it", moved.slot, moved.keys);
            for (cell, outcome) in moved.cells {
                match outcome {
                    Some(outcome) => tell(cell, &outcome),
                    None => println!("cell {cell} stays closed, as it was"),
                }
            }
            Ok(())
        }
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text, 6_379).ok_or_else(|| "no host and port".to_owned())
}

fn tell(cell: CellId, outcome: &RecoverOutcome) {
    match outcome {
        RecoverOutcome::StillOpen => println!("cell {cell} was open all the time"),
        RecoverOutcome::OpenedElsewhere => println!("cell {cell} is recovered by another process"),
        RecoverOutcome::LeftClosed { reason } => {
            println!("cell {cell} stays closed: {reason}; `firstcome cell open {cell}` first");
            std::process::exit(1);
        }
        RecoverOutcome::Opened(found) if found.rebuilt => {
            println!(
                "cell {cell} is rebuilt and open in epoch {}; {} events lost",
                found.epoch,
                found.lost()
            );
        }
        RecoverOutcome::Opened(found) => println!("cell {cell} is open in epoch {}", found.epoch),
    }
}

async fn list_cells(connections: &Connections) -> anyhow::Result<()> {
    let mut table = Table::new();
    let cluster = connections.scripts.cluster();
    let mut header = vec!["cell", "state", "epoch", "persisted", "lost events"];
    header.extend(cluster.map(|_| "server"));
    table.set_header(header);
    for row in cells::read_all(&connections.mysql).await? {
        let view = row.view;
        let state = match view.state {
            CellState::Open => "open".to_owned(),
            CellState::Closed { reason } => format!("closed: {reason}"),
        };
        let mut cells = vec![
            view.cell.to_string(),
            state,
            view.epoch.to_string(),
            view.persisted.to_string(),
            view.lost_events.to_string(),
        ];
        cells.extend(cluster.map(|it| it.address(view.cell).map_or("none".to_owned(), |it| it.to_string())));
        table.add_row(cells);
    }
    println!("{table}");
    Ok(())
}

/// Progress on the terminal, of a rebuild or of a move.
struct Bar {
    name: &'static str,
    bar: std::sync::Mutex<Option<ProgressBar>>,
}

impl Bar {
    fn named(name: &'static str) -> Self {
        Self { name, bar: std::sync::Mutex::default() }
    }
}

impl firstcome::worker::Progress for Bar {
    /// A rebuild may follow a move.
    fn begin(&self, rows: u64) {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {eta}");
        let bar =
            ProgressBar::new(rows).with_style(style.expect("a constant template")).with_prefix(self.name);
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar.lock().expect("no panic while held") = Some(bar);
    }

    fn advance(&self, rows: u64) {
        if let Some(bar) = self.bar.lock().expect("no panic while held").as_ref() {
            bar.inc(rows);
        }
    }
}
