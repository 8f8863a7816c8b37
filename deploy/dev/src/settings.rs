//! The settings with which a stack was started. They are stored in its folder, because `restart`, `env` and
//! others are separate runs and must agree with the `up` or `test` before them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::instance::{self, REPLICAS_MAX, UnitInstance};
use crate::stack::DevStack;
use crate::unit::StackUnit;

/// Length of a billed minute, unless the command line sets a shorter one.
pub(crate) const DEFAULT_MINUTE_SECS: u32 = 60;

/// The way in which the programs of the stack are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildProfile {
    #[default]
    Debug,
    Release,
    /// As debug, with the fail points that tests use.
    Failpoints,
    /// As release, with processes that talk to each other in clear.
    Plaintext,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackSettings {
    pub(crate) minute_secs: u32,
    pub(crate) build: BuildProfile,
    /// Whether only the parts run, for services that are started by other means.
    pub(crate) infra_only: bool,
    /// Number of processes of each service.
    pub(crate) replicas: u16,
    /// Number of processes of the gateway, if it is greater.
    pub(crate) gateways: u16,
    /// Number of media relays, each with its agent.
    pub(crate) relays: u16,
    /// Whether the stack was left up on purpose by `--detach` or `--keep`, without a runner.
    pub(crate) detached: bool,
}

impl Default for StackSettings {
    fn default() -> Self {
        Self {
            minute_secs: DEFAULT_MINUTE_SECS,
            build: BuildProfile::default(),
            infra_only: false,
            replicas: 1,
            gateways: 1,
            relays: 1,
            detached: false,
        }
    }
}

impl StackSettings {
    /// Lists the parts that the stack runs. The demo page is of no use without the services.
    pub(crate) fn list_parts(&self) -> Vec<UnitInstance> {
        instance::part_instances(self.relays)
            .filter(|part| !self.infra_only || part.unit != StackUnit::Page)
            .collect()
    }

    /// Lists the processes of Talktime that the stack runs.
    pub(crate) fn list_services(&self) -> Vec<UnitInstance> {
        if self.infra_only {
            return Vec::new();
        }
        let gateways = self.gateways.max(self.replicas);
        let replicas_of = |unit: StackUnit| match unit {
            StackUnit::Gateway => gateways,
            StackUnit::RelayAgent => self.relays,
            _ => self.replicas,
        };
        instance::service_instances(REPLICAS_MAX)
            .filter(|service| service.replica() <= replicas_of(service.unit))
            .collect()
    }

    /// Loads the settings of the last run, or the defaults if there was none.
    pub(crate) fn load(stack: &DevStack) -> Self {
        fs::read_to_string(settings_file(stack))
            .map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    pub(crate) fn save(&self, stack: &DevStack) -> Result<()> {
        let path = settings_file(stack);
        fs::write(&path, self.to_text()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn to_text(&self) -> String {
        let build = self
            .build
            .to_possible_value()
            .expect("no build profile is hidden");
        format!(
            "minute_secs={}\nbuild={}\ninfra_only={}\nreplicas={}\ngateways={}\nrelays={}\ndetached={}\n",
            self.minute_secs,
            build.get_name(),
            self.infra_only,
            self.replicas,
            self.gateways,
            self.relays,
            self.detached
        )
    }

    /// Parses settings; those that are missing or invalid have their default.
    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find_map(|(name, value)| (name == key).then_some(value))
        };
        let number = |key: &str| value(key).and_then(|number| number.parse().ok());
        Self {
            minute_secs: value("minute_secs")
                .and_then(|secs| secs.parse().ok())
                .unwrap_or(DEFAULT_MINUTE_SECS),
            replicas: number("replicas").unwrap_or(1),
            gateways: number("gateways").unwrap_or(1),
            relays: number("relays").unwrap_or(1),
            build: value("build")
                .and_then(|name| BuildProfile::from_str(name, false).ok())
                .unwrap_or_default(),
            infra_only: value("infra_only") == Some("true"),
            detached: value("detached") == Some("true"),
        }
    }
}

fn settings_file(stack: &DevStack) -> PathBuf {
    stack.run_dir().join("settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_settings_are_read_back() {
        let settings = StackSettings {
            minute_secs: 2,
            build: BuildProfile::Failpoints,
            gateways: 2,
            relays: 2,
            detached: true,
            ..StackSettings::default()
        };
        assert_eq!(StackSettings::parse(&settings.to_text()), settings);
        assert_eq!(
            StackSettings::parse("anything else"),
            StackSettings::default()
        );
    }
}
