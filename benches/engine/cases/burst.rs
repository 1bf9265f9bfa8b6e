//! Accepted as fast as they are answered while the worker rests, then the way of that backlog to MySQL and RabbitMQ.

use std::time::Instant;

use super::{Cases, HOT, purchases};
use crate::load::Load;
use crate::process::CpuTimes;
use crate::row::Row;
use crate::traffic::{Kind, PRODUCTS};

const BURST: &str = "burst: accepted, worker not running";

impl Cases<'_> {
    pub(super) async fn bursts(&mut self) -> anyhow::Result<()> {
        self.found.burst = Some(self.burst(HOT, false).await?);
        self.burst(HOT, true).await?;
        self.found.burst_spread = Some(self.burst(PRODUCTS, false).await?);
        self.burst(PRODUCTS, true).await?;
        Ok(())
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
    pub(super) async fn everysec(&mut self) -> anyhow::Result<()> {
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
}
