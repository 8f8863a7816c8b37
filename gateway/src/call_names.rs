//! The names on the wire of the types, statuses and carriers of calls.

use talktime_kit::Error;
use talktime_proto::calls::v1::{CallMedia, CallStatus, CallType};

/// Parses the type of a call.
pub fn parse_call_type(name: &str) -> Result<CallType, Error> {
    match name {
        "audio" => Ok(CallType::Audio),
        "video" => Ok(CallType::Video),
        _ => Err(Error::invalid(
            "invalid_call_type",
            "call_type must be audio or video.",
        )),
    }
}

/// Returns the name of a call's type.
pub fn call_type_name(call_type: CallType) -> Result<&'static str, Error> {
    match call_type {
        CallType::Audio => Ok("audio"),
        CallType::Video => Ok("video"),
        CallType::Unspecified => Err(Error::internal("a call has no type")),
    }
}

/// Returns the name of a call's status.
pub fn status_name(status: CallStatus) -> Result<&'static str, Error> {
    match status {
        CallStatus::Ongoing => Ok("ongoing"),
        CallStatus::Completed => Ok("completed"),
        CallStatus::Dropped => Ok("dropped"),
        CallStatus::Cancelled => Ok("cancelled"),
        CallStatus::Ringing => Ok("ringing"),
        CallStatus::Connecting => Ok("connecting"),
        CallStatus::Unanswered => Ok("unanswered"),
        CallStatus::Unspecified => Err(Error::internal("a call has no status")),
    }
}

/// Parses the name of the carrier of a call's sound and picture.
pub fn parse_media(name: &str) -> Result<CallMedia, Error> {
    match name {
        "own" => Ok(CallMedia::Own),
        "platform" => Ok(CallMedia::Platform),
        _ => Err(Error::invalid(
            "invalid_media",
            "media must be own or platform.",
        )),
    }
}

/// Returns the name of who carries the sound and picture of a call. Older replicas do not say so; their calls
/// have media of the apps' own.
pub fn media_name(media: CallMedia) -> &'static str {
    match media {
        CallMedia::Platform => "platform",
        CallMedia::Own | CallMedia::Unspecified => "own",
    }
}
