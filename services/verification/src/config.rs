//! Verification's own settings.

use secrecy::SecretString;
use serde::Deserialize;

/// Verification's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where audio samples are kept.
    pub s3: S3Config,
    /// Whom verification asks.
    pub peers: PeersConfig,
}

/// A private bucket of an S3 API.
#[derive(Clone, Debug, Deserialize)]
pub struct S3Config {
    /// `http://host:port` of the API; the bucket's name goes into the path.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: SecretString,
    /// How long an address that is handed out works, in seconds.
    #[serde(default = "default_presigned_secs")]
    pub presigned_secs: u32,
}

const fn default_presigned_secs() -> u32 {
    15 * 60
}

/// Whom verification asks.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// `http://host:port` of profile: who is a listener.
    pub profile: String,
}
