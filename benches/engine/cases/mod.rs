//! The engine under load. After each case that sells, the backlog is written and the audit must be clean.

mod backlog;
mod burst;
mod coupons;
mod growth;
mod latency;
mod overload;
mod reads;
mod ready;
mod sustained;

use std::time::Duration;

use crate::generator::Plan;
use crate::load::{self, Load};
use crate::row::{Row, Rows};
use crate::settings::BenchSettings;
use crate::shop::{Progress, Shop};
use crate::table::thousands;
use crate::traffic::{Kind, PRODUCTS};

/// The parts of a run that need the engine, in their order. Growth comes before all others, since the shop grows to its full
/// size there.
pub const PARTS: [&str; 9] =
    ["growth", "burst", "aof", "reads", "claims", "latency", "overload", "sustained", "ready"];

/// The share of a peak at which latencies are taken.
const CALM: f64 = 0.7;

/// Clients of an open loop: enough that none waits for another.
const OPEN_LOOP_CONNECTIONS: usize = 512;

/// What later parts of the run need of the cases.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Of purchases of one product without keys, no worker beside.
    pub burst: Option<Load>,
    pub burst_spread: Option<Load>,
    /// Persisted and published orders a second, sustained.
    pub sustained: Option<f64>,
    /// Microseconds of the processor for each of them, in all processes.
    pub sustained_us: Option<f64>,
}

pub struct Cases<'a> {
    shop: Shop<'a>,
    settings: &'a BenchSettings,
    rows: &'a mut Rows,
    pub found: Found,
    /// Makes the keys of each load differ from those of the others.
    run: u64,
    next_coupon: u64,
    /// How many there are, and what they take in Redis.
    users: u64,
    users_bytes: u64,
}

/// A rate is reached where at least this share of it was answered.
const HELD: f64 = 0.98;

const HOT: u64 = 1;

impl<'a> Cases<'a> {
    pub async fn prepare(
        mut shop: Shop<'a>,
        settings: &'a BenchSettings,
        rows: &'a mut Rows,
    ) -> anyhow::Result<Self> {
        // The products, and with them what a shop has however few users come.
        shop.seed(1).await?;
        shop.drain().await?;
        let run = chrono::Utc::now().timestamp_millis() as u64 * 1_000;
        let found = Found::default();
        Ok(Self { shop, settings, rows, found, run, next_coupon: 1, users: 1, users_bytes: 0 })
    }

    /// Runs the cases that are wanted.
    pub async fn run(mut self) -> anyhow::Result<Found> {
        let settings = self.settings;
        if settings.wants("growth") {
            self.growth().await?;
        }
        self.grow(settings.users).await?;
        let mut row = Row::new("memory", "Redis, for each user");
        let each = self.users_bytes / self.users;
        row.remark(format!("{each} bytes, of {} users", thousands(self.users as f64)));
        self.rows.push(row);
        for part in PARTS.into_iter().filter(|it| settings.wants(it)) {
            match part {
                "burst" => self.bursts().await?,
                "aof" => self.everysec().await?,
                "reads" => self.reads().await?,
                "claims" => self.claims().await?,
                "latency" => self.calm_burst().await?,
                "overload" => self.overload().await?,
                "sustained" => {
                    self.sustained(HOT, false).await?;
                    self.sustained(PRODUCTS, true).await?;
                }
                "ready" => self.ready().await?,
                _ => {}
            }
        }
        Ok(self.found)
    }

    /// Makes the users that are missing.
    async fn grow(&mut self, users: u64) -> anyhow::Result<()> {
        if users > self.users {
            eprintln!("making {} users", thousands((users - self.users) as f64));
            self.shop.drain().await?;
            let before = self.shop.memory().await?.0;
            self.shop.seed(users).await?;
            self.shop.drain().await?;
            self.users_bytes += self.shop.memory().await?.0.saturating_sub(before);
            self.users = users;
        }
        Ok(())
    }

    fn plan(&self, kind: Kind) -> Plan {
        Plan {
            address: self.shop.address,
            connections: self.settings.connections,
            rate: None,
            warm_up: Duration::from_millis(500),
            time: self.settings.load_time(),
            users: self.settings.users,
            kind,
            first: 0,
            run: 0,
        }
    }

    /// One load with keys of its own.
    async fn load(&mut self, plan: &Plan) -> anyhow::Result<Load> {
        self.run += 1;
        load::run(&Plan { run: self.run, ..plan.clone() }, &self.shop.processes()).await
    }

    /// As many events must have come as orders were accepted.
    async fn count(&self, row: &mut Row, before: Progress, load: &Load) -> anyhow::Result<()> {
        let appended = self.shop.progress().await?.appended - before.appended;
        if appended != load.report.right_in_all {
            row.refuse(format!("{} accepted, but {appended} events", load.report.right_in_all));
        }
        Ok(())
    }

    /// Everything written, and the audit clean; else the figure does not count.
    async fn settle(&mut self, row: &mut Row) -> anyhow::Result<()> {
        self.shop.drain().await?;
        if !self.shop.audit().await? {
            row.refuse("the audit is not clean");
        }
        self.shop.purge_queue().await
    }

    /// Purchases of one product without keys, as fast as they are answered; no row.
    async fn peak(&mut self, connections: usize, time: Duration) -> anyhow::Result<Load> {
        let plan = self.plan(Kind::Purchase { products: HOT, keyed: false });
        let load = self.load(&Plan { connections, time, ..plan }).await?;
        if let Some(complaint) = load.complaint() {
            anyhow::bail!("while looking for the peak: {complaint}");
        }
        Ok(load)
    }
}

fn purchases(products: u64, keyed: bool) -> String {
    let products = if products == HOT {
        "one hot product".to_owned()
    } else {
        format!("{} products", thousands(products as f64))
    };
    format!("{products}{}", if keyed { ", with keys" } else { "" })
}
