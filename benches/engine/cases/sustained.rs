//! What goes all the way to MySQL and RabbitMQ for a long time.

use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::{CALM, Cases, HELD, HOT, OPEN_LOOP_CONNECTIONS, purchases};
use crate::generator::Plan;
use crate::load::{self, Load};
use crate::row::Row;
use crate::table::thousands;
use crate::traffic::Kind;

const SECTION: &str = "sustained: accepted, persisted and published, everything running";

/// How much faster, and slower, the next try is.
const FASTER: f64 = 1.1;
const SLOWER: f64 = 0.93;

/// Short tries in search of the rate, and long ones of what was found.
const SHORT_TRIES: usize = 6;
const LONG_TRIES: usize = 3;

/// A rate that was offered for some time.
struct Hold {
    load: Load,
    backlog: Backlog,
    /// The backlog did not grow, and the rate was reached.
    held: bool,
}

impl Cases<'_> {
    /// The most that goes all the way to RabbitMQ for a long time without the backlog growing, everything running.
    pub(super) async fn sustained(&mut self, products: u64, keyed: bool) -> anyhow::Result<()> {
        let name = purchases(products, keyed);
        eprintln!("sustained: {name}");
        self.shop.drain().await?;
        let kind = Kind::Purchase { products, keyed };
        let mut rate = match self.settings.rate {
            Some(rate) => rate as f64,
            None => self.find_rate(kind).await?,
        };
        let long = Duration::from_secs(self.settings.sustained_seconds);
        let tries = if self.settings.rate.is_some() { 1 } else { LONG_TRIES };
        let mut tried = 1;
        let (Hold { load, backlog, held }, before) = loop {
            self.shop.purge_queue().await?;
            let before = self.shop.progress().await?;
            let hold = self.hold(kind, rate, long).await?;
            if hold.held || tried == tries {
                break (hold, before);
            }
            eprintln!("  not held for {} s at {}/s", long.as_secs(), thousands(rate));
            self.shop.drain().await?;
            rate *= SLOWER;
            tried += 1;
        };
        let mut row = Row::of_load(SECTION, name, &load);
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
        let Hold { load, backlog, .. } = self.hold(kind, rate * CALM, self.settings.load_time()).await?;
        let mut row = Row::of_load(SECTION, "the same at 70 % of that", &load);
        row.remark(backlog.told());
        self.count(&mut row, before, &load).await?;
        self.settle(&mut row).await?;
        self.rows.push(row);
        Ok(())
    }

    /// The highest rate that short tries hold; where none does, one that the next try might.
    async fn find_rate(&mut self, kind: Kind) -> anyhow::Result<f64> {
        let short = self.settings.load_time() / 2;
        // A first guess: as fast as possible, and then until the last confirm.
        let began = Instant::now();
        let load = self.load(&Plan { time: short, ..self.plan(kind) }).await?;
        self.shop.drain().await?;
        let mut rate = load.report.right_in_all as f64 / began.elapsed().as_secs_f64();
        let (mut highest, mut missed) = (None, false);
        for _ in 0..SHORT_TRIES {
            let held = self.hold(kind, rate, short).await?.held;
            eprintln!("  {}/s for {short:?}: {}", thousands(rate), if held { "held" } else { "not held" });
            self.shop.drain().await?;
            if held {
                highest = Some(rate);
            }
            // A rate that was missed lies above the one that is held, or the other way round: between them it is.
            if (held && missed) || (!held && highest.is_some()) {
                break;
            }
            missed |= !held;
            rate *= if held { FASTER } else { SLOWER };
        }
        Ok(highest.unwrap_or(rate))
    }

    /// A fixed rate, and what became of the backlog meanwhile.
    async fn hold(&mut self, kind: Kind, rate: f64, time: Duration) -> anyhow::Result<Hold> {
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
        Ok(Hold { load, backlog, held })
    }
}
