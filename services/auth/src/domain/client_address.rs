//! Client addresses, as limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's address. One household has a whole IPv6 network of 64 bits, so that counts as one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientAddress(Option<IpAddr>);

impl ClientAddress {
    /// Parses an address; all texts that are no address count as one client.
    pub fn parse(text: &str) -> Self {
        let address: Option<IpAddr> = text.parse().ok();
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => mask_network(v6).into(),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }
}

fn mask_network(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))
}

/// The form that is used in Redis keys.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_address() {
        let parse_and_format = |text| ClientAddress::parse(text).to_string();
        assert_eq!(parse_and_format("203.0.113.7"), "203.0.113.7");
        assert_eq!(parse_and_format("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(parse_and_format("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(parse_and_format("2001:db8:1:2::9"), "2001:db8:1:2::");
        assert_eq!(parse_and_format(""), "unknown");
        assert_eq!(parse_and_format("somewhere"), "unknown");
    }
}
