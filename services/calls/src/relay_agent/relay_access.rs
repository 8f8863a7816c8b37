//! The relay beside the agent.

use secrecy::SecretString;

use super::config::RelayConfig;

/// The relay beside this agent, as its parts need it.
#[derive(Debug)]
pub(super) struct RelayAccess {
    pub(super) relay: RelayConfig,
    pub(super) console_password: SecretString,
}
