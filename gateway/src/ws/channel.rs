//! The four channels of sockets.

/// The subject of a socket, by its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SocketChannel {
    /// Listeners who come online, go offline, and become busy or available.
    Feed,
    /// The statuses of all users.
    Presence,
    /// The calls of the user who opened the socket.
    Calls,
    /// Changes that concern only the user who opened the socket.
    Notifications,
}

impl SocketChannel {
    pub(super) const ALL: [Self; 4] =
        [Self::Feed, Self::Presence, Self::Calls, Self::Notifications];

    /// Returns the last part of the path, which is also a label of metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Presence => "presence",
            Self::Calls => "calls",
            Self::Notifications => "notifications",
        }
    }

    /// Returns whether the messages are about other users, so that a client may subscribe to some of them.
    pub(super) fn is_public(self) -> bool {
        matches!(self, Self::Feed | Self::Presence)
    }
}
