//! Dead events: seen, applied after all, dropped; and whatever the order, nothing is lost or done twice.

mod books;
mod commands;
mod histories;
mod lives;
mod stories;

use firstcome::app::Role;
use firstcome::cell::{Position, Seq};
use firstcome::config::Settings;

use crate::test_app::TestApp;
use crate::test_clock::TestClock;

/// An engine that sells and does not persist: the test says when. Of one cell: two databases follow its log, and what other
/// cells do waits for one of them.
async fn log_only(change: impl FnOnce(&mut Settings)) -> TestApp {
    let mut app = TestApp::start_with_one_cell(change).await;
    without_worker(&mut app).await;
    app
}

async fn log_only_with_clock(change: impl FnOnce(&mut Settings)) -> (TestApp, TestClock) {
    let one_cell = |settings: &mut Settings| {
        settings.cells = 1;
        change(settings);
    };
    let (mut app, clock) = TestApp::start_with_clock(one_cell).await;
    without_worker(&mut app).await;
    (app, clock)
}

async fn without_worker(app: &mut TestApp) {
    app.drain().await;
    app.stop_engine().await;
    app.start_engine_as(Role::Api).await;
}

/// Number and kind of the newest event.
async fn last_event(app: &TestApp) -> (Seq, String) {
    let newest: Vec<(String, Vec<String>)> = redis::cmd("XREVRANGE")
        .arg(app.key_of(1, "events"))
        .arg("+")
        .arg("-")
        .arg("COUNT")
        .arg(1)
        .query_async(&mut app.redis_of(1).await)
        .await
        .unwrap();
    let (id, fields) = &newest[0];
    (id.parse::<Position>().unwrap().seq, fields[0].clone())
}
