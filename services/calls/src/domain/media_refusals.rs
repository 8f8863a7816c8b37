//! Refusals about calls that the platform carries, with their kinds, codes and texts.

use talktime_kit::ErrorKind;

use super::CallError;

impl CallError {
    pub(super) fn media_parts(&self) -> (ErrorKind, &'static str, &'static str) {
        match self {
            Self::MediaNotAvailable => (
                ErrorKind::InvalidArgument,
                "media_not_available",
                "The platform carries no media: use media own.",
            ),
            Self::MediaNeedsRing => (
                ErrorKind::InvalidArgument,
                "media_needs_ring",
                "The platform carries only calls that ring: use ring, or media own.",
            ),
            Self::MediaNotPlatform => (
                ErrorKind::Conflict,
                "media_not_platform",
                "The apps carry this call themselves.",
            ),
            Self::SeatTaken => (
                ErrorKind::Conflict,
                "seat_taken",
                "You are in this call on another device: use take_over.",
            ),
            Self::StaleEpoch => (
                ErrorKind::Conflict,
                "stale_epoch",
                "This seat was taken anew or given up: join again.",
            ),
            Self::InvalidMediaReport => (
                ErrorKind::InvalidArgument,
                "invalid_media_report",
                "The counts of a report must not be below zero.",
            ),
            Self::NoRelay => (
                ErrorKind::Unavailable,
                "no_relay",
                "No relay is available. Please try again in a moment.",
            ),
            _ => (
                ErrorKind::Conflict,
                "not_in_call",
                "The call is not accepted yet, or over.",
            ),
        }
    }
}
