//! Times: milliseconds since 1970 inside, RFC 3339 in UTC with milliseconds outside.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// Milliseconds since 1970-01-01 UTC, as Redis `TIME` gives them.
pub type Millis = i64;

/// The time of a script's clock. Out of chrono's range (year 262,142) is the epoch.
pub fn from_millis(at_ms: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default()
}

/// `2026-11-20T12:00:00.000Z`.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// For `#[serde(serialize_with)]`.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*at))
}

/// For `#[serde(serialize_with)]` on an optional time.
pub fn serialize_option<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serialize(at, to),
        None => to.serialize_none(),
    }
}
