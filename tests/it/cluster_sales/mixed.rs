//! Orders that are paid at once, later, or never: units come back in one cell and are found by buyers of another.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use firstcome::cell::CellId;
use firstcome::dev::PrivateCluster;
use futures::StreamExt;
use futures::stream;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use redis::AsyncCommands;
use reqwest::StatusCode;
use serde_json::json;

use super::sale::{AT_ONCE, Plan, Sale, Shop, UNITS, order_of};
use crate::test_app::eventually;
use crate::test_cluster::{CELLS, server_of, start_cluster, start_engine_with};

/// How long an order can be paid.
const WINDOW: Duration = Duration::from_secs(1);

/// What a buyer means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Pay,
    PayLater,
    Cancel,
    Forget,
}

/// What the buyers were told.
#[derive(Default)]
struct Told {
    /// How each order ended, as far as its buyer knows.
    orders: Mutex<BTreeMap<u64, Option<&'static str>>>,
    /// When those asked, and were answered, who heard that nothing is left.
    refused: Mutex<Vec<(i64, i64)>>,
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn visit(shop: &Shop<'_>, sale: &Sale, user: u64, intent: Intent, told: &Told) {
    let key = format!("{}-{user}", sale.product);
    let payment = if intent == Intent::Pay { "now" } else { "later" };
    let items = json!([{ "productId": sale.product, "quantity": 1 }]);
    let asked_ms = now_ms();
    let body = json!({ "userId": user, "items": items, "payment": payment });
    let Some(order) = order_of(&shop.ask("/orders", &key, body).await) else {
        told.refused.lock().unwrap().push((asked_ms, now_ms()));
        return;
    };
    let ended = match intent {
        Intent::Pay => Some("paid"),
        Intent::PayLater => {
            let paid = shop.ask("/payments", &format!("{key}-pay"), json!({ "orderId": order })).await;
            assert!(paid.status == StatusCode::OK || paid.code() == "order_not_payable", "{paid:?}");
            (paid.status == StatusCode::OK).then_some("paid")
        }
        Intent::Cancel => {
            let path = format!("/orders/{order}/cancel");
            let ended = shop.ask(&path, &format!("{key}-cancel"), json!({})).await;
            assert!(ended.status == StatusCode::OK || ended.code() == "order_not_cancellable", "{ended:?}");
            (ended.status == StatusCode::OK).then_some("cancelled")
        }
        Intent::Forget => None,
    };
    told.orders.lock().unwrap().insert(order, ended);
}

/// Goal: units that come back are found by whoever asks next, wherever. Whoever hears that nothing is left hears it of a
/// moment between the question and the answer at which every unit was taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_come_back_are_sold() {
    let plan = Plan::read();
    let cluster = start_cluster(false).await;
    let app = start_engine_with(&cluster, |settings| {
        settings.mysql_connections = 24;
        settings.max_in_flight = 4_096;
        settings.payment_window_ms = WINDOW.as_millis() as u64;
        // What a node remembers may be over for so long; what is proven here is what it was told.
        settings.sold_out_memory_ms = 0;
    })
    .await;
    let shop = Shop::open(&app, plan.buyers).await;
    for (number, mut random) in plan.rounds("mixed") {
        let sale = shop.list(number, UNITS.min(plan.buyers / 3), plan.buyers).await;
        round(&shop, &cluster, &sale, &mut random).await;
    }
    drop(shop);
    app.finish().await;
}

async fn round(shop: &Shop<'_>, cluster: &PrivateCluster, sale: &Sale, random: &mut StdRng) {
    let mut users: Vec<u64> = (1..=sale.buyers as u64).collect();
    users.shuffle(random);
    let intents = [Intent::Pay, Intent::PayLater, Intent::Cancel, Intent::Cancel, Intent::Forget];
    let visits: Vec<(u64, Intent)> =
        users.into_iter().map(|it| (it, intents[random.random_range(0..intents.len())])).collect();
    let told = Told::default();
    let all = stream::iter(visits).map(|(user, intent)| visit(shop, sale, user, intent, &told));
    all.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    shop.settle().await;
    eventually!(shop.app.count("SELECT COUNT(*) FROM orders WHERE status = 'pending'").await == 0);

    let holdings = holdings(shop, cluster, sale).await;
    let (orders, refused) = (told.orders.into_inner().unwrap(), told.refused.into_inner().unwrap());
    assert_eq!(holdings.len(), orders.len(), "each order was told, and is there");
    for (order, ended) in &orders {
        let holding = holdings.get(order).unwrap_or_else(|| panic!("order {order} is gone"));
        let ended = ended.unwrap_or("expired");
        assert_eq!(holding.status, ended, "order {order}");
    }
    let (witnesses, units) = (Witnesses::of(holdings.values()), sale.units as i64);
    assert!(witnesses.fewest_at_the_peak <= units, "more were taken at once than there are");
    for (asked_ms, answered_ms) in &refused {
        let taken = witnesses.most_taken(*asked_ms, *answered_ms);
        assert!(
            taken >= units,
            "{taken} were taken between {asked_ms} and {answered_ms}, and somebody heard that nothing is left"
        );
    }
    let sold = shop.orders(sale.product).await.len();
    let left = shop.app.stock(sale.product.get()).await as usize;
    assert_eq!(sold + left, sale.units);
    println!("{} orders, {sold} paid, {left} left, {} refused", orders.len(), refused.len());
    shop.sell_out(sale, left, random).await;
    shop.settle().await;
    assert_eq!(shop.orders(sale.product).await.len(), sale.units);
    shop.app.assert_clean().await;
}

/// A unit that an order took, and until when.
struct Holding {
    status: String,
    from_ms: i64,
    until_ms: Option<i64>,
}

async fn holdings(shop: &Shop<'_>, cluster: &PrivateCluster, sale: &Sale) -> BTreeMap<u64, Holding> {
    let sql = "SELECT o.id, o.status, o.placed_at FROM orders o \
               JOIN order_lines l ON l.order_id = o.id WHERE l.product_id = ?";
    let rows = sqlx::query_as::<_, (u64, String, DateTime<Utc>)>(sql).bind(sale.product.get());
    let rows = rows.fetch_all(&shop.app.connections().mysql).await.unwrap();
    let mut holdings = BTreeMap::new();
    for cell in (0..CELLS).map(CellId) {
        let mut redis = cluster.connect(server_of(shop.app, cluster, cell)).await.unwrap();
        for (id, status, placed_at) in rows.iter().filter(|it| it.0 % 1_024 == u64::from(cell.0)) {
            // MySQL does not keep when an order expired.
            let until_ms = redis.hget(format!("{{c{cell}}}:order:{id}"), "ended_at_ms").await.unwrap();
            assert_eq!(Option::is_none(&until_ms), status == "paid", "order {id} is {status}");
            let from_ms = placed_at.timestamp_millis();
            holdings.insert(*id, Holding { status: status.clone(), from_ms, until_ms });
        }
    }
    holdings
}

/// How many units were taken, by the servers' clock, which is one where they are on one machine.
struct Witnesses {
    /// After each change. Within a millisecond what is taken comes first: at some moment as many were taken, or fewer.
    taken: Vec<(i64, i64)>,
    /// With what comes back first: at some moment as many were taken, or more.
    fewest_at_the_peak: i64,
}

impl Witnesses {
    fn of<'a>(holdings: impl Iterator<Item = &'a Holding>) -> Self {
        let mut changes: Vec<(i64, i64)> = holdings
            .flat_map(|it| [Some((it.from_ms, 1)), it.until_ms.map(|at| (at, -1))])
            .flatten()
            .collect();
        let sums = |changes: &[(i64, i64)]| -> Vec<(i64, i64)> {
            let mut taken = 0;
            let sum = |(at, change): &(i64, i64)| {
                taken += change;
                (*at, taken)
            };
            changes.iter().map(sum).collect()
        };
        changes.sort_unstable();
        let fewest_at_the_peak = sums(&changes).iter().map(|it| it.1).max().unwrap_or_default();
        changes.sort_unstable_by_key(|(at, change)| (*at, -change));
        Self { taken: sums(&changes), fewest_at_the_peak }
    }

    /// The most that were taken at any moment from one time to another.
    fn most_taken(&self, from_ms: i64, to_ms: i64) -> i64 {
        let begin = self.taken.partition_point(|it| it.0 < from_ms);
        let end = self.taken.partition_point(|it| it.0 <= to_ms);
        let before = begin.checked_sub(1).map_or(0, |it| self.taken[it].1);
        self.taken[begin..end].iter().map(|it| it.1).fold(before, i64::max)
    }
}
