//! MySQL is killed, hangs, and comes back older than it was.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::engine_faults::pause;
use super::servers::copy_folder;
use super::stage::Stage;

impl Stage<'_> {
    /// SIGKILL for MySQL, which comes back a moment later.
    pub async fn kill_mysql(&mut self, random: &mut StdRng) {
        pause(random, 60).await;
        self.servers.mysql.kill().await;
        pause(random, 300).await;
        self.servers.mysql.restart().await.unwrap();
        self.figures.count("kills of MySQL");
    }

    /// MySQL takes no word for a while; sales go on.
    pub async fn stop_mysql(&mut self, random: &mut StdRng) {
        let seconds = if self.plan.patient { 60 } else { random.random_range(1..4) };
        self.longest_silence = self.longest_silence.max(Duration::from_secs(seconds));
        let told = self.ledger.acknowledged();
        self.servers.signal_mysql(Signal::STOP);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let more = self.ledger.acknowledged() - told;
        self.servers.signal_mysql(Signal::CONT);
        self.figures.add("successes while MySQL hung", more);
        self.figures.count("times MySQL hung");
    }

    /// MySQL comes back as an older copy of its folder, as after a failover that lost its tail: what it lacks is
    /// still in Redis's log, and comes again.
    pub async fn restore_mysql(&mut self, random: &mut StdRng) {
        self.copy_mysql().await;
        let age = if self.plan.patient { Duration::from_secs(30) } else { Duration::ZERO };
        let copied_at = Instant::now();
        self.progress(random.random_range(20..60)).await;
        tokio::time::sleep(age.saturating_sub(copied_at.elapsed())).await;
        self.remember_losses().await;
        self.set_mysql_back().await;
        self.forget_newer();
        self.figures.count("times MySQL was restored from a copy");
        let newest = self.log_bounds().await.1;
        self.until("what MySQL lacked is replayed", async || self.persisted().await >= newest).await;
    }

    /// The same, but Redis keeps too little: the cell closes and names the range. MySQL is restored further, and
    /// the cell opened.
    pub async fn restore_too_old_a_mysql(&mut self, random: &mut StdRng) {
        // In the epoch that is open: behind an opener the log has a jump.
        self.until("MySQL has this epoch's opener", async || {
            self.persisted().await.epoch == self.open_epoch().await
        })
        .await;
        self.copy_mysql().await;
        let copied = self.persisted().await;
        let enough = copied.seq + self.settings.keep_events + 100 + random.random_range(0..50);
        self.until("the log was trimmed past the copy", async || {
            let oldest = self.log_bounds().await.0;
            oldest.seq > enough - self.settings.keep_events
        })
        .await;
        self.remember_losses().await;
        let began = Instant::now();
        self.set_mysql_back().await;
        let copied = self.persisted().await;
        self.until("readyz names the range that MySQL lacks", async || {
            let told = self.readyz(0).await;
            let cell = &told["checks"]["cells"][0];
            let reason = cell["reason"].as_str().unwrap_or_default().to_owned();
            let range = reason
                .strip_prefix("database_behind: events ")
                .map(|it| it.split(" to ").filter_map(|it| it.parse::<u64>().ok()).collect::<Vec<_>>());
            cell["state"] == "closed" && range.is_some_and(|it| it.len() == 2 && it[0] == copied.seq + 1)
        })
        .await;
        // Further: as it was.
        self.servers.mysql.kill().await;
        self.figures.count("kills of MySQL");
        let folder = self.servers.mysql_folder();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::rename(folder.with_extension("newer"), &folder).unwrap();
        self.servers.mysql.restart().await.unwrap();
        self.count_losses_anew().await;
        let (opened, said) = self.firstcome(&["cell", "open", "0"]).await;
        // A worker may be about to open it too; of two recoveries at once one gives way.
        assert!(opened || said.contains("superseded by another recovery"), "{said}");
        self.figures.count("times MySQL was restored from too old a copy");
        self.await_ready().await;
        self.figures
            .add("milliseconds until MySQL was restored further, in all", began.elapsed().as_millis() as u64);
    }

    /// A copy of MySQL's folder, taken while it is dead.
    async fn copy_mysql(&mut self) {
        self.servers.mysql.kill().await;
        let folder = self.servers.mysql_folder();
        copy_folder(&folder, &folder.with_extension("copy"));
        self.servers.mysql.restart().await.unwrap();
        self.figures.count("kills of MySQL");
    }

    /// The copy takes the place of what MySQL had, which is kept.
    async fn set_mysql_back(&mut self) {
        self.servers.mysql.kill().await;
        let folder = self.servers.mysql_folder();
        std::fs::rename(&folder, folder.with_extension("newer")).unwrap();
        std::fs::rename(folder.with_extension("copy"), &folder).unwrap();
        self.servers.mysql.restart().await.unwrap();
        self.figures.count("kills of MySQL");
        self.count_losses_anew().await;
    }

    fn forget_newer(&self) {
        std::fs::remove_dir_all(self.servers.mysql_folder().with_extension("newer")).unwrap();
    }
}
