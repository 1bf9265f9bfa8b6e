//! Settings that are lists, and what such lists name.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values that are given as a TOML array, or as one text with commas between them (the environment has no arrays).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: FromStr> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts<T>(std::marker::PhantomData<T>);

        fn parse<T: FromStr, E: Error>(text: &str) -> Result<T, E> {
            text.trim().parse().map_err(|_| E::custom(format!("{:?}", text.trim())))
        }

        impl<'de, T: FromStr> Visitor<'de> for Texts<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                let parts = text.split(',').filter(|it| !it.trim().is_empty());
                parts.map(parse).collect::<Result<_, E>>().map(List)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(text) = texts.next_element::<String>()? {
                    list.push(parse(&text)?);
                }
                Ok(List(list))
            }
        }

        from.deserialize_any(Texts(std::marker::PhantomData))
    }
}

impl<T: Display> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(ToString::to_string))
    }
}

/// Addresses by their common beginning: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        one.or_else(|_| text.parse()).map(Self)
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// A web page's origin as browsers send it: scheme, host, and the port where it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (scheme, authority) = text.split_once("://").ok_or(())?;
        let own_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(()),
        };
        let parsed: axum::http::uri::Authority = authority.parse().map_err(|_| ())?;
        // Whatever a browser would write in another way would never match.
        let as_sent = authority == authority.to_ascii_lowercase() && !authority.ends_with(own_port);
        let plain = !authority.contains(['@', '*']) && !parsed.host().is_empty() && !authority.ends_with(':');
        (as_sent && plain).then(|| Self(text.to_owned())).ok_or(())
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_an_array_or_one_text() {
        let read = |json: serde_json::Value| serde_json::from_value::<List<Network>>(json).ok();
        let two = read(serde_json::json!(["10.0.0.0/8", "::1"])).unwrap();
        assert_eq!(read(serde_json::json!("10.0.0.0/8, ::1")), Some(two.clone()));
        assert_eq!(serde_json::to_value(&two).unwrap(), serde_json::json!(["10.0.0.0/8", "::1/128"]));
        assert_eq!(read(serde_json::json!("")), Some(List::default()));
        for wrong in [serde_json::json!("10.0.0.0/33"), serde_json::json!(["host"]), serde_json::json!(7)] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
        assert!(
            two[0].contains("10.1.2.3".parse().unwrap()) && !two[0].contains("11.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for text in ["https://shop.example", "http://localhost:5173", "http://[::1]:3000", "https://a.b:8443"]
        {
            assert!(text.parse::<Origin>().is_ok(), "{text}");
        }
        for text in [
            "*",
            "null",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/a",
            "https://Shop.example",
            "https://*.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:",
            "https://me@shop.example",
            "ftp://shop.example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
