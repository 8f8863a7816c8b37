//! Refusals of messages about the media of a call.

use talktime_kit::Error;

use super::message::ErrorMessage;

pub(super) const INVALID_SEAT: ErrorMessage<'static> = ErrorMessage {
    code: "INVALID_MESSAGE",
    message: "data names a call, the epoch of a seat, and what the type of the message requires.",
};
pub(super) const NOT_IN_CALL: ErrorMessage<'static> = ErrorMessage {
    code: "NOT_IN_CALL",
    message: "This socket has no seat in the call: the call is over, or the socket has not joined it.",
};
pub(super) const STALE_EPOCH: ErrorMessage<'static> = ErrorMessage {
    code: "STALE_EPOCH",
    message: "The seat was taken anew or given up. Join again.",
};
pub(super) const PEER_AWAY: ErrorMessage<'static> = ErrorMessage {
    code: "PEER_AWAY",
    message: "The other party has no seat on a socket now. Wait for peer_joined.",
};
pub(super) const BAD_SIGNAL: ErrorMessage<'static> = ErrorMessage {
    code: "BAD_SIGNAL",
    message: "A signal has a description of at most 32 KiB, or at most 20 candidates.",
};
pub(super) const SIGNAL_LIMIT: ErrorMessage<'static> = ErrorMessage {
    code: "SIGNAL_LIMIT",
    message: "A seat sends at most 60 signals a minute.",
};
const SEAT_TAKEN: ErrorMessage<'static> = ErrorMessage {
    code: "SEAT_TAKEN",
    message: "The user is in this call on another device. Join with take_over.",
};
const MEDIA_NOT_PLATFORM: ErrorMessage<'static> = ErrorMessage {
    code: "MEDIA_NOT_PLATFORM",
    message: "The apps carry this call themselves.",
};
const NOT_DONE: ErrorMessage<'static> = ErrorMessage {
    code: "TRY_AGAIN",
    message: "It could not be done now. Send the message again.",
};

/// Returns the refusal of calls for the client.
pub(super) fn media_failure(error: &Error) -> ErrorMessage<'static> {
    match error.code() {
        "not_in_call" | "not_a_party" | "call_not_found" => NOT_IN_CALL,
        "seat_taken" => SEAT_TAKEN,
        "stale_epoch" => STALE_EPOCH,
        "media_not_platform" => MEDIA_NOT_PLATFORM,
        "invalid_media_report" => INVALID_SEAT,
        _ => NOT_DONE,
    }
}
