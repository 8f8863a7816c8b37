//! Why calls end, and who ends them.

use talktime_kit::text_enum;

use super::decode::decode_text;

/// Why a call that was live ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndReason {
    HungUp,
    /// The coins of the caller did not suffice for the next minute.
    CoinsEmpty,
    /// The app of a party reports that sound or picture were lost.
    MediaLost,
    /// Neither party showed a sign of life.
    Silence,
    Admin,
    /// One party blocked the other.
    Blocked,
    /// The platform could not bill the next minute in time.
    Server,
}

text_enum!(EndReason {
    HungUp => "hung_up",
    CoinsEmpty => "coins_empty",
    MediaLost => "media_lost",
    Silence => "silence",
    Admin => "admin",
    Blocked => "blocked",
    Server => "server",
});
decode_text!(EndReason);

/// Who ends a call or a ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndedBy {
    Caller,
    Listener,
    Server,
    Admin,
}

text_enum!(EndedBy {
    Caller => "caller",
    Listener => "listener",
    Server => "server",
    Admin => "admin",
});
decode_text!(EndedBy);
