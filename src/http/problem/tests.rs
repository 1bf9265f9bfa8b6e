use super::*;

fn shown(problem: &Problem, language: Language) -> Value {
    serde_json::from_slice(&problem.document("https://shop.example", language, "r-1")).unwrap()
}

#[test]
fn every_code_is_unique_and_has_a_heading_in_the_documentation() {
    let pages = include_str!("../../../docs/problems.md");
    let mut codes: Vec<&str> = ProblemKind::ALL.iter().map(|it| it.row().code).collect();
    for code in &codes {
        let heading = format!("## `{code}`");
        assert_eq!(pages.lines().filter(|it| *it == heading).count(), 1, "{heading}");
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ProblemKind::ALL.len());
    assert_eq!(pages.lines().filter(|it| it.starts_with("## `")).count(), codes.len());
}

#[test]
fn statuses_are_those_of_the_contract() {
    let codes_of = |status: u16| -> Vec<&str> {
        let rows = ProblemKind::ALL.iter().map(|it| it.row());
        rows.filter(|it| it.status == status).map(|it| it.code).collect()
    };
    assert_eq!(
        codes_of(400),
        [
            "invalid_request",
            "invalid_amount",
            "balance_limit_exceeded",
            "insufficient_balance",
            "out_of_stock",
            "invalid_coupon",
            "purchase_limit_exceeded"
        ]
    );
    assert_eq!(codes_of(401), ["unauthenticated"]);
    assert_eq!(codes_of(403), ["forbidden"]);
    assert_eq!(
        codes_of(404),
        ["user_not_found", "product_not_found", "coupon_not_found", "order_not_found", "not_found"]
    );
    assert_eq!(codes_of(405), ["method_not_allowed"]);
    assert_eq!(
        codes_of(409),
        [
            "sale_not_open",
            "coupon_expired",
            "coupon_not_started",
            "coupon_sold_out",
            "coupon_already_issued",
            "order_not_payable",
            "order_not_cancellable",
            "order_not_refundable"
        ]
    );
    assert_eq!(codes_of(413), ["payload_too_large"]);
    assert_eq!(codes_of(415), ["unsupported_media_type"]);
    assert_eq!(codes_of(422), ["idempotency_key_reused"]);
    assert_eq!(codes_of(429), ["rate_limited"]);
    assert_eq!(codes_of(500), ["internal_error"]);
    assert_eq!(
        codes_of(503),
        ["overloaded", "cell_closed", "backlog_full", "not_yet_persisted", "dependency_down"]
    );
}

#[test]
fn only_429_and_503_say_when_to_come_back() {
    for kind in ProblemKind::ALL {
        let waits = matches!(kind.status().as_u16(), 429 | 503);
        assert_eq!(kind.retry_after().is_some(), waits, "{kind:?}");
    }
}

#[test]
fn a_document_has_the_members_of_the_contract() {
    let problem = Problem::new(ProblemKind::OutOfStock).with("productId", 7).with("remaining", 0);
    assert_eq!(
        shown(&problem, Language::Korean),
        serde_json::json!({
            "type": "https://shop.example/problems/out_of_stock", "title": "Out of stock", "status": 400,
            "detail": "상품 재고가 부족합니다", "code": "out_of_stock", "requestId": "r-1",
            "productId": 7, "remaining": 0
        })
    );
    let problem = Problem::at("#/items/0/quantity", "is required");
    assert_eq!(
        shown(&problem, Language::English)["errors"],
        serde_json::json!([{"pointer": "#/items/0/quantity", "detail": "is required"}])
    );
}

#[test]
fn an_unknown_outcome_tells_to_retry_under_the_same_key() {
    let mut problem = Problem::from(ScriptError::Unknown("timed out".to_owned()));
    let document = shown(&problem, Language::English);
    assert_eq!((&document["code"], &document["outcome"]), (&"dependency_down".into(), &"unknown".into()));
    assert!(document["detail"].as_str().unwrap().contains("same Idempotency-Key"));
    assert!(!document.to_string().contains("timed out"), "causes are for the log");
    problem.forget_outcome();
    assert_eq!(shown(&problem, Language::English)["detail"], "Try again shortly");
}
