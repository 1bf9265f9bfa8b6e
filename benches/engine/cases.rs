//! The engine under load. After each case that sells, the backlog is written and the audit must be clean.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::backlog::Backlog;
use crate::generator::Plan;
use crate::load::{self, Load};
use crate::process::{CpuTimes, resident_bytes};
use crate::row::Row;
use crate::settings::BenchSettings;
use crate::shop::{Progress, Shop};
use crate::table::thousands;
use crate::traffic::{Kind, PRODUCTS};

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
    rows: &'a mut Vec<Row>,
    pub found: Found,
    /// Makes the keys of each load differ from those of the others.
    run: u64,
    next_coupon: u64,
    /// Without the event log, before there were users.
    empty_bytes: u64,
}

/// A rate is reached where at least this share of it was answered.
const HELD: f64 = 0.98;

const HOT: u64 = 1;

const BURST: &str = "burst: accepted, worker not running";

impl<'a> Cases<'a> {
    pub async fn prepare(
        mut shop: Shop<'a>,
        settings: &'a BenchSettings,
        rows: &'a mut Vec<Row>,
    ) -> anyhow::Result<Self> {
        eprintln!("making {} users", settings.users);
        let empty_bytes = shop.memory().await?.0;
        shop.seed(settings).await?;
        shop.drain().await?;
        let run = chrono::Utc::now().timestamp_millis() as u64 * 1_000;
        let found = Found::default();
        Ok(Self { shop, settings, rows, found, run, next_coupon: 1, empty_bytes })
    }

    /// Runs the cases that are wanted.
    pub async fn run(mut self) -> anyhow::Result<Found> {
        let wants = |part: &str| self.settings.wants(part);
        let (burst, aof, reads, claims) = (wants("burst"), wants("aof"), wants("reads"), wants("claims"));
        let (latency, overload, sustained) = (wants("latency"), wants("overload"), wants("sustained"));
        let users = self.settings.users;
        let each = self.shop.memory().await?.0.saturating_sub(self.empty_bytes) / users;
        let mut row = Row::new("memory", "Redis, for each user");
        row.remark(format!("{each} bytes, of {} users", thousands(users as f64)));
        self.rows.push(row);

        if burst {
            for (products, keyed) in [(HOT, false), (HOT, true), (PRODUCTS, false), (PRODUCTS, true)] {
                let load = self.burst(products, keyed).await?;
                match (products, keyed) {
                    (HOT, false) => self.found.burst = Some(load),
                    (_, false) => self.found.burst_spread = Some(load),
                    _ => {}
                }
            }
        }
        if aof {
            self.everysec().await?;
        }
        if reads {
            for (name, products) in [("GET one product", HOT), ("GET a thousand products", PRODUCTS)] {
                eprintln!("{name}");
                let load = self.load(&self.plan(Kind::Product { products })).await?;
                self.rows.push(Row::of_load("reads", name, &load));
            }
        }
        if claims {
            self.claims().await?;
        }
        if latency {
            self.calm_burst().await?;
        }
        if overload {
            self.overload().await?;
        }
        if sustained {
            self.sustained(HOT, false).await?;
            self.sustained(PRODUCTS, true).await?;
        }
        Ok(self.found)
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

    /// A peak of purchases while the worker rests, then the way of the backlog to MySQL and RabbitMQ.
    async fn burst(&mut self, products: u64, keyed: bool) -> anyhow::Result<Load> {
        let name = purchases(products, keyed);
        eprintln!("burst: {name}");
        self.shop.rest_worker().await?;
        let (before, memory_before) = (self.shop.progress().await?, self.shop.memory().await?);
        let load = self.load(&self.plan(Kind::Purchase { products, keyed })).await?;
        let memory = self.shop.memory().await?;
        let mut row = Row::of_load(BURST, name.as_str(), &load);
        self.count(&mut row, before, &load).await?;
        let orders = load.report.right_in_all;
        let waiting = (memory.0 + memory.1).saturating_sub(memory_before.0 + memory_before.1) / orders.max(1);

        let mut drained = Row::new("backlog of that burst to MySQL and RabbitMQ, nothing else running", name);
        self.shop.wake_worker()?;
        let (began, cpu) = (Instant::now(), CpuTimes::of(&self.shop.processes()));
        self.shop.drain().await?;
        drained.per_second = Some(orders as f64 / began.elapsed().as_secs_f64());
        drained.cpu_us = CpuTimes::of(&self.shop.processes()).per_thing_since(&cpu, orders);
        let settled = self.shop.memory().await?.0.saturating_sub(memory_before.0) / orders.max(1);
        row.remark(format!("bytes of an order in Redis: {waiting} while it waits, {settled} once settled"));
        self.settle(&mut row).await?;
        drained.counts = row.counts;
        self.rows.extend([row, drained]);
        Ok(load)
    }

    /// The same with a Redis that makes its file durable once a second. The worker is not woken before that is over:
    /// it is told to refuse such a Redis.
    async fn everysec(&mut self) -> anyhow::Result<()> {
        let name = format!("{}, appendfsync everysec", purchases(HOT, false));
        eprintln!("burst: {name}");
        self.shop.rest_worker().await?;
        let before = self.shop.progress().await?;
        self.shop.set_fsync("everysec").await?;
        let load = self.load(&self.plan(Kind::Purchase { products: HOT, keyed: false })).await;
        self.shop.set_fsync("always").await?;
        let load = load?;
        let mut row = Row::of_load(BURST, name, &load);
        self.count(&mut row, before, &load).await?;
        self.settle(&mut row).await?;
        self.rows.push(row);
        Ok(())
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

    async fn claims(&mut self) -> anyhow::Result<()> {
        let users = self.settings.users;
        for keyed in [false, true] {
            let with = if keyed { ", with keys" } else { "" };
            eprintln!("claims{with}");
            // One campaign after the other, each user once in each.
            let campaigns = 1 + 100_000 * (self.settings.seconds + 1) / users;
            let first_coupon = self.next_coupon;
            for coupon in first_coupon..first_coupon + campaigns {
                self.shop.open_campaign(coupon, users).await?;
            }
            self.shop.drain().await?;
            self.shop.rest_worker().await?;
            let before = self.shop.progress().await?;
            let load = self.load(&self.plan(Kind::Claim { first_coupon, keyed })).await?;
            let mut row = Row::of_load("coupons", format!("claims while available{with}"), &load);
            self.count(&mut row, before, &load).await?;
            self.settle(&mut row).await?;
            self.rows.push(row);
            self.next_coupon += campaigns;
        }
        let coupon = self.next_coupon;
        self.next_coupon += 1;
        self.shop.open_campaign(coupon, 1).await?;
        // An administrator may claim for anybody, and a claim that is not the generator's takes the only unit.
        let claim = serde_json::json!({ "userId": self.settings.users, "couponId": coupon });
        self.shop.call(reqwest::Method::POST, "/coupons", &claim).await?;
        for keyed in [false, true] {
            let with = if keyed { ", with keys" } else { "" };
            eprintln!("sold out{with}");
            let plan = self.plan(Kind::SoldOut { coupon, keyed });
            // Who has the unit is not told that it is sold out.
            let plan = Plan { users: self.settings.users - 1, ..plan };
            let before = self.shop.progress().await?;
            let load = self.load(&plan).await?;
            let mut row = Row::of_load("coupons", format!("claims after sold out{with}"), &load);
            if self.shop.progress().await?.appended != before.appended {
                row.refuse("a refusal appended an event");
            }
            self.settle(&mut row).await?;
            self.rows.push(row);
        }
        Ok(())
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

    /// Latencies at a fixed rate below the peak, while the worker rests.
    async fn calm_burst(&mut self) -> anyhow::Result<()> {
        eprintln!("latencies");
        self.shop.rest_worker().await?;
        // Taken now: the machine may be in another mood than it was at the burst.
        let peak = self.peak(self.settings.connections, self.settings.load_time() / 2).await?.per_second();
        for (products, keyed) in [(HOT, false), (PRODUCTS, true)] {
            self.shop.rest_worker().await?;
            let plan = self.plan(Kind::Purchase { products, keyed });
            let plan = Plan { rate: Some(peak * CALM), connections: OPEN_LOOP_CONNECTIONS, ..plan };
            let before = self.shop.progress().await?;
            let load = self.load(&plan).await?;
            let name = format!("{} at 70 % of the peak just before", purchases(products, keyed));
            let mut row = Row::of_load("latency: open loop, from the moment a request was due", name, &load);
            if load.per_second() < peak * CALM * HELD {
                row.remark("the rate was not reached");
            }
            self.count(&mut row, before, &load).await?;
            self.settle(&mut row).await?;
            self.rows.push(row);
        }
        Ok(())
    }

    /// Ten, and a hundred, times the connections that reach the peak.
    async fn overload(&mut self) -> anyhow::Result<()> {
        const SECTION: &str = "overload, worker not running";
        eprintln!("overload");
        self.shop.rest_worker().await?;
        let short = self.settings.load_time() / 4;
        let mut tried = Vec::new();
        for connections in [16, 32, 64, 128] {
            tried.push((connections, self.peak(connections, short).await?.per_second()));
        }
        let most = tried.iter().map(|it| it.1).fold(0.0, f64::max);
        let reached = tried.iter().find(|it| it.1 >= 0.97 * most).context("a peak")?.0;
        let mut row = Row::new(SECTION, "the peak drains first");
        self.settle(&mut row).await?;
        self.shop.rest_worker().await?;
        let peak = self.peak(reached, self.settings.load_time()).await?;
        let mut row = Row::of_load(SECTION, format!("the peak, with {reached} connections"), &peak);
        self.settle(&mut row).await?;
        self.rows.push(row);
        for times in [10, 100] {
            self.shop.rest_worker().await?;
            let connections = reached * times;
            let plan = self.plan(Kind::Purchase { products: HOT, keyed: false });
            let plan = Plan { connections, ..plan };
            let before = self.shop.progress().await?;
            let pid = self.shop.api_pid();
            let (resident_before, mut resident_max) = (resident_bytes(pid), 0);
            let load = load::run_beside(&plan, &self.shop.processes(), async || {
                loop {
                    resident_max = resident_max.max(resident_bytes(pid));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
            .await?;
            let resident_after = resident_bytes(pid);
            let mut row = Row::of_load(SECTION, format!("{times} times as many"), &load);
            let (megabytes, shed) = (|bytes: u64| bytes / 1_000_000, load.report.shed_latency_ms);
            row.remark(format!("{:.0} % of the peak", 100.0 * load.per_second() / peak.per_second()));
            let shed_each = load.report.shed as f64 / load.report.seconds;
            row.remark(match load.report.shed {
                0 => "no 503".to_owned(),
                _ => format!(
                    "{} 503/s, p99 {:.1} ms, longest {:.1} ms",
                    thousands(shed_each),
                    shed.p99,
                    shed.max
                ),
            });
            row.remark(format!(
                "API node {} MB before, {} MB at most, {} MB afterwards",
                megabytes(resident_before),
                megabytes(resident_max),
                megabytes(resident_after)
            ));
            self.count(&mut row, before, &load).await?;
            self.settle(&mut row).await?;
            self.rows.push(row);
        }
        Ok(())
    }

    /// The most that goes all the way to RabbitMQ for a long time without the backlog growing, everything running.
    async fn sustained(&mut self, products: u64, keyed: bool) -> anyhow::Result<()> {
        /// How much faster, and slower, the next try is.
        const FASTER: f64 = 1.1;
        const SLOWER: f64 = 0.93;
        let name = purchases(products, keyed);
        eprintln!("sustained: {name}");
        self.shop.drain().await?;
        let kind = Kind::Purchase { products, keyed };
        // A first guess: as fast as possible, and then until the last confirm.
        let began = Instant::now();
        let load = self.load(&self.plan(kind)).await?;
        self.shop.drain().await?;
        let mut rate = load.report.right_in_all as f64 / began.elapsed().as_secs_f64();
        for _ in 0..5 {
            let tried = self.hold(kind, rate * FASTER, self.settings.load_time()).await?;
            self.shop.drain().await?;
            if !tried.2 {
                break;
            }
            rate *= FASTER;
        }
        let long = Duration::from_secs(self.settings.sustained_seconds);
        let mut tries = 0;
        let (load, backlog, held, before) = loop {
            tries += 1;
            self.shop.purge_queue().await?;
            let before = self.shop.progress().await?;
            let (load, backlog, held) = self.hold(kind, rate, long).await?;
            if held || tries == 6 {
                break (load, backlog, held, before);
            }
            self.shop.drain().await?;
            rate *= SLOWER;
        };
        let section = "sustained: accepted, persisted and published, everything running";
        let mut row = Row::of_load(section, name, &load);
        let published = backlog.published_per_second();
        row.per_second = Some(published);
        row.remark(format!("{} s at {}/s offered; {}", long.as_secs(), thousands(rate), backlog.told()));
        row.marked = !held;
        if load.per_second() < HELD * rate {
            row.remark(format!("only {}/s accepted", thousands(load.per_second())));
        }
        self.count(&mut row, before, &load).await?;
        self.settle(&mut row).await?;
        if row.counts && held && products == HOT && !keyed {
            self.found.sustained = Some(published);
            self.found.sustained_us = Some(load.cpu_us_in_all());
        }
        self.rows.push(row);

        let before = self.shop.progress().await?;
        let (load, backlog, _) = self.hold(kind, rate * CALM, self.settings.load_time()).await?;
        let mut row = Row::of_load(section, "the same at 70 % of that", &load);
        row.remark(backlog.told());
        self.count(&mut row, before, &load).await?;
        self.settle(&mut row).await?;
        self.rows.push(row);
        Ok(())
    }

    /// A fixed rate, and what became of the backlog meanwhile. True: that did not grow, and the rate was reached.
    async fn hold(&mut self, kind: Kind, rate: f64, time: Duration) -> anyhow::Result<(Load, Backlog, bool)> {
        self.run += 1;
        let plan = Plan {
            rate: Some(rate),
            connections: OPEN_LOOP_CONNECTIONS,
            time,
            run: self.run,
            ..self.plan(kind)
        };
        let mut backlog = Backlog::new(rate);
        let shop = &self.shop;
        let start = shop.progress().await?;
        let load = load::run_beside(&plan, &shop.processes(), async || {
            loop {
                if let Ok(now) = shop.progress().await {
                    backlog.note(start, now);
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        })
        .await?;
        let held = !backlog.grew() && load.per_second() >= HELD * rate;
        Ok((load, backlog, held))
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
