//! What a stack consists of, and the table of ports.

use clap::ValueEnum;

/// A unit of a stack: one of the four parts it stands on, or one of Talktime's own services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Unit {
    Postgres,
    Redis,
    Nats,
    S3,
    Auth,
    Profile,
    Presence,
    Wallet,
    Calls,
    Verification,
    Gateway,
}

/// Ports of the first replica in the stack `dev`; other stacks add their offset (see `Stack::port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// What it is there for: gRPC of a service, HTTP of the gateway, the own protocol of a part.
    pub(crate) main: u16,
    /// Health and metrics, where they have a port of their own.
    pub(crate) ops: Option<u16>,
}

/// In the order of starting; stopping goes the other way.
pub(crate) const PARTS: [Unit; 4] = [Unit::Postgres, Unit::Redis, Unit::Nats, Unit::S3];

/// The services with a schema and roles in Postgres and a gRPC port: all but the gateway.
pub(crate) const GRPC_SERVICES: [Unit; 6] = [
    Unit::Auth,
    Unit::Profile,
    Unit::Presence,
    Unit::Wallet,
    Unit::Calls,
    Unit::Verification,
];

/// Talktime's own processes.
pub(crate) const SERVICES: [Unit; 7] = [
    Unit::Auth,
    Unit::Profile,
    Unit::Presence,
    Unit::Wallet,
    Unit::Calls,
    Unit::Verification,
    Unit::Gateway,
];

/// Everything, in the order of starting.
pub(crate) fn all() -> impl Iterator<Item = Unit> {
    PARTS.into_iter().chain(SERVICES)
}

impl Unit {
    /// Its name on the command line, in file names and, for a service, of its schema.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::S3 => "s3",
            Self::Auth => "auth",
            Self::Profile => "profile",
            Self::Presence => "presence",
            Self::Wallet => "wallet",
            Self::Calls => "calls",
            Self::Verification => "verification",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) const fn ports(self) -> Ports {
        let (main, ops) = match self {
            Self::Postgres => (7432, None),
            Self::Redis => (7379, None),
            Self::Nats => (7422, Some(7822)),
            Self::S3 => (7900, None),
            Self::Auth => (7101, Some(7201)),
            Self::Profile => (7102, Some(7202)),
            Self::Presence => (7103, Some(7203)),
            Self::Wallet => (7104, Some(7204)),
            Self::Calls => (7105, Some(7205)),
            Self::Verification => (7106, Some(7206)),
            Self::Gateway => (8080, Some(7200)),
        };
        Ports { main, ops }
    }

    /// The program that `cargo build` makes for it; `None` for the parts that are installed.
    pub(crate) fn binary(self) -> Option<String> {
        match self {
            Self::Postgres | Self::Redis | Self::Nats => None,
            Self::S3 => Some("talktime-dev-s3".to_owned()),
            service => Some(format!("talktime-{}", service.name())),
        }
    }

    pub(crate) fn is_part(self) -> bool {
        PARTS.contains(&self)
    }

    pub(crate) fn has_grpc(self) -> bool {
        GRPC_SERVICES.contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_knows_a_unit_by_its_name() {
        for unit in all() {
            let value = unit.to_possible_value().expect("no unit is hidden");
            assert_eq!(value.get_name(), unit.name());
        }
    }

    #[test]
    fn every_unit_is_a_part_or_a_service() {
        assert_eq!(all().count(), Unit::value_variants().len());
    }
}
