//! A process of a stack: a unit and the number of its replica.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::unit::{self, PARTS, SERVICES, StackUnit, UnitPorts};

/// Greatest number of replicas of a service. The first has the name of the service, the second is `wallet-2`.
pub(crate) const REPLICAS_MAX: u16 = 2;
/// Distance between the ports of two replicas.
const PORT_DISTANCE: u16 = 50;

/// One process of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnitInstance {
    pub(crate) unit: StackUnit,
    /// Number of the replica, from 1.
    replica: u16,
}

/// Returns every process that a stack may run, in the order in which they start.
pub(crate) fn all_instances() -> impl Iterator<Item = UnitInstance> {
    unit::all_units().flat_map(UnitInstance::replicas_of)
}

/// Returns the parts with this number of relays, in the order in which they start.
pub(crate) fn part_instances(relays: u16) -> impl Iterator<Item = UnitInstance> {
    PARTS
        .into_iter()
        .flat_map(UnitInstance::replicas_of)
        .filter(move |instance| instance.replica <= relays.max(1))
}

/// Returns the processes of Talktime with this number of replicas each.
pub(crate) fn service_instances(replicas: u16) -> impl Iterator<Item = UnitInstance> {
    SERVICES
        .into_iter()
        .flat_map(UnitInstance::replicas_of)
        .filter(move |instance| instance.replica <= replicas)
}

impl UnitInstance {
    /// Returns the only instance of a part, or all possible replicas of a service or of a relay.
    pub(crate) fn replicas_of(unit: StackUnit) -> impl Iterator<Item = Self> {
        let is_single = unit.is_part() && !unit.is_of_relay();
        let replicas = if is_single { 1 } else { REPLICAS_MAX };
        (1..=replicas).map(move |replica| Self { unit, replica })
    }

    pub(crate) fn replica(self) -> u16 {
        self.replica
    }

    /// Returns the process of another unit with the same number, such as the relay of an agent.
    pub(crate) fn beside(self, unit: StackUnit) -> Self {
        Self {
            unit,
            replica: self.replica,
        }
    }

    pub(crate) fn is_first(self) -> bool {
        self.replica == 1
    }

    /// Returns the name on the command line and in file names.
    pub(crate) fn name(self) -> String {
        match self.replica {
            1 => self.unit.name().to_owned(),
            replica => format!("{}-{replica}", self.unit.name()),
        }
    }

    pub(crate) fn ports(self) -> UnitPorts {
        let UnitPorts { main, ops } = self.unit.ports();
        let distance = (self.replica - 1) * PORT_DISTANCE;
        UnitPorts {
            main: main + distance,
            ops: ops.map(|port| port + distance),
        }
    }
}

impl From<StackUnit> for UnitInstance {
    fn from(unit: StackUnit) -> Self {
        Self { unit, replica: 1 }
    }
}

impl fmt::Display for UnitInstance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

impl FromStr for UnitInstance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        all_instances()
            .find(|instance| instance.name() == text)
            .ok_or_else(|| {
                let units: Vec<&str> = StackUnit::value_variants()
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
        let base: Vec<u16> = all_instances()
            .flat_map(|instance| [Some(instance.ports().main), instance.ports().ops])
            .flatten()
            .collect();
        // The stacks `dev`, `roll`, `test` and `bench`.
        let ports: HashSet<u16> = base
            .iter()
            .flat_map(|port| [*port, port + 1_500, port + 10_000, port + 20_000])
            .collect();
        assert_eq!(ports.len(), 4 * base.len());
    }

    #[test]
    fn names_are_parsed_as_they_are_printed() {
        for instance in all_instances() {
            assert_eq!(instance.name().parse(), Ok(instance));
        }
        assert_eq!("wallet".parse(), Ok(UnitInstance::from(StackUnit::Wallet)));
        assert!("wallet-3".parse::<UnitInstance>().is_err());
        assert!("postgres-2".parse::<UnitInstance>().is_err());
    }

    #[test]
    fn every_service_has_the_requested_number_of_replicas() {
        assert_eq!(part_instances(1).count(), PARTS.len());
        assert_eq!(part_instances(2).count(), PARTS.len() + 2);
        assert_eq!(service_instances(1).count(), SERVICES.len());
        assert_eq!(service_instances(2).count(), 2 * SERVICES.len());
    }
}
