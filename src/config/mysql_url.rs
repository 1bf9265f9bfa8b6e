//! What a MySQL URL may ask for.

use super::Secret;

/// What a MySQL URL may have behind its `?`, other spellings of the library apart.
const MYSQL_PARAMETERS: [&str; 12] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "charset",
    "collation",
    "socket",
    "statement-cache-capacity",
];

/// A parameter that the library would pass over.
pub(super) fn unknown_parameter(mysql_url: &Secret) -> Option<String> {
    let query = mysql_url.expose().split_once('?').map_or("", |it| it.1);
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned());
    names.find(|it| !MYSQL_PARAMETERS.contains(&it.as_str()))
}
