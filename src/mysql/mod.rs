//! The Rust half of `migrations/`: what MySQL (or MariaDB) holds, and nothing else.

pub mod audit;
pub mod audits;
pub mod books;
mod catalogue;
pub mod cells;
pub mod coupons;
pub mod dead_events;
pub mod ended;
mod fold;
pub mod history;
mod listed;
pub mod named_lock;
mod order_rows;
pub mod orders;
pub mod outbox;
pub mod persist;
pub mod ranking;
mod replay;
pub mod restore;
mod rows;
mod tables;

use std::time::Duration;

use chrono::NaiveDateTime;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{Connection, Executor, MySqlConnection};

use crate::config::Secret;
use crate::time::{Millis, from_millis};

/// The schema, in the binary.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long the server waits for the next word of a connection, in seconds. A process that sleeps or was
/// cut off in the middle of a transaction holds its locks no longer than this.
const SILENCE_SECONDS: u32 = 15;

/// Connects to the database that the URL names.
///
/// TLS is used where the server offers it, except on this machine, where it only costs time; an
/// `ssl-mode` in the URL decides otherwise.
pub async fn connect(url: &Secret, connections: u32) -> Result<MySqlPool, sqlx::Error> {
    let options = options(url).await?;
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(3))
        .idle_timeout(Duration::from_secs(u64::from(SILENCE_SECONDS) / 2))
        .after_connect(|connection, _| Box::pin(prepare_session(connection)))
        .connect_with(options)
        .await
}

async fn prepare_session(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    sqlx::query("SET SESSION wait_timeout = ?").bind(SILENCE_SECONDS).execute(connection).await.map(|_| ())
}

async fn options(url: &Secret) -> Result<MySqlConnectOptions, sqlx::Error> {
    let options: MySqlConnectOptions = url.expose().parse()?;
    let local = ["127.0.0.1", "localhost", "[::1]", "::1"].contains(&options.get_host());
    if !local || url.expose().contains("ssl-mode") {
        return Ok(options);
    }
    // A password over plain TCP needs an RSA exchange that this build leaves out; then TLS stays.
    let plain = options.clone().ssl_mode(MySqlSslMode::Disabled);
    let answered = MySqlConnection::connect_with(&plain).await;
    Ok(if answered.is_ok() { plain } else { options })
}

/// Creates the database that the URL names, where it is missing.
async fn create_database(url: &Secret) -> Result<(), sqlx::Error> {
    let options: MySqlConnectOptions = url.expose().parse()?;
    let name = options.get_database().unwrap_or("firstcome").replace('`', "``");
    // An empty database name connects to the server alone.
    let mut connection = MySqlConnection::connect_with(&options.database("")).await?;
    let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
    // The name is quoted above, and no value can be bound here.
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
    connection.close().await
}

/// Creates the database where it is missing, and brings its schema up to date.
pub async fn migrate(url: &Secret) -> Result<(), sqlx::Error> {
    create_database(url).await?;
    let pool = connect(url, 1).await?;
    MIGRATIONS.run(&pool).await?;
    pool.close().await;
    Ok(())
}

/// A row holds what this release cannot read.
/// A time for a DATETIME column. Bound as `DateTime<Utc>` it would go as a TIMESTAMP, and MariaDB 10.11 makes NULL of
/// one behind January 2038.
fn datetime(at_ms: Millis) -> NaiveDateTime {
    from_millis(at_ms).naive_utc()
}

fn decode(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Whether the error is about the data of one statement, so that trying again cannot help.
///
/// Everything else (connection, deadlock, lock wait, disk full, a missing table, no permission) is
/// about the server, and must never turn good events into dead ones.
fn is_about_data(error: &sqlx::Error) -> bool {
    /// Null, duplicate key, truncated, bad text, too long, out of range, bad time, foreign key,
    /// SIGNAL, generated column, check (MySQL, MariaDB).
    const ABOUT_DATA: [u16; 14] =
        [1048, 1062, 1264, 1265, 1292, 1366, 1367, 1406, 1451, 1452, 1644, 3105, 3819, 4025];
    match error {
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .is_some_and(|it| ABOUT_DATA.contains(&it.number())),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}
