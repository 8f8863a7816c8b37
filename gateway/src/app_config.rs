//! The configuration that apps read at their start, from a file of the operator.
//!
//! The file is read again every few seconds, so that a maintenance message appears without a restart. A file that has
//! become invalid changes nothing: the last valid one stays in use, and the failure is logged.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use utoipa::ToSchema;

const RELOAD_EVERY: Duration = Duration::from_secs(5);
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
const FILE_BYTES_MAX: usize = 64 * 1024;
const FEATURES_MAX: usize = 200;

/// Configuration of apps. Every field has a default.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
pub struct AppConfig {
    min_versions: MinVersions,
    maintenance: MaintenanceNotice,
    ring: RingSettings,
    media: MediaSettings,
    /// Features of the app by name, and whether they are on.
    features: BTreeMap<String, bool>,
    legal: LegalVersions,
    support: SupportContact,
}

/// The oldest versions of the apps that still work; older ones ask for an update.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct MinVersions {
    #[schema(example = "1.0.0")]
    android: String,
    #[schema(example = "1.0.0")]
    ios: String,
}

/// A message in place of the app while the platform is maintained.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct MaintenanceNotice {
    active: bool,
    message: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct RingSettings {
    /// The time for which a call rings.
    seconds: u32,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct MediaSettings {
    /// The engine that carries audio and video; `none` if the app brings its own.
    engine: String,
}

/// The current versions of the legal texts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct LegalVersions {
    /// The version that a registration accepts as `terms_version`.
    terms_version: Option<String>,
    privacy_version: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default)]
struct SupportContact {
    email: Option<String>,
    grievance_officer: Option<GrievanceOfficer>,
}

/// The person who answers complaints, as the law of India requires.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
struct GrievanceOfficer {
    name: String,
    email: String,
}

impl Default for MinVersions {
    fn default() -> Self {
        Self {
            android: "0.0.0".to_owned(),
            ios: "0.0.0".to_owned(),
        }
    }
}

impl Default for RingSettings {
    fn default() -> Self {
        Self { seconds: 45 }
    }
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self {
            engine: "none".to_owned(),
        }
    }
}

impl AppConfig {
    fn parse(text: &[u8]) -> anyhow::Result<Self> {
        ensure!(
            text.len() <= FILE_BYTES_MAX,
            "the file has more than {FILE_BYTES_MAX} bytes"
        );
        let file: Value = serde_json::from_slice(text)?;
        let config = Self::deserialize(&file)?;
        config.validate()?;
        // A misspelled field would otherwise have no effect, and nobody would notice. The answer has all fields.
        if let Some(name) = find_unknown_field(&file, &serde_json::to_value(&config)?) {
            bail!("{name} is no field");
        }
        Ok(config)
    }

    fn validate(&self) -> anyhow::Result<()> {
        for version in [&self.min_versions.android, &self.min_versions.ios] {
            ensure!(
                is_version(version),
                "min_versions: {version} is no version such as 1.20.3"
            );
        }
        ensure!(
            (5..=120).contains(&self.ring.seconds),
            "ring.seconds must be 5 to 120"
        );
        ensure!(
            self.features.len() <= FEATURES_MAX,
            "at most {FEATURES_MAX} features"
        );
        Ok(())
    }
}

/// Finds a field of the file that the configuration does not have.
fn find_unknown_field<'a>(file: &'a Value, config: &Value) -> Option<&'a str> {
    let mut fields = file.as_object()?.iter();
    fields.find_map(|(name, value)| match config.get(name) {
        Some(known) => find_unknown_field(value, known),
        None => Some(name.as_str()),
    })
}

/// Returns whether a text has three numbers separated by dots.
fn is_version(text: &str) -> bool {
    let numbers: Vec<&str> = text.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

/// The answer to a request for the configuration, and its tag.
#[derive(Clone, Debug)]
pub struct RenderedAppConfig {
    /// The JSON text.
    pub body: Bytes,
    /// A weak tag, because the answer may be compressed on its way.
    pub etag: HeaderValue,
}

impl RenderedAppConfig {
    fn new(config: &AppConfig) -> anyhow::Result<Self> {
        let body = serde_json::to_vec(config)?;
        let digest: [u8; 32] = Sha256::digest(&body).into();
        let (hash, _) = digest.split_first_chunk::<16>().expect("32 bytes");
        let etag = format!("W/\"{:032x}\"", u128::from_be_bytes(*hash));
        Ok(Self {
            body: body.into(),
            etag: etag.parse()?,
        })
    }
}

/// The current configuration of apps; cheap to clone.
#[derive(Clone)]
pub struct AppConfigFile {
    path: Option<String>,
    current: Arc<RwLock<RenderedAppConfig>>,
}

impl AppConfigFile {
    /// Reads the file for the first time; without one, the defaults are answered.
    pub fn open(path: Option<String>) -> anyhow::Result<Self> {
        let config = match &path {
            Some(path) => {
                let text = std::fs::read(path);
                let parsed = text
                    .map_err(Into::into)
                    .and_then(|text| AppConfig::parse(&text));
                parsed.with_context(|| format!("app_config_file: {path}"))?
            }
            None => AppConfig::default(),
        };
        Ok(Self {
            path,
            current: Arc::new(RwLock::new(RenderedAppConfig::new(&config)?)),
        })
    }

    /// Returns the last valid configuration.
    pub fn current(&self) -> RenderedAppConfig {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts to read the file again and again, if there is one.
    pub fn start_reloads(&self, lifecycle: &ProcessLifecycle) {
        let Some(path) = self.path.clone() else {
            return;
        };
        let work = PeriodicWork {
            name: "gateway.app_config".into(),
            interval: RELOAD_EVERY,
            retry_after: RELOAD_EVERY,
            deadline: RELOAD_TIMEOUT,
            first_turn: FirstTurnStart::AfterInterval,
        };
        let file = self.clone();
        periodic::start(lifecycle, work, move || file.clone().reload(path.clone()));
    }

    async fn reload(self, path: String) -> anyhow::Result<NextTurnStart> {
        let text = tokio::fs::read(&path).await;
        let text = text.with_context(|| format!("failed to read {path}"))?;
        let config = AppConfig::parse(&text);
        let config =
            config.with_context(|| format!("{path} is invalid; the last valid one stays"))?;
        let rendered = RenderedAppConfig::new(&config)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.etag != rendered.etag {
            tracing::info!(path, "the configuration of apps has changed");
            *current = rendered;
        }
        Ok(NextTurnStart::AfterInterval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_defaults_and_unknown_ones_are_refused() {
        let config = AppConfig::parse(br#"{"maintenance": {"active": true}}"#).expect("valid");
        assert!(config.maintenance.active);
        assert_eq!(config.ring, RingSettings::default());
        AppConfig::parse(br#"{"features": {"gifts": true}}"#).expect("any feature");
        for wrong in [
            r#"{"maintenace": {"active": true}}"#,
            r#"{"min_versions": {"ios": "1.2"}}"#,
            r#"{"min_versions": {"android": "1.2.x"}}"#,
            r#"{"ring": {"seconds": 0}}"#,
            r#"{"legal": {"terms": "1"}}"#,
            r#"{"support": {"grievance_officer": {"name": "Asha"}}}"#,
            "",
        ] {
            assert!(AppConfig::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        AppConfig::default().validate().expect("valid");
    }

    #[test]
    fn the_tag_depends_on_the_content() {
        let tag = |text: &str| {
            let config = AppConfig::parse(text.as_bytes()).expect("valid");
            RenderedAppConfig::new(&config).expect("rendered").etag
        };
        let written_out = r#"{"ring": {"seconds": 45}, "maintenance": {"active": false}}"#;
        assert_eq!(tag("{}"), tag(written_out));
        assert_ne!(tag("{}"), tag(r#"{"ring": {"seconds": 30}}"#));
    }
}
