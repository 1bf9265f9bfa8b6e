//! Latencies at a fixed rate below the peak.

use super::{CALM, Cases, HELD, HOT, OPEN_LOOP_CONNECTIONS, purchases};
use crate::generator::Plan;
use crate::row::Row;
use crate::traffic::{Kind, PRODUCTS};

impl Cases<'_> {
    /// Latencies at a fixed rate below the peak, while the worker rests.
    pub(super) async fn calm_burst(&mut self) -> anyhow::Result<()> {
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
}
