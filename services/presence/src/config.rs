//! Presence's own settings.

use serde::Deserialize;

/// Presence's own settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How signs of life are grouped.
    pub heartbeats: HeartbeatsConfig,
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
