//! What each setting may be, as it is told where one is wrong.

use std::ops::RangeInclusive;

use crate::money::{AMOUNT_MAX, PRICE_MAX};

/// Bounds of every number, in the order of [`super::Settings`].
pub(super) const RANGES: &[(&str, RangeInclusive<u64>)] = &[
    ("redis_reply_timeout_ms", 10..=60_000),
    ("mysql_connections", 4..=1_000),
    ("charge_limit", 1..=PRICE_MAX as u64),
    ("wallet_limit", 1..=AMOUNT_MAX as u64 / 10),
    ("idempotency_ttl_ms", 1_000..=30 * 24 * 60 * 60 * 1_000),
    ("sold_out_memory_ms", 0..=1_000),
    ("list_staleness_ms", 0..=100),
    ("payment_window_ms", 1_000..=24 * 60 * 60 * 1_000),
    ("keep_ended_ms", 60_000..=365 * 24 * 60 * 60 * 1_000),
    ("keep_events", 1..=100_000_000),
    ("backlog_bound", 100..=100_000_000),
    ("backlog_bound_bytes", 1 << 20..=1 << 50),
    ("memory_bound_percent", 10..=100),
    ("persist_batch_events", 1..=10_000),
    ("publish_batch_messages", 1..=10_000),
    ("publish_timeout_ms", 100..=600_000),
    ("max_in_flight", 1..=1_000_000),
    ("max_connections", 1..=1_000_000),
    ("header_timeout_ms", 100..=600_000),
    ("body_timeout_ms", 100..=600_000),
    ("persist_wait_ms", 10..=60_000),
    ("answer_timeout_ms", 100..=600_000),
    ("drain_timeout_ms", 0..=600_000),
    ("rate_limit_user_per_second", 0..=1_000_000),
    ("rate_limit_address_per_second", 0..=1_000_000),
    ("rate_limit_burst_seconds", 1..=60),
];

/// What is allowed where it is no range of numbers.
const FORMS: &[(&str, &str)] = &[
    ("listen", "an address such as 127.0.0.1:8080"),
    ("metrics_listen", "nothing, or an address such as 127.0.0.1:9100"),
    ("auth", "none or jwt"),
    ("jwt_secret", "with auth = \"jwt\": a text of at least 32 bytes; or nothing, with jwt_keys"),
    ("jwt_keys", "with auth = \"jwt\": a file of public keys, PEM or JWKS; or nothing, with jwt_secret"),
    ("jwt_audience", "with auth = \"jwt\": what a token's aud names"),
    ("jwt_issuer", "with auth = \"jwt\": what a token's iss is"),
    ("self_service", "true or false"),
    ("public_url", "nothing, or a URL such as https://shop.example"),
    (
        "redis_url",
        "redis://host:port/, or redis+sentinel://host:port,host:port/name with sentinel_user, sentinel_password, \
         sentinel_tls behind a ?, or nodes of a cluster, redis://host:port/,redis://host:port/; rediss for TLS",
    ),
    (
        "mysql_url",
        "mysql://user:password@host:port/database, and ssl-mode, ssl-ca, ssl-cert, ssl-key behind a ?",
    ),
    ("amqp_url", "amqp://user:password@host:port/vhost or amqps://…"),
    ("tls_ca_file", "nothing, or a PEM file of certificates"),
    ("cells", "1, 2, 4, 8 and so on, up to 1024; the number is fixed when the database is created"),
    ("amqp_exchange", "1 to 255 characters"),
    ("amqp_queue", "1 to 255 characters"),
    ("trusted_proxies", "addresses and networks such as 10.0.0.0/8"),
    (
        "otlp_endpoint",
        "nothing, or a collector's base URL such as http://127.0.0.1:4318, to which /v1/traces is added",
    ),
    ("otlp_sample_ratio", "0 to 1"),
    ("cors_origins", "origins such as https://shop.example: scheme, host, and the port where it is another"),
];

/// Every setting.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|it| it.0).chain(RANGES.iter().map(|it| it.0))
}

/// What a setting may be; `None`: there is none of that name.
pub(super) fn allowed(key: &str) -> Option<String> {
    let range = RANGES.iter().find(|it| it.0 == key).map(|(_, it)| format!("{} to {}", it.start(), it.end()));
    range.or_else(|| FORMS.iter().find(|it| it.0 == key).map(|it| it.1.to_owned()))
}
