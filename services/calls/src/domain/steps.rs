//! What becomes of a call next: every decision of its saga, as a function of the row and of what the
//! wallet said. The service takes these steps on real parts; its simulation takes the same ones.
//!
//! The row's `read_at` is the database's time, which all replicas share.

use chrono::{DateTime, TimeDelta, Utc};

use super::CallError;
use super::billing::{BilledDuration, billed_duration};
use super::call::{Call, CallPhase, CallStatus};

/// Minutes that the caller's coins should pay for beyond the present one; with less it is told.
const LOW_BALANCE_MINUTES: i64 = 2;

/// How long things may take before something else is concluded from it.
#[derive(Clone, Copy, Debug)]
pub struct SagaLimits {
    /// How long a call goes on while its next minute cannot be charged.
    pub unpaid_grace: TimeDelta,
    /// How long after its start a caller may cancel a call at no cost; zero: not at all.
    pub cancel_grace: TimeDelta,
    /// How long both sides may show no sign of life.
    pub silence_max: TimeDelta,
}

/// What the wallet says of a charge. The same charge again has the same answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeOutcome {
    /// The minute is paid.
    Paid {
        /// The caller's coins right after it.
        balance_coins: i64,
    },
    /// The caller has too few coins.
    Insufficient {
        /// What a minute costs.
        required_coins: i64,
        /// What the caller has.
        available_coins: i64,
    },
    /// It was undone before, and never happens.
    Voided,
}

/// What is to be done with a call whose time has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DueStep {
    /// The start came to nothing: free both people, void the charge, drop the row.
    Undo,
    /// Charge the next minute.
    Charge,
    /// End it.
    End(EndCause),
    /// Close the books.
    Settle,
    /// Its time has not come.
    Nothing,
}

/// Why a live call ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndCause {
    /// Somebody hung up now.
    HangUp {
        /// What they call it.
        status: CallStatus,
        /// Whether it was the caller.
        by_caller: bool,
    },
    /// The minute after this one could not be paid. A call that has paid another minute meanwhile
    /// goes on.
    Unpaid {
        /// The last paid minute, from 1.
        minute: i32,
        /// The caller's coins, where the wallet said so.
        available_coins: Option<i64>,
    },
    /// The two may not talk any more: one of them is deleted, or has blocked the other.
    Forbidden,
    /// Neither side has shown a sign of life since.
    Silence {
        /// The last sign of either.
        last_sign: DateTime<Utc>,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallEnding {
    /// When.
    pub end_time: DateTime<Utc>,
    /// How long it was, and the minutes to be paid.
    pub duration: BilledDuration,
    /// For people.
    pub status: CallStatus,
    /// The minutes that the settlement counts, where all of them are paid already.
    pub minutes_settled: Option<i32>,
}

/// A minute that was paid, as it is to be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PaidMinute {
    /// From 1.
    pub minute: i32,
    /// The caller's coins right after it.
    pub balance_coins: i64,
    /// Whether they pay for less than two more minutes.
    pub is_low: bool,
    /// Whether that is new, so that the caller is told.
    pub is_newly_low: bool,
}

/// What a charge of a live call's next minute leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BillingDecision {
    /// The call goes on.
    Record(PaidMinute),
    /// The call ends.
    End(EndCause),
}

/// The next step of a settlement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SettlementStep {
    /// Charge this minute, which had begun.
    Charge(i32),
    /// Pay the listener for so many minutes, and return what was charged beyond.
    Close(i32),
}

/// What is to be done with a call now.
pub fn next_due_step(call: &Call, limits: &SagaLimits) -> DueStep {
    match call.phase {
        CallPhase::Reserving | CallPhase::Undoing => DueStep::Undo,
        CallPhase::Active if call.is_unpaid_beyond(limits.unpaid_grace) => {
            DueStep::End(EndCause::Unpaid {
                minute: call.minutes_billed,
                available_coins: None,
            })
        }
        CallPhase::Active if call.is_due() => DueStep::Charge,
        CallPhase::Settling => DueStep::Settle,
        CallPhase::Active | CallPhase::Settled => DueStep::Nothing,
    }
}

/// What the charge of the first minute leads to: the minute of a live call, or the refusal of a start
/// that is to be undone. No answer at all is to be undone likewise.
pub fn evaluate_first_charge(
    reserved: &Call,
    charge: ChargeOutcome,
) -> Result<PaidMinute, CallError> {
    match charge {
        ChargeOutcome::Paid { balance_coins } => Ok(paid_minute(reserved, 1, balance_coins)),
        ChargeOutcome::Insufficient {
            required_coins,
            available_coins,
        } => Err(CallError::InsufficientCoins {
            required: required_coins,
            available: available_coins,
        }),
        ChargeOutcome::Voided => Err(CallError::Undone),
    }
}

/// What the charge of a live call's next minute leads to.
pub fn evaluate_next_charge(call: &Call, charge: ChargeOutcome) -> BillingDecision {
    let unpaid = |available_coins| {
        BillingDecision::End(EndCause::Unpaid {
            minute: call.minutes_billed,
            available_coins,
        })
    };
    match charge {
        ChargeOutcome::Paid { balance_coins } => {
            BillingDecision::Record(paid_minute(call, call.minutes_billed + 1, balance_coins))
        }
        ChargeOutcome::Insufficient {
            available_coins, ..
        } => unpaid(Some(available_coins)),
        ChargeOutcome::Voided => unpaid(None),
    }
}

fn paid_minute(call: &Call, minute: i32, balance_coins: i64) -> PaidMinute {
    let is_low = balance_coins < LOW_BALANCE_MINUTES * call.coins_per_minute;
    PaidMinute {
        minute,
        balance_coins,
        is_low,
        is_newly_low: is_low && !call.low_balance_told,
    }
}

/// How a live call ends for this cause; none when it goes on.
pub fn resolve_end(call: &Call, cause: EndCause, limits: &SagaLimits) -> Option<CallEnding> {
    let start_time = call.start_time?;
    let paid_until = call.paid_until()?;
    let (end_time, status) = match cause {
        // Whoever hangs up long after the last paid minute hangs up on silence: nobody was billed
        // meanwhile, so the service was away.
        EndCause::HangUp { status, .. } if call.is_unpaid_beyond(limits.unpaid_grace) => {
            (paid_until, status)
        }
        EndCause::HangUp { status, .. } => (call.read_at, status),
        EndCause::Unpaid { minute, .. } if minute == call.minutes_billed => {
            (paid_until, CallStatus::Dropped)
        }
        EndCause::Unpaid { .. } => return None,
        // A minute that nobody has charged yet is not charged any more.
        EndCause::Forbidden => (call.read_at.min(paid_until), CallStatus::Dropped),
        EndCause::Silence { last_sign } => {
            let end_time = last_sign.clamp(start_time, paid_until);
            (end_time, CallStatus::Dropped)
        }
    };
    let mut duration = billed_duration(start_time, end_time, call.minute_secs);
    if is_free_cancellation(call, cause, limits) {
        duration.minutes = 0;
    }
    let is_paid = call.minutes_billed >= duration.minutes;
    Some(CallEnding {
        end_time,
        duration,
        status,
        minutes_settled: is_paid.then_some(duration.minutes),
    })
}

/// Whether the caller takes back a call that has hardly begun. Nothing tells the server whether the
/// listener has answered, so whoever grants this grace grants it to answered calls too.
fn is_free_cancellation(call: &Call, cause: EndCause, limits: &SagaLimits) -> bool {
    let cancelled = EndCause::HangUp {
        status: CallStatus::Cancelled,
        by_caller: true,
    };
    let within_grace = call
        .start_time
        .is_some_and(|start_time| call.read_at < start_time + limits.cancel_grace);
    cause == cancelled && within_grace && call.minutes_billed <= 1 && !call.is_due()
}

/// Whether a live call is to end because neither side has shown a sign of life for too long. Its start
/// was one.
pub fn evaluate_silence(
    call: &Call,
    last_sign: Option<DateTime<Utc>>,
    limits: &SagaLimits,
) -> Option<EndCause> {
    let start_time = call
        .start_time
        .filter(|_| call.phase == CallPhase::Active)?;
    let last_sign = last_sign.map_or(start_time, |sign| sign.max(start_time));
    (last_sign + limits.silence_max < call.read_at).then_some(EndCause::Silence { last_sign })
}

/// The next step of the settlement of an ended call of which `paid` minutes are known to be paid.
pub fn next_settlement_step(call: &Call, paid: i32) -> SettlementStep {
    let begun = call.duration_minutes.unwrap_or(1);
    if paid < begun {
        SettlementStep::Charge(paid + 1)
    } else {
        SettlementStep::Close(begun)
    }
}

/// The step after the charge of a begun minute. Coins may not suffice: then the call ended with its
/// last paid minute.
pub fn settlement_step_after_charge(
    call: &Call,
    minute: i32,
    charge: ChargeOutcome,
) -> SettlementStep {
    match charge {
        ChargeOutcome::Paid { .. } => next_settlement_step(call, minute),
        ChargeOutcome::Insufficient { .. } | ChargeOutcome::Voided => {
            SettlementStep::Close(minute - 1)
        }
    }
}
