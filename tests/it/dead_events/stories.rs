//! Promise: whichever events of a story are dead, and in whatever order they are retried, the rows are those of the
//! same story without any dead event.

use std::collections::BTreeMap;

use firstcome::cell::Seq;
use serde_json::{Value, json};

use super::books::{Books, assert_equal, rows};
use super::last_event;
use crate::test_app::TestApp;

/// All ways to pick some of `0..n`, in each order.
pub fn ordered_picks(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    let mut from = 0;
    while from < all.len() {
        let pick = all[from].clone();
        all.extend((0..n).filter(|it| !pick.contains(it)).map(|it| [&pick[..], &[it]].concat()));
        from += 1;
    }
    all
}

/// A story's steps in a world of its own: user, product and coupon have this number.
type Step = fn(u64, u64) -> (&'static str, String, Value);

fn post(path: String, body: Value) -> (&'static str, String, Value) {
    ("POST", path, body)
}

fn order(id: u64, payment: &str, coupon: bool) -> Value {
    let coupon = coupon.then_some(id);
    json!({"userId": id, "items": [{"productId": id, "quantity": 2}], "payment": payment, "couponId": coupon})
}

fn set(id: u64, name: &str, options: &[u64]) -> (&'static str, String, Value) {
    let option =
        |it: &u64| json!({"id": it, "name": format!("{name} {it}"), "price": 100 + it, "stock": 10 * it});
    let options: Vec<Value> = options.iter().map(option).collect();
    ("PUT", format!("/admin/products/{id}"), json!({"name": name, "options": options}))
}

const CLAIM: Step = |id, _| post("/coupons".into(), json!({"userId": id, "couponId": id}));
const PLACE: Step = |id, _| post("/orders".into(), order(id, "later", true));
const PLACE_BARE: Step = |id, _| post("/orders".into(), order(id, "later", false));
const BUY: Step = |id, _| post("/orders".into(), order(id, "now", true));
const RELEASE: Step = |id, order| post(format!("/coupons/{id}/cancel"), json!({"orderId": order}));
const PAY: Step = |_, order| post("/payments".into(), json!({"orderId": order}));
const PAY_WITH: Step = |id, order| post("/payments".into(), json!({"orderId": order, "couponId": id}));
const CANCEL: Step = |_, order| post(format!("/orders/{order}/cancel"), json!({}));
const REFUND: Step = |_, order| post(format!("/orders/{order}/refund"), json!({}));
const DELETE: Step = |id, _| ("DELETE", format!("/admin/products/{id}"), Value::Null);
const RESTOCK: Step = |id, _| post(format!("/admin/products/{id}/stock"), json!({"optionId": 1, "delta": 7}));
const SET: Step = |id, _| set(id, "first", &[1, 2]);
const SET_ONE: Step = |id, _| set(id, "second", &[1]);
const SET_AGAIN: Step = |id, _| set(id, "third", &[1, 3]);

const SET_PLAIN: Step =
    |id, _| ("PUT", format!("/admin/products/{id}"), json!({"name": "plain", "price": 70, "stock": 30}));

/// What is there before, and then every step that may be dead.
struct Story {
    before: &'static [Step],
    steps: &'static [Step],
}

const STORIES: [Story; 8] = [
    Story { before: &[CLAIM], steps: &[PLACE, RELEASE, PAY_WITH, REFUND] },
    Story { before: &[], steps: &[CLAIM, PLACE, PAY, REFUND] },
    Story { before: &[CLAIM], steps: &[PLACE, CANCEL, BUY, REFUND] },
    Story { before: &[CLAIM], steps: &[PLACE, RELEASE, CANCEL] },
    Story { before: &[DELETE], steps: &[SET, DELETE, SET_AGAIN, RESTOCK] },
    Story { before: &[DELETE, SET], steps: &[SET_ONE, RESTOCK, DELETE, SET_AGAIN] },
    Story { before: &[], steps: &[PLACE_BARE, DELETE, CANCEL] },
    Story { before: &[], steps: &[PLACE_BARE, DELETE, SET_PLAIN, CANCEL] },
];

async fn act(app: &TestApp, (method, path, body): (&'static str, String, Value), key: &str) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut headers = vec![("content-type", "application/json")];
    if method == "POST" {
        headers.push(("idempotency-key", key));
    }
    let answer = app.send(method.parse().unwrap(), &path, &headers, body).await;
    assert!(answer.status.is_success(), "{method} {path} {answer:?}");
    answer.body
}

/// Each story in as many copies as there are ways to pick dead events and an order to retry them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_dead_events_retried_in_any_order_end_as_if_none_had_died() {
    let app = super::log_only(|settings| settings.persist_batch_events = 50).await;
    let books = Books::beside(&app).await;
    let mut id = 0;
    let mut copies: Vec<(String, Vec<Seq>)> = Vec::new();
    for (number, story) in STORIES.iter().enumerate() {
        for pick in ordered_picks(story.steps.len()) {
            id += 1;
            app.user_with(id, 10_000).await;
            app.product_with(id, 100, 50).await;
            app.campaign(id, 5, json!({})).await;
            for step in story.before {
                act(&app, step(id, 0), "before").await;
            }
            let (mut placed, mut seqs) = (0, BTreeMap::new());
            for (index, step) in story.steps.iter().enumerate() {
                let told = act(&app, step(id, placed), &format!("key {id} {index}")).await;
                if let Some(order) = told["orderId"].as_u64() {
                    placed = order;
                }
                seqs.insert(index, last_event(&app).await.0);
            }
            let order: Vec<Seq> = pick.iter().map(|it| seqs[it]).collect();
            books.refuse(order.iter().map(|seq| (*seq, id % 2 == 0))).await;
            copies.push((format!("story {number}, dead and retried {pick:?}, copy {id}"), order));
        }
    }
    app.drain_events().await;
    books.follow().await;
    let expected = rows(&app.connections().mysql).await;
    let dead = books.dead().await;
    for (story, order) in &copies {
        for seq in order {
            assert!(dead.contains(seq), "{story}: {seq} is not dead");
            books.retry(*seq).await;
        }
    }
    let stories: Vec<&str> = copies.iter().map(|it| it.0.as_str()).collect();
    assert_equal(&expected, &books.rows().await, &stories.join("\n"));
    println!("{} copies, {} dead events", copies.len(), dead.len());
    books.assert_clean(&app).await;
    app.abandon().await;
}
