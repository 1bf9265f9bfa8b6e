//! Processes that fall asleep (SIGSTOP) where it hurts, are overtaken, and go on (SIGCONT) as if nothing had been.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::engine_faults::pause;
use super::nodes::Role;
use super::stage::Stage;

/// How long a recovery is waited for before another fault is tried.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);

impl Stage<'_> {
    /// A worker sleeps, perhaps in the middle of its transaction, until another has gone on without it, perhaps in
    /// another epoch; then it wakes.
    pub async fn make_a_zombie(&mut self, random: &mut StdRng) {
        let node = self.a_node(random, Role::works);
        self.await_up(node).await;
        if random.random() {
            self.sleep_in_a_transaction(node).await;
        } else {
            pause(random, 60).await;
            self.nodes[node].process.sleep();
        }
        let asleep = Instant::now();
        if random.random_ratio(1, 3) {
            self.kill_redis_as("Redis killed while a worker sleeps", random).await;
        }
        let newest = self.log_bounds().await.1;
        self.until("another worker goes on", async || self.persisted().await > newest).await;
        self.progress(random.random_range(1..20)).await;
        if self.plan.patient {
            tokio::time::sleep(Duration::from_secs(30).saturating_sub(asleep.elapsed())).await;
        }
        self.nodes[node].process.wake();
        self.figures.count("zombies (workers overtaken in their sleep)");
        self.progress(10).await;
    }

    /// Workers wait for the cell's row when this one falls asleep; then the row is free.
    async fn sleep_in_a_transaction(&mut self, node: usize) {
        let deadline = Instant::now() + Duration::from_secs(2);
        let Ok(mut holder) = self.mysql().begin().await else {
            return self.nodes[node].process.sleep();
        };
        let _ = sqlx::query("SELECT * FROM cells FOR UPDATE").execute(&mut *holder).await;
        const WAITING: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
             WHERE INFO LIKE 'UPDATE cells SET persisted%' AND DB = DATABASE()";
        let workers = self.nodes.iter().filter(|it| it.role.works()).count() as i64;
        while self.number(WAITING).await < workers && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.nodes[node].process.sleep();
        let _ = holder.rollback().await;
    }

    /// One worker begins a recovery and falls asleep in it; another ends it; then the first one wakes.
    pub async fn put_a_recoverer_to_sleep(&mut self, random: &mut StdRng) {
        let workers: Vec<usize> = (0..self.nodes.len()).filter(|it| self.nodes[*it].role.works()).collect();
        let turn = random.random_range(0..2);
        let (sleeper, other) = (workers[turn], workers[1 - turn]);
        for node in [sleeper, other] {
            self.await_up(node).await;
        }
        let before = self.epoch().await;
        // Only the sleeper can begin.
        self.nodes[other].process.sleep();
        let since = Instant::now();
        let () = redis::cmd("FLUSHALL").query_async(&mut self.direct().await).await.unwrap();
        self.lossy = true;
        self.figures.count("FLUSHALLs");
        let caught = self.sleep_in_recovery(sleeper, random).await;
        self.nodes[other].process.wake();
        self.take_the_turn_away().await;
        self.opened_again("FLUSHALL, the recoverer asleep", since, before).await;
        self.progress(random.random_range(1..10)).await;
        let overtaken_in = self.open_epoch().await;
        self.nodes[sleeper].process.wake();
        self.progress(10).await;
        if caught {
            self.figures.count("recoverers overtaken in their sleep");
            let now = self.open_epoch().await;
            assert!(now == 0 || now >= overtaken_in, "a recovery that slept set the gate back to {now}");
        } else {
            self.figures.count("recoverers that were too fast to be put to sleep");
        }
    }

    /// Waits for the recovery's token in the gate, lets it go on for a moment, and puts its worker to sleep. True
    /// where the token is still there then.
    async fn sleep_in_recovery(&mut self, node: usize, random: &mut StdRng) -> bool {
        let deadline = Instant::now() + BEGINS_WITHIN;
        let mut redis = self.direct().await;
        let gate = redis::cmd("GET").arg("{c0}:gate").to_owned();
        loop {
            let gate: Option<String> = gate.query_async(&mut redis).await.unwrap();
            if gate.is_some_and(|it| it.ends_with('!')) {
                break;
            }
            if Instant::now() > deadline {
                return false;
            }
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..40_000))).await;
        self.nodes[node].process.sleep();
        self.gate().await.ends_with('!')
    }

    /// A sleeper's connection to MySQL ends by time-out after 15 seconds, and with it its turn to recover. Here
    /// it ends at once, unless there is time.
    async fn take_the_turn_away(&mut self) {
        if self.plan.patient {
            return;
        }
        const HOLDER: &str = "SELECT CAST(COALESCE(IS_USED_LOCK(CONCAT('firstcome.recover.0.', \
             LEFT(SHA2(DATABASE(), 256), 16))), 0) AS SIGNED)";
        let holder = self.number(HOLDER).await;
        if holder > 0 {
            // It may have ended by itself.
            let kill = sqlx::AssertSqlSafe(format!("KILL {holder}"));
            let _ = sqlx::raw_sql(kill).execute(self.mysql()).await;
        }
    }
}
