//! Profile's own settings.

use serde::Deserialize;

/// Profile's own settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Whom profile asks.
    pub peers: PeersConfig,
}

/// Whom profile asks.
#[derive(Clone, Debug, Deserialize)]
pub struct PeersConfig {
    /// `http://host:port` of calls: nobody is deleted during a call.
    pub calls: String,
}
