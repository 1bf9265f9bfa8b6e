//! A cell of its own on a real Redis, or on a cluster, whose clock stands still until a sequence moves it. No worker and no
//! MySQL: the sequences do what a worker would.

use firstcome::cell::{CellId, Cells, Fence, Position};
use firstcome::config::Authorities;
use firstcome::scripts::Scripts;
use firstcome::scripts::connect::{OwnConnection, RedisServer};
use firstcome::scripts::recovery::CellInRecovery;
use firstcome::scripts::servers::Redis;
use firstcome::time::Millis;

use super::super::cell_dump::Dump;
use super::super::test_clock::TestClock;
use super::super::test_redis::TestRedis;
use super::outcomes::Outcomes;
use super::rules::{EPOCH, Model, OPENER};

const CELL: CellId = CellId(0);

/// More events than a sequence makes.
pub const STREAM_BOUND: u64 = 1_000_000;

/// Ten minutes before a full hour, in the year 2027.
pub const STARTS_AT_MS: Millis = 500_000 * 3_600_000 - 600_000;

/// Empties the cell, and begins its log anew.
const EMPTY: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('DEL', key) end
redis.call('SET', '{c0}:gate', ARGV[3])
redis.call('XADD', '{c0}:events', ARGV[1], 'opener:1', ARGV[2])";

/// Everything but the gate and the log: key, type, end, contents.
const DUMP: &str = "local all = {}
local read = {string = 'GET', hash = 'HGETALL', zset = 'ZRANGE'}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key ~= '{c0}:gate' and key ~= '{c0}:events' then
    local kind = redis.call('TYPE', key)['ok']
    local contents = kind == 'zset' and redis.call('ZRANGE', key, '0', '-1', 'WITHSCORES') or redis.call(read[kind], key)
    if kind == 'string' then contents = {contents} end
    all[#all + 1] = {key, kind, redis.call('PEXPIRETIME', key), contents}
  end
end
return all";

/// One Redis or cluster, and the scripts loaded into it.
pub struct World {
    pub scripts: Scripts,
    pub clock: TestClock,
    pub connection: OwnConnection,
    /// Records what `scripts` counts. They ask for each of their metrics once, so a world has one recorder for its life.
    pub outcomes: Outcomes,
    _redis: TestRedis,
}

impl World {
    pub async fn start() -> Self {
        let (redis, clock) = TestRedis::with_clock(STARTS_AT_MS).await;
        Self::open(redis.url(), redis, clock).await
    }

    /// Opens the cell in its first epoch. The scripts are called at `url`, which leads to that Redis.
    pub async fn open(url: String, redis: TestRedis, clock: TestClock) -> Self {
        let patience = std::time::Duration::from_secs(20);
        let place = Redis::new(&url, &Authorities::default(), patience).unwrap();
        let own = RedisServer::new(&redis.url_of(CELL), &Authorities::default(), patience).unwrap();
        let scripts = Scripts::connect(place, Cells::new(1).unwrap(), STREAM_BOUND).await.unwrap();
        let taken = CellInRecovery::take(own.own_connection().await.unwrap(), CELL, EPOCH).await;
        let (recovery, _) = taken.expect("nobody else has the cell");
        scripts.adopt(CELL, Fence { epoch: EPOCH, replid: None });
        recovery
            .open(&scripts, OPENER, Position::default(), None, false)
            .await
            .expect("nobody else has the cell");
        Self {
            scripts,
            clock,
            connection: own.own_connection().await.unwrap(),
            outcomes: Outcomes::default(),
            _redis: redis,
        }
    }

    /// An empty shop, at the same time of the same day for every sequence.
    pub async fn begin(&self) -> Model {
        self.clock.stop_at(STARTS_AT_MS);
        let (id, body) = (Model::position(OPENER), format!("{STARTS_AT_MS} {}", Position::default()));
        let mut empty = redis::cmd("EVAL");
        empty.arg(EMPTY).arg(0).arg(id.to_string()).arg(body).arg(EPOCH);
        empty.exec_async(&mut self.connection.clone()).await.unwrap();
        Model::new(STARTS_AT_MS)
    }

    /// What Redis holds, but for the gate and the log.
    pub async fn keys(&self) -> Dump {
        type RawKey = (String, String, i64, Vec<String>);
        let all: Vec<RawKey> =
            redis::cmd("EVAL").arg(DUMP).arg(0).query_async(&mut self.connection.clone()).await.unwrap();
        let contents = |kind: &str, words: Vec<String>| match kind {
            "hash" => {
                let mut fields: Vec<String> = words.chunks_exact(2).map(|it| it.join("=")).collect();
                fields.sort();
                fields
            }
            _ => words,
        };
        all.into_iter()
            .map(|(key, kind, ends, words)| (key, (kind.clone(), contents(&kind, words), ends)))
            .collect()
    }
}
