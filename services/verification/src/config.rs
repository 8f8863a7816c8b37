//! Verification's own settings.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// Verification's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where audio samples are kept.
    pub s3: S3Config,
    /// Whom verification asks.
    pub peers: PeersConfig,
    /// How samples come in.
    #[serde(default)]
    pub uploads: UploadsConfig,
    /// How what nobody refers to goes away.
    #[serde(default)]
    pub reconciler: ReconcilerConfig,
}

/// How samples come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct UploadsConfig {
    /// Hosts on which samples may lie that are given by address. Exact names; none by default.
    pub allowed_hosts: Vec<String>,
    /// Where a sample lies while it is judged: on a disk, with 10 MB of room for each upload at once.
    /// The files have no names and go with the process.
    pub spool_dir: PathBuf,
    /// Uploads at once; more are told to come again.
    pub at_once: usize,
    /// Files judged at once.
    pub probes_at_once: usize,
    /// How long a ticket is good for, in seconds.
    pub ticket_secs: u32,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            spool_dir: std::env::temp_dir(),
            at_once: 64,
            probes_at_once: 2,
            ticket_secs: 15 * 60,
        }
    }
}

/// How what nobody refers to goes away.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ReconcilerConfig {
    /// Seconds between two looks through the bucket.
    pub every_secs: u32,
    /// Seconds that an object may be without a row: longer than any upload takes, and longer than a
    /// ticket is good for.
    pub grace_secs: u32,
}

impl Default for ReconcilerConfig {
    fn default() -> Self {
        Self {
            every_secs: 10 * 60,
            grace_secs: 60 * 60,
        }
    }
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
