//! The yardstick for `loadtest/measure.sh`: an axum handler that parses the same body and runs one
//! script of a similar kind, with nothing around it: no gate, no idempotency, no limits, no checks of
//! input, no metrics, no worker. Not a shop.
//!
//! Usage: `bare_evalsha REDIS_URL ADDRESS`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, IntoConnectionInfo};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same work in Redis as `order_place` for one item without a key: a gate, a wallet, the clock, a SKU
/// with window and limit, one event, two changes.
const SCRIPT: &str = "#!lua
if redis.call('GET', KEYS[1]) == 'shut' then return {'CLOSED', '', 0} end
local balance = tonumber(redis.call('HGET', KEYS[2], 'balance') or '1000000000')
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local sku = redis.call('HMGET', KEYS[3], 'price', 'remaining', 'starts_at_ms', 'ends_at_ms', 'limit')
local total = tonumber(sku[1] or '1') * ARGV[3]
if sku[3] and now_ms < tonumber(sku[3]) then return {'SALE_NOT_OPEN', '', 0} end
if tonumber(sku[2] or '1000000000') < tonumber(ARGV[3]) then return {'OUT_OF_STOCK', '', 0} end
if balance < total then return {'BALANCE_TOO_LOW', '', 0} end
local id = redis.call('XADD', KEYS[4], 'MAXLEN', '~', '100000', '*', 'order_paid:1',
  string.format('%d %s %s:%s %d %d', now_ms, ARGV[1], ARGV[2], ARGV[3], total, balance - total))
redis.call('HINCRBY', KEYS[2], 'balance', -total)
redis.call('HINCRBY', KEYS[3], 'remaining', -ARGV[3])
return {'PAID', id, balance - total}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    user_id: u64,
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: u64,
    quantity: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    order_id: String,
    user_id: u64,
    status: String,
    items: Vec<Item>,
    balance: i64,
}

struct Bare {
    redis: MultiplexedConnection,
    digest: String,
}

async fn buy(State(bare): State<Arc<Bare>>, Json(request): Json<Request>) -> (StatusCode, Json<Answer>) {
    let item = &request.items[0];
    let (status, order_id, balance): (String, String, i64) = redis::cmd("EVALSHA")
        .arg(&bare.digest)
        .arg(4)
        .arg("{bare}:gate")
        .arg(format!("{{bare}}:user:{}", request.user_id))
        .arg(format!("{{bare}}:sku:{}", item.product_id))
        .arg("{bare}:events")
        .arg(request.user_id)
        .arg(item.product_id)
        .arg(item.quantity)
        .query_async(&mut bare.redis.clone())
        .await
        .expect("redis answers");
    let answer = Answer { order_id, user_id: request.user_id, status, items: request.items, balance };
    (StatusCode::CREATED, Json(answer))
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (url, address) = (arguments.next().expect("a redis url"), arguments.next().expect("an address"));
    let info = url.into_connection_info().unwrap().set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info).unwrap();
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(std::time::Duration::from_secs(5)));
    let mut redis = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let digest = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut redis).await.unwrap();
    let router = Router::new().route("/orders", post(buy)).with_state(Arc::new(Bare { redis, digest }));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, router).await.unwrap();
}
