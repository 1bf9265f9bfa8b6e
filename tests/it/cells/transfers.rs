//! Units between cells, when something dies on the way.

use firstcome::cell::CellId;
use firstcome::ids::{OptionId, ProductId, UserId};
use firstcome::pool::Pool;
use firstcome::product::SkuId;
use firstcome::scripts::quota_give::{Ask, QuotaGive, quota_give};
use firstcome::scripts::quota_read::quota_read;
use firstcome::worker::{Silent, recover};
use redis::AsyncCommands;
use reqwest::StatusCode;
use serde_json::json;

use super::super::test_app::{TestApp, eventually};
use super::{all_buy, eight_cells, tally, users_with};

const PRODUCT: u64 = 1;

fn stock() -> Pool {
    Pool::Stock(SkuId { product: ProductId::new(PRODUCT).unwrap(), option: OptionId::NONE })
}

/// Some cell that is not the product's home.
fn elsewhere(app: &TestApp) -> CellId {
    let cells = app.settings.cells();
    cells.all().find(|it| *it != stock().home(cells)).unwrap()
}

fn user_of(app: &TestApp, cell: CellId) -> u64 {
    let cells = app.settings.cells();
    (1..).find(|it| cells.of_user(UserId::new(*it).unwrap()) == cell).unwrap()
}

/// As where a server comes back without its data, for the keys of one cell.
async fn lose(app: &TestApp, cell: CellId) {
    let mut redis = app.redis.connect(cell).await;
    let keys: Vec<String> = redis.keys(format!("{{c{cell}}}:*")).await.unwrap();
    let () = redis.unlink(keys).await.unwrap();
}

/// Goal: units that were given on behalf of a buyer whose node died arrive all the same, and count as stock meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_nobody_takes_arrive() {
    let app = eight_cells().await;
    app.product_with(PRODUCT, 10, 50).await;
    let (scripts, home, to) =
        (&app.connections().scripts, stock().home(app.settings.cells()), elsewhere(&app));
    let ask = Ask::Home { least: 1, wanted: 20, share: 16 };
    let QuotaGive::Given { transfer, scarce } = quota_give(scripts, stock(), home, to, ask).await.unwrap()
    else {
        panic!("the home has enough")
    };
    assert_eq!((transfer.number, transfer.units, scarce), (1, 20, true));
    assert_eq!(app.stock(PRODUCT).await, 50, "on their way they are in stock");
    let again = quota_give(scripts, stock(), home, to, ask).await.unwrap();
    assert!(matches!(again, QuotaGive::Outstanding(it) if it.number == 1 && it.units == 20), "{again:?}");
    eventually!(app.count("SELECT COUNT(*) FROM transfers WHERE taken_number = 1").await == 1);
    // The giver is told, too, and gives the next one.
    eventually!(matches!(
        quota_give(scripts, stock(), home, to, ask).await.unwrap(),
        QuotaGive::Given { .. }
    ));
    assert_eq!(app.stock(PRODUCT).await, 50);
    app.finish().await;
}

/// Goal: whichever side is rebuilt from MySQL while units are on their way, none is lost and none is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_on_either_side_keeps_every_unit() {
    let app = eight_cells().await;
    users_with(&app, 60, 1_000).await;
    app.product_with(PRODUCT, 10, 60).await;
    let (home, to) = (stock().home(app.settings.cells()), elsewhere(&app));
    for cell in [home, to, home, to] {
        let scripts = &app.connections().scripts;
        let ask = Ask::Home { least: 1, wanted: 5, share: 16 };
        quota_give(scripts, stock(), home, to, ask).await.unwrap();
        lose(&app, cell).await;
        eventually!(app.get("/readyz").await.status == StatusCode::OK);
        assert_eq!(app.stock(PRODUCT).await, 60);
    }
    app.assert_clean().await;
    let answers = all_buy(&app, 60, PRODUCT, 1).await;
    assert_eq!(tally(&answers), [((201, String::new()), 60)].into());
    assert_eq!(all_buy(&app, 1, PRODUCT, 1).await[0].code(), "out_of_stock");
    app.finish().await;
}

/// Goal: while MySQL is away no units move, and a buyer whose cell has none is told to come back, not "sold out".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_mysql_nobody_hears_sold_out() {
    let app = eight_cells().await;
    users_with(&app, 40, 1_000).await;
    app.product_with(PRODUCT, 10, 400).await;
    app.drain().await;
    // What holds the cells' rows keeps every batch from being written.
    let mut holder = app.connections().mysql.begin().await.unwrap();
    sqlx::query("SELECT * FROM cells FOR UPDATE").fetch_all(&mut *holder).await.unwrap();
    let cells = app.settings.cells();
    let home = stock().home(cells);
    let user = (1..=40).find(|it| cells.of_user(UserId::new(*it).unwrap()) != home).unwrap();
    let order = json!({ "userId": user, "items": [{ "productId": PRODUCT, "quantity": 1 }] });
    let refused = app.post("/orders", order.clone()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    holder.rollback().await.unwrap();
    eventually!(app.post("/orders", order.clone()).await.status == StatusCode::CREATED);
    app.finish().await;
}

/// Goal: more comes to a cell before it is empty, so that a buyer rarely waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_come_before_a_cell_is_empty() {
    let app = eight_cells().await;
    app.product_with(PRODUCT, 1, 1_600).await;
    let (cell, scripts) = (elsewhere(&app), &app.connections().scripts);
    let user = user_of(&app, cell);
    app.user_with(user, 1_000).await;
    let buy = async |quantity: u64| {
        let order = json!({ "userId": user, "items": [{ "productId": PRODUCT, "quantity": quantity }] });
        let bought = app.post("/orders", order).await;
        assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
    };
    let units = async || {
        let (quotas, _) = quota_read(scripts, cell, &[stock()]).await.unwrap();
        (quotas[0].remaining, quotas[0].moved)
    };
    buy(1).await;
    assert_eq!(units().await, (99, 100), "the home's sixteenth part came");
    buy(48).await;
    assert_eq!(units().await, (51, 100));
    buy(1).await;
    eventually!(units().await == (50 + 93, 100 + 93));
    app.finish().await;
}

/// Goal: while a cell is closed, what the open ones have is sold to whoever asks; and nobody hears "sold out" while the
/// closed one may have a unit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_cell_is_closed_the_others_units_are_found() {
    let app = eight_cells().await;
    app.product_with(PRODUCT, 1, 40).await;
    let (cells, scripts) = (app.settings.cells(), &app.connections().scripts);
    let home = stock().home(cells);
    let others: Vec<CellId> = cells.all().filter(|it| *it != home).collect();
    let [holder, closed, buyer] = [others[0], others[1], others[2]];
    for (to, units) in [(holder, 30), (closed, 10)] {
        let ask = Ask::Home { least: 1, wanted: units, share: 16 };
        let given = quota_give(scripts, stock(), home, to, ask).await.unwrap();
        assert!(matches!(given, QuotaGive::Given { transfer, .. } if transfer.units == units), "{given:?}");
    }
    let has = async |cell| quota_read(scripts, cell, &[stock()]).await.unwrap().0[0].remaining;
    eventually!(has(holder).await == 30 && has(closed).await == 10);

    recover::close(&app.connections().worker(), closed).await.unwrap();
    let user = user_of(&app, buyer);
    app.user_with(user, 100).await;
    let order = json!({ "userId": user, "items": [{ "productId": PRODUCT, "quantity": 15 }] });
    for _ in 0..2 {
        let bought = app.post("/orders", order.clone()).await;
        assert_eq!(bought.status, StatusCode::CREATED, "{bought:?}");
    }
    let refused = app.post("/orders", order.clone()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "ten may be there: {refused:?}");
    recover::reopen(&app.connections().worker(), closed, &Silent).await.unwrap();
    eventually!(app.post("/orders", order.clone()).await.status != StatusCode::SERVICE_UNAVAILABLE);
    let refused = app.post("/orders", order).await;
    assert_eq!((refused.code(), &refused.body["remaining"]), ("out_of_stock", &json!(10)), "{refused:?}");
    app.finish().await;
}

/// Goal: the audit sees a transfer that one side says and the other cannot have seen, and units that came from nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_compares_both_sides_of_a_transfer() {
    let app = eight_cells().await;
    users_with(&app, 20, 1_000).await;
    app.product_with(PRODUCT, 10, 400).await;
    assert_eq!(tally(&all_buy(&app, 20, PRODUCT, 1).await), [((201, String::new()), 20)].into());
    app.assert_clean().await;
    let mysql = &app.connections().mysql;
    let audit = async || app.post("/admin/audit", json!({})).await.body;
    let kinds = async || {
        let report = audit().await;
        let kinds = report["differences"].as_array().unwrap().iter().map(|it| it["kind"].clone());
        kinds.collect::<Vec<_>>()
    };
    for (wrong, right, expected) in [
        (
            "UPDATE transfers SET taken_number = taken_number + 7 WHERE taken_number = 1 LIMIT 1",
            "UPDATE transfers SET taken_number = taken_number - 7 WHERE taken_number = 8",
            "transfer",
        ),
        (
            "UPDATE skus SET moved = moved + 1 WHERE initial_stock > 0",
            "UPDATE skus SET moved = moved - 1 WHERE initial_stock > 0",
            "transfer",
        ),
    ] {
        sqlx::query(wrong).execute(mysql).await.unwrap();
        let found = kinds().await;
        assert!(found.contains(&json!(expected)), "{wrong}: {found:?}");
        sqlx::query(right).execute(mysql).await.unwrap();
    }
    app.finish().await;
}
