//! Promise: commands that are ready at the same moment travel together, and each of them has an answer of its own.

use firstcome::ids::UserId;
use firstcome::scripts::ScriptError;
use firstcome::scripts::balance_get::balance_get;
use futures::FutureExt;
use futures::future::join_all;
use redis::InfoDict;

use super::test_app::TestApp;

const USERS: u64 = 1_000;

/// One of the users has a wallet that no script can read.
const BROKEN: u64 = 500;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// How often Redis has read from a client.
async fn reads(redis: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: InfoDict = redis::cmd("INFO").arg("stats").query_async(redis).await.unwrap();
    info.get("total_reads_processed").unwrap()
}

/// A thousand ask at once, and half of them go away. Goal: who stays hears what is theirs, an error included, and Redis
/// reads dozens of commands at a time.
#[tokio::test]
async fn each_of_a_thousand_hears_its_own_answer() {
    let app = TestApp::start_with_one_cell(|_| {}).await;
    let mut redis = app.redis_of(1).await;
    for id in (1..=USERS).filter(|id| *id != BROKEN) {
        let key = format!("{{c0}}:user:{id}");
        redis::cmd("HSET").arg(key).arg("balance").arg(id).exec_async(&mut redis).await.unwrap();
    }
    redis::cmd("SET").arg(format!("{{c0}}:user:{BROKEN}")).arg("x").exec_async(&mut redis).await.unwrap();

    let scripts = app.connections().scripts.clone();
    let before = reads(&mut redis).await;
    let mut answers = join_all((1..=USERS).map(|id| {
        let call = balance_get(&scripts, user(id));
        // Polled once, and dropped.
        async move { if id % 2 == 0 { Some(call.await) } else { call.now_or_never() } }
    }))
    .await;
    let reads = reads(&mut redis).await - before;
    assert!(reads < USERS / 4, "{reads} reads for {USERS} commands");
    for (id, answer) in (1..).zip(answers.drain(..)) {
        match answer {
            None => assert_eq!(id % 2, 1),
            Some(Err(ScriptError::Failed { reason, .. })) => {
                assert_eq!((id, reason.contains("WRONGTYPE")), (BROKEN, true), "{reason}");
            }
            Some(answer) => assert_eq!(answer.unwrap(), Some(id as i64)),
        }
    }
    app.abandon().await;
}
