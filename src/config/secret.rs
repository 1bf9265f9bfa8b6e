//! Texts that must not be seen: they print without what is secret in them, whoever prints them.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::ClusterUrl;

/// A URL that may carry a password: it prints without it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole text, for the library that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    /// Scheme and what follows the last `@`: never user or password. What only looks like a URL is not shown, and
    /// nothing behind a `?` but MySQL's parameters: those of Sentinels are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str("…") };
        if ClusterUrl::is_list(&self.0) {
            return fmt_list(&self.0, scheme, f);
        }
        let (rest, parameters) = match rest.split_once('?') {
            Some((_, query)) if query.contains('@') && is_redis(scheme) => return write!(f, "{scheme}://…"),
            Some((place, _)) if is_redis(scheme) => (place, "?…"),
            Some(_) | None => (rest, ""),
        };
        match rest.rsplit_once('@') {
            Some((_, place)) => write!(f, "{scheme}://…@{place}{parameters}"),
            None if is_host_and_port(rest) => write!(f, "{scheme}://{rest}{parameters}"),
            None => write!(f, "{scheme}://…"),
        }
    }
}

/// Each node of a list as it would print alone; nothing of a list whose passwords may hold commas.
fn fmt_list(list: &str, scheme: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut shown = Vec::new();
    for entry in list.split(',') {
        shown.push(match entry.contains("://") {
            true => Secret::new(entry).to_string(),
            false if !entry.contains('@') && is_host_and_port(entry) => entry.to_owned(),
            false => return write!(f, "{scheme}://…"),
        });
    }
    f.write_str(&shown.join(","))
}

/// Whether a scheme is of Redis, or was to be.
fn is_redis(scheme: &str) -> bool {
    scheme.contains("redis") || scheme.contains("sentinel")
}

/// `host:4711/…`, or several with commas between them, and not `user:password/…` whose `@` was forgotten.
fn is_host_and_port(place: &str) -> bool {
    let authority = place.split(['/', '?', '#']).next().unwrap_or_default();
    authority.split(',').all(|host| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        port.bytes().all(|it| it.is_ascii_digit()) || host.ends_with(']')
    })
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A text that is secret from its first to its last letter. It prints as `…`, or as nothing where it is empty.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(String);

impl Passphrase {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole text, for the library that signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "…" })
    }
}

impl Serialize for Passphrase {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_prints_without_its_password() {
        let url = Secret::new("mysql://shop:hunter2@db:3306/firstcome");
        assert_eq!(format!("{url} {url:?}"), "mysql://…@db:3306/firstcome mysql://…@db:3306/firstcome");
        assert_eq!(serde_json::to_string(&url).unwrap(), "\"mysql://…@db:3306/firstcome\"");
        assert_eq!(Secret::new("shop:hunter2@db").to_string(), "…");
        assert_eq!(Secret::new("redis://shop:hunter2").to_string(), "redis://…");
        for plain in ["redis://127.0.0.1:6379/", "redis://[::1]/", "amqp://mq/%2f"] {
            assert_eq!(Secret::new(plain).to_string(), plain);
        }
    }

    #[test]
    fn what_is_for_sentinels_is_not_shown() {
        for (url, shown) in [
            ("redis+sentinel://:hunter2@a:1,b:2/main", "redis+sentinel://…@a:1,b:2/main"),
            ("redis+sentinel://a:1,b:2/main?sentinel_password=hunter2", "redis+sentinel://a:1,b:2/main?…"),
            ("rediss+sentinel://u:hunter2@a/m?sentinel_password=hunter2", "rediss+sentinel://…@a/m?…"),
            ("redis-sentinel://a/m?sentinel_password=hunter2", "redis-sentinel://a/m?…"),
            ("redis+sentinel://a/m?sentinel_password=hunt@hunter2", "redis+sentinel://…"),
            ("redis+sentinel://u:hunt?er2@a/m", "redis+sentinel://…"),
            ("redis+sentinel://u:hunter2,b:2/main", "redis+sentinel://…"),
        ] {
            assert_eq!(Secret::new(url).to_string(), shown);
        }
    }

    #[test]
    fn no_node_of_a_cluster_shows_its_password() {
        for (url, shown) in [
            ("redis://a:1/,redis://b:2/", "redis://a:1/,redis://b:2/"),
            ("redis://u:hunter2@a:1/,b:2", "redis://…@a:1/,b:2"),
            ("redis://a:1/,redis://u:hunter2@b:2/", "redis://a:1/,redis://…@b:2/"),
            ("redis://a:1/,redis://u:hunter2", "redis://a:1/,redis://…"),
            ("redis://u:12,34@a:1/,redis://b:2/", "redis://…"),
            ("redis://a:1/,u:hunter2", "redis://…"),
        ] {
            assert_eq!(Secret::new(url).to_string(), shown);
        }
    }

    #[test]
    fn a_passphrase_prints_nothing_of_itself() {
        for text in ["hunter2", "hunter2://hunter2@hunter2"] {
            let secret = Passphrase::new(text);
            let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
            assert_eq!(shown, "… … \"…\"");
        }
        assert_eq!(Passphrase::default().to_string(), "");
    }
}
