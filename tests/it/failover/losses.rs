//! Sales that a failover loses.

use super::*;
use crate::test_cluster::drain;

const UNITS: i64 = 400;

/// Orders of each user that are acknowledged and lost.
const LOST: usize = 7;

/// A replica is cut off; some buyers wait for MySQL and are told that it has their orders; then MySQL hears nothing more, others
/// are told "sold", and the primary dies. Goal: the others sell all the time; the cells of the dead one open by themselves with
/// all that MySQL had; what is lost is counted exactly, and every unit is sold once in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_loses_is_counted_to_the_event() {
    let mut stage = Stage::start().await;
    stage.app.product_with(PRODUCT, PRICE, UNITS).await;
    let users = rich_users(&stage.app).await;
    // Each cell has units from here on, and needs no more for what follows.
    for user in &users {
        stage.buy(*user, "first").await;
    }
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    let primary = stage.server_of(CellId(0));
    let cells = stage.cells_on(primary);
    let (doomed, safe): (Vec<u64>, Vec<u64>) = users.iter().partition(|it| cells.contains(&cell_of(**it)));

    let replica = stage.cut_off(primary).await;
    let mut persisted = BTreeSet::new();
    for (user, number) in doomed.iter().flat_map(|user| (0..3).map(move |it| (*user, it))) {
        let answer = stage.ask(user, &format!("waits {number}"), true).await;
        let told = (answer.status, answer.header("preference-applied"));
        assert_eq!(told, (StatusCode::CREATED, Some("wait=persisted")), "{answer:?}");
        persisted.insert(answer.body["orderId"].as_u64().unwrap());
    }
    let kept = stage.orders().await;
    assert!(kept.is_superset(&persisted));

    stage.kill_worker();
    let mut told = BTreeMap::new();
    for (user, number) in doomed.iter().flat_map(|user| (0..LOST).map(move |it| (*user, it))) {
        told.insert((user, number), stage.buy(user, &format!("lost {number}")).await);
    }
    let mut waiting = Vec::new();
    for user in &doomed {
        waiting.push(tokio::spawn(stage.ask(*user, "waits in vain", true)));
    }
    let mut lost = BTreeMap::new();
    for cell in &cells {
        eventually!(stage.unpersisted(*cell).await.len() > LOST);
        let events = stage.unpersisted(*cell).await;
        let mut orders = told.values().filter(|it| **it % 1_024 == u64::from(cell.0));
        assert!(orders.all(|it| events.contains(&(it / 1_024))), "{events:?}");
        assert_eq!(events.len(), LOST + 1, "nothing else is there");
        lost.insert(*cell, events.len() as u64);
    }
    let epochs = stage.epochs().await;
    stage.fail_over(primary, replica).await;
    for user in &safe {
        stage.buy(*user, "meanwhile").await;
    }
    stage.start_worker();
    stage.wait_until_all_sell().await;

    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "nobody knows of it: {answer:?}");
    }
    assert_eq!((stage.lost().await, stage.lost_by_metrics().await), (lost.clone(), lost.clone()));
    for (cell, before) in epochs {
        assert_eq!(epoch(&stage.app, cell).await > before, cells.contains(&cell), "cell {cell}");
    }
    for (cell, events) in &lost {
        let sql = "SELECT kept_seq, lost_to FROM recoveries WHERE cell = ? ORDER BY epoch DESC LIMIT 1";
        let range = sqlx::query_as::<_, (u64, u64)>(sql).bind(cell.0);
        let (from, to) = range.fetch_one(&stage.app.connections().mysql).await.unwrap();
        assert_eq!(to - from, *events);
        let mut orders = told.values().filter(|it| **it % 1_024 == u64::from(cell.0));
        assert!(orders.all(|it| (from + 1..=to).contains(&(it / 1_024))));
    }
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    let orders = stage.orders().await;
    assert!(orders.is_superset(&kept), "what MySQL had is there");
    assert_eq!(orders.len(), kept.len() + safe.len(), "what it had not is gone");
    for user in &doomed {
        let left = 1_000_000 - 4 * PRICE;
        assert_eq!(stage.app.balance(*user).await, left, "whoever lost an order has the money");
    }
    for order in told.values() {
        assert_eq!(stage.app.get(&format!("/orders/{order}")).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(stage.app.stock(PRODUCT).await, UNITS - orders.len() as i64);

    // A buyer who asks again under the same key has an order after all.
    let gone: BTreeSet<u64> = told.values().copied().collect();
    for (user, number) in told.into_keys() {
        let order = stage.buy(user, &format!("lost {number}")).await;
        assert!(!gone.contains(&order), "the number of a lost order is given to nobody else");
    }
    stage.bring_back(primary, replica).await;
    let left = stage.app.stock(PRODUCT).await;
    stage.sell_out(&users, left).await;
    assert_eq!(stage.lost().await, lost, "nothing more");
    stage.end().await;
}

/// Primaries must have a replica to sell. Goal: one that was cut off from its own tells nobody "sold", so that its failover loses
/// nothing; the promoted one waits for a replica of its own, and sells when the old primary is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_must_have_a_replica_loses_nothing() {
    let mut stage = Stage::start().await;
    stage.app.product_with(PRODUCT, PRICE, UNITS).await;
    let users = rich_users(&stage.app).await;
    for user in &users {
        stage.buy(*user, "first").await;
    }
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    for server in 0..stage.cluster.servers.len() {
        let set = ["CONFIG", "SET", "min-replicas-to-write", "1"];
        let () = stage.cluster.ask(server, &set).await.unwrap();
    }
    let primary = stage.server_of(CellId(0));
    let cells = stage.cells_on(primary);
    let (doomed, safe): (Vec<u64>, Vec<u64>) = users.iter().partition(|it| cells.contains(&cell_of(**it)));
    let replica = stage.cut_off(primary).await;
    for user in &doomed {
        let refused = stage.ask(*user, "alone", false).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
        assert!(refused.header("retry-after").is_some());
    }
    let epochs = stage.epochs().await;
    stage.fail_over(primary, replica).await;
    for user in &safe {
        stage.buy(*user, "meanwhile").await;
    }
    for user in &doomed {
        let refused = stage.ask(*user, "alone", false).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    }
    stage.bring_back(primary, replica).await;
    stage.wait_until_all_sell().await;
    for cell in &cells {
        assert!(epoch(&stage.app, *cell).await > epochs[cell]);
    }
    for user in &doomed {
        stage.buy(*user, "alone").await;
    }
    assert_eq!(stage.lost().await, BTreeMap::new());
    drain(&stage.app, (0..CELLS).map(CellId)).await;
    assert_eq!(stage.orders().await.len(), 2 * users.len());
    let left = stage.app.stock(PRODUCT).await;
    stage.sell_out(&users, left).await;
    stage.end().await;
}
