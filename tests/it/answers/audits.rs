//! The audit over HTTP.

use serde_json::json;

use super::{Call, Request, Table, order, set_campaign};
use crate::audit::mysql_does;
use crate::test_redis::cells;

pub const CALLS: &[Call] = &[Call::new("POST /admin/audit", "200").taking("{}").only_reading()];

/// Goal: the audit counts what there is and names what differs.
#[tokio::test]
async fn audits_give_every_listed_answer() {
    let mut table = Table::of(CALLS).await;
    let nothing = json!({
        "wallets": 0, "ledgerEntries": 0, "skus": 0, "coupons": 0, "couponIssues": 0, "rankedProducts": 0,
        "redisKeys": 0, "orders": 0, "payments": 0, "messages": 0,
    });
    let audit = |body: &str| Request::new(reqwest::Method::POST, "/admin/audit").saying(body);
    for body in ["", "{}"] {
        let clean = json!({"clean": true, "checked": nothing, "differences": []});
        table.gives("an empty shop", audit(body), 200, clean).await;
    }
    table.app.user_with(1, 10_000).await;
    table.app.product_with(1, 1_000, 5).await;
    set_campaign(&table.app, 1, json!({})).await;
    assert_eq!(order(1, &[(1, 2)]).accepting(&table.app, None).await.status, 201);
    assert_eq!(order(1, &[(1, 4)]).accepting(&table.app, None).await.code(), "out_of_stock");
    table.app.drain().await;
    // What is listed has a row in each cell.
    let cells = cells();
    let checked = json!({
        "wallets": 1, "ledgerEntries": 2, "skus": cells, "coupons": cells, "couponIssues": 0, "rankedProducts": 1,
        "redisKeys": 2 * cells + 1, "orders": 1, "payments": 1, "messages": 1,
    });
    let clean = json!({"clean": true, "checked": checked, "differences": []});
    table.gives("a shop that sold", audit("{}"), 200, clean).await;

    mysql_does(&table.app, "UPDATE wallets SET balance = balance + 1").await;
    let wallet = json!({"kind": "wallet", "id": "1", "redis": "8000", "mysql": "8001"});
    let ledger = json!({"kind": "ledger", "id": "1", "redis": "-", "mysql": "~text"});
    let torn = json!({"clean": false, "checked": checked, "differences": [wallet, ledger]});
    table.gives("a wallet that was changed by hand", audit("{}"), 200, torn).await;

    mysql_does(&table.app, "UPDATE wallets SET balance = balance - 1").await;
    table.finish_complete().await;
}
