//! Promise: a health check needs neither a shell nor curl: `firstcome ready` says whether an engine sells.

use std::process::Output;
use std::time::{Duration, Instant};

use firstcome::dev::ports;
use tokio::net::TcpListener;

use super::commands::{firstcome, text};
use super::test_app::TestApp;

/// Runs it; what it says, and how long it takes.
async fn ready(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, Duration) {
    let mut command = firstcome();
    command.arg("ready").args(arguments).envs(environment.iter().copied());
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output, began.elapsed())
}

/// Goal: 0 while it sells, 1 with the reason while it does not, by its URL and by the settings that it serves with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_whether_an_engine_sells() {
    let app = TestApp::start().await;
    let address = app.engine().address().unwrap();
    let url = app.url("");
    let everywhere = format!("0.0.0.0:{}", address.port());
    type Way<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let ways: [Way; 3] = [
        (&["--url", &url], &[]),
        (&["--listen", &address.to_string()], &[]),
        (&[], &[("FIRSTCOME_LISTEN", &everywhere)]),
    ];
    for (arguments, environment) in ways {
        let (output, _) = ready(arguments, environment).await;
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "ready\n"), "{arguments:?}");
    }
    let connections = app.connections();
    firstcome::worker::recover::close(&connections.worker(), app.cell_of(1)).await.unwrap();
    let (output, _) = ready(&["--url", &url], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).starts_with("not ready: http://"), "{}", text(&output));
    assert!(text(&output).contains(&format!("cell {}: ", app.cell_of(1))), "{}", text(&output));
    assert_eq!(text(&output).lines().count(), 1, "{}", text(&output));
    app.abandon().await;
}

/// Goal: where nobody listens, or nobody answers, it says so in one line, in a bounded time; a URL that cannot be meant too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_wait_for_ever() {
    let nobody = format!("http://127.0.0.1:{}", ports::free().unwrap());
    let (output, _) = ready(&["--url", &nobody], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("refused"), "{}", text(&output));

    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", hung.local_addr().unwrap());
    let (output, took) = ready(&["--url", &url], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no answer within 5s"), "{}", text(&output));
    assert!(took < Duration::from_secs(30), "{took:?}");

    for wrong in ["127.0.0.1:8080", "https://127.0.0.1", "http://a@b", "http://a/b", "http://a?b", ""] {
        let (output, _) = ready(&["--url", wrong], &[]).await;
        assert!(!output.status.success(), "{wrong}");
        assert!(text(&output).contains("--url"), "{wrong}: {}", text(&output));
    }
}
