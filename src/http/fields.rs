//! Types of fields in bodies: strict where serde is lenient.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::problem::Fault;
use crate::time::Millis;

/// A JSON object. A derived struct would also take an array of its fields' values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        from.deserialize_map(OnlyMap(std::marker::PhantomData))
    }
}

/// For `#[serde(default, deserialize_with)]`: the field may be left out, but not be `null`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// An integer in plain digits from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Int<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Int<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bounds<const MIN: i64, const MAX: i64>;

        impl<const MIN: i64, const MAX: i64> Visitor<'_> for Bounds<MIN, MAX> {
            type Value = Int<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer from {MIN} to {MAX}")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                let inside = (MIN..=MAX).contains(&value).then_some(Int(value));
                inside.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                match i64::try_from(value) {
                    Ok(value) => self.visit_i64(value),
                    Err(_) => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }
        }

        from.deserialize_i64(Bounds::<MIN, MAX>)
    }
}

/// An integer in plain digits, however long; one that 64 bits cannot hold is the nearest that they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Integer(i64);

impl Integer {
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        let (negative, digits) = match raw.get().strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, raw.get()),
        };
        if !digits.bytes().all(|it| it.is_ascii_digit()) {
            return Err(D::Error::custom("must be an integer in plain digits"));
        }
        let nearest = if negative { i64::MIN } else { i64::MAX };
        Ok(Self(raw.get().parse().unwrap_or(nearest)))
    }
}

/// An RFC 3339 time with any offset, in the years 1970 to 9999; finer than milliseconds is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Millis);

/// 9999-12-31T23:59:59.999Z
const TIME_MAX_MS: Millis = 253_402_300_799_999;

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let at_ms = DateTime::parse_from_rfc3339(&text).ok().map(|it| it.timestamp_millis());
        at_ms.filter(|it| (0..=TIME_MAX_MS).contains(it)).map(Self).ok_or_else(|| {
            D::Error::custom(
                "must be an RFC 3339 time in the years 1970 to 9999, such as 2026-11-20T20:00:00+09:00",
            )
        })
    }
}

/// When an order is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payment {
    #[default]
    Now,
    Later,
}

/// By hand, because a derived enum also takes `{"now": null}`.
impl<'de> Deserialize<'de> for Payment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Cow::<str>::deserialize(from)?.as_ref() {
            "now" => Ok(Self::Now),
            "later" => Ok(Self::Later),
            _ => Err(D::Error::custom("must be \"now\" or \"later\"")),
        }
    }
}

/// How a discount is reckoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscountKind {
    Fixed,
    Percent,
}

/// By hand, because a derived enum also takes `{"fixed": null}`.
impl<'de> Deserialize<'de> for DiscountKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Cow::<str>::deserialize(from)?.as_ref() {
            "fixed" => Ok(Self::Fixed),
            "percent" => Ok(Self::Percent),
            _ => Err(D::Error::custom("must be \"fixed\" or \"percent\"")),
        }
    }
}

/// Longest name of a product, option or campaign, in characters.
pub const NAME_MAX: usize = 200;

/// Adds a fault where a text is no name.
pub fn check_name(pointer: &str, name: &str, faults: &mut Vec<Fault>) {
    if !(1..=NAME_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let detail = format!("must be 1 to {NAME_MAX} characters without control characters");
        faults.push(Fault::at(pointer, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_may_be_of_any_length() {
        let read = |text: &str| serde_json::from_str::<Integer>(text).ok().map(Integer::get);
        assert_eq!((read("0"), read("-0"), read("42")), (Some(0), Some(0), Some(42)));
        assert_eq!(read(&"9".repeat(1_000)), Some(i64::MAX));
        assert_eq!(read(&format!("-{}", "9".repeat(1_000))), Some(i64::MIN));
        for text in ["1.0", "1e3", "1E3", "\"1\"", "null", "true", "[1]", "01", "+1", "-", ""] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn times_take_any_offset() {
        let read = |text: &str| serde_json::from_value::<Time>(text.into()).ok().map(|it| it.0);
        assert_eq!(read("1970-01-01T09:00:00+09:00"), Some(0));
        assert_eq!(read("2026-11-20T11:00:00.1239Z"), Some(1_795_172_400_123));
        assert_eq!(read("9999-12-31T23:59:59.999Z"), Some(TIME_MAX_MS));
        for text in [
            "",
            "now",
            "2026-11-20",
            "2026-11-20T11:00:00",
            "2026-13-20T11:00:00Z",
            "2026-02-30T11:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+09:00",
            "9999-12-31T23:59:59-01:00",
            "+10000-01-01T00:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn payment_is_a_plain_word() {
        assert_eq!(serde_json::from_str::<Payment>("\"now\"").ok(), Some(Payment::Now));
        for text in ["{\"now\":null}", "null", "\"Now\"", "0"] {
            assert!(serde_json::from_str::<Payment>(text).is_err(), "{text}");
        }
    }
}
