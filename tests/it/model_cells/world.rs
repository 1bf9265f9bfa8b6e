//! Several cells on one real Redis, or on a cluster, whose clock stands still until a sequence moves it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use firstcome::cell::{CellId, Epoch, Fence, Position};
use firstcome::config::Authorities;
use firstcome::pool::Pool;
use firstcome::scripts::connect::{OwnConnection, RedisServer};
use firstcome::scripts::servers::Redis;
use firstcome::scripts::{Scripts, keys};
use firstcome::time::Millis;

use super::super::model::outcomes::Outcomes;
use super::super::test_clock::TestClock;
use super::super::test_redis::TestRedis;
use super::pools::pools;
use super::rules::{Model, cells};

/// More events than a sequence makes.
pub const STREAM_BOUND: u64 = 1_000_000;

pub const STARTS_AT_MS: Millis = 1_800_000_000_000;

/// Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(20);

/// Number of the first entry of a cell's first log.
pub const OPENER: u64 = 100;

/// Opens a cell in an epoch: gate, and a log that begins with its opener.
const OPEN: &str = "redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[2], ARGV[2], 'opener:1', ARGV[3])";

/// Keeps what a cell has, as MySQL does.
const KEEP: &str =
    "for _, key in ipairs(redis.call('KEYS', 'kept' .. ARGV[1] .. '*')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('COPY', key, 'kept' .. key) end";

/// Brings back what was kept, but for what no row of MySQL says: who waits, holds, counts of increases. Transfers under way
/// are told from the rows of both cells.
const BRING_BACK: &str =
    "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('DEL', key) end
for _, kept in ipairs(redis.call('KEYS', 'kept' .. ARGV[1] .. '*')) do
  local key = string.sub(kept, 5)
  redis.call('COPY', kept, key)
  if string.find(key, ':quota:', 1, true) then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if field == 'hold' or string.find(field, '^ask') then redis.call('HDEL', key, field) end
    end
  elseif string.find(key, ':asks:', 1, true) or string.find(key, ':gifts', 1, true) then
    redis.call('DEL', key)
  elseif redis.call('TYPE', key)['ok'] == 'hash' then
    redis.call('HDEL', key, 'increases')
  end
end
for i = 2, #ARGV do redis.call('SADD', ARGV[1] .. 'gifts', ARGV[i]) end";

/// All that a cell has of the pools, in words.
const LOOK: &str = "local all = {}
local function add(...) all[#all + 1] = table.concat({...}, ' ') end
local function or_dash(value) return value or '-' end
for i = 1, #ARGV, 7 do
  local events, pool, described, quota, asks, gifts, uncopied = unpack(ARGV, i, i + 6)
  local top = redis.call('XREVRANGE', events, '+', '-', 'COUNT', '1')[1]
  add(pool, 'top', top and top[1] or '-')
  local has = redis.call('HMGET', pool, 'life', 'remaining', 'moved', 'increases')
  if has[1] then add(pool, has[1], has[2], has[3] or '0', has[4] or '0') end
  local is = redis.call('HMGET', described, 'version', 'life')
  if is[1] then add(described, is[1], is[2]) end
  local fields = redis.call('HGETALL', quota)
  for j = 1, #fields, 2 do add(quota, fields[j], fields[j + 1]) end
  local line = redis.call('ZRANGE', asks, '0', '-1', 'WITHSCORES')
  for j = 1, #line, 2 do add(asks, line[j], line[j + 1]) end
  for _, gift in ipairs(redis.call('SMEMBERS', gifts)) do add(gifts, gift) end
  local changed = redis.call('ZRANGE', uncopied, '0', '-1', 'WITHSCORES')
  for j = 1, #changed, 2 do add(uncopied, changed[j], changed[j + 1]) end
end
return all";

/// One Redis or cluster. Each sequence has its own [`Scripts`], so that its epochs begin with 1 and texts are loaded once for all.
pub struct World {
    url: String,
    pub clock: TestClock,
    /// To the server of each cell.
    connections: Vec<OwnConnection>,
    pub outcomes: Outcomes,
    loaded: RefCell<HashSet<(CellId, Epoch)>>,
    redis: TestRedis,
}

impl World {
    pub async fn start() -> Self {
        let (redis, clock) = TestRedis::with_clock(STARTS_AT_MS).await;
        Self::open(redis.url(), redis, clock).await
    }

    /// Scripts are called at `url`, which leads to that Redis.
    pub async fn open(url: String, redis: TestRedis, clock: TestClock) -> Self {
        let mut connections = Vec::new();
        for cell in cells().all() {
            connections.push(server(&redis.url_of(cell)).own_connection().await.unwrap());
        }
        Self { url, clock, connections, outcomes: Outcomes::default(), loaded: RefCell::default(), redis }
    }

    pub fn connection(&self, cell: CellId) -> OwnConnection {
        self.connections[usize::from(cell.0)].clone()
    }

    pub fn address(&self) -> String {
        self.redis.url().trim_start_matches("redis://").trim_end_matches('/').to_owned()
    }

    pub fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// An empty shop whose cells nobody has opened.
    pub async fn begin(&self) -> Scripts {
        self.clock.stop_at(STARTS_AT_MS);
        let place = Redis::new(&self.url, &Authorities::default(), PATIENCE).unwrap();
        let scripts = Scripts::connect(place, cells(), STREAM_BOUND).await.unwrap();
        self.redis.flush_all().await;
        scripts
    }

    /// Opens a cell in an epoch, as a recovery does.
    pub async fn open_cell(&self, scripts: &Scripts, cell: CellId, opener: Position, kept: Position) {
        let (mut connection, fence) = (self.connection(cell), Fence { epoch: opener.epoch, replid: None });
        scripts.adopt(cell, fence.clone());
        let mut open = redis::cmd("EVAL");
        open.arg(OPEN).arg(2).arg(keys::gate(cell)).arg(keys::events(cell));
        open.arg(opener.epoch).arg(opener.to_string()).arg(format!("{STARTS_AT_MS} {kept}"));
        open.exec_async(&mut connection).await.unwrap();
        if self.loaded.borrow_mut().insert((cell, opener.epoch)) {
            scripts.load_all(&mut connection, cell, &fence).await.unwrap();
        }
    }

    pub async fn keep(&self, cell: CellId) {
        self.eval(cell, KEEP, Vec::new()).await;
    }

    pub async fn bring_back(&self, cell: CellId, gifts: &BTreeSet<(Pool, CellId)>) {
        let gifts = gifts.iter().map(|(pool, to)| format!("{pool} {to}"));
        self.eval(cell, BRING_BACK, gifts.collect()).await;
    }

    /// As where a server comes back without its data, for the keys of one cell.
    pub async fn lose(&self, cell: CellId) {
        let lose = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('DEL', key) end";
        self.eval(cell, lose, Vec::new()).await;
    }

    /// The cell's tag is the first of the words.
    async fn eval(&self, cell: CellId, text: &str, words: Vec<String>) {
        let mut eval = redis::cmd("EVAL");
        eval.arg(text).arg(0).arg(tag(cell)).arg(words);
        eval.exec_async(&mut self.connection(cell)).await.unwrap();
    }

    /// What all cells have of the pools.
    pub async fn look(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for cell in cells().all() {
            let mut look = redis::cmd("EVAL");
            look.arg(LOOK).arg(0);
            for pool in pools() {
                look.arg(&names(cell, pool));
            }
            let seen: Vec<String> = look.query_async(&mut self.connection(cell)).await.unwrap();
            all.extend(seen);
        }
        all
    }
}

fn tag(cell: CellId) -> String {
    format!("{{c{cell}}}:")
}

fn server(url: &str) -> RedisServer {
    RedisServer::new(url, &Authorities::default(), PATIENCE).unwrap()
}

/// Keys of a cell and a pool, in the order in which [`LOOK`] wants them.
fn names(cell: CellId, pool: Pool) -> [String; 7] {
    let described = match pool {
        Pool::Stock(sku) => keys::product(cell, sku.product),
        Pool::Coupon(coupon) => keys::coupon(cell, coupon),
    };
    [
        keys::events(cell),
        keys::pool(cell, pool),
        described,
        keys::quota(cell, pool),
        keys::asks(cell, pool),
        keys::gifts(cell),
        keys::uncopied(cell),
    ]
}

impl Model {
    /// What [`World::look`] must see.
    pub fn look(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (cell, it) in cells().all().zip(&self.cells) {
            for pool in pools() {
                let [_, key, described, quota, asks, gifts, uncopied] = names(cell, pool);
                all.insert(format!("{key} top {}", it.logged.newest));
                let volatile = &it.volatile;
                if let Some(here) = it.logged.pools.get(&pool) {
                    let increases = volatile.increases.get(&pool).copied().unwrap_or(0);
                    all.insert(format!("{key} {} {} {} {increases}", here.life, here.remaining, here.moved));
                    all.insert(format!("{described} {} {}", here.version, here.life));
                    for (to, given) in &here.given {
                        let Position { epoch, seq } = given.at;
                        let (number, units) = (given.number, given.units);
                        all.insert(format!("{quota} out{to} {number} {units} {epoch} {seq}"));
                    }
                    for (from, taken) in &here.taken {
                        let Position { epoch, seq } = taken.at;
                        all.insert(format!("{quota} in{from} {} {epoch} {seq}", taken.number));
                    }
                }
                if let Some(hold) = volatile.hold_until.get(&pool) {
                    all.insert(format!("{quota} hold {hold}"));
                }
                for ((_, asked), question) in volatile.questions.iter().filter(|(it, _)| it.0 == pool) {
                    all.insert(format!("{quota} ask{asked} {} {}", question.until, question.needs));
                }
                for (score, asked) in volatile.asks.get(&pool).into_iter().flatten() {
                    all.insert(format!("{asks} {asked} {score}"));
                }
                for (given, to) in &volatile.gifts {
                    all.insert(format!("{gifts} {given} {to}"));
                }
                for (changed, seq) in &volatile.uncopied {
                    all.insert(format!("{uncopied} {} {seq}", change_name(*changed)));
                }
            }
        }
        all
    }
}

/// As `uncopied` has it.
pub fn change_name(pool: Pool) -> String {
    match pool {
        Pool::Stock(sku) => format!("p:{}", sku.product),
        Pool::Coupon(coupon) => format!("c:{coupon}"),
    }
}
