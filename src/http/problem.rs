//! Errors as clients see them: RFC 9457 problems, one row each. Only this file knows their statuses.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::language::Language;
use crate::scripts::ScriptError;

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// Every problem that a client can meet. `docs/problems.md` has a heading for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemKind { $($kind),* }

        impl ProblemKind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];
        }
    };
}

kinds! {
    InvalidRequest, InvalidAmount, BalanceLimitExceeded, InsufficientBalance, OutOfStock, InvalidCoupon,
    PurchaseLimitExceeded, SaleNotOpen, CouponExpired, CouponNotStarted, CouponSoldOut, CouponAlreadyIssued,
    OrderNotPayable, OrderNotCancellable, OrderNotRefundable, UserNotFound, ProductNotFound, CouponNotFound,
    OrderNotFound, NotFound, MethodNotAllowed, UnsupportedMediaType, PayloadTooLarge, Unauthenticated,
    Forbidden, IdempotencyKeyReused, RateLimited, Overloaded, CellClosed, BacklogFull, NotYetPersisted,
    DependencyDown, InternalError,
}

/// One line of the catalogue. A code is a promise to clients: add new ones, never rename.
pub struct Row {
    pub status: u16,
    pub code: &'static str,
    pub title: &'static str,
    pub detail_en: &'static str,
    pub detail_ko: &'static str,
}

const CANNOT_EN: &str = "The request cannot be processed";
const CANNOT_KO: &str = "요청을 처리할 수 없습니다";
const AGAIN_EN: &str = "Try again shortly";
const AGAIN_KO: &str = "잠시 후 다시 시도해 주세요";

/// Seconds that a client should wait after a 429 or 503.
const RETRY_AFTER_SECONDS: &str = "1";

impl ProblemKind {
    /// Status, code, title, and the detail in English and Korean.
    #[rustfmt::skip]
    pub fn row(self) -> Row {
        let (status, code, title, detail_en, detail_ko) = match self {
            Self::InvalidRequest => (400, "invalid_request", "Invalid request", "The request is invalid", "요청이 올바르지 않습니다"),
            Self::InvalidAmount => (400, "invalid_amount", "Invalid amount", "Invalid amount", "충전 금액이 올바르지 않습니다"),
            Self::BalanceLimitExceeded => (400, "balance_limit_exceeded", "Balance limit exceeded", "The charge exceeds the balance limit", "충전 한도를 초과했습니다"),
            Self::InsufficientBalance => (400, "insufficient_balance", "Insufficient balance", "Insufficient balance", "잔액이 부족합니다"),
            Self::OutOfStock => (400, "out_of_stock", "Out of stock", "Out of stock", "상품 재고가 부족합니다"),
            Self::InvalidCoupon => (400, "invalid_coupon", "Invalid coupon", "The coupon is not valid", "쿠폰이 유효하지 않습니다"),
            Self::PurchaseLimitExceeded => (400, "purchase_limit_exceeded", "Purchase limit exceeded", "The purchase limit is exceeded", "구매 한도를 초과했습니다"),
            Self::SaleNotOpen => (409, "sale_not_open", "Sale not open", "The product is not on sale now", "판매 기간이 아닙니다"),
            Self::CouponExpired => (409, "coupon_expired", "Coupon expired", "The coupon's period is over", "쿠폰 기간이 만료되었습니다"),
            Self::CouponNotStarted => (409, "coupon_not_started", "Coupon not started", "The coupon's period has not begun", "쿠폰 발급 기간이 아닙니다"),
            Self::CouponSoldOut => (409, "coupon_sold_out", "Coupons sold out", "Coupons sold out", "쿠폰 수량이 모두 소진되었습니다"),
            Self::CouponAlreadyIssued => (409, "coupon_already_issued", "Coupon already issued", "The coupon was already issued to this user", "이미 발급받은 쿠폰입니다"),
            Self::OrderNotPayable => (409, "order_not_payable", "Order not payable", "The order cannot be paid", "결제할 수 없는 주문입니다"),
            Self::OrderNotCancellable => (409, "order_not_cancellable", "Order not cancellable", "The order cannot be cancelled", "취소할 수 없는 주문입니다"),
            Self::OrderNotRefundable => (409, "order_not_refundable", "Order not refundable", "The order cannot be refunded", "환불할 수 없는 주문입니다"),
            Self::UserNotFound => (404, "user_not_found", "No such user", "User not found", "사용자를 찾을 수 없습니다"),
            Self::ProductNotFound => (404, "product_not_found", "No such product", "Product not found", "상품을 찾을 수 없습니다"),
            Self::CouponNotFound => (404, "coupon_not_found", "No such coupon", "Coupon not found", "쿠폰을 찾을 수 없습니다"),
            Self::OrderNotFound => (404, "order_not_found", "No such order", "Order not found", "주문 정보가 존재하지 않습니다"),
            Self::NotFound => (404, "not_found", "No such resource", CANNOT_EN, CANNOT_KO),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Method not allowed", CANNOT_EN, CANNOT_KO),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", "Not JSON", CANNOT_EN, CANNOT_KO),
            Self::PayloadTooLarge => (413, "payload_too_large", "Body over 16 KiB", CANNOT_EN, CANNOT_KO),
            Self::Unauthenticated => (401, "unauthenticated", "Unauthenticated", "Authentication is required", "인증이 필요합니다"),
            Self::Forbidden => (403, "forbidden", "Forbidden", "Permission denied", "권한이 없습니다"),
            Self::IdempotencyKeyReused => (422, "idempotency_key_reused", "Idempotency key reused", "The key was used for another request", "이미 다른 요청에 사용된 키입니다"),
            Self::RateLimited => (429, "rate_limited", "Rate limited", "Too many requests", "요청이 너무 많습니다"),
            Self::Overloaded => (503, "overloaded", "Overloaded", AGAIN_EN, AGAIN_KO),
            Self::CellClosed => (503, "cell_closed", "Cell closed", AGAIN_EN, AGAIN_KO),
            Self::BacklogFull => (503, "backlog_full", "Backlog full", AGAIN_EN, AGAIN_KO),
            Self::NotYetPersisted => (503, "not_yet_persisted", "Not yet persisted", AGAIN_EN, AGAIN_KO),
            Self::DependencyDown => (503, "dependency_down", "Dependency down", AGAIN_EN, AGAIN_KO),
            Self::InternalError => (500, "internal_error", "Internal error", "The request failed", "요청을 처리하지 못했습니다"),
        };
        Row { status, code, title, detail_en, detail_ko }
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).expect("the catalogue has valid statuses only")
    }

    /// What `Retry-After` says, where trying again makes sense.
    pub fn retry_after(self) -> Option<&'static str> {
        matches!(self.row().status, 429 | 503).then_some(RETRY_AFTER_SECONDS)
    }
}

/// What is wrong with one part of a request: a JSON pointer into the body, or the name of a
/// parameter or header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    pub detail: String,
}

impl Fault {
    /// `pointer` is a URI fragment such as `#/items/0/quantity`; `#` is the whole body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

/// An error answer. Rendered by the one middleware that knows the caller's language and request id.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemKind,
    /// Boxed, so that a `Result` with a problem stays small.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, Default)]
struct More {
    faults: Vec<Fault>,
    members: Vec<(&'static str, Value)>,
    outcome_unknown: bool,
    cause: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

const UNKNOWN_EN: &str =
    "The outcome is unknown: the request may have been carried out. Try again with the same Idempotency-Key";
const UNKNOWN_KO: &str =
    "처리 결과를 알 수 없습니다. 요청이 처리되었을 수 있으니 같은 Idempotency-Key로 다시 시도해 주세요";

impl Problem {
    pub fn new(kind: ProblemKind) -> Self {
        Self { kind, more: None }
    }

    /// `invalid_request` because of these parts; at least one.
    pub fn invalid(faults: Vec<Fault>) -> Self {
        Self { kind: ProblemKind::InvalidRequest, more: Some(Box::new(More { faults, ..More::default() })) }
    }

    /// `invalid_request` because of one part of the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault::at(pointer, detail)])
    }

    /// `invalid_request` because of one parameter or header.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault::parameter(name, detail)])
    }

    /// Adds a member beside those that every problem has.
    pub fn with(mut self, member: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.more().members.push((member, value));
        self
    }

    /// Notes for the log what went wrong; never shown to the client.
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.more().cause = Some(cause.to_string());
        self
    }

    /// Adds a header to the answer, in the place of one of the same name that its kind has.
    pub fn with_header(mut self, header: (HeaderName, HeaderValue)) -> Self {
        self.more().header = Some(header);
        self
    }

    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub fn header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.more.as_ref()?.header.as_ref()
    }

    pub fn cause(&self) -> Option<&str> {
        self.more.as_ref()?.cause.as_deref()
    }

    /// A request that changes nothing has no unknown outcome.
    pub fn forget_outcome(&mut self) {
        if let Some(more) = &mut self.more {
            more.outcome_unknown = false;
        }
    }

    fn outcome_unknown(mut self) -> Self {
        self.more().outcome_unknown = true;
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The document, in one language. `type_prefix` stands before `/problems/<code>`.
    pub(super) fn document(&self, type_prefix: &str, language: Language, request_id: &str) -> Vec<u8> {
        serde_json::to_vec(&Document { problem: self, type_prefix, language, request_id })
            .expect("texts and plain values are JSON")
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}

impl From<ScriptError> for Problem {
    fn from(error: ScriptError) -> Self {
        match &error {
            ScriptError::CellClosed(_) => Self::new(ProblemKind::CellClosed),
            ScriptError::BacklogFull(_) => Self::new(ProblemKind::BacklogFull),
            ScriptError::Refused(_) => Self::new(ProblemKind::DependencyDown).because(error),
            ScriptError::Unknown(_) => {
                Self::new(ProblemKind::DependencyDown).outcome_unknown().because(error)
            }
            ScriptError::Failed { .. } => Self::new(ProblemKind::InternalError).because(error),
        }
    }
}

/// MySQL did not answer a read.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::new(ProblemKind::DependencyDown).because(format!("mysql: {error}"))
    }
}

/// Leaves the problem in the response's extensions for the middleware to render.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

struct Document<'a> {
    problem: &'a Problem,
    type_prefix: &'a str,
    language: Language,
    request_id: &'a str,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let row = self.problem.kind.row();
        let more = self.problem.more.as_deref();
        let unknown = more.is_some_and(|it| it.outcome_unknown);
        let detail = match (self.language, unknown) {
            (Language::English, false) => row.detail_en,
            (Language::English, true) => UNKNOWN_EN,
            (Language::Korean, false) => row.detail_ko,
            (Language::Korean, true) => UNKNOWN_KO,
        };
        let mut document = to.serialize_map(None)?;
        document.serialize_entry("type", &format_args!("{}/problems/{}", self.type_prefix, row.code))?;
        document.serialize_entry("title", row.title)?;
        document.serialize_entry("status", &row.status)?;
        document.serialize_entry("detail", detail)?;
        document.serialize_entry("code", row.code)?;
        document.serialize_entry("requestId", self.request_id)?;
        if unknown {
            document.serialize_entry("outcome", "unknown")?;
        }
        if let Some(more) = more {
            if !more.faults.is_empty() {
                document.serialize_entry("errors", &more.faults)?;
            }
            for (member, value) in &more.members {
                document.serialize_entry(member, value)?;
            }
        }
        document.end()
    }
}

#[cfg(test)]
mod tests;
