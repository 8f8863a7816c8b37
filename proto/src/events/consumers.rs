//! The durable consumers of the stream. Their names and filters are part of what NATS permits a process
//! (`access::BUS_ACCESS`), so no other process can take their events or acknowledge them.

/// A durable consumer of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DurableConsumer {
    /// Durable name, `<service>-<what it consumes>`.
    pub name: &'static str,
    /// The one subject filter, such as `events.calls.>`.
    pub filter: &'static str,
}

/// Auth: deleted users, and changes of roles.
pub const AUTH_PROFILE: DurableConsumer = DurableConsumer {
    name: "auth-profile",
    filter: "events.profile.>",
};

/// Profile: statuses in the feed.
pub const PROFILE_PRESENCE: DurableConsumer = DurableConsumer {
    name: "profile-presence",
    filter: "events.presence.>",
};

/// Profile: calls of listeners in the feed.
pub const PROFILE_CALLS: DurableConsumer = DurableConsumer {
    name: "profile-calls",
    filter: "events.calls.>",
};

/// Profile: verified listeners in the feed.
pub const PROFILE_VERIFICATION: DurableConsumer = DurableConsumer {
    name: "profile-verification",
    filter: "events.verification.>",
};

/// Profile: ratings of listeners.
pub const PROFILE_RATINGS: DurableConsumer = DurableConsumer {
    name: "profile-ratings",
    filter: "events.calls.call_rated",
};

/// Profile: photos of users.
pub const PROFILE_PHOTOS: DurableConsumer = DurableConsumer {
    name: "profile-photos",
    filter: "events.verification.>",
};

/// Presence: names and roles.
pub const PRESENCE_PROFILE: DurableConsumer = DurableConsumer {
    name: "presence-profile",
    filter: "events.profile.>",
};

/// Presence: logins and logouts.
pub const PRESENCE_AUTH: DurableConsumer = DurableConsumer {
    name: "presence-auth",
    filter: "events.auth.>",
};

/// Presence: calls.
pub const PRESENCE_CALLS: DurableConsumer = DurableConsumer {
    name: "presence-calls",
    filter: "events.calls.>",
};

/// The wallet: registrations and deletions.
pub const WALLET_PROFILE: DurableConsumer = DurableConsumer {
    name: "wallet-profile",
    filter: "events.profile.>",
};

/// Calls: listeners, deleted users, and blocks.
pub const CALLS_PROFILE: DurableConsumer = DurableConsumer {
    name: "calls-profile",
    filter: "events.profile.>",
};

/// Verification: deleted users.
pub const VERIFICATION_PROFILE: DurableConsumer = DurableConsumer {
    name: "verification-profile",
    filter: "events.profile.>",
};
