//! Reasons for the end of a call or a ring, and the party that ends it.

use talktime_kit::text_enum;

use super::decode::decode_text;

/// Why a call that was live ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallEndReason {
    HungUp,
    /// The coins of the caller did not suffice for the next minute.
    CoinsEmpty,
    /// The app of a party reports that sound or picture were lost, or the platform's media carried nothing.
    MediaLost,
    /// Neither party showed a sign of life.
    Silence,
    Admin,
    /// One party blocked the other.
    Blocked,
    /// The platform could not bill the next minute in time.
    Server,
}

text_enum!(CallEndReason {
    HungUp => "hung_up",
    CoinsEmpty => "coins_empty",
    MediaLost => "media_lost",
    Silence => "silence",
    Admin => "admin",
    Blocked => "blocked",
    Server => "server",
});
decode_text!(CallEndReason);

/// The party that ends a call or a ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndingParty {
    Caller,
    Listener,
    Server,
    Admin,
}

text_enum!(EndingParty {
    Caller => "caller",
    Listener => "listener",
    Server => "server",
    Admin => "admin",
});
decode_text!(EndingParty);

/// Outcome of a ring that led to no call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RingOutcome {
    /// The listener declined.
    Rejected,
    /// The caller took it back, or it may not go on.
    Cancelled,
    /// The listener did not answer in time.
    Missed,
    /// No device of the listener rang.
    Unreachable,
    /// The listener accepted, but the call did not begin.
    Failed,
}

text_enum!(RingOutcome {
    Rejected => "rejected",
    Cancelled => "cancelled",
    Missed => "missed",
    Unreachable => "unreachable",
    Failed => "failed",
});
decode_text!(RingOutcome);

impl RingOutcome {
    /// Whether the listener let the ring go by.
    pub fn is_no_answer(self) -> bool {
        matches!(self, Self::Missed | Self::Unreachable)
    }
}

/// Reason within a [`RingOutcome`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RingOutcomeReason {
    Declined,
    Busy,
    /// The listener wants to talk at another time.
    Later,
    HungUp,
    Blocked,
    /// The listener may take no calls any more.
    Suspended,
    Admin,
    /// The caller has shown no sign of life for too long.
    CallerGone,
    NoAnswer,
    NotReached,
    InsufficientCoins,
    /// The platform's media did not connect both parties in time.
    NoMedia,
    /// The wallet did not answer.
    WalletAway,
    /// This service did not complete the start in time.
    Server,
}

text_enum!(RingOutcomeReason {
    Declined => "declined",
    Busy => "busy",
    Later => "later",
    HungUp => "hung_up",
    Blocked => "blocked",
    Suspended => "suspended",
    Admin => "admin",
    CallerGone => "caller_gone",
    NoAnswer => "no_answer",
    NotReached => "not_reached",
    InsufficientCoins => "insufficient_coins",
    NoMedia => "no_media",
    WalletAway => "wallet_away",
    Server => "server",
});
decode_text!(RingOutcomeReason);
