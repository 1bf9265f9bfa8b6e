//! Identifiers of users, products, options, coupons and orders.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Largest identifier: 2^53 − 1, the largest integer that JSON clients and Lua doubles hold exactly.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// A text or number was not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an integer from 1 to {ID_MAX}")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Accepts 1 to [`ID_MAX`].
            pub fn new(value: u64) -> Result<Self, NotAnId> {
                (1..=ID_MAX).contains(&value).then_some(Self(value)).ok_or(NotAnId)
            }

            pub fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Plain digits only: no sign, no space, no leading zero.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let plain = text.bytes().all(|it| it.is_ascii_digit()) && !text.starts_with('0');
                let value = if plain { text.parse().ok() } else { None };
                value.ok_or(NotAnId).and_then(Self::new)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::new(u64::deserialize(from)?).map_err(de::Error::custom)
            }
        }
    };
}

id!(/// Who buys. Given by the caller.
    UserId);
id!(/// What is listed. Given by the caller.
    ProductId);
id!(/// A limited pool of discounts. Given by the caller.
    CouponId);
id!(/// One order: `seq * 1024 + cell` of the event that placed it.
    OrderId);

/// A variant of a product; [`OptionId::NONE`] where the product has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OptionId(u64);

impl OptionId {
    /// The only option of a product without options.
    pub const NONE: Self = Self(0);

    /// Accepts 0 (no option) to [`ID_MAX`]; the contract's own option ids start at 1.
    pub fn new(value: u64) -> Result<Self, NotAnId> {
        (value <= ID_MAX).then_some(Self(value)).ok_or(NotAnId)
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads 1 to [`ID_MAX`] in plain digits.
    pub fn from_text(text: &str) -> Result<Self, NotAnId> {
        text.parse().map(|it: ProductId| Self(it.get()))
    }

    /// As the contract shows it: absent where the product has no options.
    pub fn shown(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

impl fmt::Display for OptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for OptionId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(from)?;
        (1..=ID_MAX).contains(&value).then_some(Self(value)).ok_or(NotAnId).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_within_bounds_are_ids() {
        assert_eq!("1".parse(), UserId::new(1));
        assert_eq!("9007199254740991".parse(), UserId::new(ID_MAX));
        for text in ["", "0", "-1", "+1", " 1", "1 ", "01", "1e3", "1.0", "0x10", "9007199254740992", "nan"] {
            assert_eq!(text.parse::<UserId>(), Err(NotAnId), "{text:?}");
        }
    }
}
