//! Converts between the wire and the domain for calls that ring.

use talktime_proto::calls::call_uuid;
use talktime_proto::calls::v1::{self as wire};
use talktime_proto::timestamp;

use super::convert::{wire_status, wire_type};
use crate::domain::call::{Call, CallMedia, CallPhase, CallStatus};
use crate::domain::ending::RingOutcomeReason;
use crate::ring_states::{RingDirection, UnansweredCall, UnansweredCallPage};
use crate::saga::{
    AcceptRingRequest, AcceptedCall, CallStartRequest, DeclineRingRequest, StartedCall,
};

pub(super) fn start_response(
    start: &CallStartRequest,
    started: &StartedCall,
) -> wire::StartCallResponse {
    let status = if started.ring_expires_at.is_some() {
        wire::CallStatus::Ringing
    } else {
        wire::CallStatus::Ongoing
    };
    wire::StartCallResponse {
        call_id: started.call_id,
        call_duration_minutes: started.minutes_affordable,
        estimated_cost_coins: started.estimated_cost_coins,
        remaining_coins: started.remaining_coins,
        call_type: wire_type(start.call_type).into(),
        listener_id: start.listener_id,
        status: status.into(),
        call_uuid: call_uuid(started.call_id).to_string(),
        ring_expires_at: started.ring_expires_at.map(timestamp),
        media: wire_media(started.media).into(),
    }
}

fn wire_media(media: CallMedia) -> wire::CallMedia {
    match media {
        CallMedia::Own => wire::CallMedia::Own,
        CallMedia::Platform => wire::CallMedia::Platform,
    }
}

pub(super) fn parse_accept_request(request: wire::AcceptCallRequest) -> AcceptRingRequest {
    AcceptRingRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        session_id: request.session_id,
    }
}

pub(super) fn accept_response(accepted: AcceptedCall) -> wire::AcceptCallResponse {
    let AcceptedCall { call, caller } = accepted;
    wire::AcceptCallResponse {
        caller,
        call_id: call.call_id,
        call_uuid: call_uuid(call.call_id).to_string(),
        status: wire_status(call.status).into(),
        accepted_at: call.accepted_at.map(timestamp),
        media: wire_media(call.media).into(),
        call_type: wire_type(call.call_type).into(),
        caller_id: call.user_id,
        caller_username: call.caller_username,
    }
}

pub(super) fn parse_decline_request(request: &wire::DeclineCallRequest) -> DeclineRingRequest {
    DeclineRingRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        reason: match request.reason() {
            wire::DeclineReason::Busy => RingOutcomeReason::Busy,
            wire::DeclineReason::Later => RingOutcomeReason::Later,
            wire::DeclineReason::Declined | wire::DeclineReason::Unspecified => {
                RingOutcomeReason::Declined
            }
        },
    }
}

pub(super) fn decline_response(call: &Call) -> wire::DeclineCallResponse {
    wire::DeclineCallResponse {
        call_id: call.call_id,
        outcome: call.outcome.map_or("", |outcome| outcome.name()).to_owned(),
        reason: call
            .outcome_reason
            .map_or("", |reason| reason.name())
            .to_owned(),
    }
}

pub(super) fn cancel_response(call: &Call) -> wire::CancelCallResponse {
    wire::CancelCallResponse {
        call_id: call.call_id,
        outcome: call.outcome.map_or("", |outcome| outcome.name()).to_owned(),
    }
}

/// Returns the state of a call, as a session of one of its parties sees it.
pub(super) fn call_state(call: &Call, user_id: i64, session_id: &str) -> wire::CallState {
    let is_caller = call.user_id == user_id;
    let (peer_id, peer_username) = if is_caller {
        (call.listener_id, call.listener_username.clone())
    } else {
        (call.user_id, call.caller_username.clone())
    };
    let accepted_session = call.accepted_session.as_deref();
    wire::CallState {
        call_id: call.call_id,
        call_uuid: call_uuid(call.call_id).to_string(),
        status: wire_status(visible_status(call)).into(),
        outcome: call.outcome.map(|outcome| outcome.name().to_owned()),
        reason: call.outcome_reason.map(|reason| reason.name().to_owned()),
        ring_expires_at: call
            .ring_expires_at
            .filter(|_| call.phase == CallPhase::Ringing)
            .map(timestamp),
        call_type: wire_type(call.call_type).into(),
        is_caller,
        peer_id,
        peer_username,
        accepted_by_me: !is_caller && accepted_session == Some(session_id),
        media: wire_media(call.media).into(),
        is_reached: call.reached_at.is_some(),
        accepted_at: call.accepted_at.map(timestamp),
        user_id: call.user_id,
        listener_id: call.listener_id,
    }
}

/// Returns the status that others see: the outcome of a ring is certain before its charge is voided, and the
/// figures of a call that was hung up are not certain before its settlement.
fn visible_status(call: &Call) -> CallStatus {
    match call.phase {
        CallPhase::Undoing => CallStatus::Unanswered,
        CallPhase::Settling if call.figures_follow_settlement => CallStatus::Ongoing,
        _ => call.status,
    }
}

pub(super) fn parse_direction(direction: wire::CallDirection) -> Option<RingDirection> {
    match direction {
        wire::CallDirection::Incoming => Some(RingDirection::Incoming),
        wire::CallDirection::Outgoing => Some(RingDirection::Outgoing),
        wire::CallDirection::Unspecified => None,
    }
}

pub(super) fn unanswered_response(page: UnansweredCallPage) -> wire::ListUnansweredResponse {
    wire::ListUnansweredResponse {
        calls: page.calls.into_iter().map(unanswered_call).collect(),
        total: page.total,
        unseen_count: page.unseen,
    }
}

fn unanswered_call(call: UnansweredCall) -> wire::UnansweredCall {
    let direction = if call.is_incoming {
        wire::CallDirection::Incoming
    } else {
        wire::CallDirection::Outgoing
    };
    wire::UnansweredCall {
        call_id: call.call_id,
        peer_id: call.peer_id,
        peer_username: call.peer_username,
        call_type: wire_type(call.call_type).into(),
        direction: direction.into(),
        outcome: call.outcome.name().to_owned(),
        reason: call.outcome_reason.name().to_owned(),
        rung_at: Some(timestamp(call.rung_at)),
        rung_seconds: call.rung_seconds,
    }
}
