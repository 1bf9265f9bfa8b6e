//! A sale: buyers who ask until they hear something definite, and what must be true afterwards of what they heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use firstcome::across::lists::coupons_left;
use firstcome::cell::CellId;
use firstcome::ids::{CouponId, ProductId};
use futures::StreamExt;
use futures::stream;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::test_app::{Answer, TestApp, eventually};
use crate::test_cluster::{CELLS, drain};

/// Units of a product that is sold.
pub const UNITS: usize = 777;

/// Buyers at once.
pub const AT_ONCE: usize = 256;

/// Who asks for more than there is at the end, to be sure that it is the end.
const SPARE: usize = 16;

/// How long one answer is waited for, until it is asked again under the same key.
const ANSWER: Duration = Duration::from_secs(20);

/// When a buyer must have been told something definite, whatever happened.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an impatient client waits before it asks again, whatever `Retry-After` says.
const PAUSE: Duration = Duration::from_millis(20);

/// How often and how large, from the environment.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: u64,
    pub buyers: usize,
    seed: u64,
}

impl Plan {
    pub fn read() -> Self {
        let read = |name: &str| -> Option<u64> {
            let text = std::env::var(name).ok().filter(|it| !it.is_empty())?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
        };
        Self {
            rounds: read("FIRSTCOME_SALES_ROUNDS").unwrap_or(1),
            buyers: read("FIRSTCOME_SALES_BUYERS").unwrap_or(1_000) as usize,
            seed: read("FIRSTCOME_SALES_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
        }
    }

    /// The rounds, each with what it chooses by; with its seed as the first one, a round comes first.
    pub fn rounds(self, name: &str) -> impl Iterator<Item = (u64, StdRng)> {
        (0..self.rounds).map(move |round| {
            let seed = self.seed.wrapping_add(round);
            println!(
                "{name}, round {round}: FIRSTCOME_SALES_SEED={seed} FIRSTCOME_SALES_BUYERS={}",
                self.buyers
            );
            (round, StdRng::seed_from_u64(seed))
        })
    }
}

/// What is sold in one round, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Sale {
    pub product: ProductId,
    pub units: usize,
    pub buyers: usize,
    pub coupon: CouponId,
    pub claims: usize,
    pub claimants: usize,
}

/// What the buyers of one sale were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Orders, by buyer.
    pub placed: BTreeMap<u64, u64>,
    /// Those who heard that nothing is left.
    pub refused: BTreeSet<u64>,
}

/// How far a sale has got.
#[derive(Default)]
pub struct Answered(AtomicUsize);

impl Answered {
    pub async fn reach(&self, count: usize) {
        eventually!(self.0.load(Ordering::Relaxed) >= count);
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where buyers buy.
pub struct Shop<'a> {
    pub app: &'a TestApp,
    client: reqwest::Client,
}

impl<'a> Shop<'a> {
    /// Opens it for users 1 to `buyers`, with money for all rounds.
    pub async fn open(app: &'a TestApp, buyers: usize) -> Self {
        let client = reqwest::Client::builder().pool_max_idle_per_host(AT_ONCE).build().unwrap();
        let made = stream::iter(1..=buyers as u64).map(|user| app.user_with(user, 1_000_000));
        made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        Self { app, client }
    }

    /// Lists what is sold in a round.
    pub async fn list(&self, round: u64, units: usize, buyers: usize) -> Sale {
        let (product, coupon) = (ProductId::new(round + 1).unwrap(), CouponId::new(round + 1).unwrap());
        self.app.product_with(product.get(), 100, units as i64).await;
        let (claims, claimants) = (units / 4, buyers / 4);
        self.app.campaign(coupon.get(), claims as i64, json!({})).await;
        Sale { product, units, buyers, coupon, claims, claimants }
    }

    /// Asks under one key until the answer is definite: it is none that the outcome is unknown, or that nothing is known for
    /// now.
    pub async fn ask(&self, path: &str, key: &str, body: Value) -> Answer {
        let began = Instant::now();
        loop {
            match self.ask_once(path, key, &body).await {
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(answer.header("retry-after").is_some(), "{key}: {answer:?}");
                }
                Ok(answer) => {
                    assert!(!answer.status.is_server_error(), "{key}: {answer:?}");
                    return answer;
                }
                Err(error) => {
                    assert!(error.is_timeout() || error.is_connect() || error.is_request(), "{error}")
                }
            }
            assert!(began.elapsed() < PATIENCE, "{key} was never told");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_once(&self, path: &str, key: &str, body: &Value) -> reqwest::Result<Answer> {
        let request = self.client.post(self.app.url(path)).header("Idempotency-Key", key).json(body);
        let response = request.timeout(ANSWER).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, body, headers })
    }

    /// The order of who got one; `None`: it was told that none is left.
    pub async fn buy(&self, sale: &Sale, user: u64, key: &str) -> Option<u64> {
        let items = json!([{ "productId": sale.product, "quantity": 1 }]);
        let answer = self.ask("/orders", key, json!({ "userId": user, "items": items })).await;
        order_of(&answer)
    }

    /// All buyers at once, in any order.
    pub async fn sell(&self, sale: &Sale, seed: u64, answered: &Answered) -> Told {
        let mut users: Vec<u64> = (1..=sale.buyers as u64).collect();
        users.shuffle(&mut StdRng::seed_from_u64(seed));
        let mut told = Told::default();
        let buy = async |user: u64| (user, self.buy(sale, user, &format!("{}-{user}", sale.product)).await);
        let mut answers = stream::iter(users).map(buy).buffer_unordered(AT_ONCE);
        while let Some((user, order)) = answers.next().await {
            answered.0.fetch_add(1, Ordering::Relaxed);
            match order {
                Some(order) => drop(told.placed.insert(user, order)),
                None => drop(told.refused.insert(user)),
            }
        }
        told
    }

    /// The same for the campaign; how many of these users were told that they have one.
    pub async fn issue(&self, sale: &Sale, users: std::ops::Range<u64>) -> usize {
        let coupon = sale.coupon;
        let claim = async |user: u64| {
            let (path, key) = (format!("/coupons/{coupon}/issue"), format!("c{coupon}-{user}"));
            let answer = self.ask(&path, &key, json!({ "userId": user })).await;
            let is_issued = answer.status == StatusCode::CREATED;
            assert!(is_issued || answer.code() == "coupon_sold_out", "{answer:?}");
            usize::from(is_issued)
        };
        let answers = stream::iter(users).map(claim).buffer_unordered(AT_ONCE / 4);
        answers.fold(0, |sum, it| async move { sum + it }).await
    }

    /// Waits until every cell sells, and MySQL has all that happened.
    pub async fn settle(&self) {
        eventually!(self.app.get("/readyz").await.status == StatusCode::OK);
        drain(self.app, (0..CELLS).map(CellId)).await;
    }

    async fn issued(&self, coupon: CouponId) -> usize {
        let sql = "SELECT COUNT(*) FROM coupon_issues WHERE coupon_id = ?";
        let count = sqlx::query_scalar::<_, i64>(sql).bind(coupon.get());
        count.fetch_one(&self.app.connections().mysql).await.unwrap() as usize
    }

    /// MySQL's orders that hold or have bought a unit: buyer and order.
    pub async fn orders(&self, product: ProductId) -> Vec<(u64, u64)> {
        let sql = "SELECT o.user_id, o.id FROM orders o JOIN order_lines l ON l.order_id = o.id \
                   WHERE l.product_id = ? AND o.status IN ('paid', 'pending')";
        let rows = sqlx::query_as(sql).bind(product.get());
        rows.fetch_all(&self.app.connections().mysql).await.unwrap()
    }

    /// Whether the engine has counted an event as lost.
    async fn is_counted(&self, order: u64) -> bool {
        let sql = "SELECT COUNT(*) FROM recoveries WHERE cell = ? AND kept_seq < ? AND lost_to >= ?";
        let (cell, seq) = (order % 1_024, order / 1_024);
        let count = sqlx::query_scalar::<_, i64>(sql).bind(cell).bind(seq).bind(seq);
        count.fetch_one(&self.app.connections().mysql).await.unwrap() > 0
    }

    pub async fn lost(&self) -> i64 {
        self.app.count("SELECT CAST(SUM(lost_events) AS SIGNED) FROM cells").await
    }

    /// Compares what was told with what is there, sells the rest, and asks the audit. `may_lose`: a server was lost with
    /// what it had acknowledged. Returns how many acknowledged orders and coupons are gone.
    pub async fn check(
        &self,
        sale: &Sale,
        told: &Told,
        issued: usize,
        random: &mut StdRng,
        may_lose: bool,
    ) -> usize {
        self.settle().await;
        assert_eq!(told.placed.len() + told.refused.len(), sale.buyers, "everybody was told something");
        let orders = self.orders(sale.product).await;
        for (user, order) in &orders {
            assert_eq!(
                told.placed.get(user),
                Some(order),
                "user {user} has an order that nobody was told of"
            );
        }
        assert_eq!(
            orders.iter().map(|it| it.0).collect::<BTreeSet<_>>().len(),
            orders.len(),
            "two under one key"
        );
        let stored: BTreeSet<u64> = orders.iter().map(|it| it.1).collect();
        let missing: Vec<u64> = told.placed.values().copied().filter(|it| !stored.contains(it)).collect();
        for order in &missing {
            eventually!(self.is_counted(*order).await);
        }
        let stored_claims = self.issued(sale.coupon).await;
        assert!(stored_claims <= issued, "{stored_claims} coupons, and {issued} were told");
        let gone = missing.len() + issued - stored_claims;
        eventually!(self.lost().await >= gone as i64);
        if !may_lose {
            assert_eq!((gone, self.lost().await), (0, 0), "{missing:?} are gone");
            assert_eq!(told.placed.len(), sale.units.min(sale.buyers), "exactly as many as there are units");
            assert_eq!(issued, sale.claims.min(sale.claimants), "exactly as many as there are coupons");
        }
        let left = self.app.stock(sale.product.get()).await as usize;
        assert_eq!(orders.len() + left, sale.units, "sold and left");
        self.sell_out(sale, left, random).await;
        let coupons_left = coupons_left(&self.app.connections().scripts, sale.coupon).await.unwrap() as usize;
        assert_eq!(stored_claims + coupons_left, sale.claims, "issued and left");
        let first = 1_000_000 * sale.coupon.get();
        let more = self.issue(sale, first..first + (coupons_left + SPARE) as u64).await;
        assert_eq!(more, coupons_left, "every coupon that was left is issued");
        self.settle().await;
        assert_eq!(self.orders(sale.product).await.len(), sale.units);
        assert_eq!(self.issued(sale.coupon).await, sale.claims);
        self.app.assert_clean().await;
        gone
    }

    /// Sells what is left: exactly that much, wherever it is.
    pub async fn sell_out(&self, sale: &Sale, left: usize, random: &mut StdRng) {
        let buyers: Vec<u64> =
            (0..left + SPARE).map(|_| random.random_range(1..=sale.buyers as u64)).collect();
        let rest = async |(number, user): (usize, u64)| {
            self.buy(sale, user, &format!("{}-rest-{number}", sale.product)).await.is_some()
        };
        let answers = stream::iter(buyers.into_iter().enumerate()).map(rest).buffer_unordered(AT_ONCE / 4);
        let sold = answers.fold(0, |sum, it| async move { sum + usize::from(it) }).await;
        assert_eq!(sold, left, "all that was left is sold, and no more");
        assert_eq!(self.app.stock(sale.product.get()).await, 0);
    }
}

/// The order that an answer tells of; `None`: nothing is left.
pub fn order_of(answer: &Answer) -> Option<u64> {
    if answer.code() == "out_of_stock" {
        return None;
    }
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    Some(answer.body["orderId"].as_u64().expect("an id"))
}
