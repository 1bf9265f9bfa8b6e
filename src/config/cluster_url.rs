//! Several `redis://` with commas between them: a Redis Cluster, by some of its nodes.

use super::Address;

/// Where Redis listens unless a URL says otherwise.
const REDIS_PORT: u16 = 6_379;

/// `redis://[user:password@]host:port/,redis://host:port/`, further nodes also as `host:port`; `rediss://` for TLS. It
/// prints nowhere, because it may hold a password.
#[derive(Clone)]
pub struct ClusterUrl {
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// What stands in front of the hosts, its `@` included, as written.
    credentials: String,
    /// Some of the cluster's nodes; the others are learned from them.
    pub nodes: Vec<Address>,
}

impl ClusterUrl {
    /// Reads a list; `None` where it is none. What is wrong with it is said without a piece of it, which could be one of
    /// a password.
    pub fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        Self::is_list(text).then(|| Self::parse_list(text))
    }

    /// Whether a URL names several servers. Any other comma in front of an `@` is one of a password.
    pub(super) fn is_list(text: &str) -> bool {
        let Some(("redis" | "rediss", rest)) = text.split_once("://") else { return false };
        let behind_credentials = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
        [",redis://", ",rediss://", "/,"].iter().any(|it| rest.contains(it))
            || behind_credentials.contains(',')
    }

    fn parse_list(text: &str) -> Result<Self, &'static str> {
        let scheme = if text.starts_with("rediss://") { "rediss" } else { "redis" };
        let mut credentials = None;
        let mut nodes = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let place = match entry.split_once("://") {
                None if entry.contains('@') => {
                    return Err(
                        "a further node is host:port or a whole URL; a comma in a password is written %2C",
                    );
                }
                None => entry,
                Some((other, _)) if other != scheme => return Err("all nodes are redis:// or all rediss://"),
                Some((_, rest)) => match rest.rsplit_once('@') {
                    None => rest,
                    Some((said, place)) => {
                        if *credentials.get_or_insert(said) != said {
                            return Err("user and password are the same for all nodes");
                        }
                        place
                    }
                },
            };
            let (authority, path) = place.split_once('/').unwrap_or((place, ""));
            if !matches!(path, "" | "0") {
                return Err("a cluster has one database, and no parameters");
            }
            let node = Address::parse(authority, REDIS_PORT)
                .ok_or("a node is no host and port (a comma in a password is written %2C)")?;
            if nodes.contains(&node) {
                return Err("a node is there twice");
            }
            nodes.push(node);
        }
        Ok(Self { scheme, credentials: credentials.map_or(String::new(), |it| format!("{it}@")), nodes })
    }

    /// The URL of one node, with the credentials.
    pub fn node_url(&self, node: &Address) -> String {
        format!("{}://{}{node}/", self.scheme, self.credentials)
    }

    pub fn is_tls(&self) -> bool {
        self.scheme == "rediss"
    }

    /// User and password, decoded; of a password alone the user is empty.
    pub fn user_and_password(&self) -> Option<(String, String)> {
        let said = self.credentials.strip_suffix('@')?;
        let (user, password) = said.split_once(':').unwrap_or((said, ""));
        Some((decoded(user), decoded(password)))
    }
}

/// Undoes `%2C`. A `+` is a plus here.
fn decoded(text: &str) -> String {
    let plus_kept = text.replace('+', "%2B");
    form_urlencoded::parse(plus_kept.as_bytes()).next().map_or(String::new(), |(text, _)| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<ClusterUrl, &'static str> {
        ClusterUrl::parse(url).expect("a list")
    }

    #[test]
    fn every_part_of_a_list_is_read() {
        let url = read("rediss://shop:p%40s%2Cs@a:1/,rediss://shop:p%40s%2Cs@[::1]:2/0, c:3,d").ok().unwrap();
        let named: Vec<String> = url.nodes.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["a:1", "[::1]:2", "c:3", "d:6379"]);
        assert_eq!(url.node_url(&url.nodes[1]), "rediss://shop:p%40s%2Cs@[::1]:2/");
        assert_eq!(url.user_and_password(), Some(("shop".to_owned(), "p@s,s".to_owned())));
        let url = read("redis://a:1/,redis://b:2/").ok().unwrap();
        assert_eq!((url.node_url(&url.nodes[0]), url.user_and_password()), ("redis://a:1/".to_owned(), None));
        assert_eq!(read("redis://:a+b@a,b").ok().unwrap().user_and_password().unwrap().1, "a+b");
    }

    #[test]
    fn one_server_is_no_list() {
        for url in [
            "redis://a:1/",
            "redis://u:p,w@a:1/",
            "redis+sentinel://a,b/main",
            "mysql://a,b/",
            "a:1,b:2",
            "redis://a",
        ] {
            assert!(ClusterUrl::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (url, why) in [
            ("redis://a:1/,rediss://b:2/", "all nodes are"),
            ("redis://u:p@a:1/,redis://u:q@b:2/", "the same for all nodes"),
            ("redis://u:p@a:1/,u:p@b:2/", "whole URL"),
            ("redis://u:p,w@a:1/,redis://b:2/", "%2C"),
            ("redis://a:1/1,redis://b:2/1", "one database"),
            ("redis://a:1/?protocol=resp3,redis://b:2/", "no parameters"),
            ("redis://a:1/,redis://b:70000/", "no host and port"),
            ("redis://a:1/,", "no host and port"),
            ("redis://a:1/,redis://a:1/", "there twice"),
        ] {
            let said = read(url).err().expect(url);
            assert!(said.contains(why), "{url}: {said}");
        }
    }
}
