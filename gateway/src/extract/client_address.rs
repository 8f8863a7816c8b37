//! The address of the client, for limits by address.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::Deserialize;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address such as `10.0.0.7`, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct IpNetwork(IpNet);

impl TryFrom<String> for IpNetwork {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse_single_address = || text.parse::<IpAddr>().map(|ip| ip.to_canonical().into());
        text.parse()
            .or_else(|_| parse_single_address())
            .map(Self)
            .map_err(|_| format!("{text} is not an address or a network"))
    }
}

impl IpNetwork {
    fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The proxies whose `X-Forwarded-For` is trusted; cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<[IpNetwork]>);

impl TrustedProxies {
    /// Trusts the proxies in these networks.
    pub fn new(networks: &[IpNetwork]) -> Self {
        Self(networks.into())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns the address of the client behind a connection from `peer`. Each proxy appends the address of its peer,
    /// so the list is read from its end, and the first address that is not a trusted proxy is the client. The entries
    /// before it may have been invented by the client.
    fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all(FORWARDED_FOR).iter();
        let hops: Vec<&str> = forwarded
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let mut client = peer;
        for hop in hops.iter().rev() {
            if !self.trusts(client) {
                break;
            }
            match hop.parse() {
                Ok(address) => client = address,
                Err(_) => break,
            }
        }
        client.to_canonical()
    }
}

/// The address of the client. Empty if the connection has none.
pub struct ClientAddress(pub String);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Send + Sync,
    TrustedProxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let client = peer.map(|ConnectInfo(peer)| {
            TrustedProxies::from_ref(state).client_of(peer.ip(), &parts.headers)
        });
        Ok(Self(client.map(|ip| ip.to_string()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &'static str) -> String {
        let proxies = TrustedProxies::new(&[network("10.0.0.1"), network("10.9.0.0/30")]);
        let headers = (FORWARDED_FOR, HeaderValue::from_static(forwarded));
        let client = proxies.client_of(ip(peer), &HeaderMap::from_iter([headers]));
        client.to_string()
    }

    fn network(text: &str) -> IpNetwork {
        text.to_owned().try_into().expect("a network")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        assert_eq!(client("198.51.100.9", "203.0.113.7"), "198.51.100.9");
        assert_eq!(client("10.0.0.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(client("::ffff:10.0.0.1", "203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn entries_before_the_first_untrusted_address_are_ignored() {
        assert_eq!(client("10.0.0.1", "1.1.1.1, 203.0.113.7"), "203.0.113.7");
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.9.0.2"),
            "203.0.113.7"
        );
        assert_eq!(client("10.0.0.1", "1.1.1.1, nonsense"), "10.0.0.1");
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        for (inside, outside, text) in [
            ("10.9.0.3", "10.9.0.4", "10.9.0.0/30"),
            ("fd00::1", "fe00::1", "fd00::/8"),
            ("203.0.113.7", "::1", "0.0.0.0/0"),
        ] {
            assert!(network(text).contains(ip(inside)), "{inside} in {text}");
            assert!(!network(text).contains(ip(outside)), "{outside} in {text}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "proxy"] {
            assert!(IpNetwork::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
