//! Where spans go, and how many of them.

use std::fmt;

use axum::http::{HeaderValue, Uri};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The base URL of a collector that takes OTLP over HTTP; empty: there is none. It prints without user and password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// Scheme, host, port and path, without a slash at its end.
    url: String,
    /// `user:password`, as it stood in the URL.
    user: Option<String>,
}

impl OtlpEndpoint {
    /// # Errors
    /// Why it cannot be meant, without what may be secret in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let scheme =
            uri.scheme_str().filter(|it| ["http", "https"].contains(it)).ok_or("neither http nor https")?;
        let authority = uri.authority().ok_or("no host")?.as_str();
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err("no host".to_owned());
        }
        // A fragment is gone by now.
        if uri.query().is_some() || text.contains('#') {
            return Err("something behind its path".to_owned());
        }
        let path = uri.path().trim_end_matches('/');
        if path.ends_with("/v1/traces") {
            return Err("the path that is added to it".to_owned());
        }
        Ok(Self { url: format!("{scheme}://{place}{path}"), user })
    }

    /// Where spans are sent; `None`: nowhere.
    pub fn traces_url(&self) -> Option<String> {
        (!self.url.is_empty()).then(|| format!("{}/v1/traces", self.url))
    }

    /// What is sent as `Authorization`, where there is a user.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let user: Vec<u8> = percent_decode_str(self.user.as_deref()?).collect();
        let mut header = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(user)))
            .expect("Base64 is of printable characters");
        header.set_sensitive(true);
        Some(header)
    }
}

impl fmt::Debug for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.url.split_once("://"), &self.user) {
            (Some((scheme, place)), Some(_)) => write!(f, "{scheme}://…@{place}"),
            (_, _) => f.write_str(&self.url),
        }
    }
}

impl<'de> Deserialize<'de> for OtlpEndpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Serialize for OtlpEndpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A share of all: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

/// It is never NaN.
impl Eq for Share {}

impl Share {
    /// `None`: not a share.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(from)?;
        Self::new(share).ok_or_else(|| D::Error::custom(share))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_url() {
        let url = |text: &str| OtlpEndpoint::parse(text).unwrap().traces_url();
        assert_eq!(url(""), None);
        assert_eq!(url("http://[::1]:4318").as_deref(), Some("http://[::1]:4318/v1/traces"));
        assert_eq!(url("https://otlp.example/in/").as_deref(), Some("https://otlp.example/in/v1/traces"));
        for wrong in [
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http:///x",
            "http://user@:4318",
            "http://c/v1/traces",
            "http://c/?key=canary",
            "http://c/#canary",
            "/v1",
            "http://a b",
        ] {
            let why = OtlpEndpoint::parse(wrong).unwrap_err();
            assert!(!why.contains("canary"), "{wrong}: {why}");
        }
    }

    #[test]
    fn its_user_is_sent_and_not_shown() {
        let endpoint = OtlpEndpoint::parse("https://shop:hunter%402@otlp.example/in").unwrap();
        assert_eq!(endpoint.traces_url().unwrap(), "https://otlp.example/in/v1/traces");
        assert_eq!(endpoint.authorization().unwrap(), "Basic c2hvcDpodW50ZXJAMg==");
        let shown =
            format!("{endpoint} {endpoint:?} {:?} {}", endpoint.authorization(), serde_json::json!(endpoint));
        assert_eq!(
            shown,
            "https://…@otlp.example/in https://…@otlp.example/in Some(Sensitive) \"https://…@otlp.example/in\""
        );
        assert_eq!(OtlpEndpoint::parse("http://c:4318").unwrap().authorization(), None);
    }
}
