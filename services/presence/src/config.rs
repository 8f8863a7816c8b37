//! Settings of presence.

use serde::Deserialize;

/// Settings that only presence has.
#[derive(Clone, Debug, Deserialize)]
pub struct PresenceConfig {
    #[serde(default)]
    pub heartbeats: HeartbeatBatchConfig,
    #[serde(default)]
    pub sweep: StatusSweepConfig,
    pub peers: PeerAddressConfig,
}

/// Addresses of the services that presence calls.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// `http://host:port` of auth, which signs the tokens of users and knows who is an admin.
    pub auth: String,
    /// `http://host:port` of the calls service, which knows whether a call is live.
    pub calls: String,
}

/// When the sweep runs, and which statuses it treats as outdated.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct StatusSweepConfig {
    /// Seconds between two sweeps.
    pub every_secs: u32,
    /// Seconds without a heartbeat after which a user is marked offline.
    pub offline_after_secs: u32,
    /// Seconds for which a user's own busy flag holds when they announced no wait.
    pub own_busy_grace_secs: u32,
}

impl Default for StatusSweepConfig {
    fn default() -> Self {
        Self {
            every_secs: 60,
            offline_after_secs: 300,
            own_busy_grace_secs: 60,
        }
    }
}

/// Limits of the batches in which heartbeats are stored.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct HeartbeatBatchConfig {
    /// Number of heartbeats at which a batch is full.
    pub group_max: usize,
    /// Milliseconds for which the first heartbeat of a batch waits for others.
    pub wait_ms: u64,
    /// Requests that may wait for a batch; further ones are refused.
    pub queued_max: usize,
}

impl Default for HeartbeatBatchConfig {
    fn default() -> Self {
        Self {
            group_max: 512,
            wait_ms: 2,
            queued_max: 8_192,
        }
    }
}
