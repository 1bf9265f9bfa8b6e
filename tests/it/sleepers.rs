//! Promise: who slept changes nothing that has moved on: a recoverer at any of its steps, a node of an older epoch, a
//! refund between its reading and its script.

use firstcome::app;
use firstcome::cell::{CellView, Fence};
use firstcome::config::{Secret, Settings};
use firstcome::ids::{OrderId, UserId};
use firstcome::mysql::cells::{self, Recovered};
use firstcome::mysql::orders::{order_by_id, payment_of};
use firstcome::scripts::ScriptError;
use firstcome::scripts::balance_charge::{ChargeRequest, balance_charge};
use firstcome::scripts::order_end::{EndRequest, OrderEnd, OrderEnding, ReadOrder, order_end};
use firstcome::scripts::recovery::{CellInRecovery, RestoreChunks, StepError};
use firstcome::worker::Silent;
use firstcome::worker::recover::{Because, recover_in_turn};
use reqwest::StatusCode;
use serde_json::json;

use super::answers::anywhere::{forget_orders, leave_redis};
use super::faults::proxy::Proxy;
use super::test_app::{TestApp, eventually};

async fn view(app: &TestApp) -> CellView {
    cells::read(&app.connections().mysql, app.cell_of(1)).await.unwrap().view
}

/// On a Redis of its own: fences here name no server, as they do in a cluster.
async fn shop() -> TestApp {
    let app = TestApp::start_with_own_redis(|_| {}).await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 1, 100).await;
    app.drain().await;
    app
}

/// What a recoverer does next when it wakes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Survivors,
    Clear,
    Restore,
    Commit,
    Open,
}

/// A recovery falls asleep before each of its steps, is overtaken, and wakes. Goal: the step is refused, and neither
/// Redis nor MySQL has changed.
#[tokio::test]
async fn a_recoverer_that_slept_changes_nothing() {
    let app = shop().await;
    for step in [Step::Survivors, Step::Clear, Step::Restore, Step::Commit, Step::Open] {
        let known = view(&app).await;
        let scripts = &app.connections().scripts;
        let mysql = &app.connections().mysql;
        let epoch = known.epoch + 1;
        // Another worker may be faster: then there is nothing to sleep in.
        assert!(cells::claim_epoch(mysql, app.cell_of(1), known.epoch, epoch).await.unwrap());
        let connection = scripts.own_connection(app.cell_of(1)).await.unwrap();
        let (mut sleeper, _) = CellInRecovery::take(connection, app.cell_of(1), epoch).await.unwrap();

        let buy = async || {
            app.post("/orders", json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]})).await.status
        };
        eventually!(buy().await == StatusCode::CREATED);
        app.drain().await;
        let awake = view(&app).await;
        assert!(awake.epoch > epoch, "{step:?}: {awake:?}");
        let before = app.redis.everything().await;

        let mut chunks = RestoreChunks::default();
        chunks.push(["HSET", &app.key_of(1, "user:1"), "balance", "999999"].map(str::to_owned));
        let refused = match step {
            Step::Survivors => sleeper.survivors(known.persisted, 10).await.map(drop),
            Step::Clear => sleeper.clear().await,
            Step::Restore => sleeper.restore(&chunks.finish()).await,
            Step::Commit => {
                let (kept, base) = (known.persisted, known.persisted.seq + 10_000_000);
                let (rebuilt, replid) = (false, None);
                let found = Recovered {
                    cell: app.cell_of(1),
                    epoch,
                    kept,
                    rebuilt,
                    lost_from: 0,
                    lost_to: 0,
                    base,
                    replid,
                };
                assert!(!cells::commit_recovery(mysql, &found).await.unwrap());
                Err(StepError::Superseded)
            }
            Step::Open => sleeper.open(scripts, known.persisted.seq + 1, known.persisted, None, false).await,
        };
        assert!(matches!(refused, Err(StepError::Superseded)), "{step:?}: {refused:?}");
        assert_eq!(app.redis.everything().await, before, "{step:?}");
        assert_eq!(view(&app).await, awake, "{step:?}");
    }
    app.finish().await;
}

/// A node does not hear of a recovery. Goal: its scripts, which the server still has, do nothing in the new epoch; and a
/// reply that it got of the old one is not vouched for any more.
#[tokio::test]
async fn a_node_of_an_old_epoch_writes_nothing() {
    let app = shop().await;
    let old = app::connect(app.settings.clone()).await.unwrap();
    let epoch = view(&app).await.epoch;
    old.scripts.adopt(app.cell_of(1), Fence { epoch, replid: None });
    let charge = async |amount| {
        let user = UserId::new(1).unwrap();
        let request = ChargeRequest {
            user,
            amount,
            wallet_limit: 1_000_000,
            create: false,
            idempotency: None,
            idempotency_ttl_ms: 1_000,
        };
        balance_charge(&old.scripts, request).await
    };
    charge(1).await.unwrap();
    app.drain().await;
    recover_in_turn(&app.connections().worker(), app.cell_of(1), Because::Asked, &Silent).await.unwrap();
    eventually!(app.get("/users/1/balance").await.status == StatusCode::OK);
    let before = app.redis.everything().await;
    let refused = charge(100).await.unwrap_err();
    assert!(matches!(refused, ScriptError::CellClosed(_)), "{refused:?}");
    assert_eq!(app.redis.everything().await, before);
    assert_eq!(app.balance(1).await, 1_001);

    old.scripts.adopt(app.cell_of(1), Fence { epoch: view(&app).await.epoch, replid: None });
    charge(1).await.unwrap();
    assert_eq!(app.balance(1).await, 1_002);
    old.mysql.close().await;
    app.finish().await;
}

/// A reply is on its way while the cell is recovered and the node turns to the new epoch. Goal: the node vouches for
/// nothing of the old one, whatever the reply says: its caller hears that the outcome is unknown.
#[tokio::test]
async fn a_reply_that_comes_after_the_turn_is_not_vouched_for() {
    let app = shop().await;
    let url = app.redis.url();
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let proxy = Proxy::start(port.parse().unwrap()).await;
    let settings = Settings {
        redis_url: Secret::new(format!("redis://127.0.0.1:{}/", proxy.port)),
        ..app.settings.clone()
    };
    let node = app::connect(settings).await.unwrap();
    node.scripts.adopt(app.cell_of(1), Fence { epoch: view(&app).await.epoch, replid: None });
    let charge = async || {
        let request = ChargeRequest {
            user: UserId::new(1).unwrap(),
            amount: 1,
            wallet_limit: 1_000_000,
            create: false,
            idempotency: None,
            idempotency_ttl_ms: 1_000,
        };
        balance_charge(&node.scripts, request).await
    };
    charge().await.unwrap();
    let vouched = node.scripts.vouched(app.cell_of(1)).highest;
    proxy.hold_replies(true);
    let meanwhile = async {
        eventually!(app.balance(1).await == 1_002);
        app.drain().await;
        recover_in_turn(&app.connections().worker(), app.cell_of(1), Because::Asked, &Silent).await.unwrap();
        node.scripts.adopt(app.cell_of(1), Fence { epoch: view(&app).await.epoch, replid: None });
        proxy.hold_replies(false);
    };
    let (told, ()) = futures::join!(charge(), meanwhile);
    assert!(matches!(told, Err(ScriptError::Unknown(_))), "{told:?}");
    assert_eq!(node.scripts.vouched(app.cell_of(1)).highest, vouched);
    node.mysql.close().await;
    app.finish().await;
}

/// What a node reads of an order that only MySQL has, before it asks the script to refund it.
async fn read(app: &TestApp, order: OrderId) -> ReadOrder {
    let mysql = &app.connections().mysql;
    // The position first: what happened up to it is in the row.
    let known_to = cells::read(mysql, app.cell_of(1)).await.unwrap().view.persisted;
    let facts = order_by_id(mysql, order).await.unwrap().unwrap().facts;
    let paid_seq = payment_of(mysql, order).await.unwrap().unwrap().seq;
    ReadOrder { facts, paid_seq, known_to }
}

async fn refund(app: &TestApp, order: OrderId, read: &ReadOrder) -> OrderEnd {
    let request = EndRequest {
        order,
        ending: OrderEnding::Refunded,
        caller: None,
        idempotency: None,
        idempotency_ttl_ms: 1_000,
        read: Some(read),
    };
    order_end(&app.connections().scripts, app.cell_of(1), request).await.unwrap()
}

/// A refund falls asleep between reading MySQL and its script; somebody else refunds the order meanwhile, and in the end
/// nothing of that is left in Redis. Goal: the money is back once.
#[tokio::test]
async fn a_refund_that_slept_is_told_to_read_again() {
    let mut app = shop().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        let order = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
        let answer = app.post("/orders", order).await;
        orders.push(OrderId::new(answer.body["orderId"].as_u64().unwrap()).unwrap());
    }
    leave_redis(&mut app).await;
    assert_eq!(app.balance(1).await, 997);
    let [awake, held, gone] = orders[..] else { panic!("{orders:?}") };
    let reads = [read(&app, awake).await, read(&app, held).await, read(&app, gone).await];

    assert!(matches!(refund(&app, awake, &reads[0]).await, OrderEnd::Ended { .. }));
    assert_eq!(app.balance(1).await, 998);
    for order in [held, gone] {
        assert_eq!(app.post(&format!("/orders/{order}/refund"), json!({})).await.status, StatusCode::OK);
    }
    assert_eq!(app.balance(1).await, 1_000);
    // What became of them is still in Redis.
    assert_eq!(refund(&app, held, &reads[1]).await, OrderEnd::NotNow);
    app.drain_events().await;
    forget_orders(&app).await;
    // Nothing of it is: only the log tells that it has moved on.
    for (order, read) in [(awake, &reads[0]), (held, &reads[1]), (gone, &reads[2])] {
        assert_eq!(refund(&app, order, read).await, OrderEnd::Stale);
        let again = app.post(&format!("/orders/{order}/refund"), json!({})).await;
        assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "order_not_refundable"));
    }
    assert_eq!(app.balance(1).await, 1_000);
    app.finish().await;
}
