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
}

/// Whom profile asks.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// `http://host:port` of calls: nobody is deleted during a call.
    pub calls: String,
}
