//! `GET /docs`: Swagger UI over `/openapi.json`. All of it is in the binary, so it works offline.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use crate::http::pages;
use crate::http::problem::{Problem, ProblemKind};

/// Files of the page, and their types.
pub const FILES: [(&str, &str); 3] = [
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("start.js", "text/javascript; charset=utf-8"),
];

/// Nothing from elsewhere. Swagger UI writes styles into elements, and its icons are `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long browsers keep the files, in seconds: an hour.
const CACHED: &str = "public, max-age=3600";

/// The page.
pub async fn page() -> Response {
    pages::page(include_str!("docs.html"), POLICY)
}

/// One of its files. Those of Swagger UI are held compressed, and sent so: every browser takes gzip.
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let Some((name, content_type)) = FILES.into_iter().find(|it| it.0 == name) else {
        return Err(ProblemKind::NotFound.into());
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, CACHED),
    ];
    if name == "start.js" {
        return Ok((headers, include_str!("docs.js")).into_response());
    }
    match utoipa_swagger_ui::serve(name, Arc::new(Config::default())) {
        Ok(Some(file)) => {
            Ok((headers, [(header::CONTENT_ENCODING, "gzip")], file.bytes.into_owned()).into_response())
        }
        Ok(None) => Err(ProblemKind::NotFound.into()),
        Err(error) => Err(Problem::new(ProblemKind::InternalError).because(error)),
    }
}
