//! The requests to the saga, and what they are answered.

use serde::{Deserialize, Serialize};
use talktime_kit::idempotency;

use crate::domain::billing::count_affordable_minutes;
use crate::domain::call::{Call, CallStatus, CallType};

/// The route that an Idempotency-Key of a start belongs to.
pub const START_ROUTE: &str = "POST /calls/start";

/// How long others are told to wait when the caller said nothing, in minutes.
const WAIT_MINUTES_DEFAULT: i32 = 10;

/// A wish to call.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// Who calls.
    pub caller_id: i64,
    /// Who is called.
    pub listener_id: i64,
    /// Audio or video.
    pub call_type: CallType,
    /// How long the caller means to talk.
    pub estimated_minutes: Option<i32>,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// A call that has started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StartedCall {
    /// The call.
    pub call_id: i64,
    /// Minutes that the caller's coins pay for, the first included.
    pub minutes_affordable: i64,
    /// Coins for the estimated minutes, or for one.
    pub estimated_cost_coins: i64,
    /// The caller's coins after the first minute.
    pub remaining_coins: i64,
}

impl StartedCall {
    pub(crate) fn new(call: &Call, start: &StartRequest, remaining_coins: i64) -> Self {
        let estimated_minutes = i64::from(start.estimated_minutes.unwrap_or(1));
        Self {
            call_id: call.call_id,
            minutes_affordable: 1 + count_affordable_minutes(
                remaining_coins,
                call.coins_per_minute,
            ),
            estimated_cost_coins: estimated_minutes * call.coins_per_minute,
            remaining_coins,
        }
    }

    /// How long others are told to wait, in minutes: what the caller means to talk, and not what the
    /// caller could pay, which is nobody's business.
    pub(crate) fn wait_minutes(&self, start: &StartRequest) -> i32 {
        let affordable = i32::try_from(self.minutes_affordable).unwrap_or(i32::MAX);
        start
            .estimated_minutes
            .unwrap_or(WAIT_MINUTES_DEFAULT)
            .min(affordable)
    }
}

/// The route that an Idempotency-Key of an end belongs to.
pub const END_ROUTE: &str = "POST /calls/end";
/// The route that an Idempotency-Key of an emergency end belongs to.
pub const EMERGENCY_END_ROUTE: &str = "POST /calls/emergency-end";

/// A request to end a call.
#[derive(Clone, Debug)]
pub struct HangUpRequest {
    /// The call.
    pub call_id: i64,
    /// Who asks.
    pub user_id: i64,
    /// Whether they may end anybody's call.
    pub as_admin: bool,
    /// How the call is to stand.
    pub status: CallStatus,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// A call that has ended and is settled.
#[derive(Clone, Debug)]
pub struct EndedCall {
    /// The call as it stays.
    pub call: Call,
    /// The caller's coins right after it, for the caller.
    pub remaining_coins: Option<i64>,
}

/// The route that an Idempotency-Key of a nudge belongs to.
pub const BILL_ROUTE: &str = "POST /calls/bill-minute";

/// A wish that what is due of a call be billed now.
#[derive(Clone, Debug)]
pub struct BillingRequest {
    /// The call.
    pub call_id: i64,
    /// Who asks.
    pub user_id: i64,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// What a client's nudge came to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct BillingOutcome {
    /// Coins taken by it: none when nothing was due.
    pub coins_deducted: i64,
    /// The caller's coins, for the caller.
    pub remaining_coins: Option<i64>,
    /// Coins of the call so far.
    pub total_coins_spent: i64,
    /// Minutes of the call so far.
    pub minutes_billed: i32,
}
