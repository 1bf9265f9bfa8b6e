//! What it costs to know that nothing is left anywhere.

use std::future::ready;

use futures::StreamExt;
use redis::AsyncCommands;

use super::super::test_app::TestApp;
use super::{all_buy, tally, users_with};

const CELLS: u16 = 16;

const BUYERS: u64 = 100;

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
    let client = redis::Client::open(app.redis.url()).unwrap();
    let monitor = client.get_async_monitor().await.unwrap();
    let answers = all_buy(&app, BUYERS, 1, 1).await;
    assert_eq!(tally(&answers), [((400, "out_of_stock".to_owned()), BUYERS as usize)].into());
    let () = client.get_multiplexed_async_connection().await.unwrap().set("the", "end").await.unwrap();
    let commands =
        monitor.into_on_message::<String>().take_while(|it| ready(!it.contains("\"the\" \"end\"")));
    // What a reading of a pool asks for, and no other script.
    let readings = commands.filter(|it| ready(it.contains("\"increases\""))).count().await;
    // A count is two readings of each cell, so that each cell's own would be 512 of them.
    let each_alone = 2 * usize::from(CELLS) * usize::from(CELLS);
    assert!(readings < each_alone / 2, "{readings} readings");
    assert!(readings >= 2 * usize::from(CELLS), "{readings} readings");
    app.finish().await;
}
