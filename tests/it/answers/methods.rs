//! What holds of the tables as a whole: no call is missing, and every path knows its methods.

use std::collections::{BTreeMap, BTreeSet};

use firstcome::worker::Silent;
use firstcome::worker::recover::{close, reopen};
use reqwest::Method;

use super::{Request, all_calls};
use crate::contract::assert_told;
use crate::test_app::TestApp;

/// Calls about the engine itself, which are no part of the shop.
const OPERATIONS: [(&str, &str); 11] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/admin/overview"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/{file}"),
    ("GET", "/console"),
    ("GET", "/console/stream"),
    ("POST", "/console/ticket"),
    ("GET", "/console/{file}"),
];

/// Goal: a call that is added to the routes is added to a table.
#[test]
fn every_route_is_a_call_of_a_table() {
    let routes = include_str!("../../../src/http/mod.rs").lines();
    let routes = routes.filter_map(|it| it.trim().strip_prefix(".route(\"")?.split_once("\","));
    let mut served: Vec<String> = routes
        .filter(|(path, _)| OPERATIONS.iter().all(|it| it.1 != *path))
        .flat_map(|(path, handlers)| {
            let methods = ["get", "post", "put", "patch", "delete"].into_iter();
            let methods = methods.filter(move |it| {
                handlers.contains(&format!(" {it}(")) || handlers.contains(&format!(".{it}("))
            });
            methods.map(move |it| format!("{} {path}", it.to_uppercase()))
        })
        .collect();
    let mut told: Vec<&str> = all_calls().into_iter().map(|it| it.line).collect();
    served.sort_unstable();
    told.sort_unstable();
    assert_eq!(served, told);
}

/// Goal: a method that a path does not have is 405, and `Allow` names those that it has.
#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    const METHODS: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB", "post"];
    let app = TestApp::start().await;
    let before = app.redis.everything().await;
    let mut paths: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for call in all_calls() {
        paths.entry(call.sample_path()).or_default().insert(call.line.split_once(' ').unwrap().0);
    }
    paths.extend(OPERATIONS.map(|(method, path)| (path.to_owned(), BTreeSet::from([method]))));
    for (path, mut allowed) in paths {
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        for method in METHODS.into_iter().filter(|it| !allowed.contains(it)) {
            let request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), &path).saying("{}");
            for language in ["en", "ko"] {
                let answer = request.accepting(&app, Some(language)).await;
                let story = format!("{request} in {language}");
                let told: BTreeSet<&str> =
                    answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
                assert_eq!(told, allowed, "{story}: {answer:?}");
                match method {
                    "HEAD" => assert_eq!(answer.status, 405, "{story}: {answer:?}"),
                    _ => assert_told(&answer, "method_not_allowed", language, &story),
                }
            }
        }
    }
    assert_eq!(app.redis.everything().await, before);
    app.finish().await;
}

/// Goal: what is near a path of the contract and none is not found.
#[tokio::test]
async fn a_path_of_no_call_is_not_found() {
    let app = TestApp::start().await;
    for call in all_calls() {
        for path in [format!("{}/", call.sample_path()), format!("/v1{}", call.sample_path())] {
            if path.contains('?') {
                continue;
            }
            for language in ["en", "ko"] {
                let request = call.sample().at(&path);
                let answer = request.accepting(&app, Some(language)).await;
                assert_told(&answer, "not_found", language, &format!("{request} in {language}"));
                assert_eq!(answer.header("allow"), None, "{request}");
            }
        }
    }
    app.finish().await;
}

/// Goal: while its cell is closed, every call tells to come back, and changes nothing.
#[tokio::test]
async fn every_call_of_a_closed_cell_tells_to_come_back() {
    let app = TestApp::start().await;
    app.user_with(1, 1_000).await;
    app.product_with(1, 5, 10).await;
    super::set_campaign(&app, 1, serde_json::json!({})).await;
    app.drain_events().await;
    let worker = app.connections().worker();
    for cell in app.settings.cells().all() {
        close(&worker, cell).await.unwrap();
    }
    let before = app.redis.everything().await;
    for call in all_calls() {
        for language in ["en", "ko"] {
            let answer = call.sample().accepting(&app, Some(language)).await;
            assert_told(&answer, "cell_closed", language, &format!("{} in {language}", call.line));
        }
    }
    assert_eq!(app.redis.everything().await, before);
    for cell in app.settings.cells().all() {
        reopen(&worker, cell, &Silent).await.unwrap();
    }
    assert!(app.engine().wait_until_open(std::time::Duration::from_secs(60)).await);
    assert_eq!(app.balance(1).await, 1_000);
    app.finish().await;
}
