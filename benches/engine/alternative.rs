//! The same purchase written the usual way, `examples/row_lock.rs`, on the same MySQL under the same generator.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use firstcome::config::Secret;
use firstcome::dev::ports;
use firstcome::mysql;

use crate::child::Running;
use crate::generator::Plan;
use crate::load::{self, Load};
use crate::row::{Row, Rows};
use crate::servers::Servers;
use crate::settings::BenchSettings;
use crate::traffic::{FIRST_PRODUCT, Kind, PRICE, PRODUCTS};

/// Wallets of the alternative; more would only take longer to make.
const USERS: u64 = 100_000;

/// One hot product, and a thousand.
pub async fn measure(
    servers: &Servers,
    settings: &BenchSettings,
    rows: &mut Rows,
) -> anyhow::Result<[Load; 2]> {
    let program = Path::new(env!("CARGO_BIN_EXE_firstcome")).with_file_name("examples").join("row_lock");
    anyhow::ensure!(program.exists(), "cargo build --release --example row_lock (as `make bench` does)");
    let url = format!("{}row_lock", servers.mysql.url());
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let mut command = Command::new(program);
    command
        .args([&url, &address.to_string()])
        .args([USERS, FIRST_PRODUCT, PRODUCTS, PRICE].map(|it| it.to_string()));
    let mut server = Running::start("row_lock", &mut command)?;
    server.wait_until_ready(&format!("http://{address}/healthz")).await?;
    let watched = [("mysql", servers.mysql.pid()), ("api", server.pid())];
    let mut loads = Vec::new();
    let mut sold = 0;
    for (name, products) in [("one hot product", 1), ("1,000 products", PRODUCTS)] {
        eprintln!("row locks: {name}");
        let plan = Plan {
            address,
            connections: settings.connections,
            rate: None,
            warm_up: Duration::from_millis(500),
            time: settings.load_time(),
            users: USERS,
            kind: Kind::Purchase { products, keyed: false },
            first: 0,
            run: 0,
        };
        let load = load::run(&plan, &watched).await?;
        let mut row = Row::of_load("alternative: row locks in MySQL", name, &load);
        sold += load.report.right_in_all as i64;
        let found = units_sold(&url).await?;
        if found != [sold; 3] {
            row.refuse(format!("{sold} accepted; orders, units sold and payments are {found:?}"));
        }
        rows.push(row);
        loads.push(load);
    }
    loads.try_into().ok().context("two loads")
}

/// Orders, units gone, and the money that left wallets by the price.
async fn units_sold(url: &str) -> anyhow::Result<[i64; 3]> {
    let pool = mysql::connect(&Secret::new(url), &Default::default(), 1).await?;
    let mut found = [0; 3];
    let questions = [
        "SELECT COUNT(*) FROM orders",
        "SELECT CAST(SUM(1000000000 - remaining) AS SIGNED) FROM stock",
        "SELECT CAST(SUM(1000000000 - balance) / 1000 AS SIGNED) FROM wallets",
    ];
    for (found, question) in found.iter_mut().zip(questions) {
        *found = sqlx::query_scalar(question).fetch_one(&pool).await?;
    }
    pool.close().await;
    Ok(found)
}
