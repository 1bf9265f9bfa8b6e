//! Servers that do only one part of what the engine does: the yardsticks. Each is a process of its own, which
//! prints the port on which it listens.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use chrono::Utc;
use firstcome::cell::{CellId, order_id};
use firstcome::ids::{OptionId, OrderId, ProductId, UserId};
use firstcome::order::{Order, OrderLine, OrderStatus};
use firstcome::product::SkuId;
use firstcome::scripts::keys;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::order_script::CELL;
use crate::traffic::PRICE;

/// What is measured apart from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// As little as a server can do: what the generator itself costs.
    Trivial,
    /// axum: parses the same body and answers the same JSON.
    Handler,
    /// The same, with one EVALSHA of the engine's own script in between.
    Evalsha,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Trivial => "trivial",
            Self::Handler => "handler",
            Self::Evalsha => "evalsha",
        }
    }
}

/// Serves until it is killed. For `evalsha` the Redis's URL and the script's digest follow.
pub fn run(part: &str, mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    // As many threads as the engine has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        match part {
            "trivial" => serve_trivially(listener).await,
            "handler" => {
                let router = Router::new().route("/orders", post(answer));
                Ok(axum::serve(listener, router).await?)
            }
            "evalsha" => {
                let (url, digest) = arguments.next().zip(arguments.next()).context("a URL and a digest")?;
                let settings = AsyncConnectionConfig::new();
                let client = redis::Client::open(url)?;
                let redis = client.get_multiplexed_async_connection_with_config(&settings).await?;
                let state = Arc::new(Evalsha { redis, digest });
                let router = Router::new().route("/orders", post(buy)).with_state(state);
                Ok(axum::serve(listener, router).await?)
            }
            other => anyhow::bail!("no part {other:?}"),
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    user_id: UserId,
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: ProductId,
    quantity: u32,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    order: Order,
    balance: i64,
}

async fn answer(Json(body): Json<Body>) -> (StatusCode, Json<Answer>) {
    let id = order_id(CellId(0), 1).expect("a small number");
    (StatusCode::CREATED, Json(answer_to(&body, id, 1_000_000_000)))
}

fn answer_to(body: &Body, id: OrderId, balance: i64) -> Answer {
    let line = |it: &Item| OrderLine {
        product_id: it.product_id,
        option_id: None,
        quantity: it.quantity,
        unit_price: PRICE as i64,
    };
    let order = Order {
        order_id: id,
        user_id: body.user_id,
        status: OrderStatus::Paid,
        items: body.items.iter().map(line).collect(),
        total: PRICE as i64,
        discount: 0,
        paid: PRICE as i64,
        coupon_id: None,
        placed_at: Utc::now(),
        expires_at: None,
        paid_at: Some(Utc::now()),
        cancelled_at: None,
        refunded_at: None,
    };
    Answer { order, balance }
}

struct Evalsha {
    redis: MultiplexedConnection,
    digest: String,
}

/// No key, no coupon, no limits, no metrics, no acknowledgement: only the script.
async fn buy(State(bare): State<Arc<Evalsha>>, Json(body): Json<Body>) -> (StatusCode, Json<Answer>) {
    let (user, item) = (body.user_id, &body.items[0]);
    let sku = SkuId { product: item.product_id, option: OptionId::NONE };
    let [coupon, issues] = keys::no_coupon(CELL);
    let (outcome, text): (String, String) = redis::cmd("EVALSHA")
        .arg(&bare.digest)
        .arg(9)
        .arg(keys::gate(CELL))
        .arg(keys::events(CELL))
        .arg(keys::user(CELL, user))
        .arg(keys::no_idempotency(CELL))
        .arg(coupon)
        .arg(issues)
        .arg(keys::rolling_sales(CELL))
        .arg(keys::due(CELL))
        .arg(keys::sku(CELL, sku))
        .arg(user.get())
        .arg(&["", "", "86400000", "0", "0"])
        .arg(item.product_id.get())
        .arg(0)
        .arg(item.quantity)
        .query_async::<(String, String, i64, i64)>(&mut bare.redis.clone())
        .await
        .map(|it| (it.0, it.1))
        .expect("redis answers");
    assert_eq!(outcome, "PAID");
    let mut words = text.split(' ').map(|it| it.parse::<u64>().unwrap_or(0));
    let (seq, balance) = (words.next().unwrap_or(0), words.nth(3).unwrap_or(0));
    let id = order_id(CELL, seq).expect("a small number");
    (StatusCode::CREATED, Json(answer_to(&body, id, balance as i64)))
}

async fn serve_trivially(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move { answer_trivially(stream).await });
    }
}

/// Takes each read for one request, and copies the numbers out of it, which are padded with spaces.
async fn answer_trivially(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    loop {
        let length = stream.read(&mut request).await?;
        if length == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request[..length]);
        let number = |name: &str| {
            let (_, rest) = text.rsplit_once(name).unwrap_or_default();
            rest.split([',', '}']).next().unwrap_or_default().trim().to_owned()
        };
        let body = format!(
            "{{\"orderId\":1024,\"userId\":{},\"status\":\"paid\",\"items\":[{{\"productId\":{},\"quantity\":1,\
             \"unitPrice\":{PRICE}}}],\"total\":{PRICE},\"discount\":0,\"paid\":{PRICE},\
             \"placedAt\":\"2026-01-01T00:00:00.000Z\",\"paidAt\":\"2026-01-01T00:00:00.000Z\",\"balance\":999999000}}",
            number("\"userId\":"),
            number("\"productId\":")
        );
        let head = format!(
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nlocation: /orders/1024\r\n\
             x-request-id: 01890a5d-ac96-774b-bcce-b302099a8057\r\ncontent-length: {}\r\n\
             date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
    }
}
