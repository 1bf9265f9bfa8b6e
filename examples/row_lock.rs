//! The same purchase written the usual way, for comparison in `make bench`: one MySQL transaction that locks the rows
//! of wallet and stock. No Redis, no queue: messages wait in an outbox, as they do in the engine. Not a shop.
//!
//! Usage: `row_lock MYSQL_URL ADDRESS USERS FIRST_PRODUCT PRODUCTS PRICE`

use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use firstcome::config::Secret;
use firstcome::ids::{OrderId, ProductId, UserId};
use firstcome::order::{Order, OrderLine, OrderStatus};
use serde::{Deserialize, Serialize};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many as the generator has connections.
const CONNECTIONS: u32 = 64;

const UNITS: i64 = 1_000_000_000;

const SCHEMA: [&str; 8] = [
    "CREATE TABLE wallets (user_id BIGINT UNSIGNED PRIMARY KEY, balance BIGINT NOT NULL)",
    "CREATE TABLE stock (product_id BIGINT UNSIGNED PRIMARY KEY, price BIGINT NOT NULL, remaining BIGINT NOT NULL)",
    "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, user_id BIGINT UNSIGNED NOT NULL,
     status VARCHAR(16) CHARACTER SET ascii NOT NULL, total BIGINT NOT NULL, paid BIGINT NOT NULL,
     placed_at DATETIME(3) NOT NULL, KEY by_user (user_id, id))",
    "CREATE TABLE order_lines (order_id BIGINT UNSIGNED, line_no TINYINT UNSIGNED, product_id BIGINT UNSIGNED NOT NULL,
     quantity INT UNSIGNED NOT NULL, unit_price BIGINT NOT NULL, PRIMARY KEY (order_id, line_no))",
    "CREATE TABLE payments (order_id BIGINT UNSIGNED PRIMARY KEY, user_id BIGINT UNSIGNED NOT NULL,
     amount BIGINT NOT NULL, at DATETIME(3) NOT NULL)",
    "CREATE TABLE ledger (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, user_id BIGINT UNSIGNED NOT NULL,
     amount BIGINT NOT NULL, balance BIGINT NOT NULL, order_id BIGINT UNSIGNED NOT NULL, at DATETIME(3) NOT NULL,
     KEY by_user (user_id, id))",
    "CREATE TABLE idempotency (user_id BIGINT UNSIGNED, idem_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin,
     order_id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (user_id, idem_key))",
    "CREATE TABLE outbox (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, payload TEXT NOT NULL)",
];

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

/// Why nothing was sold.
enum Refusal {
    NotFound,
    OutOfStock,
    BalanceTooLow,
    KeyReused,
    Mysql(sqlx::Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Mysql(error)
    }
}

async fn buy(
    State(pool): State<Arc<MySqlPool>>,
    headers: HeaderMap,
    Json(body): Json<Body>,
) -> (StatusCode, Result<Json<Answer>, String>) {
    let key = headers.get("Idempotency-Key").and_then(|it| it.to_str().ok());
    match purchase(&pool, key, &body).await {
        Ok(answer) => (StatusCode::CREATED, Ok(Json(answer))),
        Err(Refusal::NotFound) => (StatusCode::NOT_FOUND, Err("not found".to_owned())),
        Err(Refusal::OutOfStock) => (StatusCode::BAD_REQUEST, Err("out of stock".to_owned())),
        Err(Refusal::BalanceTooLow) => (StatusCode::BAD_REQUEST, Err("insufficient balance".to_owned())),
        Err(Refusal::KeyReused) => (StatusCode::CONFLICT, Err("the key was used".to_owned())),
        Err(Refusal::Mysql(error)) => (StatusCode::INTERNAL_SERVER_ERROR, Err(error.to_string())),
    }
}

/// One item, paid at once. The stock is locked last, so that its hot row is held as shortly as this way allows.
async fn purchase(pool: &MySqlPool, key: Option<&str>, body: &Body) -> Result<Answer, Refusal> {
    let (user, item, now) = (body.user_id.get(), &body.items[0], Utc::now());
    let at = now.naive_utc();
    let mut transaction = pool.begin().await?;
    let balance: Option<i64> = sqlx::query_scalar("SELECT balance FROM wallets WHERE user_id = ? FOR UPDATE")
        .bind(user)
        .fetch_optional(&mut *transaction)
        .await?;
    let balance = balance.ok_or(Refusal::NotFound)?;
    if let Some(key) = key {
        let seen: Option<u64> =
            sqlx::query_scalar("SELECT order_id FROM idempotency WHERE user_id = ? AND idem_key = ?")
                .bind(user)
                .bind(key)
                .fetch_optional(&mut *transaction)
                .await?;
        if seen.is_some() {
            return Err(Refusal::KeyReused);
        }
    }
    let stock: Option<(i64, i64)> =
        sqlx::query_as("SELECT price, remaining FROM stock WHERE product_id = ? FOR UPDATE")
            .bind(item.product_id.get())
            .fetch_optional(&mut *transaction)
            .await?;
    let (price, remaining) = stock.ok_or(Refusal::NotFound)?;
    let total = price * i64::from(item.quantity);
    if remaining < i64::from(item.quantity) {
        return Err(Refusal::OutOfStock);
    }
    if balance < total {
        return Err(Refusal::BalanceTooLow);
    }
    let balance = balance - total;
    sqlx::query("UPDATE stock SET remaining = remaining - ? WHERE product_id = ?")
        .bind(item.quantity)
        .bind(item.product_id.get())
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE wallets SET balance = ? WHERE user_id = ?")
        .bind(balance)
        .bind(user)
        .execute(&mut *transaction)
        .await?;
    let placed = sqlx::query(
        "INSERT INTO orders (user_id, status, total, paid, placed_at) VALUES (?, 'paid', ?, ?, ?)",
    )
    .bind(user)
    .bind(total)
    .bind(total)
    .bind(at)
    .execute(&mut *transaction)
    .await?;
    let id = placed.last_insert_id();
    sqlx::query("INSERT INTO order_lines VALUES (?, 1, ?, ?, ?)")
        .bind(id)
        .bind(item.product_id.get())
        .bind(item.quantity)
        .bind(price)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO payments VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(user)
        .bind(total)
        .bind(at)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO ledger (user_id, amount, balance, order_id, at) VALUES (?, ?, ?, ?, ?)")
        .bind(user)
        .bind(-total)
        .bind(balance)
        .bind(id)
        .bind(at)
        .execute(&mut *transaction)
        .await?;
    if let Some(key) = key {
        sqlx::query("INSERT INTO idempotency VALUES (?, ?, ?)")
            .bind(user)
            .bind(key)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
    }
    let line = OrderLine {
        product_id: item.product_id,
        option_id: None,
        quantity: item.quantity,
        unit_price: price,
    };
    let order = Order {
        order_id: OrderId::new(id).map_err(|_| Refusal::NotFound)?,
        user_id: body.user_id,
        status: OrderStatus::Paid,
        items: vec![line],
        total,
        discount: 0,
        paid: total,
        coupon_id: None,
        placed_at: now,
        expires_at: None,
        paid_at: Some(now),
        cancelled_at: None,
        refunded_at: None,
    };
    sqlx::query("INSERT INTO outbox (payload) VALUES (?)")
        .bind(serde_json::to_string(&order).expect("an order is plain JSON"))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Answer { order, balance })
}

/// Makes the database anew, with wallets and stock.
async fn prepare(
    options: &MySqlConnectOptions,
    users: u64,
    products: std::ops::Range<u64>,
    price: i64,
) -> anyhow::Result<()> {
    let name = options.get_database().context("a database in the URL")?;
    let mut connection = options.clone().database("").connect().await?;
    for text in ["DROP DATABASE IF EXISTS", "CREATE DATABASE", "USE"] {
        // The name is this program's own argument, and no value can be bound here.
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("{text} `{name}`")))).await?;
    }
    for table in SCHEMA {
        connection.execute(table).await?;
    }
    let rows = |ids: &[u64], values: &str| {
        ids.iter().map(|id| format!("({id},{values})")).collect::<Vec<_>>().join(",")
    };
    let users: Vec<u64> = (1..=users).collect();
    for ids in users.chunks(5_000) {
        let text = format!("INSERT INTO wallets VALUES {}", rows(ids, &UNITS.to_string()));
        connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
    }
    let products: Vec<u64> = products.collect();
    let text = format!("INSERT INTO stock VALUES {}", rows(&products, &format!("{price},{UNITS}")));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
    Ok(connection.close().await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nobody installed another one");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, address, users, first, products, price] = &arguments[..] else {
        anyhow::bail!("row_lock MYSQL_URL ADDRESS USERS FIRST_PRODUCT PRODUCTS PRICE")
    };
    let options: MySqlConnectOptions = Secret::new(url).expose().parse()?;
    // On this machine TLS only costs time; the engine leaves it out there, too.
    let options = options.ssl_mode(sqlx::mysql::MySqlSslMode::Disabled);
    let (first, products): (u64, u64) = (first.parse()?, products.parse()?);
    prepare(&options, users.parse()?, first..first + products, price.parse()?).await?;
    let pool = MySqlPoolOptions::new()
        .max_connections(CONNECTIONS)
        .after_connect(|connection, _| {
            Box::pin(async {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.map(|_| ())
            })
        })
        .connect_with(options)
        .await?;
    let router = Router::new()
        .route("/orders", post(buy))
        .route("/healthz", get(|| async { "alive" }))
        .with_state(Arc::new(pool));
    let listener = tokio::net::TcpListener::bind(address.as_str()).await?;
    Ok(axum::serve(listener, router).await?)
}
