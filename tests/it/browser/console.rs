use serde_json::{Value, json};

use super::Visit;

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|it| it.parse().ok()).or(value.as_f64()).unwrap_or_else(|| panic!("{value}"))
}

/// Goal: a rush is seen as it happens, and what is shown is what the API says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_shows_a_rush() {
    let visit = Visit::start("en").await;
    visit.open("/console").await;
    visit.until("document.querySelector('#state').dataset.state === 'connected'").await;
    visit.until("document.querySelector('#cells').innerText.trim().length > 0").await;
    visit.photograph("console-quiet").await;
    visit.click("#rush-start").await;
    visit.until("Number(document.querySelector('#orders-per-second').dataset.last) > 0").await;
    let points = visit.until("document.querySelector('#orders-per-second').dataset.points").await;
    visit.until("document.querySelector('#refusals').innerText.includes('sold_out') || document.querySelector('#refusals').innerText.includes('out_of_stock')").await;
    visit.photograph("console-rush").await;
    let later = format!(
        "Number(document.querySelector('#orders-per-second').dataset.points) > {}",
        number(&points) + 3.0
    );
    visit.until(&later).await;
    visit
        .until("document.querySelector('#rush-start') && !document.querySelector('#rush-start').disabled")
        .await;

    // Quiet again: what is shown is what the API says.
    let products = visit.get("/products?limit=200").await;
    // One begins later, and is not shown before.
    for product in products.as_array().unwrap().iter().filter(|it| it.get("saleStartsAt").is_none()) {
        let shown = format!("document.querySelector('#stock').innerText.includes({})", product["name"]);
        visit.until(&shown).await;
    }
    let overview = visit.get("/admin/overview").await;
    let paid: u64 = overview["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["script"] == "order_place" && it["outcome"] == "PAID")
        .map(|it| it["count"].as_u64().unwrap())
        .sum();
    assert!(paid > 100, "{overview}");
    visit.click("#audit-run").await;
    visit.until("document.querySelector('#audit-result').innerText.trim().length > 0").await;
    let audit = visit.ask(reqwest::Method::POST, "/admin/audit", None).await;
    assert_eq!(audit["clean"], json!(true), "{audit}");
    visit.photograph("console-afterwards").await;
    visit.end().await;
}

/// Goal: a page whose engine is gone says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_says_that_it_is_disconnected() {
    let mut visit = Visit::start("en").await;
    visit.open("/console").await;
    visit.until("document.querySelector('#state').dataset.state === 'connected'").await;
    visit.dev.kill();
    visit.until("document.querySelector('#state').dataset.state === 'disconnected'").await;
    visit.photograph("console-disconnected").await;
    visit.end().await;
}
