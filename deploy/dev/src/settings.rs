//! How the stack that is up was started. Kept in its folder, because `restart`, `env` and the others
//! are runs of their own and must agree with the `up` or `test` before them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::instance::{self, Instance};
use crate::stack::Stack;
use crate::unit::Unit;

/// The length of a minute that is billed, unless somebody wants to see money move faster.
pub(crate) const DEFAULT_MINUTE_SECS: u32 = 60;

/// How the stack's programs are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Build {
    #[default]
    Debug,
    Release,
    /// As debug, with the fail points that the tests set off.
    Failpoints,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) minute_secs: u32,
    pub(crate) build: Build,
    /// Only the parts, for services that somebody runs by other means.
    pub(crate) infra_only: bool,
    /// Processes of each service.
    pub(crate) replicas: u16,
    /// Processes of the gateway, where those are more.
    pub(crate) gateways: u16,
    /// Up and left to itself by `--detach` or `--keep`: alive without a runner, on purpose.
    pub(crate) detached: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            minute_secs: DEFAULT_MINUTE_SECS,
            build: Build::default(),
            infra_only: false,
            replicas: 1,
            gateways: 1,
            detached: false,
        }
    }
}

impl Settings {
    /// The processes of Talktime's own that the stack is to run.
    pub(crate) fn services(&self) -> Vec<Instance> {
        if self.infra_only {
            return Vec::new();
        }
        let gateways = self.gateways.max(self.replicas);
        instance::services(self.replicas)
            .filter(|service| service.unit != Unit::Gateway)
            .chain(instance::services(gateways).filter(|service| service.unit == Unit::Gateway))
            .collect()
    }

    /// Those of the last run; the defaults if there was none.
    pub(crate) fn load(stack: &Stack) -> Self {
        fs::read_to_string(file(stack)).map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    pub(crate) fn save(&self, stack: &Stack) -> Result<()> {
        let path = file(stack);
        fs::write(&path, self.to_text()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn to_text(&self) -> String {
        let build = self
            .build
            .to_possible_value()
            .expect("no way of building is hidden");
        format!(
            "minute_secs={}\nbuild={}\ninfra_only={}\nreplicas={}\ngateways={}\ndetached={}\n",
            self.minute_secs,
            build.get_name(),
            self.infra_only,
            self.replicas,
            self.gateways,
            self.detached
        )
    }

    /// What is missing or unreadable is as by default.
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
            build: value("build")
                .and_then(|name| Build::from_str(name, false).ok())
                .unwrap_or_default(),
            infra_only: value("infra_only") == Some("true"),
            detached: value("detached") == Some("true"),
        }
    }
}

fn file(stack: &Stack) -> PathBuf {
    stack.run_dir().join("settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_file() {
        let settings = Settings {
            minute_secs: 2,
            build: Build::Failpoints,
            gateways: 2,
            detached: true,
            ..Settings::default()
        };
        assert_eq!(Settings::parse(&settings.to_text()), settings);
        assert_eq!(Settings::parse("anything else"), Settings::default());
    }
}
