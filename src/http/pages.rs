//! Pages for people. Everything they load comes from here, so they work offline.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemKind};
use crate::console::{Asset, CONSOLE, CONSOLE_FILES, SHOP, SHOP_FILES};

/// Nothing from elsewhere, and nothing written into the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The operations page. It holds no figures: those come from [`super::console::stream`], which asks who wants them.
pub async fn console() -> Response {
    page(CONSOLE, POLICY)
}

pub async fn console_file(Path(name): Path<String>) -> Result<Response, Problem> {
    file(CONSOLE_FILES, &name)
}

/// The demo shop.
pub async fn shop() -> Response {
    page(SHOP, POLICY)
}

pub async fn shop_file(Path(name): Path<String>) -> Result<Response, Problem> {
    file(SHOP_FILES, &name)
}

/// A page under a policy for contents. Browsers ask again each time: after an update a page and its script must fit.
pub fn page(text: &'static str, policy: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// One of the files of a page.
fn file(files: &'static [Asset], name: &str) -> Result<Response, Problem> {
    let Some(asset) = files.iter().find(|it| it.name == name) else {
        return Err(ProblemKind::NotFound.into());
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, asset.text).into_response())
}
