//! Where a client is, for limits by address.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that tell the truth; cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<[IpAddr]>);

impl TrustedProxies {
    /// These.
    pub fn new(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().map(IpAddr::to_canonical).collect())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The client behind a connection from `peer`. Each proxy appends whom it heard; so the list is
    /// read from its end, and the first who is no proxy of ours is the client. What stands before
    /// that may be the client's invention.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
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

/// The client's address; empty when the connection has none.
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
            TrustedProxies::from_ref(state).client(peer.ip(), &parts.headers)
        });
        Ok(Self(client.map(|ip| ip.to_string()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &'static str) -> String {
        let proxies = TrustedProxies::new(&[ip("10.0.0.1"), ip("10.0.0.2")]);
        let headers = (FORWARDED_FOR, HeaderValue::from_static(forwarded));
        let client = proxies.client(ip(peer), &HeaderMap::from_iter([headers]));
        client.to_string()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        assert_eq!(client("198.51.100.9", "203.0.113.7"), "198.51.100.9");
        assert_eq!(client("10.0.0.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(client("::ffff:10.0.0.1", "203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn what_a_client_invents_comes_before_what_proxies_add() {
        assert_eq!(client("10.0.0.1", "1.1.1.1, 203.0.113.7"), "203.0.113.7");
        assert_eq!(
            client("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.0.0.2"),
            "203.0.113.7"
        );
        assert_eq!(client("10.0.0.1", "1.1.1.1, nonsense"), "10.0.0.1");
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
    }
}
