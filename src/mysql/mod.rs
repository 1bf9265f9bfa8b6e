//! The Rust half of `migrations/`: what MySQL (or MariaDB) holds, and nothing else.

pub mod audit;
pub mod audits;
pub mod books;
mod catalogue;
pub mod cells;
pub mod copies;
pub mod coupons;
pub mod dead_events;
pub mod ended;
mod fold;
pub mod history;
mod listed;
mod moves;
pub mod named_lock;
mod order_rows;
pub mod orders;
pub mod outbox;
pub mod persist;
pub mod ranking;
mod replay;
pub mod restore;
mod rows;
pub mod shares;
mod tables;

use std::time::Duration;

use chrono::NaiveDateTime;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{Connection, Executor, MySqlConnection};

use crate::config::{Authorities, Secret};
use crate::time::{Millis, from_millis};

/// The schema, in the binary.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long the server waits for the next word of a connection, in seconds. A process that sleeps or was
/// cut off in the middle of a transaction holds its locks no longer than this.
const SILENCE_SECONDS: u32 = 15;

/// Connects to the database that the URL names.
///
/// TLS is as the URL's `ssl-mode` says. Without one the server's certificate is verified where authorities are named;
/// else TLS is used where the server offers it, except on this machine, where it only costs time.
pub async fn connect(
    url: &Secret,
    authorities: &Authorities,
    connections: u32,
) -> Result<MySqlPool, sqlx::Error> {
    let options = options(url, authorities).await?;
    let pool = MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(3))
        .idle_timeout(Duration::from_secs(u64::from(SILENCE_SECONDS) / 2))
        .after_connect(|connection, _| Box::pin(prepare_session(connection)))
        .connect_with(options.clone())
        .await;
    if let Err(sqlx::Error::PoolTimedOut) = pool {
        // The pool hides why.
        MySqlConnection::connect_with(&options).await?.close().await?;
    }
    pool
}

async fn prepare_session(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
    sqlx::query("SET SESSION wait_timeout = ?").bind(SILENCE_SECONDS).execute(connection).await.map(|_| ())
}

/// What the URL says of TLS, and the authorities where it names none.
fn secured(url: &Secret, authorities: &Authorities) -> Result<MySqlConnectOptions, sqlx::Error> {
    let options: MySqlConnectOptions = url.expose().parse()?;
    let options = match authorities.pem() {
        Some(pem) if !names(url, &["ssl-ca", "sslca"]) => options.ssl_ca_from_pem(pem.as_bytes().to_vec()),
        _ => options,
    };
    // Who names authorities wants the server to show its certificate.
    let verifies = authorities.pem().is_some() || names(url, &["ssl-ca", "sslca"]);
    let undecided = !names(url, SSL_MODE);
    Ok(if verifies && undecided { options.ssl_mode(MySqlSslMode::VerifyIdentity) } else { options })
}

/// How a URL may spell it.
const SSL_MODE: &[&str] = &["ssl-mode", "sslmode"];

/// Whether the URL has one of these parameters.
fn names(url: &Secret, parameters: &[&str]) -> bool {
    let query = url.expose().split_once('?').map_or("", |it| it.1);
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| parameters.contains(&&*name))
}

async fn options(url: &Secret, authorities: &Authorities) -> Result<MySqlConnectOptions, sqlx::Error> {
    let options = secured(url, authorities)?;
    let local = ["127.0.0.1", "localhost", "[::1]", "::1"].contains(&options.get_host());
    if !local || names(url, SSL_MODE) || matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity) {
        return Ok(options);
    }
    // A password over plain TCP needs an RSA exchange that this build leaves out; then TLS stays.
    let plain = options.clone().ssl_mode(MySqlSslMode::Disabled);
    let answered = MySqlConnection::connect_with(&plain).await;
    Ok(if answered.is_ok() { plain } else { options })
}

/// Creates the database that the URL names, where it is missing.
async fn create_database(url: &Secret, authorities: &Authorities) -> Result<(), sqlx::Error> {
    let options = secured(url, authorities)?;
    let name = options.get_database().unwrap_or("firstcome").replace('`', "``");
    // An empty database name connects to the server alone.
    let mut connection = MySqlConnection::connect_with(&options.database("")).await?;
    let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
    // The name is quoted above, and no value can be bound here.
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
    connection.close().await
}

/// Creates the database where it is missing, and brings its schema up to date.
pub async fn migrate(url: &Secret, authorities: &Authorities) -> Result<(), sqlx::Error> {
    create_database(url, authorities).await?;
    let pool = connect(url, authorities, 1).await?;
    MIGRATIONS.run(&pool).await?;
    pool.close().await;
    Ok(())
}

/// A time for a DATETIME column. Bound as `DateTime<Utc>` it would go as a TIMESTAMP, and MariaDB 10.11 makes NULL of
/// one behind January 2038.
fn datetime(at_ms: Millis) -> NaiveDateTime {
    from_millis(at_ms).naive_utc()
}

/// A row holds what this release cannot read.
fn decode(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Whether connecting again must fail in the same way: TLS that the server does not have, a URL that cannot be meant, a user
/// or a database that the server does not know.
pub fn is_final(error: &sqlx::Error) -> bool {
    /// No permission for the database, for the user; no such database.
    const REFUSED: [u16; 3] = [1044, 1045, 1049];
    match error {
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => true,
        sqlx::Error::Database(error) => error
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .is_some_and(|it| REFUSED.contains(&it.number())),
        _ => false,
    }
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
