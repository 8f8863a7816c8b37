//! Events that the calls service publishes. Each event of a call carries its own version of the call.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    CallEnded, CallHungUp, CallLowBalance, CallRated, CallStarted, MinuteBilled,
};

use crate::domain::call::{Call, CallMedia};
use crate::domain::ending::{CallEndReason, EndingParty};
use crate::domain::steps::{CallEndCause, PaidMinute};
use crate::ring_events::{self, CallEvent};
use crate::store::call_ratings::ListenerRatingTotals;

/// Events of a call that went live with its first minute paid: that it was accepted, if it rang until now, the
/// start, and a low balance if there is one.
pub(crate) fn call_started(call: &Call, minute: PaidMinute, wait_time: i32) -> Vec<CallEvent> {
    let kind = Kind::CallStarted(CallStarted {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
        wait_time,
    });
    let started = with_low_balance(call, minute, kind);
    // A call of the platform's media was published as accepted before it was connected.
    if !call.is_ring() || call.media == CallMedia::Platform {
        return started;
    }
    let started_version = started
        .first()
        .map_or(call.version, |(_, version, _)| *version);
    let mut events = vec![ring_events::call_accepted(call, started_version - 1)];
    events.extend(started);
    events
}

/// Events of a paid minute: the minute, and a low balance if the balance has just become low.
pub(crate) fn minute_billed(call: &Call, minute: PaidMinute) -> Vec<CallEvent> {
    let kind = Kind::MinuteBilled(MinuteBilled {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        minute: minute.minute,
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
    });
    with_low_balance(call, minute, kind)
}

/// Appends the low-balance event where the balance has just become low. The row already has the version of
/// the last event, so the first of two events has the version before it.
fn with_low_balance(call: &Call, minute: PaidMinute, kind: Kind) -> Vec<CallEvent> {
    if !minute.is_newly_low {
        return vec![(call.call_id, call.version, kind)];
    }
    let low = Kind::CallLowBalance(CallLowBalance {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        minute: minute.minute,
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
    });
    vec![
        (call.call_id, call.version - 1, kind),
        (call.call_id, call.version, low),
    ]
}

/// The event of a live call that ends: with its figures, or a mere hang-up while these are uncertain.
pub(crate) fn call_hung_up_or_ended(call: &Call, cause: CallEndCause) -> CallEvent {
    if call.figures_follow_settlement {
        let hung_up = Kind::CallHungUp(CallHungUp {
            call_id: call.call_id,
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: call.call_type.name().to_owned(),
        });
        return (call.call_id, call.version, hung_up);
    }
    let remaining_coins = match cause {
        CallEndCause::Unpaid {
            available_coins, ..
        } => available_coins,
        CallEndCause::HangUp { .. }
        | CallEndCause::Forbidden { .. }
        | CallEndCause::MediaLost { .. }
        | CallEndCause::Silence { .. } => None,
    };
    call_ended(call, remaining_coins)
}

/// The event of an ended call with the final figures of its row.
pub(crate) fn call_ended(call: &Call, remaining_coins: Option<i64>) -> CallEvent {
    let ended = Kind::CallEnded(CallEnded {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.name().to_owned(),
        status: call.status.name().to_owned(),
        duration_seconds: call.duration_seconds.unwrap_or_default(),
        duration_minutes: call.duration_minutes.unwrap_or_default(),
        coins_spent: call.coins_spent,
        listener_paise_earned: call.listener_paise_earned,
        remaining_coins,
        end_reason: call.end_reason.map_or("", CallEndReason::name).to_owned(),
        ended_by: call.ended_by.map_or("", EndingParty::name).to_owned(),
    });
    (call.call_id, call.version, ended)
}

/// The event of a rated call, with the totals of all ratings of the listener.
pub(crate) fn call_rated(
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    totals: ListenerRatingTotals,
) -> Kind {
    Kind::CallRated(CallRated {
        call_id,
        user_id,
        listener_id,
        stars_total: totals.stars_total,
        ratings_total: totals.ratings_total,
    })
}
