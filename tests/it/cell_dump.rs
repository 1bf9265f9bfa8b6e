//! All keys of a Redis with their contents, for comparing a cell before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{AsyncCommands, AsyncConnectionConfig};

/// Key → type, contents in a fixed order, and when it ends (milliseconds since 1970; -1: never).
pub type Dump = BTreeMap<String, (String, Vec<String>, i64)>;

/// Everything but the gate and the event log, which name the epoch.
pub async fn dump(redis_url: &str) -> Dump {
    let mut connection = connect(redis_url).await;
    let mut dump = Dump::new();
    let keys: Vec<String> = connection.keys("*").await.unwrap();
    let mut units: BTreeMap<String, i64> = BTreeMap::new();
    for key in keys.into_iter().filter(|it| !is_of_the_epoch(it) && !is_between_cells(it)) {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let ends_at_ms: i64 = redis::cmd("PEXPIRETIME").arg(&key).query_async(&mut connection).await.unwrap();
        let contents = match kind.as_str() {
            "string" => vec![connection.get(&key).await.unwrap()],
            "hash" => {
                let mut fields: BTreeMap<String, String> = connection.hgetall(&key).await.unwrap();
                if fields.contains_key("life")
                    && let Some((_, pool)) = key.split_once('}').filter(|_| fields.contains_key("remaining"))
                {
                    let mut take = |name| fields.remove(name).map_or(0, |it| it.parse::<i64>().unwrap());
                    *units.entry(pool.to_owned()).or_default() += take("remaining") - take("moved");
                    take("increases");
                }
                fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
            }
            "zset" => connection.zrange_withscores(&key, 0, -1).await.unwrap(),
            other => panic!("{key} is a {other}, which no rebuild knows"),
        };
        dump.insert(key, (kind, contents, ends_at_ms));
    }
    dump.extend(
        units.into_iter().map(|(pool, units)| (pool, ("units".to_owned(), vec![units.to_string()], -1))),
    );
    dump
}

fn is_of_the_epoch(key: &str) -> bool {
    key.ends_with(":gate") || key.ends_with(":events")
}

/// Units move between cells, and copies are made, whatever is asked: with several cells their sums are compared instead.
fn is_between_cells(key: &str) -> bool {
    [":quota:", ":asks:", ":gifts", ":uncopied"].iter().any(|it| key.contains(it))
}

/// All keys, and how many events there are.
pub async fn everything(redis_url: &str) -> (Dump, u64) {
    // With several cells units move between them whatever is asked, and each move is an event.
    let is_several = connect(redis_url).await.exists("{c1}:gate").await.unwrap();
    let events = if is_several { 0 } else { events(&mut connect(redis_url).await).await };
    (dump(redis_url).await, events)
}

pub async fn events(redis: &mut redis::aio::MultiplexedConnection) -> u64 {
    redis::cmd("XLEN").arg("{c0}:events").query_async(redis).await.unwrap()
}

pub async fn connect(redis_url: &str) -> redis::aio::MultiplexedConnection {
    // Generous: a slow machine fails no test.
    let patience = Some(Duration::from_secs(60));
    let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
    let client = redis::Client::open(redis_url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
