//! Ids in paths.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::request::Parts;

use super::problem::Problem;

/// The one id in a path. Anything but plain digits in bounds is `invalid_request`.
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &S) -> Result<Self, Problem> {
        let Ok(params) = RawPathParams::from_request_parts(parts, app).await else {
            return Err(Problem::parameter(parameter_of(parts), "is not UTF-8"));
        };
        let (name, value) = params.iter().next().unwrap_or_default();
        value.parse().map(Self).map_err(|error: T::Err| Problem::parameter(name, error.to_string()))
    }
}

/// The name in braces of the route that matched.
fn parameter_of(parts: &Parts) -> String {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let named = route.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    named.map_or("", |(name, _)| name).to_owned()
}
