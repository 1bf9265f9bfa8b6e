use serde_json::{Value, json};

use super::Visit;

/// The rest of a test's selectors begins with one product.
fn product(id: u64) -> String {
    format!("li.product[data-id=\"{id}\"]")
}

async fn stock(visit: &Visit, id: u64) -> i64 {
    visit.get(&format!("/products/{id}")).await["stock"].as_i64().unwrap()
}

/// Goal: who claims, charges, buys, orders and pays later, and asks for their money back, sees it all happen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shopper_buys() {
    let visit = Visit::start("ko").await;
    visit.open("/").await;
    visit.until("document.querySelector('#shop').dataset.state === 'ready'").await;
    visit.photograph("shop-ko").await;
    visit.fill("#charge-amount", "500000").await;
    visit.click("#charge").await;
    visit.until("document.querySelector('#balance').dataset.balance === '500000'").await;
    visit.click("li.coupon button.claim").await;
    visit.until("document.querySelector('li.my-coupon[data-status=\"issued\"]') !== null").await;

    let before = stock(&visit, 3).await;
    visit.click(&format!("{} button.buy", product(3))).await;
    visit.until("document.querySelector('li.order[data-status=\"paid\"]') !== null").await;
    assert_eq!(stock(&visit, 3).await, before - 1);
    visit
        .until(&format!("document.querySelector('{}').dataset.stock === '{}'", product(3), before - 1))
        .await;

    visit.click(&format!("{} button.order-later", product(5))).await;
    visit.click("li.order[data-status=\"pending\"] button.pay").await;
    visit.until("document.querySelectorAll('li.order[data-status=\"paid\"]').length === 2").await;
    visit.click("li.order[data-status=\"paid\"] button.refund").await;
    visit.until("document.querySelector('li.order[data-status=\"refunded\"]') !== null").await;
    visit.until("document.querySelector('#ranking').innerText.trim().length > 0").await;
    visit.photograph("shop-bought").await;
    visit.end().await;
}

/// Goal: what is sold out, not yet or no more on sale is shown so, and a refusal comes in the shopper's language.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shopper_is_told_why_not() {
    let visit = Visit::start("ko").await;
    let put = async |id: u64, body: Value| {
        visit.ask(reqwest::Method::PUT, &format!("/admin/products/{id}"), Some(body)).await
    };
    let at = |seconds: i64| (chrono::Utc::now() + chrono::Duration::seconds(seconds)).to_rfc3339();
    put(20, json!({"name": "Last one", "price": 1_000, "stock": 1})).await;
    put(
        21,
        json!({"name": "Soon", "price": 1_000, "stock": 5, "saleStartsAt": at(20), "saleEndsAt": at(600)}),
    )
    .await;
    put(
        22,
        json!({"name": "Ends", "price": 1_000, "stock": 5, "saleStartsAt": at(-60), "saleEndsAt": at(25)}),
    )
    .await;
    visit.open("/").await;
    visit.until("document.querySelector('#shop').dataset.state === 'ready'").await;
    let sale = |id: u64, is: &str| {
        format!(
            "document.querySelector('{}') && document.querySelector('{}').dataset.sale === '{is}'",
            product(id),
            product(id)
        )
    };
    visit.until(&sale(21, "soon")).await;
    visit.until(&format!("document.querySelector('{} .countdown') && document.querySelector('{} .countdown').innerText.trim()", product(21), product(21))).await;

    // Nobody has money yet.
    visit.click(&format!("{} button.buy", product(20))).await;
    visit.until("document.querySelector('#message').dataset.code === 'insufficient_balance'").await;
    visit.until("document.querySelector('#message').innerText.includes('잔액')").await;
    visit.fill("#charge-amount", "10000").await;
    visit.click("#charge").await;
    visit.until("document.querySelector('#balance').dataset.balance === '10000'").await;
    visit.click(&format!("{} button.buy", product(20))).await;
    visit.until(&sale(20, "soldout")).await;
    visit.photograph("shop-sold-out").await;
    visit.until(&sale(21, "open")).await;
    visit.until(&sale(22, "ended")).await;
    visit.click("#language").await;
    visit.photograph("shop-en").await;
    visit.end().await;
}
