//! Presence's own settings.

use serde::Deserialize;

/// Presence's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// How signs of life are grouped.
    #[serde(default)]
    pub heartbeats: HeartbeatsConfig,
    /// When silence means absence.
    #[serde(default)]
    pub sweep: SweepConfig,
    /// Whom presence asks.
    pub peers: PeersConfig,
}

/// Whom presence asks.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// `http://host:port` of calls: whether a call that makes somebody busy is live.
    pub calls: String,
}

/// When silence means absence, and how often that is looked for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct SweepConfig {
    /// Seconds between two looks.
    pub every_secs: u32,
    /// Seconds without a sign of life after which somebody is offline.
    pub offline_after_secs: u32,
    /// Seconds that a person's own busy flag holds when they name no wait.
    pub own_busy_grace_secs: u32,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            every_secs: 60,
            offline_after_secs: 300,
            own_busy_grace_secs: 60,
        }
    }
}

/// How signs of life are grouped.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct HeartbeatsConfig {
    /// Heartbeats in one statement at most.
    pub group_max: usize,
    /// How long the first of a group waits for others.
    pub wait_ms: u64,
    /// Heartbeats that may wait for their group; more are told to come back.
    pub queued_max: usize,
}

impl Default for HeartbeatsConfig {
    fn default() -> Self {
        Self {
            group_max: 512,
            wait_ms: 2,
            queued_max: 8_192,
        }
    }
}
