//! The identity of a session of coturn.

use crate::domain::relay::RelayUsername;

/// A session of coturn. Session ids are used again after a restart, hence the user name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SessionKey {
    pub(super) allocation: u64,
    pub(super) username: RelayUsername,
}

impl SessionKey {
    /// Returns a key, or nothing if the text is no session id.
    pub(super) fn new(allocation: &str, username: RelayUsername) -> Option<Self> {
        let is_number = allocation.bytes().all(|byte| byte.is_ascii_digit());
        let allocation = allocation.parse().ok().filter(|_| is_number)?;
        Some(Self {
            allocation,
            username,
        })
    }

    /// Returns the session id as coturn prints it.
    pub(super) fn session_id(&self) -> String {
        format!("{:018}", self.allocation)
    }
}
