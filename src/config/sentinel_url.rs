//! `redis+sentinel://`: a Redis whose address only its Sentinels know.

use std::fmt::Write;

use super::Address;

/// Where Sentinels listen unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// `redis+sentinel://[user:password@]host:port,host:port/name[/db][?sentinel_user=…&sentinel_password=…&sentinel_tls=no]`, or
/// `rediss+sentinel://` for TLS to Redis and the Sentinels. It prints nowhere, because it holds passwords.
#[derive(Clone)]
pub struct SentinelUrl {
    /// `redis` or `rediss`.
    scheme: &'static str,
    /// What stands in front of the hosts, its `@` included, as written.
    credentials: String,
    /// Host and port of each Sentinel.
    pub sentinels: Vec<Address>,
    /// The name under which they know the primary.
    pub primary: String,
    db: u32,
    sentinel_tls: bool,
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<String>,
}

impl SentinelUrl {
    /// Reads a URL; `None` where it is of another scheme. What is wrong with it is said without a piece of it, which
    /// could be one of a password.
    pub fn parse(url: &str) -> Option<Result<Self, &'static str>> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = match scheme {
            "redis+sentinel" => "redis",
            "rediss+sentinel" => "rediss",
            _ => return None,
        };
        Some(Self::parse_rest(scheme, rest))
    }

    fn parse_rest(scheme: &'static str, rest: &str) -> Result<Self, &'static str> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').ok_or("the primary's name is missing")?;
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let mut sentinels = Vec::new();
        for text in hosts.split(',') {
            let address =
                Address::parse(text, SENTINEL_PORT).ok_or("what should be a Sentinel is no host and port")?;
            if sentinels.contains(&address) {
                return Err("a Sentinel is there twice");
            }
            sentinels.push(address);
        }
        let (primary, db) = path.split_once('/').unwrap_or((path, ""));
        // The characters that Sentinel allows.
        let is_name = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        if primary.is_empty() || !primary.chars().all(is_name) {
            return Err("that is no name of a primary");
        }
        let db = match db {
            "" => 0,
            digits => {
                digits.parse().map_err(|_| "what follows the primary's name is no number of a database")?
            }
        };
        let mut it = Self {
            scheme,
            credentials,
            sentinels,
            primary: primary.to_owned(),
            db,
            sentinel_tls: scheme == "rediss",
            sentinel_user: None,
            sentinel_password: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("sentinel_user", _) => it.sentinel_user = Some(value.into_owned()),
                ("sentinel_password", _) => it.sentinel_password = Some(value.into_owned()),
                ("sentinel_tls", "no") if it.sentinel_tls => it.sentinel_tls = false,
                ("sentinel_tls", _) => {
                    return Err("sentinel_tls can only be no, and that with rediss+sentinel://");
                }
                _ => return Err("an unknown parameter"),
            }
        }
        if it.sentinel_user.is_some() && it.sentinel_password.is_none() {
            return Err("sentinel_user without sentinel_password");
        }
        Ok(it)
    }

    /// The URL of a Redis server, with the credentials and the database.
    pub fn redis_url(&self, server: &Address) -> String {
        format!("{}://{}{server}/{}", self.scheme, self.credentials, self.db)
    }

    /// The URL of a Sentinel, without its credentials.
    pub fn sentinel_url(&self, sentinel: &Address) -> String {
        let mut url = String::from(if self.sentinel_tls { "rediss" } else { "redis" });
        write!(url, "://{sentinel}/").expect("a text takes it");
        url
    }

    /// How many Sentinels must name the same server: more than half of those in the URL.
    pub fn majority(&self) -> usize {
        self.sentinels.len() / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<SentinelUrl, &'static str> {
        SentinelUrl::parse(url).expect("a URL of Sentinels")
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let url = read(
            "rediss+sentinel://shop:p%40ss@s1:1,[::1],s3/main-1/7?sentinel_user=u&sentinel_password=p%26w",
        )
        .ok()
        .unwrap();
        let named: Vec<String> = url.sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["s1:1", "[::1]:26379", "s3:26379"]);
        let server = Address { host: "::1".to_owned(), port: 6_379 };
        assert_eq!(url.redis_url(&server), "rediss://shop:p%40ss@[::1]:6379/7");
        assert_eq!(url.sentinel_url(&url.sentinels[0]), "rediss://s1:1/");
        assert_eq!((url.primary.as_str(), url.majority()), ("main-1", 2));
        assert_eq!(
            (url.sentinel_user.as_deref(), url.sentinel_password.as_deref()),
            (Some("u"), Some("p&w"))
        );
        let url = read("rediss+sentinel://s1/m?sentinel_tls=no").ok().unwrap();
        assert_eq!(
            (url.sentinel_url(&url.sentinels[0]), url.majority()),
            ("redis://s1:26379/".to_owned(), 1)
        );
        assert!(SentinelUrl::parse("redis://s1/").is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (url, why) in [
            ("redis+sentinel://s1:1,s2:2", "name is missing"),
            ("redis+sentinel://s1:1/", "no name of a primary"),
            ("redis+sentinel://s1:1/a b", "no name of a primary"),
            ("redis+sentinel:///main", "no host and port"),
            ("redis+sentinel://s1:1,,s2/main", "no host and port"),
            ("redis+sentinel://s1:0/main", "no host and port"),
            ("redis+sentinel://s1:70000/main", "no host and port"),
            ("redis+sentinel://::1/main", "no host and port"),
            ("redis+sentinel://s1,s1:26379/main", "there twice"),
            ("redis+sentinel://s1/main/x", "no number of a database"),
            ("redis+sentinel://s1/main?sentinel_user=u", "without sentinel_password"),
            ("redis+sentinel://s1/main?sentinel_tls=no", "sentinel_tls"),
            ("rediss+sentinel://s1/main?sentinel_tls=yes", "sentinel_tls"),
            ("redis+sentinel://s1/main?protocol=resp3", "unknown parameter"),
        ] {
            let said = read(url).err().expect(url);
            assert!(said.contains(why), "{url}: {said}");
        }
    }
}
