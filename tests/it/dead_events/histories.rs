//! Promise: random histories, with random events dead and retried at random moments, end as if none had died.

use chrono::{DateTime, SecondsFormat, Utc};
use firstcome::cell::Seq;
use firstcome::worker::{drain_outbox, expire, forget};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::books::{Books, assert_equal, rows};
use super::last_event;
use crate::test_app::{CELL, TestApp};
use crate::test_clock::TestClock;

const ROUNDS: u64 = 10;
const PARTS: u64 = 4;
const STEPS: u64 = 14;

/// Longer than keys, pending orders, sales and campaigns of this test last.
pub const HOURS: i64 = 26;

struct Shop<'a> {
    app: &'a TestApp,
    random: StdRng,
    /// Ids of users, products and campaigns of this round begin here.
    base: u64,
    orders: Vec<u64>,
    names: u64,
}

impl Shop<'_> {
    /// One of three.
    fn any(&mut self) -> u64 {
        self.base + self.random.random_range(1..=3)
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("name {}", self.names)
    }

    fn order(&mut self) -> u64 {
        // Mostly a recent one: it may still be pending.
        let recent = &self.orders[self.orders.len().saturating_sub(4)..];
        recent.choose(&mut self.random).copied().unwrap_or(1_024)
    }

    fn end(&mut self, now: DateTime<Utc>) -> Value {
        let in_an_hour = (now + chrono::Duration::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
        if self.random.random_bool(0.5) { json!(in_an_hour) } else { Value::Null }
    }

    fn items(&mut self) -> Value {
        let count = self.random.random_range(1..=2);
        let item = |product: u64, option: u64, quantity: u64| match option {
            0 => json!({"productId": product, "quantity": quantity}),
            _ => json!({"productId": product, "optionId": option, "quantity": quantity}),
        };
        let items = (0..count).map(|_| {
            let product = self.any();
            let option = *[0, 0, 0, 1, 1, 2].choose(&mut self.random).expect("one of them");
            item(product, option, self.random.random_range(1..=3))
        });
        items.collect::<Vec<_>>().into()
    }

    /// What the first steps need; its events may die like all others.
    async fn open(&self) {
        for id in self.base + 1..=self.base + 3 {
            self.app.user_with(id, 5_000).await;
            if id > self.base + 1 {
                self.app.product_with(id, 40, 50).await;
            }
        }
        self.app.campaign(self.base + 1, 4, json!({})).await;
    }

    /// Something that a buyer or an administrator asks for; what is refused leaves no event.
    async fn step(&mut self, now: DateTime<Utc>) {
        let (user, product, coupon) = (self.any(), self.any(), self.any());
        let with = self.random.random_bool(0.6).then_some(coupon);
        let order = self.order();
        let (method, path, body) = match self.random.random_range(0..22) {
            0 => ("PUT", format!("/users/{user}"), json!({})),
            1 | 2 => ("POST", format!("/users/{user}/balance"), json!({"amount": 1_000})),
            3..=6 => {
                let payment = if self.random.random_bool(0.7) { "later" } else { "now" };
                let items = self.items();
                let body = json!({"userId": user, "items": items, "couponId": with, "payment": payment});
                ("POST", "/orders".to_owned(), body)
            }
            7 | 8 => ("POST", "/payments".to_owned(), json!({"orderId": order, "couponId": with})),
            9 => ("POST", format!("/orders/{order}/cancel"), json!({})),
            10 | 11 => ("POST", format!("/orders/{order}/refund"), json!({})),
            12 => ("POST", format!("/coupons/{coupon}/cancel"), json!({"orderId": order})),
            13 | 14 => ("POST", "/coupons".to_owned(), json!({"userId": user, "couponId": coupon})),
            15..=17 => {
                let (name, end) = (self.name(), self.end(now));
                let limit = self.random.random_bool(0.3).then_some(4);
                let count = self.random.random_range(0..=2);
                let option = |it| json!({"id": it, "name": format!("{name} {it}"), "price": 50, "stock": 20});
                let body = match count {
                    0 => {
                        json!({"name": name, "price": 60, "stock": 30, "saleEndsAt": end, "limitPerUser": limit})
                    }
                    _ => json!({"name": name, "options": (1..=count).map(option).collect::<Vec<_>>(),
                        "saleEndsAt": end, "limitPerUser": limit}),
                };
                ("PUT", format!("/admin/products/{product}"), body)
            }
            18 => ("DELETE", format!("/admin/products/{product}"), Value::Null),
            19 => {
                let option = self.random.random_range(0..=2);
                let body = json!({"optionId": (option > 0).then_some(option), "delta": 5});
                ("POST", format!("/admin/products/{product}/stock"), body)
            }
            _ => {
                let ends = (now + chrono::Duration::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
                let body = json!({"name": self.name(), "discount": {"kind": "fixed", "value": 10}, "quantity": 4,
                    "startsAt": "2020-01-01T00:00:00Z", "endsAt": ends, "expiresAt": ends});
                ("PUT", format!("/admin/coupons/{coupon}"), body)
            }
        };
        let key = format!("key {}", self.random.random_range(0..15));
        let body = if body.is_null() { String::new() } else { without_nulls(body).to_string() };
        let mut headers = vec![("content-type", "application/json")];
        if method == "POST" && self.random.random_bool(0.7) {
            headers.push(("idempotency-key", key.as_str()));
        }
        let answer = self.app.send(method.parse().unwrap(), &path, &headers, body).await;
        assert!(!answer.status.is_server_error(), "{method} {path} {answer:?}");
        if path == "/orders"
            && let Some(order) = answer.body["orderId"].as_u64()
        {
            self.orders.push(order);
        }
    }
}

fn without_nulls(body: Value) -> Value {
    let Value::Object(fields) = body else { return body };
    Value::Object(fields.into_iter().filter(|it| !it.1.is_null()).collect())
}

pub async fn now(app: &TestApp) -> DateTime<Utc> {
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut app.redis_of(1).await).await.unwrap();
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What a worker does unasked.
async fn time_passes(app: &TestApp, clock: &TestClock) {
    clock.advance_hours(HOURS);
    let worker = app.connections().worker();
    while expire(&worker, CELL).await.unwrap() > 0 {}
    app.drain_events().await;
    forget(&worker, CELL).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_end_as_if_none_had_died() {
    let of_env = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let seed = of_env("FIRSTCOME_TEST_SEED").unwrap_or_else(|| Utc::now().timestamp_micros() as u64);
    let rounds = of_env("FIRSTCOME_DEAD_ROUNDS").unwrap_or(ROUNDS);
    println!("FIRSTCOME_TEST_SEED={seed}");
    let (app, clock) = super::log_only_with_clock(|settings| {
        settings.keep_ended_ms = 3_600_000;
        settings.persist_batch_events = 6;
    })
    .await;
    let books = Books::beside(&app).await;
    let (mut died, mut between) = (0, 0);
    for round in 0..rounds {
        let random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let mut shop = Shop { app: &app, random, base: 1_000 * (round + 1), orders: Vec::new(), names: 0 };
        for part in 0..PARTS {
            let from = last_event(&app).await.0;
            if part == 0 {
                shop.open().await;
            }
            let at = now(&app).await;
            for _ in 0..STEPS {
                shop.step(at).await;
            }
            if part > 0 && shop.random.random_bool(0.4) {
                time_passes(&app, &clock).await;
            }
            let events: Vec<Seq> = (from + 1..=last_event(&app).await.0).collect();
            let refused: Vec<(Seq, bool)> = events
                .into_iter()
                .filter(|_| shop.random.random_bool(0.3))
                .map(|it| (it, it % 3 == 0))
                .collect();
            books.refuse(refused).await;
            app.drain_events().await;
            books.follow().await;
            let mut dead = books.dead().await;
            died += dead.len();
            dead.shuffle(&mut shop.random);
            // Some now, with the rest of the history to come; all of them after its last part.
            let some = if part + 1 == PARTS { dead.len() } else { dead.len() / 3 };
            between += some;
            for seq in &dead[..some] {
                books.retry(*seq).await;
            }
        }
        // Rows of keys whose time is over leave both.
        for worker in [&app.connections().worker(), &books.worker] {
            forget(worker, CELL).await.unwrap();
        }
        app.drain_events().await;
        books.follow().await;
        let story = format!("FIRSTCOME_TEST_SEED={seed}, round {round}");
        assert_equal(&rows(&app.connections().mysql).await, &books.rows().await, &story);
        books.assert_clean(&app).await;
    }
    let events = crate::cell_dump::events(&app.redis.url()).await;
    println!("{died} dead events seen, {between} retries, {events} events");
    assert!(events > rounds * PARTS * STEPS / 3, "most steps are refused");

    let outbox = |rows: super::books::Rows| rows["outbox"].len();
    let waiting = outbox(rows(&app.connections().mysql).await);
    drain_outbox(&books.worker, CELL, std::time::Duration::from_secs(120)).await.unwrap();
    assert_eq!(outbox(books.rows().await), 0);
    let messages = app.take_messages().await;
    let mut ids: Vec<&str> = messages.iter().map(|it| it["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), waiting, "each message went out");
    books.assert_clean(&app).await;
    app.abandon().await;
}
