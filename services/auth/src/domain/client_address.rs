//! Client addresses, as limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's address. One household has a whole IPv6 network of 64 bits, so that counts as one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientAddress(Option<IpAddr>);

/// The size of a network whose clients share a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NetworkSize {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    Address,
    /// An IPv6 network of 56 bits, which a provider typically gives to a household or an office.
    Bits56,
    /// An IPv6 network of 48 bits, which a provider typically gives to a site. Hosting providers rent them too.
    Bits48,
}

impl NetworkSize {
    /// All sizes, smallest first.
    pub const ALL: [Self; 3] = [Self::Address, Self::Bits56, Self::Bits48];

    /// Returns the name in the audit log and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Bits56 => "network_56",
            Self::Bits48 => "network_48",
        }
    }
}

/// A network that contains a client's address. Displays as its part of a Redis key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientNetwork {
    /// The size, which determines the limits.
    pub size: NetworkSize,
    address: ClientAddress,
}

impl ClientAddress {
    /// Parses an address; all texts that are no address count as one client.
    pub fn parse(text: &str) -> Self {
        let address: Option<IpAddr> = text.parse().ok();
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => mask_network(v6, 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        }))
    }

    /// Returns whether the address of the client is known.
    pub fn is_known(self) -> bool {
        self.0.is_some()
    }

    /// Returns the networks whose limits apply to this client, smallest first. A client with an IPv6 network of 48
    /// bits has 65,536 networks of 64 bits, so those of 64 bits alone would not limit it.
    pub fn networks(self) -> Vec<ClientNetwork> {
        let network = |size, address| ClientNetwork { size, address };
        let mut networks = vec![network(NetworkSize::Address, self)];
        if let Some(IpAddr::V6(v6)) = self.0 {
            for (size, bits) in [(NetworkSize::Bits56, 56), (NetworkSize::Bits48, 48)] {
                networks.push(network(size, Self(Some(mask_network(v6, bits).into()))));
            }
        }
        networks
    }
}

/// Clears all but the first `bits` bits, which are between 1 and 128.
fn mask_network(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)))
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

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            NetworkSize::Address => self.address.fmt(f),
            NetworkSize::Bits56 => write!(f, "{}/56", self.address),
            NetworkSize::Bits48 => write!(f, "{}/48", self.address),
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

    #[test]
    fn an_ipv6_address_belongs_to_three_networks() {
        let networks_of = |text: &str| -> Vec<String> {
            let networks = ClientAddress::parse(text).networks();
            networks.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            networks_of("2001:db8:1:2ff:3::4"),
            ["2001:db8:1:2ff::", "2001:db8:1:200::/56", "2001:db8:1::/48"]
        );
        assert_eq!(networks_of("203.0.113.7"), ["203.0.113.7"]);
        assert_eq!(networks_of(""), ["unknown"]);
    }
}
