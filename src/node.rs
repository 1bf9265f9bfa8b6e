//! What this process knows of the cells, and what it tells: it reads `cells`, notes the highest event
//! it vouches for, and feeds a watch channel that http and scripts look at.

use std::time::Duration;

use futures::future::join_all;
use sqlx::mysql::MySqlPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cell::{CellState, CellView};
use crate::mysql::audits;
use crate::mysql::cells::{self, Note};
use crate::scripts::Scripts;
use crate::scripts::fence::fence_check;
use crate::watermark::{CellWatch, Watermark};

/// How often `cells` is read while all is well; also how often the note is written.
const CALM: Duration = Duration::from_secs(1);

/// How often while a cell does not sell: a recovery waits for this node's note.
const ALERT: Duration = Duration::from_millis(50);

/// How often while somebody waits for MySQL: as often as an idle worker looks for events.
const WAITED_FOR: Duration = Duration::from_millis(5);

/// One process that serves the API or works; its name in `nodes`.
pub struct Node {
    name: String,
    mysql: MySqlPool,
    scripts: Scripts,
    views: watch::Sender<Option<Vec<CellView>>>,
    watermark: Watermark,
}

impl Node {
    pub fn new(mysql: MySqlPool, scripts: Scripts) -> Self {
        let views = watch::Sender::new(None);
        let watermark = Watermark::new(views.subscribe());
        Self { name: uuid::Uuid::now_v7().to_string(), mysql, scripts, views, watermark }
    }

    /// What it is called among others, in `nodes`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn watch(&self) -> CellWatch {
        self.views.subscribe()
    }

    /// What tells how far MySQL has got, while this node runs.
    pub fn watermark(&self) -> Watermark {
        self.watermark.clone()
    }

    /// Reads `cells` and writes this node's note, until `stop`; faster while somebody waits for MySQL.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.keep_up(&stop) => {}
            () = self.serve_waiters() => {}
        }
    }

    /// Refreshes until `stop`. While MySQL is away the node goes on with what it knows; when MySQL is back, it
    /// first reports its highest, then learns the epoch.
    async fn keep_up(&self, stop: &CancellationToken) {
        let mut alert;
        let mut reported_failure = false;
        while !stop.is_cancelled() {
            match self.refresh().await {
                Ok(all_open) => {
                    alert = !all_open;
                    reported_failure = false;
                }
                Err(error) => {
                    alert = false;
                    if !std::mem::replace(&mut reported_failure, true) {
                        tracing::warn!(%error, "cells cannot be read; going on with what is known");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(if alert { ALERT } else { CALM }) => {}
                () = self.scripts.trouble() => tokio::time::sleep(ALERT / 5).await,
            }
        }
    }

    /// Reads `cells` while somebody waits, once for all of them. Apart from [`Self::keep_up`], whose readings
    /// also wait for Redis and for commits. It learns no epoch: a node reports before it does that.
    async fn serve_waiters(&self) {
        loop {
            self.watermark.wanted().await;
            // A connection that hangs must not leave those blind who come later.
            let pause = match tokio::time::timeout(CALM, cells::read_all(&self.mysql)).await {
                Ok(Ok(rows)) => {
                    self.publish(rows.into_iter().map(|it| it.view).collect());
                    WAITED_FOR
                }
                // `keep_up` meets the same failure, and logs it.
                Ok(Err(_)) | Err(_) => ALERT,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells what was read, where it is news: every waiter wakes for it. Of two readings at once the older may
    /// be told last; it is true all the same, and the next one corrects it.
    fn publish(&self, views: Vec<CellView>) {
        self.views.send_if_modified(|known| {
            let news = known.as_ref() != Some(&views);
            *known = Some(views);
            news
        });
    }

    /// One reading and one note per cell; true when all cells sell.
    pub async fn refresh(&self) -> Result<bool, sqlx::Error> {
        self.write_notes().await?;
        let rows = cells::read_all(&self.mysql).await?;
        let mut turned = false;
        for row in &rows {
            if let Some(fence) = row.fence() {
                turned |= self.scripts.fence(row.view.cell).is_none_or(|it| it.epoch < fence.epoch);
                self.scripts.adopt(row.view.cell, fence);
            }
        }
        if turned {
            self.write_notes().await?;
        }
        let views: Vec<CellView> = rows.into_iter().map(|it| it.view).collect();
        self.publish(views.clone());
        if let Some(last) = audits::last(&self.mysql).await? {
            metrics::gauge!("firstcome_audit_differences").set(last.differences as f64);
            metrics::gauge!("firstcome_audit_checked_rows").set(last.checked_rows as f64);
            let finished = last.finished_at.timestamp_millis() as f64 / 1_000.0;
            metrics::gauge!("firstcome_audit_finished_timestamp_seconds").set(finished);
        }
        let mut all_open = true;
        // At once: where one server hangs, only its own cells wait for it.
        let gates = join_all(views.iter().map(|it| self.gate(it))).await;
        for (view, gate) in views.iter().zip(gates) {
            all_open &= gate == Gate::Open;
            let label = view.cell.to_string();
            metrics::gauge!("firstcome_gate_open", "cell" => label.clone())
                .set(f64::from(gate == Gate::Open));
            metrics::gauge!("firstcome_epoch", "cell" => label.clone()).set(view.epoch as f64);
            metrics::gauge!("firstcome_lost_events", "cell" => label.clone()).set(view.lost_events as f64);
            metrics::gauge!("firstcome_dead_events", "cell" => label).set(view.dead_events as f64);
        }
        Ok(all_open)
    }

    async fn gate(&self, view: &CellView) -> Gate {
        match fence_check(&self.scripts, view.cell).await {
            Ok(()) if view.state == CellState::Open => Gate::Open,
            Ok(()) | Err(_) => Gate::Shut,
        }
    }

    async fn write_notes(&self) -> Result<(), sqlx::Error> {
        let mut notes = Vec::new();
        let mut unsettled = Vec::new();
        for cell in self.scripts.cells().all() {
            // The epoch first: nothing of an older one is acknowledged after it was read.
            let Some(fence) = self.scripts.fence(cell) else { continue };
            let vouched = self.scripts.vouched(cell);
            notes.push((cell, Note { epoch: fence.epoch, highest: vouched.highest }));
            unsettled.extend(vouched.unsettled.map(|it| (cell, it)));
        }
        cells::write_notes(&self.mysql, &self.name, &notes).await?;
        for (cell, unsettled) in unsettled {
            let Some(lost) = cells::settle(&self.mysql, cell, unsettled).await? else { continue };
            self.scripts.settle(cell, unsettled);
            if lost > 0 {
                metrics::counter!("firstcome_lost_events_total", "cell" => cell.to_string()).increment(lost);
                tracing::error!(%cell, lost, "events that this node acknowledged are lost");
            }
        }
        Ok(())
    }

    /// Writes the last notes, at the end of an orderly life.
    pub async fn leave(&self) {
        if let Err(error) = self.write_notes().await {
            tracing::warn!(%error, "the last note was not written");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}
