//! Redis is killed, loses its end or everything, is full, does not answer; a script is made to fail half-way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use firstcome::dev::Fsync;
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::engine_faults::pause;
use super::stage::Stage;

/// Most bytes that are cut off an append-only file: some ten purchases.
const CUT_BYTES_MAX: u64 = 8_000;

/// Whether MySQL has kept up when Redis loses something. Where it has not, acknowledged events are gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mysql {
    KeepsUp,
    LagsBehind,
}

/// What stands at the end of a cut file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No transaction that was begun and not ended, as `redis-check-aof --fix` leaves it.
    Whole,
    /// Whatever the cut left. Redis 7.0 loads such a file without the open transaction, but leaves its MULTI in the
    /// file: what is appended then belongs to it, and the next restart would carry the lost half of a script out.
    Open,
}

impl Stage<'_> {
    /// SIGKILL for Redis; it comes back with its append-only file.
    pub async fn kill_redis(&mut self, random: &mut StdRng) {
        let kind = match self.plan.fsync {
            Fsync::Always => "Redis killed and restarted, fsync always",
            Fsync::EverySec => "Redis killed and restarted, fsync everysec",
        };
        self.kill_redis_as(kind, random).await;
    }

    /// The same, told under another name.
    pub async fn kill_redis_as(&mut self, kind: &'static str, random: &mut StdRng) {
        pause(random, 60).await;
        let before = self.epoch().await;
        let since = Instant::now();
        self.redis.kill().await;
        self.redis.restart().await.unwrap();
        self.figures.count("kills of Redis");
        // Under everysec Redis may answer before it has written, while its disk is busy with the second before.
        self.lossy |= self.plan.fsync == Fsync::EverySec;
        self.opened_again(kind, since, before).await;
    }

    /// The same, and the end of its append-only file is gone.
    pub async fn cut_aof(&mut self, random: &mut StdRng, mysql: Mysql) {
        let before = self.epoch().await;
        self.fall_behind(random, mysql).await;
        let since = Instant::now();
        self.redis.kill().await;
        cut(&self.aof(), random.random_range(1..=CUT_BYTES_MAX), End::Whole);
        self.redis.restart().await.unwrap();
        self.catch_up(mysql);
        self.lossy = true;
        self.figures.count("AOF cuts");
        self.opened_again("AOF cut", since, before).await;
    }

    /// FLUSHALL.
    pub async fn flush(&mut self, random: &mut StdRng, mysql: Mysql) {
        pause(random, 60).await;
        let before = self.epoch().await;
        self.fall_behind(random, mysql).await;
        let since = Instant::now();
        let () = redis::cmd("FLUSHALL").query_async(&mut self.direct().await).await.unwrap();
        self.catch_up(mysql);
        self.lossy = true;
        self.figures.count("FLUSHALLs");
        self.opened_again("FLUSHALL", since, before).await;
    }

    /// Redis loses its end and every node dies at the same time, before it could note what it had told: the one
    /// exception of the promise. Whatever was told as persisted must be there all the same.
    pub async fn kill_everything(&mut self, random: &mut StdRng, end: End) {
        let before = self.epoch().await;
        self.fall_behind(random, Mysql::LagsBehind).await;
        let since = Instant::now();
        for node in 0..self.nodes.len() {
            self.kill_node(node);
        }
        self.redis.kill().await;
        cut(&self.aof(), random.random_range(1..=CUT_BYTES_MAX), end);
        self.redis.restart().await.unwrap();
        self.catch_up(Mysql::LagsBehind);
        self.lossy = true;
        for node in &mut self.nodes {
            node.start_again();
        }
        self.figures.count("AOF cuts");
        self.figures.count("deaths of every node with Redis");
        self.opened_again("AOF cut, every node killed", since, before).await;
    }

    /// A key of a wrong kind lets the next purchase fail after its XADD.
    pub async fn break_a_script(&mut self, random: &mut StdRng) {
        pause(random, 60).await;
        let before = self.epoch().await;
        let since = Instant::now();
        // What a script writes after its event: the ranking's window, or the orders' deadlines.
        let key = if random.random() { "{c0}:sales:rolling" } else { "{c0}:due" };
        let mut redis = self.direct().await;
        let mut plant = redis::pipe();
        plant.atomic().del(key).set(key, "of a wrong kind");
        let () = plant.query_async(&mut redis).await.unwrap();
        self.figures.count("scripts that failed half-way");
        self.opened_again("a script failed half-way", since, before).await;
        self.broken_scripts.push((since, Instant::now() + Duration::from_secs(10)));
    }

    /// Redis is at its memory bound: it refuses, and nothing is lost.
    pub async fn fill_memory(&mut self, random: &mut StdRng) {
        let mut redis = self.direct().await;
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.unwrap();
        let used: u64 = info
            .lines()
            .find_map(|it| it.strip_prefix("used_memory:"))
            .and_then(|it| it.trim().parse().ok())
            .expect("Redis tells what it uses");
        let set = async |bytes: u64, redis: &mut redis::aio::MultiplexedConnection| {
            let mut command = redis::cmd("CONFIG");
            command.arg("SET").arg("maxmemory").arg(bytes);
            let () = command.query_async(redis).await.unwrap();
        };
        set(used + random.random_range(0..100_000), &mut redis).await;
        pause(random, 400).await;
        // Below what it has: from here on it refuses everything that could grow.
        set(used / 2, &mut redis).await;
        pause(random, 400).await;
        let told = self.ledger.acknowledged();
        pause(random, 300).await;
        let more = self.ledger.acknowledged() - told;
        set(0, &mut redis).await;
        self.figures.add("successes at the memory bound (reads, replays)", more);
        self.figures.count("memory bounds reached");
    }

    /// Requests arrive at Redis and replies do not come back.
    pub async fn drop_replies(&mut self, random: &mut StdRng) {
        self.proxy.drop_replies(Duration::from_millis(random.random_range(20..400))).await;
        self.figures.count("times Redis's replies were dropped");
    }

    /// The epoch that counts, as MySQL has it.
    pub async fn epoch(&self) -> u64 {
        self.number("SELECT CAST(epoch AS SIGNED) FROM cells").await as u64
    }

    /// MySQL sleeps while clients are told of some more, which only Redis and the nodes' memory have then.
    pub async fn fall_behind(&mut self, random: &mut StdRng, mysql: Mysql) {
        if mysql == Mysql::LagsBehind {
            self.servers.signal_mysql(Signal::STOP);
            self.longest_silence = self.longest_silence.max(Duration::from_secs(2));
            self.progress(random.random_range(1..15)).await;
        }
    }

    pub fn catch_up(&mut self, mysql: Mysql) {
        if mysql == Mysql::LagsBehind {
            self.servers.signal_mysql(Signal::CONT);
        }
    }

    fn aof(&self) -> PathBuf {
        newest_aof(&self.redis_folder())
    }

    /// Where the primary keeps its files.
    fn redis_folder(&self) -> PathBuf {
        self.redis.log().parent().expect("the log lies in its folder").join("redis/appendonlydir")
    }
}

/// The file that Redis appends to.
fn newest_aof(folder: &Path) -> PathBuf {
    let number = |path: &Path| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix("appendonly.aof.")?.strip_suffix(".incr.aof")?.parse().ok()
    };
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|it| it.path());
    files.filter(|it| number(it).is_some()).max_by_key(|it| number(it)).expect("an append-only file")
}

/// Cuts bytes off the end of a file.
fn cut(file: &Path, bytes: u64, end: End) {
    let mut text = std::fs::read(file).unwrap();
    text.truncate(text.len().saturating_sub(bytes as usize));
    let last = |word: &[u8]| text.windows(word.len()).rposition(|it| it == word);
    if end == End::Whole
        && let Some(begun) = last(b"*1\r\n$5\r\nMULTI\r\n")
        && last(b"*1\r\n$4\r\nEXEC\r\n").is_none_or(|ended| ended < begun)
    {
        text.truncate(begun);
    }
    std::fs::File::options().write(true).open(file).unwrap().set_len(text.len() as u64).unwrap();
}
