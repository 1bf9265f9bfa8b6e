//! Promise: a slot goes to another server while the other cells sell, nothing is lost on the way, and a script that was
//! caught half-way by it is found.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use firstcome::cell::{CellId, CellState, Cells};
use firstcome::config::Address;
use firstcome::dev::PrivateCluster;
use firstcome::ids::ProductId;
use firstcome::mysql::cells;
use firstcome::scripts::cluster::slots::slot_of_cell;
use firstcome::worker::moving::{MoveError, move_cell};
use firstcome::worker::recover::{RecoverOutcome, close, reopen};
use firstcome::worker::{Progress, Silent};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::{TestApp, eventually};
use super::test_cluster::{
    CELLS, Told, charge, charge_on, drain, epoch, missing, server_of, start_cluster, start_engine, topology,
    users, users_of, wait_for_charges,
};
use super::test_servers;

const CELL: CellId = CellId(0);

fn address_of(cluster: &PrivateCluster, server: usize) -> Address {
    Address { host: "127.0.0.1".to_owned(), port: cluster.servers[server].port() }
}

async fn state(app: &TestApp, cell: CellId) -> CellState {
    cells::read(&app.connections().mysql, cell).await.unwrap().view.state
}

fn everyone() -> Vec<CellId> {
    (0..CELLS).map(CellId).collect()
}

/// Slots that any server thinks are on their way.
async fn on_their_way(cluster: &PrivateCluster) -> usize {
    let mut found = 0;
    for server in 0..cluster.servers.len() {
        let nodes: String = cluster.ask(server, &["CLUSTER", "NODES"]).await.unwrap();
        found += nodes.matches("->-").count() + nodes.matches("-<-").count();
    }
    found
}

/// A cell goes to each of the servers in turn while users of all cells are charged. Goal: the others sell all the time,
/// nothing is lost or charged twice, nothing is rebuilt, and no server thinks that a slot is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_moves_while_the_others_sell() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let users = users(&app).await;
    let others: Vec<CellId> = everyone().into_iter().filter(|it| *it != CELL).collect();
    let (stop, told) = (AtomicBool::new(false), Told::default());
    let chargers = join_all(users.iter().map(|it| charge_on(&app, *it, &stop, &told)));
    let moves = async {
        let worker = app.connections().worker();
        let began = server_of(&app, &cluster, CELL);
        for step in [1, 2, 3] {
            wait_for_charges(&told, &everyone()).await;
            let (to, before) = ((began + step) % 3, epoch(&app, CELL).await);
            // One that was just kept is in doubt, until the file was written anew.
            let mark = format!("{{c{CELL}}}:suspect");
            let from = server_of(&app, &cluster, CELL);
            eventually!(cluster.ask::<u8>(from, &["EXISTS", &mark]).await.is_ok_and(|it| it == 0));
            let place = address_of(&cluster, to);
            let others_sell = wait_for_charges(&told, &others);
            let moved = tokio::join!(move_cell(&worker, CELL, &place, &Silent), others_sell);
            let moved = moved.0.unwrap();
            assert!(moved.keys > 2 && moved.slot == slot_of_cell(CELL), "{moved:?}");
            assert_eq!(server_of(&app, &cluster, CELL), to);
            eventually!(epoch(&app, CELL).await > before);
            wait_for_charges(&told, &everyone()).await;
        }
        assert_eq!(app.count("SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE epoch > 1").await, 0);
        // It is there already.
        let again = move_cell(&worker, CELL, &address_of(&cluster, began), &Silent).await.unwrap();
        assert_eq!(again.keys, 0);
        // Where an operator had closed it, it stays closed.
        close(&worker, CELL).await.unwrap();
        let moved = move_cell(&worker, CELL, &address_of(&cluster, (began + 1) % 3), &Silent).await.unwrap();
        assert!(moved.cells.iter().all(|it| it.1.is_none()), "{moved:?}");
        assert_eq!(state(&app, CELL).await, CellState::Closed { reason: "operator".to_owned() });
        reopen(&worker, CELL, &Silent).await.unwrap();
        wait_for_charges(&told, &everyone()).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(moves, chargers);
    assert_eq!(missing(&app, &told).await, [""; 0]);
    assert_eq!(app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await, 0);
    assert_eq!(on_their_way(&cluster).await, 0);
    let (other, _folder) = test_servers::redis().await;
    let elsewhere = Address { host: "127.0.0.1".to_owned(), port: other.port() };
    let refused = move_cell(&app.connections().worker(), CELL, &elsewhere, &Silent).await.unwrap_err();
    assert_eq!(state(&app, CELL).await, CellState::Open, "{refused}");
    app.finish().await;
}

/// Ends a command that a failed test leaves behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn firstcome(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstcome"));
    command
        .args(arguments)
        .env("FIRSTCOME_REDIS_URL", app.settings.redis_url.expose())
        .env("FIRSTCOME_MYSQL_URL", app.settings.mysql_url.expose())
        .env("FIRSTCOME_CELLS", CELLS.to_string())
        .env("RUST_LOG", "info")
        .stdin(Stdio::null());
    command
}

/// The command is killed when some of the keys have gone. Goal: the cell stays closed and says why, and everybody else
/// sells; the way back is refused; the same command again ends the move, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_killed_goes_on() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let users = users(&app).await;
    // Enough of them that a move takes some steps.
    let crowd: Vec<u64> = users_of(CELL).take(3_000).collect();
    for some in crowd.chunks(100) {
        let make = async |user: &u64| app.put(&format!("/users/{user}"), json!({})).await.status;
        assert!(join_all(some.iter().map(make)).await.iter().all(|it| it.is_success()));
    }
    let others: Vec<CellId> = everyone().into_iter().filter(|it| *it != CELL).collect();
    let (stop, told) = (AtomicBool::new(false), Told::default());
    let chargers = join_all(users.iter().map(|it| charge_on(&app, *it, &stop, &told)));
    let kill = async {
        wait_for_charges(&told, &everyone()).await;
        let from = server_of(&app, &cluster, CELL);
        let (to, third) = ((from + 1) % 3, (from + 2) % 3);
        let (place, slot) = (address_of(&cluster, to).to_string(), slot_of_cell(CELL).to_string());
        let arrived =
            async || -> u64 { cluster.ask(to, &["CLUSTER", "COUNTKEYSINSLOT", &slot]).await.unwrap() };
        let left =
            async || -> u64 { cluster.ask(from, &["CLUSTER", "COUNTKEYSINSLOT", &slot]).await.unwrap() };
        let mut command = Running(firstcome(&app, &["cell", "move", "0", "--to", &place]).spawn().unwrap());
        while arrived().await == 0 {
            assert!(command.0.try_wait().unwrap().is_none(), "it ended before it was killed");
        }
        drop(command);
        assert!(
            left().await > 0 && arrived().await > 0,
            "{} left, {} arrived",
            left().await,
            arrived().await
        );
        assert_eq!(state(&app, CELL).await, CellState::Closed { reason: format!("moving to {place}") });
        // Whoever opens it now must not take what is left for all.
        let mark: String = cluster.ask(from, &["GET", &format!("{{c{CELL}}}:suspect")]).await.unwrap();
        assert_eq!(mark, "moving");
        wait_for_charges(&told, &others).await;
        let worker = app.connections().worker();
        let refused = move_cell(&worker, CELL, &address_of(&cluster, third), &Silent).await.unwrap_err();
        assert!(matches!(&refused, MoveError::OtherWay { to, .. } if *to == place), "{refused}");
        let done = firstcome(&app, &["cell", "move", "0", "--to", &place]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stdout).contains(&format!("is on {place}")), "{done:?}");
        assert_eq!(left().await, 0);
        eventually!(state(&app, CELL).await == CellState::Open);
        wait_for_charges(&told, &everyone()).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(kill, chargers);
    assert_eq!(missing(&app, &told).await, [""; 0]);
    assert_eq!(on_their_way(&cluster).await, 0);
    app.finish().await;
}

/// Dies after so many keys, as a kill does.
struct DiesAt(std::sync::atomic::AtomicU64);

impl Progress for DiesAt {
    fn begin(&self, _rows: u64) {}

    fn advance(&self, rows: u64) {
        assert!(self.0.fetch_sub(rows, Ordering::Relaxed) > rows, "dies here");
    }
}

/// A move dies when all keys have gone and nobody was told; another when only the new server was. Goal: the same call
/// again ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_died_late_goes_on() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let user = users(&app).await[0];
    assert_eq!(charge(&app, user, "1-1").await, StatusCode::CREATED);
    let from = server_of(&app, &cluster, CELL);
    let to = (from + 1) % 3;
    let (worker, place) = (app.connections().worker(), address_of(&cluster, to));
    let dying = {
        let (worker, place) = (worker.clone(), place.clone());
        tokio::spawn(async move { move_cell(&worker, CELL, &place, &DiesAt(1.into())).await.map(drop) })
    };
    assert!(dying.await.is_err(), "it dies");
    assert!(matches!(state(&app, CELL).await, CellState::Closed { .. }));
    let id: String = cluster.ask(to, &["CLUSTER", "MYID"]).await.unwrap();
    let slot = slot_of_cell(CELL).to_string();
    let _: () = cluster.ask(to, &["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await.unwrap();
    let moved = move_cell(&worker, CELL, &place, &Silent).await.unwrap();
    assert!(
        matches!(&moved.cells[0].1, Some(it) if !matches!(it, RecoverOutcome::LeftClosed { .. })),
        "{moved:?}"
    );
    eventually!(charge(&app, user, "1-2").await == StatusCode::CREATED);
    assert_eq!((server_of(&app, &cluster, CELL), on_their_way(&cluster).await), (to, 0));
    drain(&app, everyone()).await;
    app.finish().await;
}

/// Sends a slot by hand, as an operator would who does not know better.
struct ByHand<'a> {
    cluster: &'a PrivateCluster,
    slot: String,
    from: usize,
    to: usize,
    ids: [String; 2],
}

impl<'a> ByHand<'a> {
    async fn begin(app: &TestApp, cluster: &'a PrivateCluster, cell: CellId) -> Self {
        let from = server_of(app, cluster, cell);
        let (to, slot) = ((from + 1) % 3, slot_of_cell(cell).to_string());
        let ids = [
            cluster.ask(from, &["CLUSTER", "MYID"]).await.unwrap(),
            cluster.ask(to, &["CLUSTER", "MYID"]).await.unwrap(),
        ];
        let it = Self { cluster, slot, from, to, ids };
        it.set(it.to, "IMPORTING", &it.ids[0]).await;
        it.set(it.from, "MIGRATING", &it.ids[1]).await;
        it
    }

    async fn set(&self, server: usize, what: &str, id: &str) {
        let words = ["CLUSTER", "SETSLOT", &self.slot, what, id];
        self.cluster.ask::<()>(server, &words).await.unwrap();
    }

    async fn send(&self, key: &str) {
        let port = self.cluster.servers[self.to].port().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        let _: String = self.cluster.ask(self.from, &words).await.unwrap();
    }

    async fn end(&self) {
        loop {
            let words = ["CLUSTER", "GETKEYSINSLOT", &self.slot, "10"];
            let keys: Vec<String> = self.cluster.ask(self.from, &words).await.unwrap();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                self.send(&key).await;
            }
        }
        for server in [self.to, self.from] {
            self.set(server, "NODE", &self.ids[1]).await;
        }
    }
}

/// A slot is moved by hand under traffic, with its cell open. Goal: those whose keys have gone, or are not yet, hear 503;
/// afterwards the cell sells at its new server, and nothing is lost or charged twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moved_by_hand_loses_nothing() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let users = users(&app).await;
    let (stop, told) = (AtomicBool::new(false), Told::default());
    let chargers = join_all(users.iter().map(|it| charge_on(&app, *it, &stop, &told)));
    let moves = async {
        wait_for_charges(&told, &everyone()).await;
        let hand = ByHand::begin(&app, &cluster, CELL).await;
        hand.send(&format!("{{c{CELL}}}:user:{}", users[0])).await;
        // A new key's record is at neither server, the wallet at the other one: whatever Redis says, nothing ran.
        let answer =
            app.post_once(&format!("/users/{}/balance", users[0]), "by-hand", json!({"amount": 1})).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        hand.end().await;
        wait_for_charges(&told, &everyone()).await;
        assert_eq!(server_of(&app, &cluster, CELL), hand.to);
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(moves, chargers);
    assert_eq!(missing(&app, &told).await, [""; 0]);
    assert_eq!(app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await, 0);
    app.finish().await;
}

/// A pending order is cancelled whose product has left with the slot, which the script learns behind its event. Goal: the
/// gate shuts, though the mark has no room; the cell is rebuilt where the slot ends up, and all agrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_a_moving_slot_stopped_is_found() {
    let cluster = start_cluster(false).await;
    let app = start_engine(&cluster).await;
    let home = CELL;
    let is_there = |it: &u64| Cells::new(CELLS).unwrap().home(ProductId::new(*it).unwrap()) == home;
    let product = (1..).find(is_there).unwrap();
    let buyer = users_of(home).next().unwrap();
    app.user_with(buyer, 1_000).await;
    let body = json!({"name": "A limited one", "price": 1, "stock": 10, "limitPerUser": 9});
    assert_eq!(app.put(&format!("/admin/products/{product}"), body).await.status, StatusCode::CREATED);
    let order = async |pay: &str| {
        let items = json!([{"productId": product, "quantity": 1}]);
        let answer = app.post("/orders", json!({"userId": buyer, "items": items, "payment": pay})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["orderId"].as_u64().unwrap()
    };
    // So that all keys which the script declares are there: units sold, an order that ended, one that is due.
    order("now").await;
    let (first, second, _due) = (order("later").await, order("later").await, order("later").await);
    let cancel = async |id| app.post(&format!("/orders/{id}/cancel"), json!({})).await;
    assert_eq!(cancel(first).await.status, StatusCode::OK);
    // The mark of the first recovery goes when the file was written anew.
    let mark = format!("{{c{home}}}:suspect");
    eventually!(
        cluster.ask::<u8>(server_of(&app, &cluster, home), &["EXISTS", &mark]).await.is_ok_and(|it| it == 0)
    );
    let before = epoch(&app, home).await;

    let hand = ByHand::begin(&app, &cluster, home).await;
    hand.send(&format!("{{c{home}}}:product:{product}")).await;
    let answer = cancel(second).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{answer:?}");
    let gate: String = cluster.ask(hand.from, &["GET", &format!("{{c{home}}}:gate")]).await.unwrap();
    assert_eq!(gate, format!("{before}?"));
    // Nobody can mend it while the slot is at two servers.
    assert_eq!(charge(&app, buyer, "1-1").await, StatusCode::SERVICE_UNAVAILABLE);
    hand.end().await;
    eventually!(epoch(&app, home).await > before);
    eventually!(charge(&app, buyer, "1-1").await != StatusCode::SERVICE_UNAVAILABLE);
    let rebuilt = sqlx::query_scalar::<_, i64>(
        "SELECT CAST(SUM(rebuilt) AS SIGNED) FROM recoveries WHERE cell = ? AND epoch > ?",
    );
    let rebuilt = rebuilt.bind(home.0).bind(before).fetch_one(&app.connections().mysql).await.unwrap();
    assert_eq!(rebuilt, 1, "what the script did not do is done by a rebuild");
    assert_eq!(app.get(&format!("/orders/{second}")).await.body["status"], "cancelled");
    assert_eq!(app.stock(product).await, 8);
    assert_eq!(topology(&app).address(home), Some(address_of(&cluster, hand.to)));
    drain(&app, everyone()).await;
    app.finish().await;
}
