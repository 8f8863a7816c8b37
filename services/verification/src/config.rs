//! Settings of verification.

use std::path::PathBuf;

use serde::Deserialize;
use talktime_kit::object_store::S3Config;

/// Settings that only verification has.
#[derive(Clone, Debug, Deserialize)]
pub struct VerificationConfig {
    /// The bucket that holds audio samples and photos.
    pub s3: S3Config,
    pub peers: PeerAddressConfig,
    pub photos: PhotosConfig,
    #[serde(default)]
    pub uploads: UploadsConfig,
    #[serde(default)]
    pub reconciler: BucketReconcilerConfig,
}

/// Limits of uploads.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct UploadsConfig {
    /// Hosts of samples that are given by address. Exact names; none by default.
    pub allowed_hosts: Vec<String>,
    /// Directory in which an upload is kept while it is judged: on a disk, with 10 MB of room for each
    /// concurrent upload. The files have no names and disappear with the process.
    pub spool_dir: PathBuf,
    /// Concurrent uploads; further ones are refused.
    pub at_once: usize,
    /// Files judged concurrently.
    pub probes_at_once: usize,
    /// Seconds for which an upload ticket is valid.
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

/// Photos of users.
#[derive(Clone, Debug, Deserialize)]
pub struct PhotosConfig {
    /// Address of the gateway as apps reach it, such as `https://api.example.com`. Addresses of approved photos
    /// begin with it and are stored in profiles, so it must stay reachable when it changes.
    pub public_url: String,
    /// Photos rendered concurrently, each in a process with up to 256 MiB.
    #[serde(default = "default_renders_at_once")]
    pub renders_at_once: usize,
}

const fn default_renders_at_once() -> usize {
    1
}

/// When objects without a row are removed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct BucketReconcilerConfig {
    /// Seconds between two runs.
    pub every_secs: u32,
    /// Seconds for which an object may exist without a row. It must be longer than an upload takes and
    /// longer than a ticket is valid.
    pub grace_secs: u32,
}

impl Default for BucketReconcilerConfig {
    fn default() -> Self {
        Self {
            every_secs: 10 * 60,
            grace_secs: 60 * 60,
        }
    }
}

/// Addresses of the services that verification calls.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// `http://host:port` of profile, which knows the roles and names of users.
    pub profile: String,
    /// Auth signs the tokens of users and knows who is an admin. It and the following services export the data that they
    /// keep about a user.
    pub auth: String,
    pub presence: String,
    pub wallet: String,
    pub calls: String,
}
