//! Events of a ring for the outbox. Each event carries its own version of the call.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    CallAccepted, CallPeer, CallReached, CallRinging, CallUnanswered, CallsPaused,
};
use talktime_proto::timestamp;

use crate::domain::call::Call;
use crate::domain::ending::{EndingParty, RingOutcome, RingOutcomeReason};

/// Id of the call, version of the call, and the event itself, as the outbox accepts it.
pub(crate) type CallEvent = (i64, i64, Kind);

/// The event of a call that begins to ring.
pub(crate) fn call_ringing(call: &Call, caller: CallPeer, listener: CallPeer) -> CallEvent {
    let ringing = Kind::CallRinging(CallRinging {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        media: call.media.name().to_owned(),
        expires_at: call.ring_expires_at.map(timestamp),
        caller: Some(caller),
        listener: Some(listener),
    });
    (call.call_id, call.version, ringing)
}

/// The event of a device of the listener that rings.
pub(crate) fn call_reached(call: &Call) -> CallEvent {
    let reached = Kind::CallReached(CallReached {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
    });
    (call.call_id, call.version, reached)
}

/// The event of an accepted call whose first minute is paid.
pub(crate) fn call_accepted(call: &Call, version: i64) -> CallEvent {
    let accepted = Kind::CallAccepted(CallAccepted {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        media: call.media.name().to_owned(),
        accepted_at: call.accepted_at.map(timestamp),
        accepted_session_id: call.accepted_session.clone().unwrap_or_default(),
        status: call.status.name().to_owned(),
    });
    (call.call_id, version, accepted)
}

/// The event of a ring that has ended without a call.
pub(crate) fn call_unanswered(call: &Call) -> CallEvent {
    let text_or_empty =
        |text_or_empty: Option<&'static str>| text_or_empty.unwrap_or_default().to_owned();
    let unanswered = Kind::CallUnanswered(CallUnanswered {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        outcome: text_or_empty(call.outcome.map(RingOutcome::name)),
        reason: text_or_empty(call.outcome_reason.map(RingOutcomeReason::name)),
        ended_by: text_or_empty(call.ended_by.map(EndingParty::name)),
        rung_seconds: call.rung_seconds(),
    });
    (call.call_id, call.version, unanswered)
}

/// The event of a listener who let `count` rings go by, one after another. It belongs to the listener, and its
/// version is the last of these calls.
pub(crate) fn calls_paused(call: &Call, count: i32) -> CallEvent {
    let paused = Kind::CallsPaused(CallsPaused {
        listener_id: call.listener_id,
        reason: "unanswered".to_owned(),
        count,
    });
    (call.listener_id, call.call_id, paused)
}
