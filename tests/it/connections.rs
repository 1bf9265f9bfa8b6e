//! Promise: clients that are slow, greedy, ambiguous or gone harm nobody but themselves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use super::test_app::TestApp;
use super::wire::{Wire, ask, assert_problem, head, request};

const JSON: &[u8] = b"Content-Type: application/json";
const CHARGE: &str = "POST /users/1/balance";

/// How long a dribbling client waits between two bytes.
const DRIBBLE: Duration = Duration::from_millis(20);

async fn shop(change: impl FnOnce(&mut firstcome::config::Settings)) -> TestApp {
    let app = TestApp::start_with(change).await;
    app.product_with(1, 1, 1_000_000).await;
    app.user_with(1, 1_000_000).await;
    app
}

fn order() -> Vec<u8> {
    br#"{"userId":1,"items":[{"productId":1,"quantity":1}]}"#.to_vec()
}

/// A client that sends its headers byte by byte and never ends. Goal: it is closed, not before its time.
#[tokio::test]
async fn headers_that_dribble_are_cut_off() {
    const TIMEOUT_MS: u64 = 300;
    let app = shop(|settings| settings.header_timeout_ms = TIMEOUT_MS).await;
    let start: &[u8] = b"GET /products/1 HTTP/1.1\r\nHost: shop.example\r\nX-Slow: ";
    // From the first byte on, from the middle of the headers on, and without a single byte.
    for sent in [0, 10, start.len()] {
        let began = Instant::now();
        let mut wire = Wire::connect(&app).await;
        assert!(wire.write(&start[..sent]).await);
        if sent == 0 {
            wire.closed().await;
        } else {
            while wire.write(b"s").await {
                assert!(began.elapsed() < Duration::from_secs(60), "it may dribble for ever");
                tokio::time::sleep(DRIBBLE).await;
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(TIMEOUT_MS), "closed too early");
    }
    // One that has had an answer and dribbles the next request is closed just so.
    let mut wire = Wire::connect(&app).await;
    wire.write(&request("GET /products/1", &[], b"")).await;
    assert_eq!(wire.answer().await.unwrap().status, StatusCode::OK);
    wire.write(&start[..10]).await;
    wire.closed().await;
    app.finish().await;
}

/// 200 clients that dribble all the while. Goal: a good client does not notice.
#[tokio::test]
async fn two_hundred_dribbling_clients_do_not_stop_a_good_one() {
    let app = shop(|settings| settings.header_timeout_ms = 600_000).await;
    let mut slow = join_all((0..200).map(|_| Wire::connect(&app))).await;
    for wire in &mut slow {
        assert!(wire.write(b"POST /orders HTTP/1.1\r\nX-Slow: ").await);
    }
    for _ in 0..10 {
        for wire in &mut slow {
            assert!(wire.write(b"s").await);
        }
        let body = json!({"userId": 1, "items": [{"productId": 1, "quantity": 1}]});
        let answers = join_all((0..10).map(|_| app.post("/orders", body.clone()))).await;
        assert!(answers.iter().all(|it| it.status == StatusCode::CREATED), "{answers:?}");
    }
    assert_eq!(app.stock(1).await, 999_900);
    drop(slow);
    app.finish().await;
}

/// Goal: connections beyond the bound wait for their turn; they are neither refused nor forgotten.
#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let app = shop(|settings| settings.max_connections = 4).await;
    let answers = join_all((0..40).map(|_| async {
        let bytes = request("POST /orders", &[JSON, b"Connection: close"], &order());
        ask(&app, &bytes).await.status
    }))
    .await;
    assert!(answers.iter().all(|it| *it == StatusCode::CREATED), "{answers:?}");
    app.finish().await;
}

/// Goal: a body that never comes ends in a problem and a closed connection, and what comes too late is
/// not taken for another request.
#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let app = shop(|settings| settings.body_timeout_ms = 300).await;
    let lengths: [&[u8]; 2] = [b"Content-Length: 100", b"Transfer-Encoding: chunked"];
    for length in lengths {
        for part in ["", r#"{"amo"#] {
            let part = if length.starts_with(b"T") && !part.is_empty() { "64\r\n{\"amo" } else { part };
            let mut wire = Wire::connect(&app).await;
            wire.write(&head(CHARGE, &[JSON, length])).await;
            wire.write(part.as_bytes()).await;
            let answer = wire.answer().await.expect("a problem");
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid_request"));
            assert_eq!(answer.body["errors"][0]["pointer"], "#", "{answer:?}");
            assert_problem(&answer, "a body that never comes");
            wire.write(&request(CHARGE, &[JSON], br#"{"amount":7}"#)).await;
            wire.closed().await;
        }
    }
    // One that ends before its announced end is at fault too, or is just closed.
    for length in lengths {
        let mut wire = Wire::connect(&app).await;
        wire.write(&head(CHARGE, &[JSON, length])).await;
        wire.write(br#"{"amount":7}"#).await;
        wire.end_writing().await;
        let answer = wire.answer().await;
        assert!(answer.as_ref().is_none_or(|it| it.status == StatusCode::BAD_REQUEST), "{answer:?}");
        wire.closed().await;
    }
    assert_eq!(app.balance(1).await, 1_000_000);
    app.finish().await;
}

/// Goal: what goes beyond `max_in_flight` is told so at once, health answers all the same, and a request
/// whose client has gone away frees its place.
#[tokio::test]
async fn a_full_node_sheds_at_once_and_stays_healthy() {
    let app = shop(|settings| (settings.max_in_flight, settings.body_timeout_ms) = (3, 600_000)).await;
    let expect: [&[u8]; 3] = [JSON, b"Content-Length: 12", b"Expect: 100-continue"];
    let mut holders = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::connect(&app).await;
        wire.write(&head(CHARGE, &expect)).await;
        assert_eq!(wire.head().await.unwrap().status, StatusCode::CONTINUE, "it was let in");
        holders.push(wire);
    }
    // Nobody frees a place meanwhile: an answer at all is an answer at once.
    let answers = join_all((0..50).map(|_| app.get("/products/1"))).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "overloaded"));
        assert!(answer.header("retry-after").is_some());
        assert_problem(answer, "a shed request");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
    let metrics = app.get("/metrics").await.body;
    let shed =
        metrics.as_str().unwrap().lines().find(|it| it.starts_with("firstcome_http_shed_requests_total"));
    assert!(shed.is_some_and(|it| !it.ends_with(" 0")), "{shed:?}");

    for wire in holders.drain(..2) {
        wire.reset();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !app.get("/products/1").await.status.is_success() {
        assert!(Instant::now() < deadline, "the places of clients that went away are not free");
        tokio::time::sleep(DRIBBLE).await;
    }
    let mut last = holders.pop().unwrap();
    last.write(br#"{"amount":5}"#).await;
    assert_eq!(last.answer().await.unwrap().status, StatusCode::CREATED);
    assert_eq!(app.balance(1).await, 1_000_005);
    app.finish().await;
}

/// Goal: every answer has a request id: the caller's where it is fit to be logged, else a new one.
#[tokio::test]
async fn a_fit_request_id_is_taken_over_and_any_other_replaced() {
    let app = shop(|_| ()).await;
    let longest = "r".repeat(128);
    for id in ["r-1", "a b~!\"{}", longest.as_str()] {
        for call in
            ["GET /products/1", "GET /nope", "GET /healthz", "DELETE /orders", "GET /users/99/balance"]
        {
            let answer = ask(&app, &request(call, &[format!("X-Request-Id: {id}").as_bytes()], b"")).await;
            assert_eq!(answer.header("x-request-id"), Some(id), "{call}");
            if !answer.status.is_success() {
                assert_problem(&answer, call);
            }
        }
    }
    let too_long = format!("X-Request-Id: {longest}r").into_bytes();
    let unfit: [&[&[u8]]; 7] = [
        &[],
        &[b"X-Request-Id:"],
        &[b"X-Request-Id:   "],
        &[&too_long],
        &[b"X-Request-Id: caf\xc3\xa9"],
        &[b"X-Request-Id: a\tb"],
        &[b"X-Request-Id: a", b"X-Request-Id: a"],
    ];
    let mut seen = BTreeSet::new();
    for headers in unfit {
        for call in ["GET /products/1", "GET /nope"] {
            let answer = ask(&app, &request(call, headers, b"")).await;
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert_eq!(id.len(), 36, "a new one: {id}");
            if !answer.status.is_success() {
                assert_problem(&answer, call);
            }
            assert!(seen.insert(id), "each its own");
        }
    }
    app.finish().await;
}

/// Requests that two servers could read in two ways, with a charge hidden behind them. Goal: the hidden
/// one is never carried out, and the connection ends.
#[tokio::test]
async fn a_request_of_two_meanings_ends_its_connection() {
    let app = shop(|_| ()).await;
    let hidden = request(CHARGE, &[JSON], br#"{"amount":7}"#);
    let length = format!("Content-Length: {}", hidden.len() + 5).into_bytes();
    // What the head says about the body, and what stands between it and the hidden request.
    let shapes: [(&[&[u8]], &[u8]); 20] = [
        (&[&length, b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked", &length], b"0\r\n\r\n"),
        (&[b"Content-Length: 0", b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (&[b"Content-Length: 0", &length], b""),
        (&[&length, b"Content-Length: 0"], b""),
        (&[b"Content-Length: 0, 5"], b""),
        (&[b"Content-Length: +0"], b""),
        (&[b"Content-Length: -1"], b""),
        (&[b"Content-Length: 0x0"], b""),
        (&[b"Content-Length: 0 0"], b""),
        (&[b"Content-Length: 18446744073709551616"], b""),
        (&[b"Content-Length:"], b""),
        (&[b"Transfer-Encoding: identity"], b""),
        (&[b"Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding : chunked"], b"0\r\n\r\n"),
        (&[b"X: y", b" Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked"], b"-1\r\n\r\n"),
        (&[b"Transfer-Encoding: chunked"], b"10000000000000000\r\n\r\n"),
    ];
    for (headers, between) in shapes {
        let story: Vec<_> = headers.iter().map(|it| String::from_utf8_lossy(it)).collect();
        let mut wire = Wire::connect(&app).await;
        let bytes = [head(CHARGE, &[&[JSON], headers].concat()).as_slice(), between, &hidden].concat();
        wire.write(&bytes).await;
        // The bodies are empty or broken, so that whatever is answered is a refusal, and the only one.
        if let Some(answer) = wire.answer().await {
            assert!(answer.status.is_client_error(), "{story:?}: {answer:?}");
        }
        assert!(wire.answer().await.is_none(), "{story:?}: the hidden request was answered");
    }
    assert_eq!(app.balance(1).await, 1_000_000);
    app.finish().await;
}

/// Goal: bytes that are no HTTP are refused, and the engine goes on.
#[tokio::test]
async fn what_is_no_http_is_refused() {
    let app = shop(|_| ()).await;
    let long_line = [b"GET /".as_slice(), &[b'a'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
    let long_header = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 100_000], b"\r\n\r\n"].concat();
    let many: Vec<u8> = (0..1_000).flat_map(|it| format!("X-{it}: y\r\n").into_bytes()).collect();
    let many_headers = [b"GET / HTTP/1.1\r\n".as_slice(), &many, b"\r\n"].concat();
    let nonsense: [&[u8]; 10] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX\0: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        &long_line,
        &long_header,
        &many_headers,
    ];
    for bytes in nonsense {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        let mut wire = Wire::connect(&app).await;
        wire.write(bytes).await;
        if let Some(answer) = wire.answer().await {
            assert!(answer.status.is_client_error(), "{shown:?}: {answer:?}");
        }
        wire.closed().await;
        assert_eq!(app.get("/healthz").await.status, StatusCode::OK, "{shown:?}");
    }
    app.finish().await;
}

/// 120 buyers go away: some with half their order sent, some with all of it and no ear for the answer.
/// Goal: half an order is none, a whole one is placed once or not at all, and asking again under its key
/// makes it exactly one.
#[tokio::test]
async fn a_client_that_goes_away_leaves_all_or_nothing() {
    const BUYERS: usize = 120;
    let mut app = shop(|_| ()).await;
    let bytes_of = |buyer: usize| {
        let key = format!("Idempotency-Key: buyer {buyer}").into_bytes();
        request("POST /orders", &[JSON, &key], &order())
    };
    let is_half = |buyer: usize| buyer.is_multiple_of(3);
    join_all((0..BUYERS).map(async |buyer| {
        let bytes = bytes_of(buyer);
        let mut wire = Wire::connect(&app).await;
        // Cut off in every place: in the first line, in the headers, one byte before the end.
        let sent = if is_half(buyer) { (bytes.len() - 1) * (buyer + 3) / (BUYERS + 2) } else { bytes.len() };
        wire.write(&bytes[..sent.min(bytes.len())]).await;
        // Gone at another moment each: before the order is read, while it is placed, when it is answered.
        tokio::time::sleep(Duration::from_micros(100) * buyer as u32).await;
        match buyer % 3 {
            1 => drop(wire),
            _ => wire.reset(),
        }
    }))
    .await;
    // Whatever was on its way is through when the engine has stopped in good order.
    app.stop_engine().await;
    app.start_engine().await;
    let whole = (0..BUYERS).filter(|it| !is_half(*it)).count() as i64;
    let placed = 1_000_000 - app.stock(1).await;
    assert!(placed <= whole, "{placed} orders of {whole}: half an order was taken for a whole one");
    assert_eq!(app.balance(1).await, 1_000_000 - placed);
    println!("{placed} of {whole} whole orders were carried out for a client that had gone");
    app.assert_clean().await;

    let answers = join_all((0..BUYERS).map(async |buyer| ask(&app, &bytes_of(buyer)).await)).await;
    assert!(answers.iter().all(|it| it.status == StatusCode::CREATED), "{answers:?}");
    let replayed = answers.iter().filter(|it| it.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed as i64, placed);
    assert_eq!(app.stock(1).await, 1_000_000 - BUYERS as i64);
    app.drain_events().await;
    assert_eq!(app.count("SELECT COUNT(*) FROM orders").await, BUYERS as i64);
    app.finish().await;
}

/// Goal: one connection carries many requests, and answers to those sent at once come in their order.
#[tokio::test]
async fn a_connection_is_kept_and_answers_come_in_order() {
    let app = shop(|_| ()).await;
    let mut wire = Wire::connect(&app).await;
    // One after the other, refusals and a body that is too large among them.
    let too_large = vec![b' '; 20_000];
    for round in 0..10 {
        for (call, body, status) in [
            (CHARGE, br#"{"amount":1}"#.as_slice(), 201),
            (CHARGE, b"{", 400),
            (CHARGE, &too_large, 413),
            ("DELETE /orders", b"{}", 405),
            ("GET /nope", b"", 404),
        ] {
            wire.write(&request(call, &[JSON], body)).await;
            let answer = wire.answer().await;
            assert_eq!(answer.map(|it| it.status.as_u16()), Some(status), "{call} in round {round}");
        }
    }
    assert_eq!(app.balance(1).await, 1_000_010);

    let mut all = Vec::new();
    for number in 0..60 {
        let id = format!("X-Request-Id: {number}").into_bytes();
        let (call, body) = match number % 3 {
            0 => ("POST /orders", order()),
            1 => ("GET /products/1", Vec::new()),
            _ => ("POST /orders", b"{}".to_vec()),
        };
        all.extend(request(call, &[JSON, &id], &body));
    }
    wire.write(&all).await;
    for number in 0..60 {
        let answer = wire.answer().await.expect("an answer each");
        assert_eq!(answer.header("x-request-id"), Some(number.to_string().as_str()));
        assert_eq!(answer.status.as_u16(), [201, 200, 400][number % 3], "{answer:?}");
        if number % 3 == 1 {
            assert_eq!(answer.body["stock"], 999_999 - number as i64 / 3, "each sees those before it");
        }
    }
    // Its last one, as it says.
    wire.write(&request("GET /healthz", &[b"Connection: close"], b"")).await;
    assert_eq!(wire.answer().await.unwrap().status, StatusCode::OK);
    assert!(wire.answer().await.is_none());
    app.finish().await;
}
