//! Query parameters, pages and cursors.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::{Fault, Problem};
use crate::ids::{ID_MAX, UserId};

/// Longest part of an unknown parameter's name that is told back, in characters.
const NAME_SHOWN_MAX: usize = 64;

/// Most entries of a page, and those of a page that asks for no number.
pub const LIMIT_MAX: u64 = 200;
pub const LIMIT_DEFAULT: u64 = 50;

/// All query parameters of a request, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
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

    /// Most entries of a page: 1 to [`LIMIT_MAX`], default [`LIMIT_DEFAULT`].
    pub fn limit(&self) -> Result<usize, Problem> {
        self.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT).map(|it| it as usize)
    }

    /// An integer in plain digits, at least 1; `default` where the parameter is absent.
    pub fn integer(&self, name: &str, allowed: RangeInclusive<u64>, default: u64) -> Result<u64, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let plain = !text.starts_with('0') && text.bytes().all(|it| it.is_ascii_digit());
        let value = text.parse().ok().filter(|it| plain && allowed.contains(it));
        let (start, end) = allowed.into_inner();
        value.ok_or_else(|| Problem::parameter(name, format!("must be an integer from {start} to {end}")))
    }

    /// Where a page begins whose numbers rise: behind this one; 0 for the first page.
    pub fn after(&self, list: List) -> Result<u64, Problem> {
        Ok(self.cursor(list)?.unwrap_or(0))
    }

    /// Where a page begins whose numbers fall: before this one, which for the first page is above them all.
    pub fn before(&self, list: List) -> Result<u64, Problem> {
        Ok(self.cursor(list)?.unwrap_or(ID_MAX + 1))
    }

    fn cursor(&self, list: List) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        let number = read_cursor(list, text);
        number.map(Some).ok_or_else(|| Problem::parameter("cursor", "must be a cursor that this list gave"))
    }

    /// The same query for the page behind an entry: what filters the list stays, only the cursor is another.
    pub fn behind(&self, list: List, number: u64) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.0.iter().filter(|it| it.0 != "cursor"))
            .append_pair("cursor", &cursor(list, number))
            .finish()
    }
}

/// What comes in pages. A cursor belongs to one kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// By id.
    Products,
    /// Changes of a wallet, by the number of their event, newest first.
    History(UserId),
    /// A user's orders, by id, newest first.
    Orders(UserId),
    /// Campaigns, by id.
    Coupons,
    /// A user's coupons, by the number of the event that issued them, newest first.
    CouponsOfUser(UserId),
}

impl List {
    fn letter(self) -> char {
        match self {
            Self::Products => 'p',
            Self::History(_) => 'h',
            Self::Orders(_) => 'o',
            Self::Coupons => 'c',
            Self::CouponsOfUser(_) => 'u',
        }
    }

    pub fn path(self) -> String {
        match self {
            Self::Products => "/products".to_owned(),
            Self::History(user) => format!("/users/{user}/balance/history"),
            Self::Orders(user) => format!("/users/{user}/orders"),
            Self::Coupons => "/coupons".to_owned(),
            Self::CouponsOfUser(user) => format!("/users/{user}/coupons"),
        }
    }
}

/// The cursor of the page behind an entry: the list's letter and the entry's number in 14 hexadecimal digits.
fn cursor(list: List, number: u64) -> String {
    format!("{}{number:014x}", list.letter())
}

/// Reads only what [`cursor`] writes.
fn read_cursor(list: List, text: &str) -> Option<u64> {
    let digits = text.strip_prefix(list.letter())?;
    let number = u64::from_str_radix(digits, 16).ok().filter(|it| *it <= ID_MAX)?;
    (cursor(list, number) == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> [List; 5] {
        let user = UserId::new(7).unwrap();
        [List::Products, List::History(user), List::Orders(user), List::Coupons, List::CouponsOfUser(user)]
    }

    #[test]
    fn only_a_cursor_that_was_given_is_read() {
        for list in lists() {
            for number in [0, 1, 4_711, ID_MAX] {
                let text = cursor(list, number);
                assert_eq!(read_cursor(list, &text), Some(number), "{text}");
                let others = lists().into_iter().filter(|it| *it != list);
                assert!(others.into_iter().all(|it| read_cursor(it, &text).is_none()), "{text}");
            }
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
    fn a_first_page_begins_before_all_numbers_of_its_list() {
        let (first, user) = (Query::parse(""), UserId::new(7).unwrap());
        assert_eq!(first.after(List::Products).ok(), Some(0));
        assert_eq!(first.before(List::Orders(user)).ok(), Some(ID_MAX + 1));
        let behind = Query::parse(&first.behind(List::Orders(user), 9));
        assert_eq!(behind.before(List::Orders(user)).ok(), Some(9));
        assert!(behind.before(List::History(user)).is_err());
    }

    #[test]
    fn the_next_page_is_filtered_as_this_one() {
        let query = Query::parse("available=true&cursor=p00000000000001&limit=5&colour=light+%26+red");
        let next = query.behind(List::Products, 31);
        assert_eq!(next, "available=true&limit=5&colour=light+%26+red&cursor=p0000000000001f");
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
