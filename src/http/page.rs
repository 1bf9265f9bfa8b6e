//! Pages of lists: where one ends, and the `Link` to the next.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::AppendHeaders;

use super::App;
use super::json::Json;
use super::query::{List, Query};

/// Entries, and the `Link` to the next page where there is one.
pub type Page<T> = (AppendHeaders<Option<(HeaderName, HeaderValue)>>, Json<Vec<T>>);

/// One page of a list as `query` asked for it. The list goes on behind the entry with the number `behind`;
/// `None`: it ends here.
pub fn page<T>(app: &App, list: List, query: &Query, entries: Vec<T>, behind: Option<u64>) -> Page<T> {
    let link = link(app, list, query, behind).map(|it| (header::LINK, it));
    (AppendHeaders(link), Json(entries))
}

/// The `Link` to the page behind the entry with the number `behind`.
pub fn link(app: &App, list: List, query: &Query, behind: Option<u64>) -> Option<HeaderValue> {
    let prefix = app.settings.public_url.trim_end_matches('/');
    let link = format!("<{prefix}{}?{}>; rel=\"next\"", list.path(), query.behind(list, behind?));
    HeaderValue::from_str(&link).ok()
}

/// Cuts a page to its limit. One entry more than that was read where there is one; then the list goes on
/// behind the number that this returns, the last entry's.
pub fn cut<T>(entries: &mut Vec<T>, limit: usize, number: impl Fn(&T) -> u64) -> Option<u64> {
    let more = entries.len() > limit;
    entries.truncate(limit);
    entries.last().filter(|_| more).map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_only_where_one_entry_more_was_read() {
        let cut_to_two = |read: &[u64]| {
            let mut entries = read.to_vec();
            let behind = cut(&mut entries, 2, |it| *it);
            (entries, behind)
        };
        assert_eq!(cut_to_two(&[]), (vec![], None));
        assert_eq!(cut_to_two(&[9, 8]), (vec![9, 8], None));
        assert_eq!(cut_to_two(&[9, 8, 7]), (vec![9, 8], Some(8)));
    }
}
