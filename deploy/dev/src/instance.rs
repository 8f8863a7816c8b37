//! A process of a stack: a unit, and which of its replicas.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::unit::{self, Ports, SERVICES, Unit};

/// Replicas that a service has at most. The first bears the service's name, the second is `wallet-2`.
pub(crate) const REPLICAS_MAX: u16 = 2;
/// How far the ports of the second lie from those of the first.
const PORTS_APART: u16 = 50;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    pub(crate) unit: Unit,
    /// From 1.
    replica: u16,
}

/// Everything that a stack may run, in the order of starting.
pub(crate) fn all() -> impl Iterator<Item = Instance> {
    unit::all().flat_map(Instance::replicas_of)
}

/// The processes of Talktime's own, with so many replicas of each.
pub(crate) fn services(replicas: u16) -> impl Iterator<Item = Instance> {
    SERVICES
        .into_iter()
        .flat_map(Instance::replicas_of)
        .filter(move |instance| instance.replica <= replicas)
}

impl Instance {
    /// The first, and of a service the others that there may be.
    pub(crate) fn replicas_of(unit: Unit) -> impl Iterator<Item = Self> {
        let replicas = if unit.is_part() { 1 } else { REPLICAS_MAX };
        (1..=replicas).map(move |replica| Self { unit, replica })
    }

    pub(crate) fn is_first(self) -> bool {
        self.replica == 1
    }

    /// Its name on the command line and in file names.
    pub(crate) fn name(self) -> String {
        match self.replica {
            1 => self.unit.name().to_owned(),
            replica => format!("{}-{replica}", self.unit.name()),
        }
    }

    pub(crate) fn ports(self) -> Ports {
        let Ports { main, ops } = self.unit.ports();
        let apart = (self.replica - 1) * PORTS_APART;
        Ports {
            main: main + apart,
            ops: ops.map(|port| port + apart),
        }
    }
}

impl From<Unit> for Instance {
    fn from(unit: Unit) -> Self {
        Self { unit, replica: 1 }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        all()
            .find(|instance| instance.name() == text)
            .ok_or_else(|| {
                let units: Vec<&str> = Unit::value_variants()
                    .iter()
                    .map(|unit| unit.name())
                    .collect();
                format!(
                    "one of {}; the second replica of a service is `<name>-2`",
                    units.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_used_twice_in_any_stack() {
        let base: Vec<u16> = all()
            .flat_map(|instance| [Some(instance.ports().main), instance.ports().ops])
            .flatten()
            .collect();
        let ports: HashSet<u16> = base
            .iter()
            .flat_map(|port| [*port, port + 1_500, port + 10_000, port + 20_000])
            .collect();
        assert_eq!(ports.len(), 4 * base.len());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for instance in all() {
            assert_eq!(instance.name().parse(), Ok(instance));
        }
        assert_eq!("wallet".parse(), Ok(Instance::from(Unit::Wallet)));
        assert!("wallet-3".parse::<Instance>().is_err());
        assert!("postgres-2".parse::<Instance>().is_err());
    }

    #[test]
    fn a_stack_has_as_many_replicas_as_it_was_told() {
        assert_eq!(services(1).count(), SERVICES.len());
        assert_eq!(services(2).count(), 2 * SERVICES.len());
    }
}
