//! Promise: whoever waits for MySQL to have an event is told when it does, or that nobody knows.

use std::time::Duration;

use firstcome::cell::{CellId, Position};
use firstcome::node::Node;
use firstcome::scripts::Scripts;
use firstcome::watermark::Reached;
use firstcome::worker::recover::{close, reopen};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::test_app::TestApp;

/// Generous: a slow machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The newest event of a cell that this process vouches for.
fn newest(scripts: &Scripts, cell: CellId) -> Position {
    Position { epoch: scripts.fence(cell).unwrap().epoch, seq: scripts.vouched(cell).highest }
}

/// The notes are locked, so that a node's usual round hangs. Goal: those who wait are told all the same.
#[tokio::test]
async fn a_node_that_hangs_in_its_round_still_tells_those_who_wait() {
    let app = TestApp::start().await;
    let connections = app.connections();
    // The worker is behind its recovery, which needs the notes, too.
    app.user_with(2, 1).await;
    app.drain().await;
    let mut holder = connections.mysql.acquire().await.unwrap();
    sqlx::raw_sql("SET SESSION wait_timeout = 600; LOCK TABLES nodes WRITE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let (node, stop) =
        (Node::new(connections.mysql.clone(), connections.scripts.clone()), CancellationToken::new());
    let (watermark, stopped) = (node.watermark(), stop.clone());
    let running = tokio::spawn(async move { node.run(stopped).await });

    app.user_with(1, 100).await;
    let charged = newest(&connections.scripts, app.cell_of(1));
    assert_eq!(watermark.reach(app.cell_of(1), charged, PATIENCE).await, Reached::Persisted);
    assert_eq!(app.count("SELECT balance FROM wallets WHERE user_id = 1").await, 100);
    app.post("/users/1/balance", json!({"amount": 1})).await;
    let charged = newest(&connections.scripts, app.cell_of(1));
    assert_eq!(watermark.reach(app.cell_of(1), charged, PATIENCE).await, Reached::Persisted);
    assert_eq!(app.count("SELECT balance FROM wallets WHERE user_id = 1").await, 101);

    sqlx::raw_sql("UNLOCK TABLES").execute(&mut *holder).await.unwrap();
    drop(holder);
    stop.cancel();
    running.await.unwrap();
    app.finish().await;
}

/// The cell is recovered while MySQL does not have an event yet. Goal: nobody is told that it does.
#[tokio::test]
async fn a_recovery_ends_the_wait_for_what_came_before_it() {
    let app = TestApp::start().await;
    app.user_with(1, 100).await;
    let cell = app.cell_of(1);
    let before = newest(&app.connections().scripts, cell);
    let lost = Position { seq: before.seq + 1_000, ..before };
    let worker = app.connections().worker();
    let node = Node::new(app.connections().mysql.clone(), app.connections().scripts.clone());
    let (watermark, stop) = (node.watermark(), CancellationToken::new());
    let stopped = stop.clone();
    let running = tokio::spawn(async move { node.run(stopped).await });
    let recover = async {
        watermark.wanted().await;
        close(&worker, cell).await.unwrap();
        reopen(&worker, cell, &firstcome::worker::Silent).await.unwrap();
    };

    let (reached, ()) = tokio::join!(watermark.reach(cell, lost, PATIENCE), recover);

    assert_eq!(reached, Reached::Unknown);
    assert!(app.engine().wait_until_open(PATIENCE).await);
    app.post("/users/1/balance", json!({"amount": 1})).await;
    let after = newest(&app.connections().scripts, cell);
    assert!(after > before);
    assert_eq!(watermark.reach(cell, after, PATIENCE).await, Reached::Persisted);
    stop.cancel();
    running.await.unwrap();
    app.finish().await;
}
