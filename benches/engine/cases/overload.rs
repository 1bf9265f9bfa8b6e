//! More clients than the peak needs.

use std::time::Duration;

use anyhow::Context;

use super::{Cases, HOT};
use crate::generator::Plan;
use crate::load;
use crate::process::resident_bytes;
use crate::row::Row;
use crate::table::thousands;
use crate::traffic::Kind;

impl Cases<'_> {
    /// Ten, and a hundred, times the connections that reach the peak.
    pub(super) async fn overload(&mut self) -> anyhow::Result<()> {
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
}
