//! Settings of the media that the platform carries.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use talktime_kit::config::DeploymentEnvironment;

use crate::domain::CallError;
use crate::domain::call::CallMedia;

/// Shortest secret that production accepts, in characters.
const SECRET_CHARS_MIN: usize = 32;
/// Secrets that are accepted at once: the present one, and the one that a rotation replaces.
const SECRETS_MAX: usize = 2;
/// Longest life of a relay credential in seconds.
const CREDENTIAL_SECS_MAX: i64 = 3_600;
/// Longest interval between two reports of an app, in seconds.
const REPORT_SECS_MAX: i32 = 60;

/// The engine that carries the media of calls.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum MediaEngine {
    /// Apps carry the media by means of their own.
    #[default]
    None,
    /// TURN relays between the two apps.
    Turn,
}

/// Settings of the media that the platform carries.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct MediaConfig {
    pub engine: MediaEngine,
    /// The carrier of calls that ring and whose request names none, where there is an engine. `own` where apps
    /// with media of their own are still in use.
    pub default_carrier: CallMedia,
    /// Time in seconds without sound after which a call ends.
    pub lost_secs: i32,
    /// Interval in seconds in which apps report on their media.
    pub report_every_secs: i32,
    /// The relays; for the engine `turn`.
    pub turn: TurnConfig,
}

/// Settings of the TURN relays.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TurnConfig {
    /// File with a secret that the relays know in each line. The first one signs.
    pub secret_file: Option<PathBuf>,
    /// The secrets themselves, instead of a file.
    pub secrets: Vec<SecretString>,
    /// Names of relays that are used while no relay reports.
    pub hosts: Vec<String>,
    /// Time in seconds within which a credential opens allocations. Open ones go on beyond it.
    pub credential_secs: i64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            engine: MediaEngine::None,
            default_carrier: CallMedia::Platform,
            lost_secs: 45,
            report_every_secs: 10,
            turn: TurnConfig::default(),
        }
    }
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self {
            secret_file: None,
            secrets: vec![],
            hosts: vec![],
            credential_secs: 120,
        }
    }
}

impl MediaConfig {
    /// Refuses settings under which no call would be connected, and in production those that others could
    /// abuse.
    pub(crate) fn validate(&self, environment: DeploymentEnvironment) -> anyhow::Result<()> {
        ensure!(
            (1..=REPORT_SECS_MAX).contains(&self.report_every_secs),
            "TALKTIME_CALLS__MEDIA__REPORT_EVERY_SECS must be 1 to {REPORT_SECS_MAX}"
        );
        ensure!(
            self.lost_secs >= 2 * self.report_every_secs,
            "TALKTIME_CALLS__MEDIA__LOST_SECS must be at least two intervals of REPORT_EVERY_SECS"
        );
        ensure!(
            (1..=CREDENTIAL_SECS_MAX).contains(&self.turn.credential_secs),
            "TALKTIME_CALLS__MEDIA__TURN__CREDENTIAL_SECS must be 1 to {CREDENTIAL_SECS_MAX}"
        );
        ensure!(
            self.turn.hosts.iter().all(|host| is_host_name(host)),
            "TALKTIME_CALLS__MEDIA__TURN__HOSTS must be names without scheme and port"
        );
        if self.engine == MediaEngine::None {
            return Ok(());
        }
        let secrets = self.load_secrets()?;
        let is_long = |secret: &SecretString| secret.expose_secret().len() >= SECRET_CHARS_MIN;
        ensure!(
            environment != DeploymentEnvironment::Production || secrets.iter().all(is_long),
            "a secret of TALKTIME_CALLS__MEDIA__TURN is shorter than {SECRET_CHARS_MIN} characters, \
             which production refuses"
        );
        let is_public =
            |host: &String| host.contains('.') && host.parse::<std::net::IpAddr>().is_err();
        ensure!(
            environment != DeploymentEnvironment::Production
                || self.turn.hosts.iter().all(is_public),
            "TALKTIME_CALLS__MEDIA__TURN__HOSTS must be public names in production, since certificates \
             are issued for names"
        );
        Ok(())
    }

    /// Returns the secrets of the relays; the first one signs.
    pub(crate) fn load_secrets(&self) -> anyhow::Result<Vec<SecretString>> {
        let secrets = match &self.turn.secret_file {
            Some(path) => read_secrets(path)?,
            None => self.turn.secrets.clone(),
        };
        ensure!(
            (1..=SECRETS_MAX).contains(&secrets.len()),
            "the media engine turn needs one or two secrets in TALKTIME_CALLS__MEDIA__TURN__SECRET_FILE \
             or TALKTIME_CALLS__MEDIA__TURN__SECRETS"
        );
        Ok(secrets)
    }

    /// Returns the terms of calls that start now.
    pub(crate) fn media_terms(&self) -> MediaTerms {
        MediaTerms {
            has_engine: self.engine != MediaEngine::None,
            default_carrier: self.default_carrier,
            report_every_secs: self.report_every_secs,
            lost: TimeDelta::seconds(self.lost_secs.into()),
        }
    }
}

fn read_secrets(path: &Path) -> anyhow::Result<Vec<SecretString>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "TALKTIME_CALLS__MEDIA__TURN__SECRET_FILE: {}",
            path.display()
        )
    })?;
    let lines = text.lines().map(str::trim);
    let secrets = lines.filter(|line| !line.is_empty());
    Ok(secrets.map(SecretString::from).collect())
}

fn is_host_name(host: &str) -> bool {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || char == '.' || char == '-';
    (1..=253).contains(&host.len()) && host.chars().all(is_allowed)
}

/// Terms of the media that the platform carries.
#[derive(Clone, Copy, Debug)]
pub struct MediaTerms {
    pub has_engine: bool,
    /// The carrier of calls that ring and whose request names none.
    pub default_carrier: CallMedia,
    pub report_every_secs: i32,
    /// Time without sound after which a call ends.
    pub lost: TimeDelta,
}

impl MediaTerms {
    /// Returns the carrier of a call, or refuses one that this platform does not offer.
    pub(crate) fn choose_carrier(
        &self,
        rings: bool,
        requested: Option<CallMedia>,
    ) -> Result<CallMedia, CallError> {
        let by_default = if self.has_engine && rings {
            self.default_carrier
        } else {
            CallMedia::Own
        };
        match requested.unwrap_or(by_default) {
            CallMedia::Platform if !self.has_engine => Err(CallError::MediaNotAvailable),
            CallMedia::Platform if !rings => Err(CallError::MediaNeedsRing),
            media => Ok(media),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_engine() -> MediaConfig {
        MediaConfig {
            engine: MediaEngine::Turn,
            turn: TurnConfig {
                secrets: vec!["a secret that is long enough for all".into()],
                ..TurnConfig::default()
            },
            ..MediaConfig::default()
        }
    }

    fn choose_for_ring(
        config: &MediaConfig,
        requested: Option<CallMedia>,
    ) -> Result<CallMedia, String> {
        let chosen = config.media_terms().choose_carrier(true, requested);
        chosen.map_err(|error| talktime_kit::Error::from(error).code().to_owned())
    }

    fn choose_for_call_without_ring(
        config: &MediaConfig,
        requested: Option<CallMedia>,
    ) -> Result<CallMedia, String> {
        let chosen = config.media_terms().choose_carrier(false, requested);
        chosen.map_err(|error| talktime_kit::Error::from(error).code().to_owned())
    }

    #[test]
    fn the_platform_carries_rings_where_it_has_an_engine_unless_the_app_does() {
        let (without, with) = (MediaConfig::default(), with_engine());
        let (own, platform) = (Some(CallMedia::Own), Some(CallMedia::Platform));
        assert_eq!(choose_for_ring(&without, None), Ok(CallMedia::Own));
        assert_eq!(choose_for_ring(&with, None), Ok(CallMedia::Platform));
        assert_eq!(choose_for_ring(&with, own), Ok(CallMedia::Own));
        assert_eq!(
            choose_for_call_without_ring(&with, None),
            Ok(CallMedia::Own)
        );
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(
            choose_for_ring(&without, platform),
            refused("media_not_available")
        );
        assert_eq!(
            choose_for_call_without_ring(&with, platform),
            refused("media_needs_ring")
        );
    }

    #[test]
    fn an_operator_may_leave_calls_to_apps_that_name_no_carrier() {
        let config = MediaConfig {
            default_carrier: CallMedia::Own,
            ..with_engine()
        };
        assert_eq!(choose_for_ring(&config, None), Ok(CallMedia::Own));
        let platform = Some(CallMedia::Platform);
        assert_eq!(choose_for_ring(&config, platform), Ok(CallMedia::Platform));
    }

    #[test]
    fn an_engine_needs_a_secret_and_production_a_long_one() {
        let without = MediaConfig {
            turn: TurnConfig::default(),
            ..with_engine()
        };
        assert!(
            without
                .validate(DeploymentEnvironment::Development)
                .is_err()
        );
        assert!(
            with_engine()
                .validate(DeploymentEnvironment::Production)
                .is_ok()
        );
        let mut short = with_engine();
        short.turn.secrets = vec!["short".into()];
        assert!(short.validate(DeploymentEnvironment::Development).is_ok());
        assert!(short.validate(DeploymentEnvironment::Production).is_err());
    }

    #[test]
    fn production_refuses_relays_without_a_public_name() {
        for (host, is_valid) in [
            ("relay-1.example.com", true),
            ("127.0.0.1", false),
            ("localhost", false),
        ] {
            let mut config = with_engine();
            config.turn.hosts = vec![host.to_owned()];
            assert!(
                config.validate(DeploymentEnvironment::Development).is_ok(),
                "{host}"
            );
            let production = config.validate(DeploymentEnvironment::Production);
            assert_eq!(production.is_ok(), is_valid, "{host}");
        }
        let mut config = with_engine();
        config.turn.hosts = vec!["turn:relay-1.example.com:3478".to_owned()];
        assert!(config.validate(DeploymentEnvironment::Development).is_err());
    }

    #[test]
    fn a_call_outlives_a_lost_report() {
        let config = MediaConfig {
            lost_secs: 15,
            ..with_engine()
        };
        assert!(config.validate(DeploymentEnvironment::Development).is_err());
        assert!(
            MediaConfig::default()
                .validate(DeploymentEnvironment::Production)
                .is_ok()
        );
    }
}
