//! Promise: a campaign that is forgotten and opened again, and a key that is used again when its time is over, come
//! out right, whichever of their events were dead.

use chrono::SecondsFormat;
use firstcome::cell::Seq;
use firstcome::worker::forget;
use serde_json::json;

use super::books::{Books, assert_equal, rows};
use super::histories::{HOURS, now};
use super::last_event;
use super::stories::ordered_picks;
use crate::test_app::{CELL, TestApp};

/// Events of each copy: set, claimed, forgotten, set, claimed.
const EVENTS: usize = 5;

/// A campaign of each copy, and its user's claim, always under the same key.
async fn live(app: &TestApp, copies: u64, name: &str) -> Vec<[Seq; 2]> {
    let ends = (now(app).await + chrono::Duration::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut events = Vec::new();
    for id in 1..=copies {
        app.campaign(id, 3, json!({"name": name, "endsAt": ends, "expiresAt": ends})).await;
        let set = last_event(app).await.0;
        let claim = app.post_once("/coupons", "claim", json!({"userId": id, "couponId": id})).await;
        assert_eq!(claim.status, 201, "{claim:?}");
        events.push([set, last_event(app).await.0]);
    }
    events
}

/// The events in which the campaigns were forgotten, by id of the campaign.
async fn forgotten(app: &TestApp, copies: u64) -> Vec<Seq> {
    let worker = app.connections().worker();
    app.drain_events().await;
    assert_eq!(forget(&worker, CELL).await.unwrap().coupons, copies);
    let newest: Vec<(String, Vec<String>)> = redis::cmd("XREVRANGE")
        .arg(&["{c0}:events", "+", "-", "COUNT"])
        .arg(copies)
        .query_async(&mut app.redis_of(1).await)
        .await
        .unwrap();
    let mut events: Vec<(u64, Seq)> = newest
        .iter()
        .map(|(id, fields)| {
            assert_eq!(fields[0], "coupon_forgotten:1");
            let coupon = fields[1].split(' ').nth(1).unwrap().parse().unwrap();
            (coupon, id.split('-').nth(1).unwrap().parse().unwrap())
        })
        .collect();
    events.sort_unstable();
    events.into_iter().map(|it| it.1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lives_and_two_uses_of_a_key_come_out_right() {
    let (app, clock) = super::log_only_with_clock(|settings| settings.keep_ended_ms = 3_600_000).await;
    let books = Books::beside(&app).await;
    let picks: Vec<_> = ordered_picks(EVENTS).into_iter().filter(|it| it.len() <= 3).collect();
    let copies = picks.len() as u64;
    for user in 1..=copies {
        app.user_with(user, 0).await;
    }
    let first = live(&app, copies, "first").await;
    clock.advance_hours(HOURS);
    let forgotten = forgotten(&app, copies).await;
    let second = live(&app, copies, "second").await;

    let mut retries = Vec::new();
    for (copy, pick) in picks.iter().enumerate() {
        let events = [first[copy][0], first[copy][1], forgotten[copy], second[copy][0], second[copy][1]];
        let dead: Vec<Seq> = pick.iter().map(|it| events[*it]).collect();
        books.refuse(dead.iter().map(|it| (*it, copy % 2 == 0))).await;
        retries.extend(dead);
    }
    app.drain_events().await;
    books.follow().await;
    assert_eq!(books.dead().await.len(), retries.len());
    for seq in retries {
        books.retry(seq).await;
    }
    for worker in [&app.connections().worker(), &books.worker] {
        forget(worker, CELL).await.unwrap();
    }
    assert_equal(
        &rows(&app.connections().mysql).await,
        &books.rows().await,
        "copy n is campaign and user n + 1",
    );
    books.assert_clean(&app).await;
    app.abandon().await;
}
