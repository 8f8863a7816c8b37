//! The stream and the subjects of events: one JetStream stream, and one subject for each type of event.

use super::v1::event::Kind;

/// The one stream that carries every event.
pub const STREAM_NAME: &str = "EVENTS";

/// The subjects that the stream captures. Live broadcasts that nobody needs later use others.
pub const STREAM_SUBJECTS: &str = "events.>";

/// Core NATS, outside the stream: `SignsOfLife`, the statuses of users who show one.
pub const LIVE_PRESENCE_SUBJECT: &str = "live.presence";

/// The subjects of all events.
pub const EVENT_SUBJECTS: [&str; 35] = [
    "events.auth.logged_in",
    "events.auth.logged_out",
    "events.auth.tokens_revoked",
    "events.profile.user_registered",
    "events.profile.user_updated",
    "events.profile.user_deleted",
    "events.profile.favorite_added",
    "events.profile.favorite_removed",
    "events.profile.user_blocked",
    "events.profile.user_unblocked",
    "events.profile.role_changed",
    "events.presence.status_changed",
    "events.wallet.coins_added",
    "events.wallet.charged",
    "events.wallet.earned",
    "events.wallet.low_balance",
    "events.wallet.withdrawal_updated",
    "events.wallet.payment_reversed",
    "events.calls.call_started",
    "events.calls.minute_billed",
    "events.calls.call_ended",
    "events.calls.call_hung_up",
    "events.calls.call_ringing",
    "events.calls.call_reached",
    "events.calls.call_accepted",
    "events.calls.call_unanswered",
    "events.calls.calls_paused",
    "events.calls.call_low_balance",
    "events.calls.call_rated",
    "events.verification.submitted",
    "events.verification.reviewed",
    "events.verification.revoked",
    "events.verification.photo_reviewed",
    "events.verification.photo_deleted",
    "events.verification.data_export_ready",
];

/// Returns the subject of an event: `events.<context>.<name>`.
pub fn subject(kind: &Kind) -> &'static str {
    match kind {
        Kind::LoggedIn(_) => "events.auth.logged_in",
        Kind::LoggedOut(_) => "events.auth.logged_out",
        Kind::TokensRevoked(_) => "events.auth.tokens_revoked",
        Kind::UserRegistered(_) => "events.profile.user_registered",
        Kind::UserUpdated(_) => "events.profile.user_updated",
        Kind::UserDeleted(_) => "events.profile.user_deleted",
        Kind::FavoriteAdded(_) => "events.profile.favorite_added",
        Kind::FavoriteRemoved(_) => "events.profile.favorite_removed",
        Kind::UserBlocked(_) => "events.profile.user_blocked",
        Kind::UserUnblocked(_) => "events.profile.user_unblocked",
        Kind::RoleChanged(_) => "events.profile.role_changed",
        Kind::StatusChanged(_) => "events.presence.status_changed",
        Kind::CoinsAdded(_) => "events.wallet.coins_added",
        Kind::Charged(_) => "events.wallet.charged",
        Kind::Earned(_) => "events.wallet.earned",
        Kind::LowBalance(_) => "events.wallet.low_balance",
        Kind::WithdrawalUpdated(_) => "events.wallet.withdrawal_updated",
        Kind::PaymentReversed(_) => "events.wallet.payment_reversed",
        Kind::CallStarted(_) => "events.calls.call_started",
        Kind::MinuteBilled(_) => "events.calls.minute_billed",
        Kind::CallEnded(_) => "events.calls.call_ended",
        Kind::CallHungUp(_) => "events.calls.call_hung_up",
        Kind::CallRinging(_) => "events.calls.call_ringing",
        Kind::CallReached(_) => "events.calls.call_reached",
        Kind::CallAccepted(_) => "events.calls.call_accepted",
        Kind::CallUnanswered(_) => "events.calls.call_unanswered",
        Kind::CallsPaused(_) => "events.calls.calls_paused",
        Kind::CallLowBalance(_) => "events.calls.call_low_balance",
        Kind::CallRated(_) => "events.calls.call_rated",
        Kind::VerificationSubmitted(_) => "events.verification.submitted",
        Kind::VerificationReviewed(_) => "events.verification.reviewed",
        Kind::VerificationRevoked(_) => "events.verification.revoked",
        Kind::PhotoReviewed(_) => "events.verification.photo_reviewed",
        Kind::PhotoDeleted(_) => "events.verification.photo_deleted",
        Kind::DataExportReady(_) => "events.verification.data_export_ready",
    }
}
