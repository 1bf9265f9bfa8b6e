//! A rush to look at: shoppers who come to this node over HTTP like any others, look, claim a coupon and buy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::telemetry::scope;

/// Most shoppers of one rush.
pub const SHOPPERS_MAX: u64 = 20_000;

/// How long they take to arrive, so that there is something to look at.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Shoppers who wait for an answer at the same moment.
const AT_ONCE: usize = 256;

/// Their ids lie behind this one, far from those of people who try the shop.
const FIRST_USER: u64 = 10_000_000;

/// What each of them brings, in minor units, where they have less.
const MONEY: u64 = 500_000;

/// The campaign that a rush is about, and what it takes off.
const COUPON: u64 = 900;
const DISCOUNT: u64 = 1_000;

/// How long it runs from the last rush on.
const CAMPAIGN: chrono::Duration = chrono::Duration::days(1);

/// Units that a product has at least when a rush begins, for each hundred shoppers.
const STOCK_PER_HUNDRED: u64 = 8;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often a shopper asks again who was told to come later.
const TRIES: u32 = 5;

/// How far a rush has come.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RushView {
    pub running: bool,
    /// How many come in all.
    pub shoppers: u64,
    /// Of them, who have left again.
    pub done: u64,
    pub paid: u64,
    pub claimed: u64,
    /// Told that a product or the coupons are sold out.
    pub sold_out: u64,
    /// Told another reason.
    pub refused: u64,
    /// Told nothing, or an error of the engine, also when they asked again.
    pub failed: u64,
}

/// Shoppers on demand.
pub struct Rush {
    client: Client<HttpConnector, Body>,
    url: String,
    view: Mutex<RushView>,
    stop: Mutex<CancellationToken>,
}

struct Reply {
    status: StatusCode,
    body: Value,
}

impl Rush {
    /// For the node at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: format!("http://{address}"), view: Mutex::default(), stop: Mutex::default() }
    }

    pub fn view(&self) -> RushView {
        *self.view.lock().expect("no panic while held")
    }

    fn count(&self, change: impl FnOnce(&mut RushView)) {
        change(&mut self.view.lock().expect("no panic while held"));
    }

    /// Has so many shoppers come; nothing where some are under way. `stop` ends it too.
    pub fn start(self: &Arc<Self>, shoppers: u64, stop: CancellationToken) {
        let mut view = self.view.lock().expect("no panic while held");
        if view.running {
            return;
        }
        *view = RushView { running: true, shoppers, ..RushView::default() };
        drop(view);
        *self.stop.lock().expect("no panic while held") = stop.clone();
        let rush = self.clone();
        scope::spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(rush.run(shoppers)).await {
                tracing::warn!(error = format!("{error:#}"), "the rush ended early");
            }
            rush.count(|it| it.running = false);
        });
    }

    pub fn stop(&self) {
        self.stop.lock().expect("no panic while held").cancel();
    }

    async fn run(&self, shoppers: u64) -> anyhow::Result<()> {
        let wares = self.lay_out(shoppers).await.context("the shop could not be filled")?;
        let wares = &wares;
        let run = Uuid::now_v7();
        let first = first_user(Utc::now());
        let between = ARRIVAL.div_f64(shoppers as f64);
        let begun = tokio::time::Instant::now();
        let arrivals = futures::stream::iter(0..shoppers).then(|number| async move {
            tokio::time::sleep_until(begun + between.mul_f64(number as f64)).await;
            number
        });
        arrivals
            .for_each_concurrent(AT_ONCE, |number| async move {
                if self.shop(first + number, wares, run).await.is_none() {
                    self.count(|it| it.failed += 1);
                }
                self.count(|it| it.done += 1);
            })
            .await;
        Ok(())
    }

    /// Opens a campaign for half of the shoppers, and fills what is nearly sold out. Returns what can be bought: a line of
    /// an order for each.
    async fn lay_out(&self, shoppers: u64) -> anyhow::Result<Vec<Value>> {
        let campaigns = self.ask(Method::GET, "/coupons?limit=200", None, None).await?.body;
        let mine = campaigns.as_array().into_iter().flatten().find(|it| it["couponId"] == COUPON);
        let issued =
            |it: &Value| it["quantity"].as_u64().unwrap_or(0) - it["remaining"].as_u64().unwrap_or(0);
        let quantity = mine.map_or(0, issued) + shoppers.div_ceil(2);
        let campaign = json!({
            "name": "Rush: 1,000 off", "discount": {"kind": "fixed", "value": DISCOUNT}, "quantity": quantity,
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": (Utc::now() + CAMPAIGN).to_rfc3339(),
        });
        self.must(Method::PUT, &format!("/admin/coupons/{COUPON}"), campaign).await?;

        let products = self.ask(Method::GET, "/products?limit=200", None, None).await?.body;
        let least = (shoppers * STOCK_PER_HUNDRED / 100).max(10);
        let mut wares = Vec::new();
        let later = |it: &Value| {
            it.as_str().and_then(|it| it.parse::<DateTime<Utc>>().ok()).is_some_and(|it| it > Utc::now())
        };
        let on_sale = products.as_array().context("a list of products")?.iter();
        for product in on_sale.filter(|it| !later(&it["saleStartsAt"])) {
            let id = &product["id"];
            let options = product["options"].as_array().filter(|it| !it.is_empty());
            let skus = options.map_or_else(|| vec![product], |it| it.iter().collect());
            for sku in skus {
                let mut line = json!({"productId": id, "quantity": 1});
                let mut delta = json!({"delta": least});
                if options.is_some() {
                    line["optionId"] = sku["id"].clone();
                    delta["optionId"] = sku["id"].clone();
                }
                if sku["stock"].as_u64().unwrap_or(0) < least {
                    self.must(Method::POST, &format!("/admin/products/{id}/stock"), delta).await?;
                }
                wares.push(line);
            }
        }
        anyhow::ensure!(!wares.is_empty(), "nothing is listed");
        Ok(wares)
    }

    /// What one of them does; none: the engine gave no answer to go on with.
    async fn shop(&self, user: u64, wares: &[Value], run: Uuid) -> Option<()> {
        let made = self.patiently(Method::PUT, &format!("/users/{user}"), None, None).await?;
        let balance = made.body["balance"].as_u64().unwrap_or(0);
        if balance < MONEY / 2 {
            let charge = json!({"amount": MONEY});
            let key = format!("rush-{run}-{user}-charge");
            self.patiently(Method::POST, &format!("/users/{user}/balance"), Some(charge), Some(key)).await?;
        }
        self.patiently(Method::GET, "/products?limit=20", None, None).await?;

        let claim = json!({"userId": user, "couponId": COUPON});
        let key = format!("rush-{run}-{user}-claim");
        let claim = self.patiently(Method::POST, "/coupons", Some(claim), Some(key)).await?;
        if claim.status.is_success() {
            self.count(|it| it.claimed += 1);
        }
        self.count_refusal(&claim);

        let line = &wares[user as usize % wares.len()];
        let mut order = json!({"userId": user, "items": [line]});
        if claim.status.is_success() {
            order["couponId"] = COUPON.into();
        }
        let key = format!("rush-{run}-{user}-order");
        let order = self.patiently(Method::POST, "/orders", Some(order), Some(key)).await?;
        if order.status == StatusCode::CREATED {
            self.count(|it| it.paid += 1);
        }
        self.count_refusal(&order);
        Some(())
    }

    fn count_refusal(&self, reply: &Reply) {
        if reply.status.is_client_error() {
            let code = reply.body["code"].as_str().unwrap_or_default();
            let sold_out = matches!(code, "out_of_stock" | "coupon_sold_out");
            self.count(|it| *(if sold_out { &mut it.sold_out } else { &mut it.refused }) += 1);
        }
    }

    async fn must(&self, method: Method, path: &str, body: Value) -> anyhow::Result<()> {
        let reply = self.ask(method, path, Some(body), None).await?;
        anyhow::ensure!(reply.status.is_success(), "{path}: {} {}", reply.status, reply.body);
        Ok(())
    }

    /// Asks again, under the same key, where the engine was busy or an answer did not come.
    async fn patiently(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<String>,
    ) -> Option<Reply> {
        for tried in 0..TRIES {
            if let Ok(reply) = self.ask(method.clone(), path, body.clone(), key.as_deref()).await
                && !reply.status.is_server_error()
                && reply.status != StatusCode::TOO_MANY_REQUESTS
            {
                return Some(reply);
            }
            tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(tried)).await;
        }
        None
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> anyhow::Result<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let answer = self.client.request(request.body(body)?).await?;
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok(Reply { status, body })
    }
}

/// Each rush has shoppers of its own: those of the one before have their coupon, and what they may buy.
fn first_user(at: DateTime<Utc>) -> u64 {
    FIRST_USER + at.timestamp().unsigned_abs() * SHOPPERS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn two_rushes_have_no_shopper_in_common() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(first_user(at(1_800_000_001)), first_user(at(1_800_000_000)) + SHOPPERS_MAX);
        assert!(UserId::new(first_user(at(10_000_000_000)) + SHOPPERS_MAX).is_ok(), "in the year 2286");
    }
}
