//! Promise: what a failover of a cluster's server loses is counted to the event, nothing is sold twice, and nobody who waited
//! for MySQL is among the losers.
//!
//! On one machine replication is too quick to lose anything. So a replica's link to its primary is cut, MySQL stands still,
//! and the primary sells on, as one with `min-replicas-to-write 0` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use firstcome::app::Role;
use firstcome::cell::{CellId, Position};
use firstcome::config::Settings;
use firstcome::dev::{PrivateCluster, ports};
use firstcome::ids::{OptionId, ProductId};
use firstcome::pool::Pool;
use firstcome::product::SkuId;
use redis::InfoDict;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal};
use serde_json::json;

use super::engine_process::EngineProcess;
use super::test_app::{Answer, TestApp, eventually, read};
use super::test_cluster::{
    CELLS, cell_of, cells_on, epoch, found_on, server_of, start_cluster_with, start_engine_with, users_of,
};

mod frozen;
mod losses;
mod transfers;

/// Servers ask each other for it, so that a replica which has another one is cut off from its primary.
const PASSWORD: &str = "secret";

const PRODUCT: u64 = 1;
const PRICE: i64 = 10;

fn stock() -> Pool {
    Pool::Stock(SkuId { product: ProductId::new(PRODUCT).unwrap(), option: OptionId::NONE })
}

/// A node that answers calls, and a worker that can be killed and started again, on a cluster with replicas.
struct Stage {
    cluster: PrivateCluster,
    app: TestApp,
    worker: Option<EngineProcess>,
    metrics_port: u16,
    client: reqwest::Client,
}

impl Stage {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let cluster = start_cluster_with(true, PASSWORD).await;
        let mut app = start_engine_with(&cluster, |settings| {
            settings.list_staleness_ms = 0;
            settings.persist_wait_ms = 30_000;
            change(settings);
        })
        .await;
        app.stop_engine().await;
        app.start_engine_as(Role::Api).await;
        let metrics_port = ports::free().unwrap();
        // A connection that the server ends for its idleness just then would fail a slow machine's test.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut stage = Self { cluster, app, worker: None, metrics_port, client };
        stage.start_worker();
        stage
    }

    fn start_worker(&mut self) {
        let port = self.metrics_port;
        self.worker = Some(EngineProcess::start_with(&self.app.settings, "worker", |command| {
            command.env("FIRSTCOME_METRICS_LISTEN", format!("127.0.0.1:{port}"));
        }));
    }

    /// From here on MySQL hears of nothing.
    fn kill_worker(&mut self) {
        self.worker.take().expect("it runs").kill();
    }

    fn server_of(&self, cell: CellId) -> usize {
        server_of(&self.app, &self.cluster, cell)
    }

    fn is_on(&self, cell: CellId, server: usize) -> bool {
        found_on(&self.app, &self.cluster, cell) == Some(server)
    }

    fn cells_on(&self, server: usize) -> Vec<CellId> {
        cells_on(&self.app, &self.cluster, server)
    }

    async fn replication(&self, server: usize) -> InfoDict {
        self.cluster.ask(server, &["INFO", "replication"]).await.unwrap()
    }

    async fn replica_of(&self, primary: usize) -> usize {
        let port = self.cluster.port(primary);
        for server in 0..self.cluster.servers.len() {
            if self.replication(server).await.get::<u16>("master_port") == Some(port) {
                return server;
            }
        }
        panic!("server {primary} has no replica");
    }

    /// Cuts a primary's replica off, for good; returns which one it is.
    async fn cut_off(&self, primary: usize) -> usize {
        let replica = self.replica_of(primary).await;
        let () = self.cluster.ask(replica, &["CONFIG", "SET", "masterauth", "another"]).await.unwrap();
        let _: u64 = self.cluster.ask(primary, &["CLIENT", "KILL", "TYPE", "REPLICA"]).await.unwrap();
        eventually!(
            self.replication(replica).await.get::<String>("master_link_status").as_deref() == Some("down")
                && self.replication(primary).await.get::<u64>("connected_slaves") == Some(0)
        );
        replica
    }

    /// Kills a primary, and waits until the cluster has its replica in its place.
    async fn fail_over(&mut self, primary: usize, replica: usize) {
        let cells = self.cells_on(primary);
        self.cluster.servers[primary].kill().await;
        for cell in cells {
            eventually!(self.is_on(cell, replica));
        }
    }

    /// SIGSTOP, or SIGCONT.
    fn signal(&self, server: usize, signal: Signal) {
        let pid = Pid::from_raw(self.cluster.servers[server].pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The one that was killed comes back, as a replica of the one that was promoted.
    async fn bring_back(&mut self, server: usize, promoted: usize) {
        let words = ["CONFIG", "SET", "masterauth", PASSWORD];
        let () = self.cluster.ask(promoted, &words).await.unwrap();
        self.cluster.servers[server].restart().await.unwrap();
        eventually!(
            self.replication(promoted).await.get::<String>("slave0").is_some_and(|it| it.contains("online"))
        );
    }

    async fn epochs(&self) -> BTreeMap<CellId, u64> {
        let mut epochs = BTreeMap::new();
        for cell in (0..CELLS).map(CellId) {
            epochs.insert(cell, epoch(&self.app, cell).await);
        }
        epochs
    }

    async fn wait_until_all_sell(&self) {
        eventually!(self.app.get("/readyz").await.status == StatusCode::OK);
    }

    /// Numbers of the events that a cell's log has and MySQL has not.
    async fn unpersisted(&self, cell: CellId) -> BTreeSet<u64> {
        let row = firstcome::mysql::cells::read(&self.app.connections().mysql, cell).await.unwrap();
        let (log, behind) = (format!("{{c{cell}}}:events"), format!("({}", row.view.persisted));
        let server = self.server_of(cell);
        let entries: Vec<(String, redis::Value)> =
            self.cluster.ask(server, &["XRANGE", &log, &behind, "+"]).await.unwrap();
        entries.into_iter().map(|(id, _)| id.parse::<Position>().unwrap().seq).collect()
    }

    /// What each cell has lost, by MySQL and by `/admin/overview`, which must agree.
    async fn lost(&self) -> BTreeMap<CellId, u64> {
        let overview = self.app.get("/admin/overview").await;
        assert_eq!(overview.status, StatusCode::OK, "{overview:?}");
        let mut lost = BTreeMap::new();
        for cell in (0..CELLS).map(CellId) {
            let row = firstcome::mysql::cells::read(&self.app.connections().mysql, cell).await.unwrap();
            let told = &overview.body["cells"][usize::from(cell.0)];
            assert_eq!(told["lostEvents"], json!(row.view.lost_events), "{told}");
            if row.view.lost_events > 0 {
                lost.insert(cell, row.view.lost_events);
            }
        }
        lost
    }

    /// The same by the metrics of the worker that has found it. A node that heard nothing for three seconds counts its own.
    async fn lost_by_metrics(&self) -> BTreeMap<CellId, u64> {
        let address = format!("http://127.0.0.1:{}/metrics", self.metrics_port);
        let metrics = reqwest::get(address).await.unwrap().text().await.unwrap();
        let counted = |cell: CellId| -> u64 {
            let name = format!("firstcome_lost_events_total{{cell=\"{cell}\"}} ");
            metrics.lines().find_map(|it| it.strip_prefix(&name)).expect(&name).parse().unwrap()
        };
        (0..CELLS).map(CellId).map(|it| (it, counted(it))).filter(|it| it.1 > 0).collect()
    }

    /// Asks for one unit; with `Prefer: wait=persisted` where `waits`.
    fn ask(&self, user: u64, key: &str, waits: bool) -> impl Future<Output = Answer> + use<> {
        self.ask_at(&self.app.url("/orders"), user, key, waits)
    }

    fn ask_at(&self, url: &str, user: u64, key: &str, waits: bool) -> impl Future<Output = Answer> + use<> {
        let items = json!([{ "productId": PRODUCT, "quantity": 1 }]);
        let request = self.client.post(url).header("Idempotency-Key", key);
        let request = if waits { request.header("Prefer", "wait=persisted") } else { request };
        read(request.json(&json!({ "userId": user, "items": items })))
    }

    /// The id of an order that was told. On a slow machine units may be late.
    async fn buy(&self, user: u64, key: &str) -> u64 {
        let mut answer = self.ask(user, key, false).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        while answer.status == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < deadline {
            answer = self.ask(user, key, false).await;
        }
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["orderId"].as_u64().unwrap()
    }

    /// Orders of the product by MySQL.
    async fn orders(&self) -> BTreeSet<u64> {
        let sql = "SELECT id FROM orders";
        let rows: Vec<u64> = sqlx::query_scalar(sql).fetch_all(&self.app.connections().mysql).await.unwrap();
        rows.into_iter().collect()
    }

    /// Sells until nothing is left, from all cells; then everything must add up.
    async fn sell_out(&self, users: &[u64], units: i64) {
        let mut sold = 0;
        'buyers: for round in 0.. {
            for user in users {
                let key = format!("rest {round}");
                let mut answer = self.ask(*user, &key, false).await;
                while answer.status == StatusCode::SERVICE_UNAVAILABLE {
                    answer = self.ask(*user, &key, false).await;
                }
                if answer.code() == "out_of_stock" {
                    break 'buyers;
                }
                assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
                sold += 1;
            }
        }
        assert_eq!((sold, self.app.stock(PRODUCT).await), (units, 0));
    }

    async fn end(mut self) {
        self.app.drain().await;
        let messages = self.app.take_messages().await;
        let told: BTreeSet<u64> =
            messages.iter().map(|it| it["data"]["orderId"].as_u64().expect("an order")).collect();
        assert_eq!(told, self.orders().await, "each order that is there, and no other, was published");
        self.worker.take().expect("it runs").terminate().await;
        self.app.finish().await;
    }
}

/// One user of each cell, with money.
async fn rich_users(app: &TestApp) -> Vec<u64> {
    let users: Vec<u64> = (0..CELLS).map(|it| users_of(CellId(it)).next().unwrap()).collect();
    for user in &users {
        app.user_with(*user, 1_000_000).await;
    }
    users
}

fn user_in(users: &[u64], cell: CellId) -> u64 {
    *users.iter().find(|it| cell_of(**it) == cell).expect("one of each cell")
}
