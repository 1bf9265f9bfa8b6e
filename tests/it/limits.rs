//! Promise: one caller cannot take what is there for all, and is told truly when to come back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;

use super::test_app::{Answer, TestApp};
use super::tokens;
use super::wire::assert_problem;

/// Sends a GET with these headers.
async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::GET, path, headers, "").await
}

async fn get_as(app: &TestApp, token: &str) -> Answer {
    get(app, "/products", &[("authorization", &format!("Bearer {token}"))]).await
}

/// Fails unless an answer says 429 with all that belongs to it; the seconds that it tells to wait.
fn assert_limited(answer: &Answer, story: &str) -> u64 {
    assert_eq!((answer.status.as_u16(), answer.code()), (429, "rate_limited"), "{story}: {answer:?}");
    assert_problem(answer, story);
    let seconds = answer.header("retry-after").and_then(|it| it.parse().ok());
    seconds.filter(|it| *it >= 1).unwrap_or_else(|| panic!("{story}: {answer:?}"))
}

/// Goal: a user who sends too much is stopped, told when to come back, and let in then; nobody else notices.
#[tokio::test]
async fn a_user_has_a_limit_of_their_own() {
    let app = TestApp::start_with(|settings| {
        tokens::trust_secret(settings);
        (settings.rate_limit_user_per_second, settings.rate_limit_burst_seconds) = (1, 5);
    })
    .await;
    let greedy = tokens::user(1);
    let answers = join_all((0..30).map(|_| get_as(&app, &greedy))).await;
    let began = Instant::now();
    let refused: Vec<&Answer> = answers.iter().filter(|it| !it.status.is_success()).collect();
    // Five at once; a slow machine lets some more trickle in.
    assert!((1..=25).contains(&refused.len()), "{} of 30 were refused", refused.len());
    let wait = refused.iter().map(|it| assert_limited(it, "a greedy user")).max().unwrap();

    let probe = format!("Bearer {greedy}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&app, path, &[("authorization", &probe)]).await.status, 200, "{path}");
    }
    for other in [tokens::user(2), tokens::admin()] {
        let answers = join_all((0..4).map(|_| get_as(&app, &other))).await;
        assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
    }
    // Who has no valid token is told that, and takes nothing from the user they name.
    let forged = tokens::sign_with_secret(&[7; 32], &tokens::claims("2", serde_json::json!({})));
    assert!(join_all((0..30).map(|_| get_as(&app, &forged))).await.iter().all(|it| it.status == 401));
    tokio::time::sleep_until((began + Duration::from_secs(wait)).into()).await;
    assert_eq!(get_as(&app, &greedy).await.status, 200, "the time that was told is over");
    assert_eq!(get_as(&app, &tokens::user(2)).await.status, 200);
    let metrics = app.get("/metrics").await.body;
    let counted =
        metrics.as_str().unwrap().lines().find(|it| it.contains("rate_limited_requests_total{by=\"user\"}"));
    assert!(counted.is_some_and(|it| !it.ends_with(" 0")), "{counted:?}");
    app.finish().await;
}

/// Goal: an administrator is not counted: one back office acts for many users.
#[tokio::test]
async fn administrators_have_no_limit() {
    let app = TestApp::start_with(|settings| {
        tokens::trust_secret(settings);
        (settings.rate_limit_user_per_second, settings.rate_limit_burst_seconds) = (1, 1);
    })
    .await;
    let admin = tokens::admin();
    let answers = join_all((0..20).map(|_| get_as(&app, &admin))).await;
    assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
    app.finish().await;
}

/// Goal: an address has a limit whoever sends from it and whatever is sent, but probes are always answered; what a
/// client says of its address counts for nothing.
#[tokio::test]
async fn an_address_has_a_limit() {
    let app = TestApp::start_with(|settings| {
        (settings.rate_limit_address_per_second, settings.rate_limit_burst_seconds) = (1, 5);
    })
    .await;
    let mut refused = 0;
    for number in 0..30 {
        let forwarded = format!("198.51.100.{number}");
        let headers = [("x-forwarded-for", forwarded.as_str()), ("forwarded", "for=198.51.100.7")];
        let answer = get(&app, ["/products", "/nope", "/users/0/balance"][number % 3], &headers).await;
        if answer.status == 429 {
            assert_limited(&answer, "an address");
            refused += 1;
        }
    }
    assert!((1..=25).contains(&refused), "{refused} of 30 were refused");
    for probe in ["/healthz", "/readyz"] {
        let answers = join_all((0..20).map(|_| get(&app, probe, &[]))).await;
        assert!(answers.iter().all(|it| it.status == 200), "{answers:?}");
    }
    app.finish().await;
}

/// Goal: behind a trusted proxy each client is counted by the address that the proxy saw, not by what it claims.
#[tokio::test]
async fn a_trusted_proxy_tells_clients_apart() {
    let app = TestApp::start_with(|settings| {
        (settings.rate_limit_address_per_second, settings.rate_limit_burst_seconds) = (1, 5);
        settings.trusted_proxies = firstcome::config::List(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    for number in 0..30 {
        let forwarded = format!("1.1.1.1, 198.51.100.{number}");
        let answer = get(&app, "/products", &[("x-forwarded-for", &forwarded)]).await;
        assert_eq!(answer.status, 200, "each client for itself: {answer:?}");
    }
    let claims = (0..30).map(|it| format!("203.0.113.{it}, 192.0.2.1"));
    let answers =
        join_all(claims.map(async |it| get(&app, "/products", &[("x-forwarded-for", &it)]).await)).await;
    let refused = answers.iter().filter(|it| it.status == 429).count();
    assert!(
        (10..=25).contains(&refused),
        "{refused} of 30 were refused, of one client who claims to be many"
    );
    app.finish().await;
}
