//! The units of a stack and their ports.

use clap::ValueEnum;

/// A unit of a stack: one of the parts, which are third-party servers and the server of the demo page, or one of
/// Talktime's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum StackUnit {
    Postgres,
    Redis,
    Nats,
    S3,
    RelayRedis,
    Coturn,
    Page,
    Auth,
    Profile,
    Presence,
    Wallet,
    Calls,
    Verification,
    Gateway,
    RelayAgent,
}

/// Ports of the first replica in the stack `dev`; other stacks add their offset (see `DevStack::port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnitPorts {
    /// Port of the main protocol: gRPC of a service, HTTP of the gateway, the own protocol of a part; health and
    /// metrics of the relay agent, which serves nothing else.
    pub(crate) main: u16,
    /// Port of health and metrics, if it differs; of coturn, its console.
    pub(crate) ops: Option<u16>,
}

/// The parts in the order in which they start; they stop in the opposite order.
pub(crate) const PARTS: [StackUnit; 7] = [
    StackUnit::Postgres,
    StackUnit::Redis,
    StackUnit::Nats,
    StackUnit::S3,
    StackUnit::RelayRedis,
    StackUnit::Coturn,
    StackUnit::Page,
];

/// The parts of a media relay, which a stack may have several of.
const RELAY_PARTS: [StackUnit; 2] = [StackUnit::RelayRedis, StackUnit::Coturn];

/// The services with a schema and a gRPC port: all except the gateway.
pub(crate) const GRPC_SERVICES: [StackUnit; 6] = [
    StackUnit::Auth,
    StackUnit::Profile,
    StackUnit::Presence,
    StackUnit::Wallet,
    StackUnit::Calls,
    StackUnit::Verification,
];

/// Talktime's own processes.
pub(crate) const SERVICES: [StackUnit; 8] = [
    StackUnit::Auth,
    StackUnit::Profile,
    StackUnit::Presence,
    StackUnit::Wallet,
    StackUnit::Calls,
    StackUnit::Verification,
    StackUnit::Gateway,
    StackUnit::RelayAgent,
];

/// Returns all units in the order in which they start.
pub(crate) fn all_units() -> impl Iterator<Item = StackUnit> {
    PARTS.into_iter().chain(SERVICES)
}

impl StackUnit {
    /// Returns the name on the command line, in file names and, for a service, of its schema.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::S3 => "s3",
            Self::RelayRedis => "relay-redis",
            Self::Coturn => "coturn",
            Self::Page => "page",
            Self::Auth => "auth",
            Self::Profile => "profile",
            Self::Presence => "presence",
            Self::Wallet => "wallet",
            Self::Calls => "calls",
            Self::Verification => "verification",
            Self::Gateway => "gateway",
            Self::RelayAgent => "relay-agent",
        }
    }

    pub(crate) const fn ports(self) -> UnitPorts {
        let (main, ops) = match self {
            Self::Postgres => (7432, None),
            Self::Redis => (7379, None),
            Self::Nats => (7422, Some(7822)),
            Self::S3 => (7900, None),
            Self::RelayRedis => (7306, None),
            Self::Coturn => (7302, Some(7304)),
            Self::Page => (8081, None),
            Self::Auth => (7101, Some(7201)),
            Self::Profile => (7102, Some(7202)),
            Self::Presence => (7103, Some(7203)),
            Self::Wallet => (7104, Some(7204)),
            Self::Calls => (7105, Some(7205)),
            Self::Verification => (7106, Some(7206)),
            Self::Gateway => (8080, Some(7200)),
            Self::RelayAgent => (7207, None),
        };
        UnitPorts { main, ops }
    }

    /// Returns the program that `cargo build` produces; `None` for parts that are installed.
    pub(crate) fn binary(self) -> Option<String> {
        match self {
            Self::Postgres | Self::Redis | Self::Nats | Self::RelayRedis | Self::Coturn => None,
            Self::S3 => Some("talktime-dev-s3".to_owned()),
            Self::Page => Some("talktime-demo-page".to_owned()),
            Self::RelayAgent => Self::Calls.binary(),
            service => Some(format!("talktime-{}", service.name())),
        }
    }

    pub(crate) fn is_part(self) -> bool {
        PARTS.contains(&self)
    }

    /// Whether it belongs to a media relay.
    pub(crate) fn is_of_relay(self) -> bool {
        RELAY_PARTS.contains(&self) || self == Self::RelayAgent
    }

    pub(crate) fn has_grpc(self) -> bool {
        GRPC_SERVICES.contains(&self)
    }
}

/// Returns a name as a part of the name of a variable.
pub(crate) fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_accepts_the_name_of_each_unit() {
        for unit in all_units() {
            let value = unit.to_possible_value().expect("no unit is hidden");
            assert_eq!(value.get_name(), unit.name());
        }
    }

    #[test]
    fn every_unit_is_a_part_or_a_service() {
        assert_eq!(all_units().count(), StackUnit::value_variants().len());
    }
}
