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
    for key in keys.into_iter().filter(|it| !it.ends_with(":gate") && !it.ends_with(":events")) {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let ends_at_ms: i64 = redis::cmd("PEXPIRETIME").arg(&key).query_async(&mut connection).await.unwrap();
        let contents = match kind.as_str() {
            "string" => vec![connection.get(&key).await.unwrap()],
            "hash" => {
                let fields: BTreeMap<String, String> = connection.hgetall(&key).await.unwrap();
                fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
            }
            "zset" => connection.zrange_withscores(&key, 0, -1).await.unwrap(),
            other => panic!("{key} is a {other}, which no rebuild knows"),
        };
        dump.insert(key, (kind, contents, ends_at_ms));
    }
    dump
}

/// All keys, and how many events there are.
pub async fn everything(redis_url: &str) -> (Dump, u64) {
    (dump(redis_url).await, events(&mut connect(redis_url).await).await)
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
