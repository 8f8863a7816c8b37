//! Rows as the statements of the store leave them. The events of a change are built from them, so that the statement that
//! changes the rows can append the events as well.

use super::call::{Call, CallMedia, CallPhase, CallStatus};
use super::steps::{CallEnding, PaidMinute};

/// Returns a call whose first minute is paid as it is once it is live; `None` if it does not go live in this phase. The
/// start is missing, which is the time of the database.
///
/// The row of such a call changes in no other way until it is live or undone.
pub fn expect_live(paid: &Call, minute: PaidMinute) -> Option<Call> {
    let (is_payable, is_accepted_now) = match paid.phase {
        CallPhase::Reserving => (
            paid.media == CallMedia::Own || !paid.is_ring(),
            paid.is_ring(),
        ),
        // It was published as accepted before.
        phase => (phase == CallPhase::Connecting, false),
    };
    let events = 1 + i64::from(minute.is_newly_low) + i64::from(is_accepted_now);
    is_payable.then(|| Call {
        phase: CallPhase::Active,
        status: CallStatus::Ongoing,
        minutes_billed: 1,
        coins_spent: paid.coins_per_minute,
        low_balance_told: minute.is_low,
        has_bonus: paid.has_bonus || minute.has_bonus,
        version: paid.version + events,
        ..paid.clone()
    })
}

/// Returns a live call as it is once it has ended. `paise_per_coin` is the price that the caller paid for a coin.
pub fn expect_ended(live: &Call, ending: &CallEnding, paise_per_coin: i64) -> Call {
    let ended = Call {
        phase: CallPhase::Settling,
        status: ending.status,
        duration_seconds: Some(ending.duration.seconds),
        duration_minutes: Some(ending.duration.minutes),
        end_reason: Some(ending.reason),
        ended_by: Some(ending.ended_by),
        minutes_settled: ending.minutes_settled,
        figures_follow_settlement: ending.minutes_settled.is_none(),
        version: live.version + 1,
        ..live.clone()
    };
    let Some(minutes) = ending.minutes_settled else {
        return ended;
    };
    let coins_spent = i64::from(minutes) * live.coins_per_minute;
    Call {
        minutes_billed: minutes,
        coins_spent,
        user_paise_spent: coins_spent * paise_per_coin,
        listener_paise_earned: i64::from(minutes) * live.listener_paise_per_minute,
        ..ended
    }
}
