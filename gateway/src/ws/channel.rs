//! The four channels.

/// What a socket is for, by its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channel {
    /// Listeners coming and going.
    Feed,
    /// Everybody's statuses.
    Presence,
    /// One's own calls.
    Calls,
    /// What happens to oneself.
    Notifications,
}

impl Channel {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Feed, Self::Presence, Self::Calls, Self::Notifications];

    /// The last part of the path; a label of metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Presence => "presence",
            Self::Calls => "calls",
            Self::Notifications => "notifications",
        }
    }

    /// Whether it tells of others, so that one may choose of whom.
    pub(super) fn is_public(self) -> bool {
        matches!(self, Self::Feed | Self::Presence)
    }
}
