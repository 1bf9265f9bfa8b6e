//! Promise: cells whose tags fall into one slot live and move together, and have nothing else in common.

use firstcome::app::connect;
use firstcome::cell::{CellId, CellState};
use firstcome::config::{Address, Settings};
use firstcome::ids::UserId;
use firstcome::mysql;
use firstcome::mysql::cells;
use firstcome::scripts::balance_charge::{BalanceCharge, ChargeRequest, balance_charge};
use firstcome::scripts::balance_get::balance_get;
use firstcome::scripts::cluster::slots::slot_of_cell;
use firstcome::worker::moving::move_cell;
use firstcome::worker::recover::{Because, RecoverOutcome, close, recover_in_turn};
use firstcome::worker::{Silent, drain_events};
use std::time::Duration;

use super::test_app::{eventually, fresh_settings};
use super::test_cluster::start_cluster;

/// Two cells that share a slot. Of 512 cells, the next smaller number that there can be, none do.
const TOGETHER: [CellId; 2] = [CellId(10), CellId(710)];

/// Goal: both sell; a move of either closes, carries and opens both, but for the one that an operator has closed; a rebuild of
/// one leaves the other alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_of_one_slot_move_together() {
    let slot = slot_of_cell(TOGETHER[0]);
    assert_eq!(slot_of_cell(TOGETHER[1]), slot);
    let cluster = start_cluster(false).await;
    let settings = Settings { cells: 1_024, ..fresh_settings(cluster.url()).await };
    mysql::migrate(&settings.mysql_url, &settings.tls_ca_file).await.unwrap();
    let connections = connect(settings).await.unwrap();
    let (worker, scripts) = (connections.worker(), &connections.scripts);
    let all = scripts.cells();
    let users = TOGETHER.map(|cell| {
        (1..).map(|it| UserId::new(it).unwrap()).find(|it| all.of_user(*it) == cell).expect("a user")
    });
    for cell in TOGETHER {
        let opened = recover_in_turn(&worker, cell, Because::Closed, &Silent).await.unwrap();
        assert!(matches!(opened, RecoverOutcome::Opened(_)), "{opened:?}");
    }
    let charge = async |user: UserId| {
        let (idempotency, idempotency_ttl_ms) = (None, 1_000);
        let request = ChargeRequest {
            user,
            amount: 7,
            wallet_limit: 1_000,
            create: true,
            idempotency,
            idempotency_ttl_ms,
        };
        matches!(balance_charge(scripts, request).await, Ok(BalanceCharge::Charged { .. }))
    };
    let mut balance = 0;
    let mut charge_both = async || {
        balance += 7;
        for user in users {
            eventually!(charge(user).await);
            assert_eq!(balance_get(scripts, user).await.unwrap(), Some(balance));
        }
    };
    charge_both().await;

    let topology = scripts.cluster().unwrap();
    let server = || {
        let found = TOGETHER.map(|cell| topology.address(cell).expect("a server").port);
        assert_eq!(found[0], found[1], "one slot has one server");
        (0..3).find(|it| cluster.port(*it) == found[0]).unwrap()
    };
    let epochs = async || {
        let mut epochs = Vec::new();
        for cell in TOGETHER {
            epochs.push(cells::read(&connections.mysql, cell).await.unwrap().view.epoch);
        }
        epochs
    };
    for moved_by in TOGETHER {
        let (to, before) = ((server() + 1) % 3, epochs().await);
        let place = Address { host: "127.0.0.1".to_owned(), port: cluster.port(to) };
        let moved = move_cell(&worker, moved_by, &place, &Silent).await.unwrap();
        let how: Vec<bool> =
            moved.cells.iter().map(|it| matches!(it.1, Some(RecoverOutcome::Opened(_)))).collect();
        assert_eq!((moved.slot, how), (slot, vec![true, true]), "{moved:?}");
        assert_eq!(moved.cells.iter().map(|it| it.0).collect::<Vec<_>>(), TOGETHER);
        let after = epochs().await;
        assert!(after.iter().zip(&before).all(|(after, before)| after > before));
        assert_eq!(server(), to);
        let left: u64 = cluster.ask(to, &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await.unwrap();
        assert!(left >= 6, "a gate, a log and a wallet of each: {left}");
        charge_both().await;
    }

    let before = epochs().await;
    recover_in_turn(&worker, TOGETHER[0], Because::Asked, &Silent).await.unwrap();
    let after = epochs().await;
    assert!(after[0] > before[0] && after[1] == before[1], "{before:?} {after:?}");
    charge_both().await;

    close(&worker, TOGETHER[1]).await.unwrap();
    let place = Address { host: "127.0.0.1".to_owned(), port: cluster.port((server() + 1) % 3) };
    let moved = move_cell(&worker, TOGETHER[0], &place, &Silent).await.unwrap();
    assert!(moved.cells[0].1.is_some() && moved.cells[1].1.is_none(), "{moved:?}");
    let state = cells::read(&connections.mysql, TOGETHER[1]).await.unwrap().view.state;
    assert_eq!(state, CellState::Closed { reason: "operator".to_owned() });
    eventually!(charge(users[0]).await);
    assert!(!charge(users[1]).await);
    firstcome::worker::recover::reopen(&worker, TOGETHER[1], &Silent).await.unwrap();
    eventually!(charge(users[1]).await);
    for cell in TOGETHER {
        drain_events(&worker, cell, Duration::from_secs(60)).await.unwrap();
    }
    let lost: i64 = sqlx::query_scalar("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells")
        .fetch_one(&connections.mysql)
        .await
        .unwrap();
    assert_eq!(lost, 0);
}
