//! The load: clients that ask for random things, each under its own key, and ask again until they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::ledger::{Deed, Door, Entry, Ledger};

pub const USERS: u64 = 24;
pub const PRODUCTS: u64 = 4;
pub const COUPONS: u64 = 3;
/// Small enough that it runs out now and then: refusals are part of the load.
pub const FIRST_CHARGE: i64 = 40_000;
pub const STOCK: i64 = 100_000;
/// Of the last product: it is sold out most of the time, but for what refunds and cancels give back.
pub const SCARCE_STOCK: i64 = 40;

const CLIENTS: u64 = 8;

/// Most time between two requests of a client. Eight of them then ask some 150 times a second.
const THINKING_MS: u64 = 80;

/// How long a client listens before it asks again, perhaps at another node.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause before the same request is sent again.
const AGAIN: Duration = Duration::from_millis(25);

pub struct Shop {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Shop {
    /// Lets the clients in.
    pub fn open(doors: Arc<Vec<Door>>, ledger: Arc<Ledger>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let client = Client {
                number,
                random: StdRng::seed_from_u64(seed ^ (number << 32)),
                caller: Caller::new(doors.clone(), ledger.clone()),
                requests: 0,
                pending: Vec::new(),
                paid: Vec::new(),
            };
            tokio::spawn(client.shop(stop.clone()))
        };
        let clients = (1..=CLIENTS).map(client).collect();
        Self { stop, clients }
    }

    /// Every client hears the end of what it has begun, and leaves.
    pub async fn close(self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("a client came to its end");
        }
    }
}

/// One request, the same at every try.
#[derive(Clone)]
pub struct Request {
    pub key: String,
    pub user: u64,
    pub deed: Deed,
    pub path: String,
    pub body: Option<Value>,
    pub persisted: bool,
}

/// Sends requests until they are answered, and writes the ledger.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    doors: Arc<Vec<Door>>,
    ledger: Arc<Ledger>,
}

/// One answer, final or not.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub persisted: bool,
    pub replayed: bool,
}

impl Caller {
    pub fn new(doors: Arc<Vec<Door>>, ledger: Arc<Ledger>) -> Self {
        Self { http: reqwest::Client::new(), doors, ledger }
    }

    /// One try at one node; `None`: no answer.
    pub async fn send(&self, door: usize, request: &Request) -> Option<Answer> {
        let mut sent = self
            .http
            .post(format!("{}{}", self.doors[door].url, request.path))
            .header("Idempotency-Key", &request.key)
            .timeout(PATIENCE);
        if request.persisted {
            sent = sent.header("Prefer", "wait=persisted");
        }
        if let Some(body) = &request.body {
            sent = sent.json(body);
        }
        let answer = sent.send().await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        let (persisted, replayed) =
            (headers.contains_key("preference-applied"), headers.contains_key("idempotency-replayed"));
        Some(Answer { status, body, persisted, replayed })
    }

    /// Asks until there is a final answer.
    async fn ask(&self, request: Request, random: &mut StdRng) -> Entry {
        let sent_at = Instant::now();
        loop {
            let door = random.random_range(0..self.doors.len());
            let life = self.doors[door].life.load(Ordering::SeqCst);
            self.ledger.tries.fetch_add(1, Ordering::Relaxed);
            match self.send(door, &request).await {
                Some(Answer { status: 429 | 503, .. }) | None => {}
                // A script failed; whether half-way, a retry finds out.
                Some(Answer { status: 500, body, .. }) => self.odd(format!("{}: {body}", request.key)),
                Some(Answer { status, body, persisted, .. }) => {
                    let Request { key, user, deed, .. } = request;
                    let told_by = (door, life);
                    let told_at = Instant::now();
                    let persisted = persisted && status < 202;
                    let entry = Entry { key, user, deed, sent_at, told_at, status, body, persisted, told_by };
                    self.ledger.note(entry.clone());
                    return entry;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn odd(&self, what: String) {
        self.ledger.odd.lock().unwrap().push((Instant::now(), what));
    }
}

struct Client {
    number: u64,
    random: StdRng,
    caller: Caller,
    requests: u64,
    /// What it ordered, with the orders' users.
    pending: Vec<(u64, u64)>,
    paid: Vec<(u64, u64)>,
}

impl Client {
    async fn shop(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::SeqCst) {
            match self.random.random_range(0..100) {
                0..40 => self.buy(Deed::Buy).await,
                40..58 => self.buy(Deed::Place).await,
                58..68 => self.pay().await,
                68..74 => self.cancel().await,
                74..78 => self.pay_and_cancel_at_once().await,
                78..84 => self.refund().await,
                84..95 => self.charge().await,
                _ => self.claim().await,
            }
            let thinking = Duration::from_millis(self.random.random_range(0..THINKING_MS));
            tokio::time::sleep(thinking).await;
        }
    }

    fn request(&mut self, user: u64, deed: Deed, path: String, body: Option<Value>) -> Request {
        self.requests += 1;
        let key = format!("{}-{}", self.number, self.requests);
        Request { key, user, deed, path, body, persisted: self.random.random_ratio(1, 5) }
    }

    async fn ask(&mut self, request: Request) -> Entry {
        self.caller.ask(request, &mut self.random).await
    }

    async fn buy(&mut self, deed: Deed) {
        let user = self.random.random_range(1..=USERS);
        let mut products: Vec<u64> = (1..=PRODUCTS).collect();
        let kinds = self.random.random_range(1..=2);
        let item = |_| {
            let product = products.swap_remove(self.random.random_range(0..products.len()));
            json!({"productId": product, "quantity": self.random.random_range(1..=3)})
        };
        let items: Vec<Value> = (0..kinds).map(item).collect();
        let mut body = json!({"userId": user, "items": items});
        if deed == Deed::Place {
            body["payment"] = json!("later");
        }
        if self.random.random_ratio(1, 8) {
            body["couponId"] = json!(self.random.random_range(1..=COUPONS));
        }
        let request = self.request(user, deed.clone(), "/orders".to_owned(), Some(body));
        let told = self.ask(request).await;
        if let Some(order) = told.order().filter(|_| told.succeeded()) {
            if deed == Deed::Buy { &mut self.paid } else { &mut self.pending }.push((order, user));
        }
    }

    fn payment(&mut self, order: u64, user: u64) -> Request {
        self.request(user, Deed::Pay { order }, "/payments".to_owned(), Some(json!({ "orderId": order })))
    }

    fn cancellation(&mut self, order: u64, user: u64) -> Request {
        self.request(user, Deed::Cancel { order }, format!("/orders/{order}/cancel"), None)
    }

    fn one_of(&mut self, paid: bool) -> Option<(u64, u64)> {
        let orders = if paid { &mut self.paid } else { &mut self.pending };
        (!orders.is_empty()).then(|| orders.swap_remove(self.random.random_range(0..orders.len())))
    }

    async fn pay(&mut self) {
        let Some((order, user)) = self.one_of(false) else { return };
        let request = self.payment(order, user);
        if self.ask(request).await.succeeded() {
            self.paid.push((order, user));
        }
    }

    async fn cancel(&mut self) {
        let Some((order, user)) = self.one_of(false) else { return };
        let request = self.cancellation(order, user);
        self.ask(request).await;
    }

    /// Both race for one order, each under its own key: at most one may win.
    async fn pay_and_cancel_at_once(&mut self) {
        let Some((order, user)) = self.one_of(false) else { return };
        let (payment, cancellation) = (self.payment(order, user), self.cancellation(order, user));
        let mut other = StdRng::seed_from_u64(self.random.random());
        let caller = self.caller.clone();
        tokio::join!(self.caller.ask(payment, &mut self.random), caller.ask(cancellation, &mut other));
    }

    async fn refund(&mut self) {
        let Some((order, user)) = self.one_of(true) else { return };
        let request = self.request(user, Deed::Refund { order }, format!("/orders/{order}/refund"), None);
        self.ask(request).await;
    }

    async fn charge(&mut self) {
        let user = self.random.random_range(1..=USERS);
        let amount = self.random.random_range(1..=9_000);
        let path = format!("/users/{user}/balance");
        let request = self.request(user, Deed::Charge { amount }, path, Some(json!({ "amount": amount })));
        self.ask(request).await;
    }

    async fn claim(&mut self) {
        let (user, coupon) = (self.random.random_range(1..=USERS), self.random.random_range(1..=COUPONS));
        let body = json!({"userId": user, "couponId": coupon});
        let request = self.request(user, Deed::Claim { coupon }, "/coupons".to_owned(), Some(body));
        self.ask(request).await;
    }
}
