//! Whether an order costs more when there is more of everything: users, products, orders, and events that wait.

use std::time::{Duration, Instant};

use super::Cases;
use crate::generator::Plan;
use crate::process::CpuTimes;
use crate::row::Row;
use crate::table::thousands;
use crate::traffic::{Kind, PRODUCTS};

const SECTION: &str = "growth: an order when there is 1, 10 and 100 times as much of everything";

/// How much there is at each step, and for how many lengths of [`LOAD`] orders are placed before the load that counts.
const STEPS: [(u64, u32); 3] = [(1, 0), (10, 3), (100, 20)];

/// Short, so that the backlog of the first step is small.
const LOAD: Duration = Duration::from_secs(1);

/// Processes that accept an order; the others bring it to MySQL and RabbitMQ.
const ACCEPTING: [&str; 3] = ["redis", "api", "generator"];

impl Cases<'_> {
    /// Comes before all other cases, since the shop grows to its full size here.
    pub(super) async fn growth(&mut self) -> anyhow::Result<()> {
        let mut costs = Vec::new();
        for (times, before) in STEPS {
            let (users, products) = (self.settings.users * times / 100, PRODUCTS * times / 100);
            self.grow(users).await?;
            eprintln!("growth: {times} times");
            self.shop.rest_worker().await?;
            let start = self.shop.progress().await?;
            let plan = Plan { users, time: LOAD, ..self.plan(Kind::Purchase { products, keyed: false }) };
            let mut placed = 0;
            if before > 0 {
                placed += self.load(&Plan { time: LOAD * before, ..plan.clone() }).await?.report.right_in_all;
            }
            let mut load = self.load(&plan).await?;
            placed += load.report.right_in_all;
            load.cpu_us.retain(|it| ACCEPTING.contains(&it.0));
            let accepting = load.cpu_us_of("redis") + load.cpu_us_of("api");
            let mut row = Row::of_load(SECTION, format!("{times} times"), &load);
            let appended = self.shop.progress().await?.appended - start.appended;
            if appended != placed {
                row.refuse(format!("{placed} accepted, but {appended} events"));
            }

            self.shop.wake_worker()?;
            let (woken, cpu) = (Instant::now(), CpuTimes::of(&self.shop.processes()));
            self.shop.drain().await?;
            let drained = placed as f64 / woken.elapsed().as_secs_f64();
            let mut cpu_us = CpuTimes::of(&self.shop.processes()).per_thing_since(&cpu, placed);
            cpu_us.retain(|it| !ACCEPTING.contains(&it.0));
            let writing: f64 = cpu_us.iter().map(|it| it.1).sum();
            row.cpu_us.extend(cpu_us);
            row.remark(format!(
                "{} users, {products} products, {} orders in MySQL, {} more waiting in the end; those at {}/s to MySQL and \
                 RabbitMQ",
                thousands(users as f64),
                thousands(start.published as f64),
                thousands(placed as f64),
                thousands(drained),
            ));
            self.settle(&mut row).await?;
            self.rows.push(row);
            costs.push((accepting, writing));
        }
        let (first, last) = (costs[0], costs[costs.len() - 1]);
        for (name, first, last) in [
            ("100 times ÷ 1: redis and api", first.0, last.0),
            ("100 times ÷ 1: mysql, rabbitmq, worker", first.1, last.1),
        ] {
            let mut row = Row::new(SECTION, name);
            row.ratio = Some(last / first);
            row.remark(format!("{last:.1} / {first:.1} µs for each order"));
            self.rows.push(row);
        }
        Ok(())
    }
}
