//! All keys of a Redis, or of all servers of a cluster, with their contents, for comparing cells before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::streams::StreamRangeReply;
use redis::{AsyncCommands, AsyncConnectionConfig};

/// Key → type, contents in a fixed order, and when it ends (milliseconds since 1970; -1: never).
pub type Dump = BTreeMap<String, (String, Vec<String>, i64)>;

/// Everything but the gate and the event log, which name the epoch. Several servers are named with commas between them.
pub async fn dump(redis_url: &str) -> Dump {
    let (mut dump, mut units) = (Dump::new(), BTreeMap::new());
    for server in redis_url.split(',') {
        add_server(server, &mut dump, &mut units).await;
    }
    dump.extend(
        units.into_iter().map(|(pool, units)| (pool, ("units".to_owned(), vec![units.to_string()], -1))),
    );
    dump
}

/// `units` has the sum over all cells for each pool.
async fn add_server(url: &str, dump: &mut Dump, units: &mut BTreeMap<String, i64>) {
    let mut connection = connect(url).await;
    let keys: Vec<String> = connection.keys("*").await.unwrap();
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
    (dump(redis_url).await, events(redis_url).await)
}

/// How many events there are in all cells. With several of them units move and copies are made whatever is asked: events
/// of that are not counted, and those of the catalogue, which are seen in its keys.
pub async fn events(redis_url: &str) -> u64 {
    let logs = logs(redis_url).await;
    let is_counted = |kind: &String| {
        let between = [
            "quota_given",
            "quota_taken",
            "product_set",
            "product_deleted",
            "coupon_set",
            "coupon_forgotten",
        ];
        logs.len() == 1 || !between.contains(&kind.split(':').next().unwrap())
    };
    logs.iter().flatten().filter(|it| is_counted(it)).count() as u64
}

/// How many events the longest log has.
pub async fn longest_log(redis_url: &str) -> usize {
    logs(redis_url).await.iter().map(Vec::len).max().unwrap()
}

/// The kinds of the events of each cell.
async fn logs(redis_url: &str) -> Vec<Vec<String>> {
    let mut logs = Vec::new();
    for server in redis_url.split(',') {
        let mut connection = connect(server).await;
        for key in connection.keys::<_, Vec<String>>("{c*}:events").await.unwrap() {
            let log: StreamRangeReply = connection.xrange_all(&key).await.unwrap();
            logs.push(log.ids.into_iter().flat_map(|it| it.map.into_keys()).collect());
        }
    }
    logs
}

pub async fn connect(redis_url: &str) -> redis::aio::MultiplexedConnection {
    // Generous: a slow machine fails no test.
    let patience = Some(Duration::from_secs(60));
    let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
    let client = redis::Client::open(redis_url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
