//! Requests to the saga and their outcomes.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::idempotency;
use talktime_proto::events::v1::CallPeer;

use crate::domain::billing::count_affordable_minutes;
use crate::domain::call::{Call, CallMedia, CallStatus, CallType};
use crate::domain::ending::CallEndReason;
use crate::domain::ending::RingOutcomeReason;

/// Route to which the idempotency key of a start belongs.
pub const START_ROUTE: &str = "POST /calls/start";

/// Expected duration of a call in minutes if the caller gave no estimate.
const WAIT_MINUTES_DEFAULT: i32 = 10;

/// A request to start a call.
#[derive(Clone, Debug)]
pub struct CallStartRequest {
    pub caller_id: i64,
    pub listener_id: i64,
    pub call_type: CallType,
    /// Duration that the caller intends, in minutes.
    pub estimated_minutes: Option<i32>,
    /// Whether the listener's devices ring, so that the call begins when the listener accepts it.
    pub ring: bool,
    /// The carrier of the call; without one the platform chooses.
    pub media: Option<CallMedia>,
    pub idempotency: Option<idempotency::KeyedRequest>,
}

impl CallStartRequest {
    /// The request that began the ring of a call.
    pub(crate) fn of_ring(call: &Call) -> Self {
        Self {
            caller_id: call.user_id,
            listener_id: call.listener_id,
            call_type: call.call_type,
            estimated_minutes: call.estimated_minutes,
            ring: true,
            media: Some(call.media),
            idempotency: None,
        }
    }
}

/// The outcome of a start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StartedCall {
    pub call_id: i64,
    /// Minutes that the coins of the caller pay for, including the first.
    pub minutes_affordable: i64,
    /// Price of the estimated minutes in coins, or of one minute without an estimate.
    pub estimated_cost_coins: i64,
    /// Coins of the call so far.
    pub remaining_coins: i64,
    /// Time at which the ring ends by itself; `None` for a call that began at once. Answers that were kept
    /// before calls could ring lack it, and the next one.
    #[serde(default)]
    pub ring_expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub media: CallMedia,
}

impl StartedCall {
    /// The answer about a live call, whose first minute is paid.
    pub(crate) fn new(call: &Call, start: &CallStartRequest, remaining_coins: i64) -> Self {
        let unpaid = Self::unpaid(call, start, remaining_coins);
        Self {
            minutes_affordable: 1 + unpaid.minutes_affordable,
            ring_expires_at: None,
            ..unpaid
        }
    }

    /// The answer about a call that rings, of which nothing is paid.
    pub(crate) fn unpaid(call: &Call, start: &CallStartRequest, remaining_coins: i64) -> Self {
        let estimated_minutes = i64::from(start.estimated_minutes.unwrap_or(1));
        Self {
            call_id: call.call_id,
            minutes_affordable: count_affordable_minutes(remaining_coins, call.coins_per_minute),
            estimated_cost_coins: estimated_minutes * call.coins_per_minute,
            remaining_coins,
            ring_expires_at: call.ring_expires_at,
            media: call.media,
        }
    }

    /// Expected duration in minutes, as others see it. It follows the estimate of the caller and not their
    /// balance, which is private, but it never exceeds what they can pay.
    pub(crate) fn wait_minutes(&self, start: &CallStartRequest) -> i32 {
        let affordable = i32::try_from(self.minutes_affordable).unwrap_or(i32::MAX);
        start
            .estimated_minutes
            .unwrap_or(WAIT_MINUTES_DEFAULT)
            .min(affordable)
    }
}

/// Route to which the idempotency key of an end belongs.
pub const END_ROUTE: &str = "POST /calls/end";
/// Route to which the idempotency key of an emergency end belongs.
pub const EMERGENCY_END_ROUTE: &str = "POST /calls/emergency-end";

/// A request of a user to end a call.
#[derive(Clone, Debug)]
pub struct HangUpRequest {
    pub call_id: i64,
    pub user_id: i64,
    /// Whether the user may end calls of others.
    pub as_admin: bool,
    /// Status of the ended call.
    pub status: CallStatus,
    /// Time since the user's first request, if the call could not be ended then.
    pub waited: TimeDelta,
    /// Why it ends, unless an admin ends the call of others.
    pub reason: CallEndReason,
    pub idempotency: Option<idempotency::KeyedRequest>,
}

/// A request of the listener to accept a ringing call.
#[derive(Clone, Debug)]
pub struct AcceptRingRequest {
    pub call_id: i64,
    pub user_id: i64,
    /// Session of the device.
    pub session_id: String,
}

/// The outcome of an accept: the call is live, or connecting.
#[derive(Clone, Debug)]
pub struct AcceptedCall {
    pub call: Call,
    /// The caller as profile described them; `None` if it did not answer, or if the call was accepted before.
    pub caller: Option<CallPeer>,
}

impl From<Call> for AcceptedCall {
    fn from(call: Call) -> Self {
        Self { call, caller: None }
    }
}

/// A request of the listener to decline a ringing call.
#[derive(Clone, Copy, Debug)]
pub struct DeclineRingRequest {
    pub call_id: i64,
    pub user_id: i64,
    /// `declined`, `busy` or `later`.
    pub reason: RingOutcomeReason,
}

/// The outcome of ending a call: the call is settled, or was a ring that cost nothing.
#[derive(Clone, Debug)]
pub struct EndedCall {
    pub call: Call,
    /// Coins of the caller after the settlement; only for the caller and admins.
    pub remaining_coins: Option<i64>,
}

/// Route to which the idempotency key of a billing request belongs.
pub const BILL_ROUTE: &str = "POST /calls/bill-minute";

/// A request of a client to bill the due minutes of a call now.
#[derive(Clone, Debug)]
pub struct MinuteBillingRequest {
    pub call_id: i64,
    pub user_id: i64,
    pub idempotency: Option<idempotency::KeyedRequest>,
}

/// The outcome of a billing request.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct MinuteBillingOutcome {
    /// Coins charged by this request; zero if nothing was due.
    pub coins_deducted: i64,
    /// Coins of the caller; only for the caller, and only if the wallet answers.
    pub remaining_coins: Option<i64>,
    /// Coins of the call so far.
    pub total_coins_spent: i64,
    /// Minutes of the call billed so far.
    pub minutes_billed: i32,
}
