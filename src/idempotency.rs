//! Idempotency keys: what makes a retry safe.

use std::fmt;

use sha2::{Digest, Sha256};

/// A caller's `Idempotency-Key`: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|it| (0x20..=0x7e).contains(&it));
        ((1..=255).contains(&text.len()) && printable).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which request a key was used for: 128 bits of SHA-256 over method, path and parsed body, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Length of the text in characters.
    pub const LENGTH: usize = 32;

    /// Takes the body as parsed and written again, so that white space and field order do not matter.
    pub fn of(method: &str, path: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), body] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        Self(digest[..Self::LENGTH / 2].iter().fold(String::with_capacity(Self::LENGTH), |mut text, byte| {
            fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}")).expect("a string takes all");
            text
        }))
    }

    /// As stored in an event or a row.
    pub fn from_stored(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|it| it.is_ascii_hexdigit());
        (text.len() == Self::LENGTH && hex).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key of a request and what the request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: IdempotencyKey,
    pub fingerprint: Fingerprint,
}

/// How a key met an operation. `New` also where the request had no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    New,
    Replayed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let of = |path, body: &str| Fingerprint::of("POST", path, body.as_bytes());
        assert_eq!(of("/a", "{}"), of("/a", "{}"));
        assert_ne!(of("/a", "b{}"), of("/ab", "{}"));
        assert_eq!(Fingerprint::from_stored(of("/a", "").as_str()), Some(of("/a", "")));
    }

    #[test]
    fn keys_are_printable_ascii() {
        assert!(IdempotencyKey::new("a b~").is_some() && IdempotencyKey::new(&"k".repeat(255)).is_some());
        for text in ["", "a\n", "é", &"k".repeat(256)] {
            assert!(IdempotencyKey::new(text).is_none(), "{text:?}");
        }
    }
}
