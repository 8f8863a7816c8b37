//! The relay beside the agent.

use secrecy::SecretString;

use super::config::RelayConfig;
use super::turn_console::TurnConsole;

/// The relay beside this agent, as its parts need it.
#[derive(Debug)]
pub(super) struct RelayAccess {
    pub(super) relay: RelayConfig,
    pub(super) console_password: SecretString,
}

impl RelayAccess {
    /// Takes the console that is kept open, or opens one. The caller keeps it only after a complete answer: the rest
    /// of an incomplete one would be taken for the next answer.
    pub(super) async fn open_console(
        &self,
        kept: &mut Option<TurnConsole>,
    ) -> anyhow::Result<TurnConsole> {
        match kept.take() {
            Some(console) => Ok(console),
            None => TurnConsole::connect(&self.relay.console, &self.console_password).await,
        }
    }
}
