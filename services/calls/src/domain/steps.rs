//! Every decision of the saga, as a function of the row and of the answers of the wallet. Both the service
//! and its simulation execute these decisions.
//!
//! `read_at` of the row is the time of the database, which all replicas share.

use chrono::{DateTime, Utc};

use super::CallError;
use super::billing::{BilledDuration, billed_duration};
use super::call::{Call, CallMedia, CallPhase, CallStatus};
use super::ending::{CallEndReason, EndingParty};
use super::limits::SagaTimeLimits;
use super::ringing::is_connect_due;

/// Number of further minutes below which the balance of the caller counts as low.
const LOW_BALANCE_MINUTES: i64 = 2;

/// Outcome of the charge of a minute. A repeated charge has the same outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MinuteChargeOutcome {
    /// The minute is paid.
    Paid {
        /// Coins of the caller after the charge.
        balance_coins: i64,
        /// The part of the charged coins that was given to the caller and not bought.
        bonus_coins: i64,
    },
    /// The caller has too few coins.
    Insufficient {
        /// Price of a minute in coins.
        required_coins: i64,
        /// Coins of the caller.
        available_coins: i64,
    },
    /// The charge was voided before and never takes place.
    Voided,
}

/// The next step of a call whose time has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DueSagaStep {
    /// End the ring, whose time is over.
    EndRing,
    /// Undo the failed start: free both parties, void the charge, delete the row.
    Undo,
    /// Charge the next minute.
    Charge,
    /// End the call.
    End(CallEndCause),
    /// Settle the call.
    Settle,
    /// Nothing is due yet.
    Nothing,
}

/// Cause for which a live call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallEndCause {
    /// A user hung up now.
    HangUp {
        /// Status that the user reports.
        status: CallStatus,
        reason: CallEndReason,
        by: EndingParty,
    },
    /// The minute after `minute` could not be paid. If another minute was paid meanwhile, the call goes on.
    Unpaid {
        /// Last paid minute, from 1.
        minute: i32,
        /// Coins of the caller, if the wallet returned them.
        available_coins: Option<i64>,
    },
    /// The two may no longer talk: one of them is deleted, or has blocked the other and the paid minute is over.
    Forbidden {
        reason: CallEndReason,
        /// The party that is deleted or has blocked the other.
        by: EndingParty,
    },
    /// Nothing has reached the caller for too long, in a call that the platform carries.
    MediaLost {
        /// Last moment at which sound reached the caller.
        last_good: DateTime<Utc>,
    },
    /// Neither party has shown a sign of life for too long.
    Silence {
        /// Time of the last sign of life of either party.
        last_sign: DateTime<Utc>,
    },
}

/// The way in which a call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallEnding {
    pub end_time: DateTime<Utc>,
    /// Duration, and the minutes to be paid.
    pub duration: BilledDuration,
    pub status: CallStatus,
    pub reason: CallEndReason,
    pub ended_by: EndingParty,
    /// Minutes that the settlement counts, if all of them are paid already, with bought coins alone, and none is judged.
    pub minutes_settled: Option<i32>,
}

/// A paid minute to be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PaidMinute {
    /// Number of the minute, from 1.
    pub minute: i32,
    /// Coins of the caller after the charge.
    pub balance_coins: i64,
    /// Whether these coins pay for less than two more minutes.
    pub is_low: bool,
    /// Whether the balance has just become low, so that an event announces it.
    pub is_newly_low: bool,
    /// Whether coins that were given to the caller have paid a part of it.
    pub has_bonus: bool,
}

/// Decision after the charge of the next minute of a live call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MinuteBillingDecision {
    /// The call goes on; record the minute.
    Record(PaidMinute),
    /// The call ends.
    End(CallEndCause),
}

/// The next step of a settlement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SettlementStep {
    /// Charge this minute, which had begun.
    Charge(i32),
    /// Pay the listener for this number of minutes, and return what was charged beyond.
    Close(i32),
}

/// Returns the step of a call that is due now.
pub fn next_due_step(call: &Call, limits: &SagaTimeLimits) -> DueSagaStep {
    match call.phase {
        CallPhase::Ringing => DueSagaStep::EndRing,
        CallPhase::Reserving | CallPhase::Undoing => DueSagaStep::Undo,
        CallPhase::Connecting if is_connect_due(call, limits) => DueSagaStep::Undo,
        CallPhase::Active if call.is_due() => next_minute_step(call, limits),
        CallPhase::Settling => DueSagaStep::Settle,
        CallPhase::Connecting | CallPhase::Active | CallPhase::Settled | CallPhase::Unanswered => {
            DueSagaStep::Nothing
        }
    }
}

/// Returns the step of a live call whose paid minutes are over.
fn next_minute_step(call: &Call, limits: &SagaTimeLimits) -> DueSagaStep {
    if let Some(by) = call.blocked_by {
        let reason = CallEndReason::Blocked;
        return DueSagaStep::End(CallEndCause::Forbidden { reason, by });
    }
    if call.is_unpaid_beyond(limits.unpaid_grace) {
        return DueSagaStep::End(CallEndCause::Unpaid {
            minute: call.minutes_billed,
            available_coins: None,
        });
    }
    DueSagaStep::Charge
}

/// Decides after the charge of the first minute: either the minute of a live call, or the refusal of a
/// start that must be undone. A charge without any answer must be undone as well.
pub fn evaluate_first_charge(
    reserved: &Call,
    charge: MinuteChargeOutcome,
) -> Result<PaidMinute, CallError> {
    match charge {
        MinuteChargeOutcome::Paid {
            balance_coins,
            bonus_coins,
        } => Ok(paid_minute(reserved, 1, balance_coins, bonus_coins)),
        MinuteChargeOutcome::Insufficient {
            required_coins,
            available_coins,
        } => Err(CallError::InsufficientCoins {
            required: required_coins,
            available: available_coins,
        }),
        MinuteChargeOutcome::Voided => Err(CallError::Undone),
    }
}

/// Decides after the charge of the next minute of a live call.
pub fn evaluate_next_charge(call: &Call, charge: MinuteChargeOutcome) -> MinuteBillingDecision {
    let unpaid = |available_coins| {
        MinuteBillingDecision::End(CallEndCause::Unpaid {
            minute: call.minutes_billed,
            available_coins,
        })
    };
    match charge {
        MinuteChargeOutcome::Paid {
            balance_coins,
            bonus_coins,
        } => {
            let minute = call.minutes_billed + 1;
            MinuteBillingDecision::Record(paid_minute(call, minute, balance_coins, bonus_coins))
        }
        MinuteChargeOutcome::Insufficient {
            available_coins, ..
        } => unpaid(Some(available_coins)),
        MinuteChargeOutcome::Voided => unpaid(None),
    }
}

fn paid_minute(call: &Call, minute: i32, balance_coins: i64, bonus_coins: i64) -> PaidMinute {
    let is_low = balance_coins < LOW_BALANCE_MINUTES * call.coins_per_minute;
    PaidMinute {
        minute,
        balance_coins,
        is_low,
        is_newly_low: is_low && !call.low_balance_told,
        has_bonus: bonus_coins > 0,
    }
}

/// Resolves how a live call ends for this cause; `None` if it goes on.
pub fn resolve_end(
    call: &Call,
    cause: CallEndCause,
    limits: &SagaTimeLimits,
) -> Option<CallEnding> {
    let start_time = call.start_time?;
    let paid_until = call.paid_until()?;
    let (end_time, status) = match cause {
        // The call was unpaid for longer than the grace, so the service was unavailable and nobody was
        // billed meanwhile. The call ends with its last paid minute.
        CallEndCause::HangUp { status, .. } if call.is_unpaid_beyond(limits.unpaid_grace) => {
            (paid_until, status)
        }
        // After a block the call ends with its paid minute, even if the hang-up is noticed before that.
        CallEndCause::HangUp { status, .. } if call.blocked_by.is_some() => {
            (call.read_at.min(paid_until), status)
        }
        CallEndCause::HangUp { status, .. } => (call.read_at, status),
        CallEndCause::Unpaid { minute, .. } if minute == call.minutes_billed => {
            (paid_until, CallStatus::Dropped)
        }
        CallEndCause::Unpaid { .. } => return None,
        // A minute that is not charged yet is not charged any more.
        CallEndCause::Forbidden { .. } => (call.read_at.min(paid_until), CallStatus::Dropped),
        CallEndCause::Silence {
            last_sign: last_good,
        }
        | CallEndCause::MediaLost { last_good } => {
            let end_time = last_good.clamp(start_time, paid_until);
            (end_time, CallStatus::Dropped)
        }
    };
    let mut duration = billed_duration(start_time, end_time, call.minute_secs);
    if is_free_cancellation(call, cause, limits) {
        duration.minutes = 0;
    }
    // The minutes of a call that the platform carries are judged first, and the wallet decides what given coins earn. So
    // the figures of such calls follow their settlement.
    let is_certain = call.minutes_billed >= duration.minutes
        && call.media != CallMedia::Platform
        && !call.has_bonus;
    let (reason, ended_by) = attribute_end(cause);
    Some(CallEnding {
        end_time,
        duration,
        status,
        reason,
        ended_by,
        minutes_settled: is_certain.then_some(duration.minutes),
    })
}

/// Returns why the call ends for this cause, and who ends it.
fn attribute_end(cause: CallEndCause) -> (CallEndReason, EndingParty) {
    match cause {
        CallEndCause::HangUp { reason, by, .. } | CallEndCause::Forbidden { reason, by } => {
            (reason, by)
        }
        CallEndCause::Unpaid {
            available_coins: Some(_),
            ..
        } => (CallEndReason::CoinsEmpty, EndingParty::Server),
        CallEndCause::Unpaid { .. } => (CallEndReason::Server, EndingParty::Server),
        CallEndCause::MediaLost { .. } => (CallEndReason::MediaLost, EndingParty::Server),
        CallEndCause::Silence { .. } => (CallEndReason::Silence, EndingParty::Server),
    }
}

/// Whether the caller cancels a call that has hardly begun. The server cannot know whether the listener has
/// answered, so this grace applies to answered calls as well.
fn is_free_cancellation(call: &Call, cause: CallEndCause, limits: &SagaTimeLimits) -> bool {
    let is_cancelled = matches!(
        cause,
        CallEndCause::HangUp {
            status: CallStatus::Cancelled,
            by: EndingParty::Caller,
            ..
        }
    );
    let within_grace = call
        .start_time
        .is_some_and(|start_time| call.read_at < start_time + limits.cancel_grace);
    is_cancelled && within_grace && call.minutes_billed <= 1 && !call.is_due()
}

/// Returns the cause to end a live call if neither party has shown a sign of life for too long. The start
/// of the call counts as a sign.
pub fn evaluate_silence(
    call: &Call,
    last_sign: Option<DateTime<Utc>>,
    limits: &SagaTimeLimits,
) -> Option<CallEndCause> {
    let start_time = call
        .start_time
        .filter(|_| call.phase == CallPhase::Active)?;
    let last_sign = last_sign.map_or(start_time, |sign| sign.max(start_time));
    (last_sign + limits.silence_max < call.read_at).then_some(CallEndCause::Silence { last_sign })
}

/// Returns the next step of the settlement of an ended call of which `paid` minutes are known to be paid.
pub fn next_settlement_step(call: &Call, paid: i32) -> SettlementStep {
    let minutes_begun = call.duration_minutes.unwrap_or(1);
    if paid < minutes_begun {
        SettlementStep::Charge(paid + 1)
    } else {
        SettlementStep::Close(minutes_begun)
    }
}

/// Returns the step after the charge of a begun minute. If the coins do not suffice, the call ended with
/// its last paid minute.
pub fn settlement_step_after_charge(
    call: &Call,
    minute: i32,
    charge: MinuteChargeOutcome,
) -> SettlementStep {
    match charge {
        MinuteChargeOutcome::Paid { .. } => next_settlement_step(call, minute),
        MinuteChargeOutcome::Insufficient { .. } | MinuteChargeOutcome::Voided => {
            SettlementStep::Close(minute - 1)
        }
    }
}
