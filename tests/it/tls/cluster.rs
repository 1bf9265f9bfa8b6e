//! A cluster whose servers speak TLS, to clients and to each other, and ask for a password.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use firstcome::cell::CellId;
use firstcome::config::{Address, Secret, Settings};
use firstcome::dev::{ClusterOptions, PrivateCluster, RedisOptions};
use firstcome::mysql;
use firstcome::scripts::cluster::slots::slot_of_cell;
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::super::test_app::{TestApp, eventually, fresh_settings};
use super::super::test_cluster::{
    CELLS, Told, charge_on, epoch, missing, server_of, start_cluster_of, start_engine_with, users,
    wait_for_charges,
};
use super::certificates::Authority;
use super::{assert_says, fresh_folder, refusal};

const CELL: CellId = CellId(0);
const PASSWORD: &str = "canary5e71";

async fn start(authority: &Authority) -> PrivateCluster {
    let folder = fresh_folder();
    let certificate = authority.certify(&folder, "127.0.0.1");
    let [ca, chain, key] =
        [&authority.file, &certificate.chain, &certificate.key].map(|it| it.to_str().unwrap());
    let tls = [
        ["--tls-cert-file", chain],
        ["--tls-key-file", key],
        ["--tls-ca-cert-file", ca],
        ["--tls-auth-clients", "no"],
    ];
    let extra_args = tls.iter().flatten().map(|it| (*it).to_owned()).collect();
    let each = RedisOptions { extra_args, ..RedisOptions::default() };
    let password = PASSWORD.to_owned();
    start_cluster_of(ClusterOptions {
        replicas: true,
        each,
        password,
        tls: true,
        ..ClusterOptions::default()
    })
    .await
}

/// `firstcome cell move`.
async fn move_cell(app: &TestApp, authority: &Authority, to: &Address) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command
        .args(["cell", "move", &CELL.to_string(), "--to", &to.to_string()])
        .env("FIRSTCOME_REDIS_URL", app.settings.redis_url.expose())
        .env("FIRSTCOME_MYSQL_URL", app.settings.mysql_url.expose())
        .env("FIRSTCOME_TLS_CA_FILE", &authority.file)
        .env("FIRSTCOME_CELLS", CELLS.to_string());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Goal: users of all cells are served by TLS alone; whoever is sent to the server that a slot has left hears where it is, and
/// goes there by TLS; a server that dies is replaced by a replica that has its data by TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_works_over_tls() {
    let folder = fresh_folder();
    let ours = Authority::new(&folder, "ours");
    let mut cluster = start(&ours).await;
    assert!(cluster.url().starts_with("rediss://"), "{}", cluster.url());
    let app = start_engine_with(&cluster, |it| {
        it.tls_ca_file = ours.trusted();
        // Else the authority would count for it, too.
        it.mysql_url = Secret::new(format!("{}?ssl-mode=DISABLED", it.mysql_url.expose()));
    })
    .await;
    let users = users(&app).await;
    app.product_with(1, 1, 100).await;
    let everyone: Vec<CellId> = (0..CELLS).map(CellId).collect();
    let (stop, told) = (AtomicBool::new(false), Told::default());
    let chargers = join_all(users.iter().map(|it| charge_on(&app, *it, &stop, &told)));
    let faults = async {
        wait_for_charges(&told, &everyone).await;
        let from = server_of(&app, &cluster, CELL);
        let to = Address { host: "127.0.0.1".to_owned(), port: cluster.port((from + 1) % 3) };
        let done = move_cell(&app, &ours, &to).await;
        assert!(done.status.success(), "{done:?}");
        wait_for_charges(&told, &everyone).await;
        assert_eq!(server_of(&app, &cluster, CELL), (from + 1) % 3);
        let errors: String = cluster.ask(from, &["INFO", "errorstats"]).await.unwrap();
        assert!(errors.contains("errorstat_MOVED"), "somebody was sent on: {errors}");

        for server in 0..cluster.servers.len() {
            let clients: String = cluster.ask(server, &["CLIENT", "LIST", "TYPE", "NORMAL"]).await.unwrap();
            let place = format!("laddr=127.0.0.1:{} ", cluster.port(server));
            let plain: Vec<&str> = clients.lines().filter(|it| !it.contains(&place)).collect();
            assert_eq!(plain.len(), 1, "all but this one: {clients}");
        }

        let dead = server_of(&app, &cluster, CELL);
        let before = epoch(&app, CELL).await;
        cluster.servers[dead].kill().await;
        eventually!(epoch(&app, CELL).await > before);
        wait_for_charges(&told, &everyone).await;
        assert!(server_of(&app, &cluster, CELL) >= 3, "a replica has slot {}", slot_of_cell(CELL));
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(faults, chargers);
    let lost = missing(&app, &told).await;
    let counted = app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await;
    assert_eq!(counted, lost.len() as i64, "{lost:?}");
    for user in users {
        let order = json!({"userId": user, "items": [{"productId": 1, "quantity": 1}]});
        let bought = app.post("/orders", order).await;
        assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
    }
    assert_eq!(app.stock(1).await, 100 - i64::from(CELLS));
    app.finish().await;
}

/// Goal: a cluster that shows another authority's certificate is refused at once, in words that name it and hold no password;
/// one server of another authority among them is never talked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_another_authority_is_refused() {
    let folder = fresh_folder();
    let (ours, other) = (Authority::new(&folder, "ours"), Authority::new(&folder, "other"));
    let cluster = start(&ours).await;
    let base = fresh_settings(cluster.url()).await;
    mysql::migrate(&base.mysql_url, &base.tls_ca_file).await.unwrap();
    let mysql_url = Secret::new(format!("{}?ssl-mode=DISABLED", base.mysql_url.expose()));
    let with =
        |tls_ca_file| Settings { tls_ca_file, cells: CELLS, mysql_url: mysql_url.clone(), ..base.clone() };
    for wrong in [other.trusted(), Default::default()] {
        let began = std::time::Instant::now();
        let said = refusal(&with(wrong)).await;
        assert_says(&said, &["cannot connect to Redis at", "rediss://", "UnknownIssuer"]);
        assert!(!said.contains(PASSWORD), "{said}");
        assert!(began.elapsed().as_secs() < 20, "asking again brings the same certificate");
    }
    firstcome::app::connect(with(ours.trusted())).await.expect("the right one");
}
