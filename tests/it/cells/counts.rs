//! What it costs to know that nothing is left anywhere.

use redis::InfoDict;

use super::super::test_app::TestApp;
use super::{all_buy, tally, users_with};

const CELLS: u16 = 16;

const BUYERS: u64 = 100;

/// Readings of pools, purchases and questions at the home, each of which reads a pool once.
async fn looks(app: &TestApp) -> u64 {
    let mut redis = app.redis_of(1).await;
    let info: InfoDict = redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
    let hmget: String = info.get("cmdstat_hmget").unwrap();
    hmget.split(',').find_map(|it| it.strip_prefix("calls=")).unwrap().parse().unwrap()
}

/// Buyers of sixteen cells ask at once for what is sold out. Goal: all cells are counted a few times for all of them, not
/// for each cell that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cells_that_wait_are_counted_for_together() {
    let app = TestApp::start_with_own_redis(|settings| {
        settings.cells = CELLS;
        settings.mysql_connections = 40;
        settings.sold_out_memory_ms = 0;
    })
    .await;
    users_with(&app, BUYERS, 100).await;
    app.product_with(1, 10, 1).await;
    assert_eq!(tally(&all_buy(&app, 1, 1, 1).await), [((201, String::new()), 1)].into());
    let before = looks(&app).await;
    let answers = all_buy(&app, BUYERS, 1, 1).await;
    assert_eq!(tally(&answers), [((400, "out_of_stock".to_owned()), BUYERS as usize)].into());
    let looks = looks(&app).await - before;
    // A count is two readings of each cell, so that each cell's own would be 512 of them.
    let each_alone = 2 * u64::from(CELLS) * u64::from(CELLS);
    assert!(looks < BUYERS + each_alone / 2, "{looks} looks");
    app.finish().await;
}
