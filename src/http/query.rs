//! Query parameters, pages and cursors.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::{Fault, Problem};
use crate::ids::ID_MAX;

/// Longest part of an unknown parameter's name that is told back, in characters.
const NAME_SHOWN_MAX: usize = 64;

/// All query parameters of a request, decoded.
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Refuses parameters that are not in `known`, and known ones that are given twice.
    pub fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            let fault = if !known.contains(&name.as_str()) {
                "is not a parameter of this call"
            } else if self.0[..index].iter().any(|(it, _)| it == name) {
                "is given more than once"
            } else {
                continue;
            };
            let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
            let fault = Fault::parameter(name, fault);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(Problem::invalid(faults)) }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    /// `true` or `false`; `default` where the parameter is absent.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Problem::parameter(name, "must be true or false")),
        }
    }

    /// Most entries of a page: 1 to 200, default 50.
    pub fn limit(&self) -> Result<usize, Problem> {
        const LIMIT_MAX: usize = 200;
        let Some(text) = self.get("limit") else { return Ok(50) };
        let plain = !text.starts_with('0') && text.bytes().all(|it| it.is_ascii_digit());
        let limit = text.parse().ok().filter(|it| plain && (1..=LIMIT_MAX).contains(it));
        limit.ok_or_else(|| Problem::parameter("limit", format!("must be an integer from 1 to {LIMIT_MAX}")))
    }

    /// Where the page begins: behind this id; 0 for the first page.
    pub fn after(&self, list: List) -> Result<u64, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(0) };
        read_cursor(list, text)
            .ok_or_else(|| Problem::parameter("cursor", "must be a cursor that this list gave"))
    }
}

/// Which list a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Products,
}

impl List {
    fn letter(self) -> char {
        match self {
            Self::Products => 'p',
        }
    }
}

/// The cursor of the page behind an id: the list's letter and the id in 14 hexadecimal digits.
pub fn cursor(list: List, after: u64) -> String {
    format!("{}{after:014x}", list.letter())
}

/// Reads only what [`cursor`] writes.
fn read_cursor(list: List, text: &str) -> Option<u64> {
    let digits = text.strip_prefix(list.letter())?;
    let after = u64::from_str_radix(digits, 16).ok().filter(|it| *it <= ID_MAX)?;
    (cursor(list, after) == text).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_that_was_given_is_read() {
        for after in [0, 1, 4_711, ID_MAX] {
            let text = cursor(List::Products, after);
            assert_eq!(read_cursor(List::Products, &text), Some(after), "{text}");
        }
        for text in [
            "",
            "p",
            "1",
            "p1",
            "c00000000000001",
            "p0000000000000g",
            "p+0000000000001",
            "p0000000000000F",
            "p20000000000000",
            "p000000000000001",
            "p0000000000000\u{1}",
            "é",
        ] {
            assert_eq!(read_cursor(List::Products, text), None, "{text:?}");
        }
    }

    #[test]
    fn limits_are_plain_digits_from_1_to_200() {
        let limit = |text: &str| Query::parse(&format!("limit={text}")).limit().ok();
        assert_eq!((limit("1"), limit("200"), Query::parse("").limit().ok()), (Some(1), Some(200), Some(50)));
        for text in
            ["", "0", "201", "-1", "%2B5", "1e2", "1.0", "05", "5%00", "18446744073709551616", "%C3%A9"]
        {
            assert_eq!(limit(text), None, "{text:?}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        let known = ["limit", "cursor"];
        assert!(Query::parse("limit=5&cursor=").only(&known).is_ok());
        for query in ["limit=5&limit=5", "Limit=5", "x", "%00=1", "limit=5&%7Bid%7D=7"] {
            assert!(Query::parse(query).only(&known).is_err(), "{query}");
        }
    }
}
