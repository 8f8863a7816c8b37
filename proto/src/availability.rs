//! Whether somebody can be called now, by each message that contains their status.

use crate::{events, presence, profile};

/// Implements the rule for messages that have the three fields which decide it.
macro_rules! availability {
    ($($message:ty),+) => {$(
        impl $message {
            /// Whether the user takes calls while they are online and free. A message of an older
            /// replica lacks the field, and its user takes calls.
            pub fn takes_calls(&self) -> bool {
                self.accepting_calls.unwrap_or(true)
            }

            /// Whether the user is online, not busy and takes calls.
            pub fn is_available(&self) -> bool {
                self.is_online && !self.is_busy && self.takes_calls()
            }
        }
    )+};
}

availability!(
    events::v1::StatusChanged,
    presence::v1::Status,
    profile::v1::Favorite,
    profile::v1::Listener
);
