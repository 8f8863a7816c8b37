//! Every decision about a ring, as a function of its row. Both the service and its simulation execute these
//! decisions.
//!
//! `read_at` of the row is the time of the database, which all replicas share.

use chrono::{DateTime, Utc};

use super::CallError;
use super::call::{Call, CallPhase};
use super::ending::{EndingParty, RingOutcome, RingOutcomeReason};
use super::limits::SagaTimeLimits;

/// The way in which a ring ends without a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingEnding {
    pub outcome: RingOutcome,
    pub reason: RingOutcomeReason,
    pub ended_by: EndingParty,
}

impl RingEnding {
    fn new(outcome: RingOutcome, reason: RingOutcomeReason, ended_by: EndingParty) -> Self {
        Self {
            outcome,
            reason,
            ended_by,
        }
    }

    /// The ending of a call that was accepted, but did not begin.
    pub fn failed(reason: RingOutcomeReason) -> Self {
        Self::new(RingOutcome::Failed, reason, EndingParty::Server)
    }
}

/// Cause for which a ring, or an accepted call that is not live yet, ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RingEndCause {
    /// The listener declines for one of `declined`, `busy` and `later`.
    Declined(RingOutcomeReason),
    /// A user hangs up: the caller, the listener, or an admin.
    HungUp { user_id: i64 },
    /// The time of the ring is over.
    Expired,
    /// The caller has shown no sign of life for too long.
    CallerGone,
    /// One of the two has blocked the other.
    Blocked { by: EndingParty },
    /// The listener has lost their role.
    ListenerSuspended,
}

/// Resolves how a ring ends for this cause; `None` if it goes on.
pub fn resolve_ring_end(
    call: &Call,
    cause: RingEndCause,
    limits: &SagaTimeLimits,
) -> Option<RingEnding> {
    let party = |user_id| call.party_of(user_id).unwrap_or(EndingParty::Admin);
    let cancelled = |reason, by| Some(RingEnding::new(RingOutcome::Cancelled, reason, by));
    let rejected = |reason| {
        let by = EndingParty::Listener;
        Some(RingEnding::new(RingOutcome::Rejected, reason, by))
    };
    match cause {
        RingEndCause::Declined(reason) => rejected(reason),
        RingEndCause::HungUp { user_id } => match party(user_id) {
            EndingParty::Listener => rejected(RingOutcomeReason::Declined),
            EndingParty::Caller => cancelled(RingOutcomeReason::HungUp, EndingParty::Caller),
            by => cancelled(RingOutcomeReason::Admin, by),
        },
        RingEndCause::Expired => find_due_ending(call, limits),
        RingEndCause::CallerGone => cancelled(RingOutcomeReason::CallerGone, EndingParty::Server),
        RingEndCause::Blocked { by } => cancelled(RingOutcomeReason::Blocked, by),
        RingEndCause::ListenerSuspended => {
            cancelled(RingOutcomeReason::Suspended, EndingParty::Admin)
        }
    }
}

/// Returns the ending of a ring whose time is over: nobody has answered, or no device has rung.
pub fn find_due_ending(call: &Call, limits: &SagaTimeLimits) -> Option<RingEnding> {
    let by = EndingParty::Server;
    if is_expired(call) {
        let (outcome, reason) = match call.reached_at {
            Some(_) => (RingOutcome::Missed, RingOutcomeReason::NoAnswer),
            None => (RingOutcome::Unreachable, RingOutcomeReason::NotReached),
        };
        return Some(RingEnding::new(outcome, reason, by));
    }
    let is_unreached = call.reached_at.is_none() && call.created_at + limits.reach <= call.read_at;
    is_unreached
        .then(|| RingEnding::new(RingOutcome::Unreachable, RingOutcomeReason::NotReached, by))
}

fn is_expired(call: &Call) -> bool {
    call.ring_expires_at
        .is_some_and(|expires_at| expires_at <= call.read_at)
}

/// Whether the platform's media has not connected both parties of an accepted call in time.
pub fn is_connect_due(call: &Call, limits: &SagaTimeLimits) -> bool {
    call.accepted_at
        .is_some_and(|accepted_at| accepted_at + limits.connect <= call.read_at)
}

/// Returns the ending of an accepted call that the sweeper finds before it is live.
pub fn abandoned_ending(call: &Call) -> RingEnding {
    RingEnding::failed(match call.phase {
        CallPhase::Connecting => RingOutcomeReason::NoMedia,
        _ => RingOutcomeReason::Server,
    })
}

/// Returns the ending of an accepted call whose start failed with this error.
pub fn ending_after_error(error: &CallError) -> RingEnding {
    RingEnding::failed(match error {
        CallError::InsufficientCoins { .. } => RingOutcomeReason::InsufficientCoins,
        CallError::Other(error) if error.is_outcome_unknown() => RingOutcomeReason::WalletAway,
        _ => RingOutcomeReason::Server,
    })
}

/// Returns the call if the user is its listener.
///
/// # Errors
///
/// [`CallError::NoSuchCall`], [`CallError::NotTheListener`].
pub fn require_listener(call: Option<Call>, user_id: i64) -> Result<Call, CallError> {
    let call = call.ok_or(CallError::NoSuchCall)?;
    if call.listener_id == user_id {
        Ok(call)
    } else {
        Err(CallError::NotTheListener)
    }
}

/// Whether the caller has shown no sign of life for so long that nobody would answer an accepted call. Presence
/// that does not answer, or knows of no sign, counts as a fresh one.
pub fn is_caller_gone(
    call: &Call,
    last_sign: Option<DateTime<Utc>>,
    limits: &SagaTimeLimits,
) -> bool {
    last_sign.is_some_and(|sign| sign + limits.caller_silence_max < call.read_at)
}

/// Decision about a request to accept a call.
#[derive(Debug)]
pub enum AcceptRingDecision {
    /// The call is accepted now.
    Accept,
    /// The same session has accepted it before.
    Repeat,
    Refuse(CallError),
}

/// Decides whether a session of the listener accepts the call.
pub fn evaluate_accept(call: &Call, session_id: &str) -> AcceptRingDecision {
    match call.phase {
        CallPhase::Ringing if is_expired(call) => AcceptRingDecision::Refuse(CallError::RingOver {
            outcome: Some(RingOutcome::Missed),
            status: None,
        }),
        CallPhase::Ringing => AcceptRingDecision::Accept,
        CallPhase::Reserving | CallPhase::Connecting | CallPhase::Active if call.is_ring() => {
            if call.accepted_session.as_deref() == Some(session_id) {
                AcceptRingDecision::Repeat
            } else {
                AcceptRingDecision::Refuse(CallError::AcceptedElsewhere)
            }
        }
        _ => AcceptRingDecision::Refuse(ring_over(call)),
    }
}

/// The refusal of a request that came after the end of the ring.
pub fn ring_over(call: &Call) -> CallError {
    CallError::RingOver {
        outcome: call.outcome,
        status: call.outcome.is_none().then_some(call.status),
    }
}
