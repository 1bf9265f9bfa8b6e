//! Secrets that everybody knows.

use std::collections::HashSet;

/// Secrets out of tutorials and example configurations, of 32 bytes and more.
const PUBLISHED: &[&str] = &[
    // jwt.io
    "a-string-secret-at-least-256-bits-long",
    "a-string-secret-at-least-512-bits-long-which-is-very-long-and-very-secure",
    // Supabase
    "super-secret-jwt-token-with-at-least-32-characters-long",
    // FastAPI
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    // PostgREST
    "reallyreallyreallyreallyverysafe",
];

/// What examples say in the place of a secret.
const PLACEHOLDERS: &[&str] =
    &["changeme", "changethis", "replaceme", "replacethis", "yoursecret", "your256bit", "placeholder"];

/// Fewest different letters of a text that somebody might have drawn by lot.
const LETTERS_MIN: usize = 6;

/// Whether a secret is one that an attacker would try first.
pub fn is_well_known(secret: &str) -> bool {
    let text = secret.to_lowercase();
    let plain: String = text.chars().filter(|it| it.is_alphanumeric()).collect();
    let letters: HashSet<char> = text.chars().collect();
    PUBLISHED.iter().any(|it| text.contains(it))
        || PLACEHOLDERS.iter().any(|it| plain.contains(it))
        || letters.len() < LETTERS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_known_and_drawn_secrets_are_not() {
        for secret in [
            "a-string-secret-at-least-256-bits-long",
            "your-super-secret-jwt-token-with-at-least-32-characters-long",
            "Please-Change-Me-Please-Change-Me-Please",
            "CHANGE_THIS_TO_A_LONG_RANDOM_STRING!",
            "your_secret_your_secret_your_secret",
            "00000000000000000000000000000000",
            "abababababababababababababababab",
        ] {
            assert!(is_well_known(secret), "{secret}");
        }
        for secret in ["4f1c2a8e9b7d6035a1e4c8f2b90d7e63", "Vq7xkP0m3sZr9TtYb2LhWfJ8uNcEaG1d"] {
            assert!(!is_well_known(secret), "{secret}");
        }
    }
}
