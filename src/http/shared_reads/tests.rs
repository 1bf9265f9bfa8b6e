use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::Request;
use futures::future::{join, join_all};
use tokio::sync::Notify;

use super::super::problem::ProblemKind;
use super::*;

/// Longer than a test.
const LONG_MS: u64 = 1_000_000;

/// Something to read that changes with each reading.
#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    async fn read(&self) -> Result<Rendered, Problem> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        Ok(Rendered::new(&number, None))
    }
}

/// Reads that are shared from the first caller.
fn in_a_rush(staleness_ms: u64) -> SharedReads {
    SharedReads { rush: 0, ..SharedReads::new(staleness_ms) }
}

fn query(text: &str) -> Query {
    Query::parse(text)
}

fn number(read: &Result<Rendered, Problem>) -> u64 {
    serde_json::from_slice(&read.as_ref().unwrap().body).unwrap()
}

async fn list(reads: &SharedReads, counter: &Counter, text: &str) -> u64 {
    number(&reads.get(Shared::Products, &query(text), || counter.read()).await)
}

#[tokio::test]
async fn callers_at_once_share_one_read_of_each_query() {
    let (reads, counter) = (in_a_rush(LONG_MS), Counter::default());
    let answers = join_all((0..1_000).map(|_| list(&reads, &counter, ""))).await;
    assert!(answers.iter().all(|it| *it == 1));
    assert_eq!(list(&reads, &counter, "limit=2").await, 2);
    assert_eq!(list(&reads, &counter, "").await, 1);
    assert_eq!(number(&reads.get(Shared::Coupons, &query(""), || counter.read()).await), 3);
    reads.forget();
    assert_eq!(list(&reads, &counter, "").await, 4);
    let off = in_a_rush(0);
    assert_eq!((list(&off, &counter, "").await, list(&off, &counter, "").await), (5, 6));
}

/// Goal: who asks now and then hears what is there at that moment.
#[tokio::test]
async fn a_few_callers_read_for_themselves() {
    let (reads, counter) = (SharedReads::new(LONG_MS), Counter::default());
    for number in 1..=u64::from(RUSH) {
        assert_eq!(list(&reads, &counter, "").await, number);
    }
    let shared = u64::from(RUSH) + 1;
    assert_eq!((list(&reads, &counter, "").await, list(&reads, &counter, "").await), (shared, shared));
    assert_eq!(list(&reads, &counter, "limit=2").await, shared + 1);
    let reads = SharedReads::new(1);
    for number in shared + 2..shared + 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(list(&reads, &counter, "").await, number);
    }
}

#[tokio::test]
async fn an_answer_serves_for_its_time_since_its_read_began() {
    let (reads, counter) = (in_a_rush(50), Counter::default());
    let mut newest = (0, Instant::now());
    for _ in 0..200 {
        let before = Instant::now();
        let answer = list(&reads, &counter, "").await;
        if answer == newest.0 {
            assert!(before < newest.1 + Duration::from_millis(50));
        }
        // It began before this, so the bound above is generous by one call.
        newest = if answer == newest.0 { newest } else { (answer, Instant::now()) };
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!((2..=200).contains(&newest.0), "{newest:?}");
}

/// A read takes longer than its answer may serve. Goal: who joined it late shares the next one, and there is never more
/// than one at a time.
#[tokio::test]
async fn who_joined_too_late_shares_the_next_read() {
    let (reads, counter, gate) = (in_a_rush(20), Counter::default(), Notify::new());
    let all = query("");
    let slow = || async {
        let read = counter.read().await;
        gate.notified().await;
        read
    };
    let first = reads.get(Shared::Products, &all, slow);
    let late = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        let late = join_all((0..10).map(|_| reads.get(Shared::Products, &all, || counter.read())));
        let open = async { gate.notify_one() };
        join(late, open).await.0
    };
    let (first, late) = join(first, late).await;
    assert_eq!(number(&first), 1);
    assert!(late.iter().all(|it| number(it) == 2), "{late:?}");
}

#[tokio::test]
async fn an_error_is_told_to_who_waited_and_not_kept() {
    let (reads, tries) = (in_a_rush(LONG_MS), AtomicU64::new(0));
    let fails = || async {
        tries.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Err(ProblemKind::DependencyDown.into())
    };
    let all = query("");
    let answers = join_all((0..100).map(|_| reads.get(Shared::Ranking, &all, fails))).await;
    assert!(answers.iter().all(|it| it.as_ref().is_err_and(|it| it.kind() == ProblemKind::DependencyDown)));
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    let counter = Counter::default();
    assert_eq!(number(&reads.get(Shared::Ranking, &all, || counter.read()).await), 1);
}

/// A client that goes away takes its read with it. Goal: the next one who waits reads.
#[tokio::test]
async fn a_reader_who_goes_away_leaves_nobody_waiting() {
    let (reads, counter) = (in_a_rush(LONG_MS), Counter::default());
    let never = || std::future::pending();
    let all = query("");
    let gone = reads.get(Shared::Products, &all, never);
    let gone = tokio::time::timeout(Duration::from_millis(20), gone);
    let (gone, waited) = join(gone, list(&reads, &counter, "")).await;
    assert_eq!((gone.is_err(), waited), (true, 1));
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let (reads, counter) = (in_a_rush(LONG_MS), Counter::default());
    for number in 1..=3 * ENTRIES_MAX as u64 {
        assert_eq!(list(&reads, &counter, &format!("cursor={number}")).await, number);
    }
    let kept = || {
        let flights = reads.flights.lock().unwrap();
        flights[Shared::Products as usize].values().filter(|it| it.newest.is_some()).count()
    };
    assert_eq!(kept(), ENTRIES_MAX);
    let large = || async { Ok(Rendered::new(&"x".repeat(KEPT_BYTES_MAX), None)) };
    reads.forget();
    reads.get(Shared::Products, &query(""), large).await.unwrap();
    assert_eq!(kept(), 0);
}

#[test]
fn a_tag_is_of_all_that_is_told() {
    let link = |text: &'static str| Some(HeaderValue::from_static(text));
    let tag = |entries: &[u8], link| Rendered::new(&entries, link).etag;
    assert_eq!(tag(&[1], None), tag(&[1], None));
    assert_ne!(tag(&[1], None), tag(&[2], None));
    assert_ne!(tag(&[1], None), tag(&[1], link("</a>")));
    assert_ne!(tag(&[1], link("</b>")), tag(&[1], link("</a>")));
}

#[tokio::test]
async fn a_client_names_what_it_has() {
    let rendered = Rendered::new(&[1], None);
    let own = rendered.etag.to_str().unwrap().to_owned();
    for (given, status) in [
        (vec![], 200),
        (vec!["\"other\""], 200),
        (vec![own.trim_matches('"')], 200),
        (vec![own.as_str()], 304),
        (vec!["*"], 304),
        (vec!["\"other\"", own.as_str()], 304),
        (vec![&format!("\"other\" , W/{own}")], 304),
    ] {
        let request = given.iter().fold(Request::get("/"), |it, tag| it.header(header::IF_NONE_MATCH, *tag));
        let mut parts = request.body(()).unwrap().into_parts().0;
        let Ok(held) = IfNoneMatch::from_request_parts(&mut parts, &()).await;
        let response = rendered.clone().answer(&held);
        assert_eq!((response.status().as_u16(), &response.headers()[header::ETAG]), (status, &rendered.etag));
        assert_eq!(response.headers().contains_key(header::CONTENT_TYPE), status == 200);
    }
}
