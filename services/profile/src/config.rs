//! Profile's own settings.

use serde::Deserialize;

/// Profile's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Whom profile asks.
    pub peers: PeersConfig,
    /// Whether only verified listeners are shown in the feed and may be called.
    #[serde(default)]
    pub require_verified_listeners: bool,
    /// How the feed's read model is kept true.
    #[serde(default)]
    pub feed: FeedConfig,
}

/// Whom profile asks.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// `http://host:port` of auth: it ends the account of a user who is deleted.
    pub auth: String,
    /// `http://host:port` of calls: nobody is deleted during a call, and the feed counts them.
    pub calls: String,
    /// `http://host:port` of presence: statuses in the feed.
    pub presence: String,
    /// `http://host:port` of verification: who is verified in the feed.
    pub verification: String,
}

/// How the feed's read model is kept true.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct FeedConfig {
    /// Seconds between two comparisons with the owners.
    pub check_every_secs: u32,
    /// A difference that is gone by then was an event under way, in milliseconds.
    pub check_grace_ms: u64,
    /// Counts in answers may be so old, in milliseconds.
    pub counts_last_ms: u64,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            check_every_secs: 900,
            check_grace_ms: 5_000,
            counts_last_ms: 1_000,
        }
    }
}
