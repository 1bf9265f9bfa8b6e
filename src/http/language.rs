//! The caller's language, from `Accept-Language` (RFC 9110 §12.5.4).

use axum::http::{HeaderMap, header};

/// A language that details are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Korean,
}

impl Language {
    /// The one the caller likes best; between equals the one named first; English without a wish.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|it| it.to_str().ok());
        Self::best(lines.flat_map(|it| it.split(',')))
    }

    fn best<'a>(ranges: impl Iterator<Item = &'a str>) -> Self {
        let (mut english, mut korean, mut any) = (None, None, None);
        for (place, range) in ranges.enumerate() {
            let Some((tag, weight)) = parse_range(range) else { continue };
            let wish = match tag.split('-').next() {
                Some(it) if it.eq_ignore_ascii_case("en") => &mut english,
                Some(it) if it.eq_ignore_ascii_case("ko") => &mut korean,
                Some("*") => &mut any,
                _ => continue,
            };
            // Reversed places, so that the earlier of two equal weights is the greater wish.
            *wish = (*wish).max(Some((weight, std::cmp::Reverse(place))));
        }
        // A star speaks for the languages that are not named; it prefers none, so English comes first.
        match (english.or(any), korean.or(any)) {
            (english, Some(korean)) if korean.0 > 0 && Some(korean) > english => Self::Korean,
            _ => Self::English,
        }
    }

    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

/// `ko-KR;q=0.9` as tag and weight in thousandths. `None` where it cannot be read.
fn parse_range(range: &str) -> Option<(&str, u16)> {
    let mut parts = range.split(';');
    let tag = parts.next()?.trim();
    let mut weight = 1_000;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("q") {
            weight = parse_weight(value.trim())?;
        }
    }
    (!tag.is_empty()).then_some((tag, weight))
}

/// `1`, `0.9`, `0.125`: at most three decimals, at most 1.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_language_wins() {
        for (accepted, language) in [
            ("", Language::English),
            ("ko", Language::Korean),
            ("KO-kr", Language::Korean),
            ("ko-KR,ko;q=0.9,en;q=0.8", Language::Korean),
            ("en,ko;q=0.5", Language::English),
            ("ko;q=0.5, en;q=0.7", Language::English),
            ("ko,en", Language::Korean),
            ("en,ko", Language::English),
            ("*", Language::English),
            ("*, ko;q=0.5", Language::English),
            ("*;q=0.5, ko", Language::Korean),
            ("en;q=0, *", Language::Korean),
            ("ko;q=0", Language::English),
            ("ko;q=0, en;q=0", Language::English),
            ("fr, ko;q=0.1", Language::Korean),
            ("fr-FR, de", Language::English),
            ("ko;q=nonsense", Language::English),
            ("ko;q=1.5, en;q=0.1", Language::English),
            ("kok", Language::English),
            (";;;,,,=", Language::English),
        ] {
            assert_eq!(Language::best(accepted.split(',')), language, "{accepted:?}");
        }
    }
}
