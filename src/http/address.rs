//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Extensions, HeaderMap};

use crate::config::{List, Network};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of a request's connection. Only there where addresses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Who is counted as one caller by their address: an IPv4 address, or the /64 of an IPv6 one, since a single
/// subscriber has all of it.
pub fn sender(extensions: &Extensions, headers: &HeaderMap, trusted: &List<Network>) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>()?.0;
    Some(match behind_proxies(peer.to_canonical(), headers, trusted) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    })
}

/// The client's address. Each proxy adds the address that it was called from at the end; so the list is believed
/// from its end, as far as those who wrote it are trusted. What a client wrote itself stands before that.
fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &List<Network>) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|it| it.contains(address));
    let mut client = peer;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|it| it.to_str().unwrap_or_default().rsplit(','));
    while is_trusted(client) {
        let Some(entry) = entries.next() else { break };
        // What cannot be read ends the trust: the last one that is known is the one to blame.
        let Ok(address) = entry.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sender_of(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(peer.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted = List(trusted.iter().map(|it| it.parse().unwrap()).collect());
        sender(&extensions, &headers, &trusted).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8", "192.0.2.7"];
        for (peer, forwarded, expected) in [
            ("203.0.113.5", &[][..], "203.0.113.5"),
            ("203.0.113.5", &["198.51.100.1"], "203.0.113.5"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // What the client claims stands before what the proxy saw.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 192.0.2.7, 10.2.3.4"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", &["198.51.100.1:4711"], "10.0.0.1"),
        ] {
            assert_eq!(sender_of(peer, forwarded, &trusted), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(sender_of("10.0.0.1", &["198.51.100.1"], &[]), "10.0.0.1");
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_caller() {
        assert_eq!(sender_of("2001:db8:1:2:3:4:5:6", &[], &[]), "2001:db8:1:2::");
        assert_eq!(sender_of("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }
}
