//! The address of the client, for limits by address.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName};
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

/// The first bits of an IPv6 address, which name the network of one client. The client chooses all others.
const CLIENT_BITS: u32 = 64;

/// The address by which limits count a client: an IPv4 address or an IPv6 network of 64 bits. All clients without an
/// address count as one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AddressKey(Option<IpAddr>);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = v6.to_bits() & (u128::MAX << (128 - CLIENT_BITS));
                Ipv6Addr::from_bits(network).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

/// The form that is used in Redis keys.
impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// The proxies whose `X-Forwarded-For` is trusted; cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Arc<[IpNetwork]>,
    hops: usize,
}

impl TrustedProxies {
    /// Trusts the proxies in these networks, and whatever their addresses the last `hops` before this process.
    pub fn new(networks: &[IpNetwork], hops: usize) -> Self {
        Self {
            networks: networks.into(),
            hops,
        }
    }

    /// Whether a connection from `peer` comes from a proxy.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.hops > 0 || self.trusts(peer)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }

    /// Returns the address by which limits count the client of a request, in the form of the request's extensions and
    /// headers.
    pub fn address_key(&self, extensions: &Extensions, headers: &HeaderMap) -> AddressKey {
        let client = self.find_client(extensions, headers);
        client.map_or(AddressKey(None), AddressKey::from)
    }

    /// Returns the address of the client of a request, if its connection has one.
    pub fn find_client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(self.client_of(peer.ip(), headers))
    }

    /// Returns the address of the client behind a connection from `peer`. Each proxy appends the address of its peer,
    /// so the list is read from its end, and the first address that is not a trusted proxy is the client. The entries
    /// before it may have been invented by the client.
    fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all(FORWARDED_FOR).iter();
        // A client may send bytes that are no text before the address that the proxy appends.
        let lines: Vec<Cow<'_, str>> = forwarded
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let hops: Vec<&str> = lines
            .iter()
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .collect();
        let mut client = peer;
        for (passed, hop) in hops.iter().rev().enumerate() {
            if passed >= self.hops && !self.trusts(client) {
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

impl<S> FromRequestParts<S> for AddressKey
where
    S: Send + Sync,
    TrustedProxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let proxies = TrustedProxies::from_ref(state);
        Ok(proxies.address_key(&parts.extensions, &parts.headers))
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
        let proxies = TrustedProxies::from_ref(state);
        let client = proxies.find_client(&parts.extensions, &parts.headers);
        Ok(Self(client.map(|ip| ip.to_string()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &'static str) -> String {
        client_behind(0, peer, forwarded)
    }

    fn client_behind(hops: usize, peer: &str, forwarded: &'static str) -> String {
        let networks = [network("10.0.0.1"), network("10.9.0.0/30")];
        let proxies = TrustedProxies::new(&networks, hops);
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
    fn a_number_of_hops_is_trusted_whatever_their_addresses() {
        let forwarded = "1.1.1.1, 203.0.113.7, 198.51.100.9";
        let behind = |hops| client_behind(hops, "192.0.2.1", forwarded);
        assert_eq!(behind(0), "192.0.2.1");
        assert_eq!(behind(1), "198.51.100.9");
        assert_eq!(behind(2), "203.0.113.7");
        assert_eq!(client_behind(2, "192.0.2.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(client_behind(1, "192.0.2.1", ""), "192.0.2.1");
        // Proxies with known addresses may stand before them.
        let forwarded = "1.1.1.1, 203.0.113.7, 10.9.0.2";
        assert_eq!(client_behind(1, "192.0.2.1", forwarded), "203.0.113.7");
    }

    #[test]
    fn limits_count_an_ipv6_network_as_one_client() {
        let key = |text| AddressKey::from(ip(text)).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2::9"), key("2001:db8:1:2:3:4:5:6"));
        assert_ne!(key("2001:db8:1:3::9"), key("2001:db8:1:2::9"));
        assert_eq!(key("::ffff:203.0.113.7"), "203.0.113.7");
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
