//! The contract's words for every problem, and requests that can be sent again in another language.

use std::fmt;

use reqwest::Method;
use serde_json::Value;

use super::test_app::{Answer, TestApp};
use super::wire::assert_problem;

/// What clients rely on: code, status, detail in English and in Korean.
#[rustfmt::skip]
pub const CATALOGUE: [(&str, u16, &str, &str); 32] = [
    ("invalid_request", 400, "The request is invalid", "요청이 올바르지 않습니다"),
    ("invalid_amount", 400, "Invalid amount", "충전 금액이 올바르지 않습니다"),
    ("balance_limit_exceeded", 400, "The charge exceeds the balance limit", "충전 한도를 초과했습니다"),
    ("insufficient_balance", 400, "Insufficient balance", "잔액이 부족합니다"),
    ("out_of_stock", 400, "Out of stock", "상품 재고가 부족합니다"),
    ("invalid_coupon", 400, "The coupon is not valid", "쿠폰이 유효하지 않습니다"),
    ("purchase_limit_exceeded", 400, "The purchase limit is exceeded", "구매 한도를 초과했습니다"),
    ("sale_not_open", 409, "The product is not on sale now", "판매 기간이 아닙니다"),
    ("coupon_expired", 409, "The coupon's period is over", "쿠폰 기간이 만료되었습니다"),
    ("coupon_not_started", 409, "The coupon's period has not begun", "쿠폰 발급 기간이 아닙니다"),
    ("coupon_sold_out", 409, "Coupons sold out", "쿠폰 수량이 모두 소진되었습니다"),
    ("coupon_already_issued", 409, "The coupon was already issued to this user", "이미 발급받은 쿠폰입니다"),
    ("order_not_payable", 409, "The order cannot be paid", "결제할 수 없는 주문입니다"),
    ("order_not_cancellable", 409, "The order cannot be cancelled", "취소할 수 없는 주문입니다"),
    ("order_not_refundable", 409, "The order cannot be refunded", "환불할 수 없는 주문입니다"),
    ("user_not_found", 404, "User not found", "사용자를 찾을 수 없습니다"),
    ("product_not_found", 404, "Product not found", "상품을 찾을 수 없습니다"),
    ("coupon_not_found", 404, "Coupon not found", "쿠폰을 찾을 수 없습니다"),
    ("order_not_found", 404, "Order not found", "주문 정보가 존재하지 않습니다"),
    ("not_found", 404, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("method_not_allowed", 405, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("unsupported_media_type", 415, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("payload_too_large", 413, "The request cannot be processed", "요청을 처리할 수 없습니다"),
    ("unauthenticated", 401, "Authentication is required", "인증이 필요합니다"),
    ("forbidden", 403, "Permission denied", "권한이 없습니다"),
    ("idempotency_key_reused", 422, "The key was used for another request", "이미 다른 요청에 사용된 키입니다"),
    ("rate_limited", 429, "Too many requests", "요청이 너무 많습니다"),
    ("overloaded", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("cell_closed", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("backlog_full", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("not_yet_persisted", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
    ("dependency_down", 503, "Try again shortly", "잠시 후 다시 시도해 주세요"),
];

/// A request that can be sent again and again.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: String::new() }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path).saying(body.to_string())
    }

    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PUT, path).saying(body.to_string())
    }

    /// With this body, which is said to be JSON.
    pub fn saying(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }.typed("application/json")
    }

    /// With some fields of its body replaced.
    pub fn changing(self, changes: &Value) -> Self {
        let mut body: Value = serde_json::from_str(&self.body).expect("a JSON body");
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.saying(body.to_string())
    }

    /// With its body said to be something else.
    pub fn typed(mut self, content_type: &str) -> Self {
        self.headers.retain(|it| it.0 != "content-type");
        self.with("content-type", content_type)
    }

    /// The same of another path.
    pub fn at(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    pub fn under(self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }

    pub fn is_under(&self, key: &str) -> bool {
        self.headers.iter().any(|it| *it == ("idempotency-key", key.to_owned()))
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub async fn accepting(&self, app: &TestApp, languages: Option<&str>) -> Answer {
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|it| (it.0, it.1.as_str())).collect();
        headers.extend(languages.map(|it| ("accept-language", it)));
        app.send(self.method.clone(), &self.path, &headers, self.body.clone()).await
    }

    /// Sends it for each kind of caller. Goal: the contract's words, in the language asked for.
    pub async fn is_told(&self, app: &TestApp, code: &str) -> Answer {
        let callers = [
            (None, "en"),
            (Some("en"), "en"),
            (Some("en-GB,ko;q=0.5"), "en"),
            (Some("fr"), "en"),
            (Some("ko"), "ko"),
            (Some("ko-KR,ko;q=0.9,en;q=0.8"), "ko"),
            (Some("en;q=0.1, ko;q=0.2"), "ko"),
        ];
        let mut last = None;
        for (languages, language) in callers {
            let answer = self.accepting(app, languages).await;
            assert_told(&answer, code, language, &format!("{self} for {languages:?}"));
            last = Some(answer);
        }
        last.unwrap()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.body.chars().take(200).collect();
        write!(f, "{} {} {shown}", self.method, self.path)
    }
}

/// Fails unless an answer is a problem in the contract's words, in a language.
pub fn assert_told(answer: &Answer, code: &str, language: &str, story: &str) {
    let (_, status, english, korean) = *CATALOGUE.iter().find(|it| it.0 == code).expect("a row");
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{story}: {answer:?}");
    let detail = if language == "ko" { korean } else { english };
    assert_eq!(answer.body["detail"], detail, "{story}");
    assert_eq!(answer.header("content-language"), Some(language), "{story}");
    assert_eq!(answer.header("retry-after").is_some(), matches!(status, 429 | 503), "{story}: {answer:?}");
    if let Some(seconds) = answer.header("retry-after") {
        assert!((1..=60).contains(&seconds.parse().unwrap()), "{story}: {answer:?}");
    }
    assert_problem(answer, story);
}
