//! Units on their way between cells, when a failover loses a step of it.

use firstcome::across::transfer::{Delivery, deliver};
use firstcome::scripts::quota_give::{Ask, QuotaGive, Transfer, quota_give};
use firstcome::scripts::quota_take::{QuotaTake, quota_take};

use super::*;
use crate::test_cluster::drain;

const UNITS: i64 = 60;

/// Units of the transfer.
const MOVED: i64 = 20;

/// Bought of these.
const BOUGHT: usize = 5;

/// A sale that has not begun, whose units are in the product's home.
struct Scene {
    stage: Stage,
    users: Vec<u64>,
    home: CellId,
    /// A cell on another server.
    to: CellId,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::start().await;
        stage.app.product_with(PRODUCT, PRICE, UNITS).await;
        let users = rich_users(&stage.app).await;
        let home = stock().home(stage.app.settings.cells());
        let is_elsewhere = |it: &CellId| stage.server_of(*it) != stage.server_of(home);
        let to = (0..CELLS).map(CellId).find(is_elsewhere).expect("three servers");
        eventually!(stage.app.count("SELECT COUNT(*) FROM skus").await == i64::from(CELLS));
        drain(&stage.app, (0..CELLS).map(CellId)).await;
        Self { stage, users, home, to }
    }

    async fn give(&self) -> Transfer {
        let ask = Ask::Home { least: 1, wanted: MOVED, share: 16 };
        let given = quota_give(&self.stage.app.connections().scripts, stock(), self.home, self.to, ask).await;
        match given.unwrap() {
            QuotaGive::Given { transfer, .. } => transfer,
            other => panic!("the home has enough: {other:?}"),
        }
    }

    async fn wait_until_mysql_has_it(&self) {
        let sql = "SELECT COUNT(*) FROM transfers WHERE given_number = 1";
        eventually!(self.stage.app.count(sql).await == 1);
    }

    /// The server of a cell dies; what MySQL has not is lost with it.
    async fn lose(&mut self, cell: CellId, replica: usize) {
        let primary = self.stage.server_of(cell);
        let stage = &mut self.stage;
        let mut lost = BTreeMap::new();
        for cell in stage.cells_on(primary) {
            let events = stage.unpersisted(cell).await.len() as u64;
            if events > 0 {
                lost.insert(cell, events);
            }
        }
        println!("{lost:?} are to be lost");
        stage.fail_over(primary, replica).await;
        stage.start_worker();
        stage.wait_until_all_sell().await;
        assert_eq!(stage.lost().await, lost);
        stage.bring_back(primary, replica).await;
    }

    /// Every unit is there once, and is sold once.
    async fn end(self, sold: usize) {
        let left = UNITS - sold as i64;
        assert_eq!(self.stage.app.stock(PRODUCT).await, left);
        self.stage.app.assert_clean().await;
        self.stage.sell_out(&self.users, left).await;
        self.stage.end().await;
    }
}

/// The home has given units, and neither MySQL nor its replica knows. Goal: they are at home again, whoever still has that
/// transfer in hand brings none, and its number is given to the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_whose_gift_is_lost_are_at_home() {
    let mut scene = Scene::set().await;
    let replica = scene.stage.cut_off(scene.stage.server_of(scene.home)).await;
    scene.stage.kill_worker();
    let gone = scene.give().await;
    assert_eq!(scene.stage.app.stock(PRODUCT).await, UNITS, "on their way they are in stock");
    let refused = scene.stage.ask(user_in(&scene.users, scene.to), "early", false).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    scene.lose(scene.home, replica).await;

    let app = &scene.stage.app;
    let (scripts, watermark) = (&app.connections().scripts, app.engine().watermark());
    assert_eq!(deliver(scripts, &watermark, gone, 0).await.unwrap(), Delivery::Gone);
    let next = scene.give().await;
    assert_eq!((next.number, gone.number), (1, 1), "nobody knows of the one that is lost");
    scene.wait_until_mysql_has_it().await;
    assert_eq!(deliver(scripts, &watermark, gone, 0).await.unwrap(), Delivery::Gone);
    scene.end(0).await;
}

/// MySQL has the gift, and the home's replica has it not. Goal: the home is rebuilt without those units, and they arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_whose_gift_mysql_has_arrive() {
    let mut scene = Scene::set().await;
    let replica = scene.stage.cut_off(scene.stage.server_of(scene.home)).await;
    scene.give().await;
    scene.wait_until_mysql_has_it().await;
    scene.stage.kill_worker();
    scene.lose(scene.home, replica).await;
    let arrived = "SELECT COUNT(*) FROM transfers WHERE taken_number = 1";
    eventually!(scene.stage.app.count(arrived).await == 1);
    scene.end(0).await;
}

/// Units have arrived and some are sold, and neither MySQL nor the replica knows. Goal: those orders are counted as lost, and the
/// units arrive once more, to be sold once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_whose_arrival_is_lost_arrive_again() {
    let mut scene = Scene::set().await;
    let replica = scene.stage.cut_off(scene.stage.server_of(scene.to)).await;
    let transfer = scene.give().await;
    scene.wait_until_mysql_has_it().await;
    scene.stage.kill_worker();
    let taken = quota_take(&scene.stage.app.connections().scripts, &transfer, 60_000).await.unwrap();
    assert!(matches!(taken, QuotaTake::Taken(_)), "{taken:?}");
    let buyer = user_in(&scene.users, scene.to);
    for number in 0..BOUGHT {
        scene.stage.buy(buyer, &format!("lost {number}")).await;
    }
    assert_eq!(scene.stage.unpersisted(scene.to).await.len(), 1 + BOUGHT);
    scene.lose(scene.to, replica).await;
    scene.end(0).await;
}

/// The same where MySQL has all that. Goal: nothing is lost, and nothing arrives again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_whose_arrival_mysql_has_are_there() {
    let mut scene = Scene::set().await;
    let replica = scene.stage.cut_off(scene.stage.server_of(scene.to)).await;
    let transfer = scene.give().await;
    scene.wait_until_mysql_has_it().await;
    quota_take(&scene.stage.app.connections().scripts, &transfer, 60_000).await.unwrap();
    let buyer = user_in(&scene.users, scene.to);
    for number in 0..BOUGHT {
        let answer = scene.stage.ask(buyer, &format!("waits {number}"), true).await;
        assert_eq!(answer.header("preference-applied"), Some("wait=persisted"), "{answer:?}");
    }
    scene.stage.kill_worker();
    scene.lose(scene.to, replica).await;
    assert_eq!(scene.stage.orders().await.len(), BOUGHT);
    let again = quota_take(&scene.stage.app.connections().scripts, &transfer, 0).await.unwrap();
    assert!(matches!(again, QuotaTake::Already(_)), "{again:?}");
    scene.end(BOUGHT).await;
}
