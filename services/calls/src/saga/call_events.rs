//! What others are told of a call: events, each with a version of its own.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    CallEnded, CallHungUp, CallLowBalance, CallStarted, MinuteBilled,
};

use crate::domain::call::Call;
use crate::domain::steps::{EndCause, PaidMinute};

/// An event as the outbox takes it: the call, its version, what happened.
pub(super) type CallEvent = (i64, i64, Kind);

/// A call has begun, with its first minute paid; and that coins are low, where they are.
pub(super) fn call_started(call: &Call, minute: PaidMinute, wait_time: i32) -> Vec<CallEvent> {
    let kind = Kind::CallStarted(CallStarted {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
        wait_time,
    });
    with_low_balance(call, minute, kind)
}

/// A minute was paid; and that coins are low, where they have become so.
pub(super) fn minute_billed(call: &Call, minute: PaidMinute) -> Vec<CallEvent> {
    let kind = Kind::MinuteBilled(MinuteBilled {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        minute: minute.minute,
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
    });
    with_low_balance(call, minute, kind)
}

/// The row's version is that of the last of its events.
fn with_low_balance(call: &Call, minute: PaidMinute, kind: Kind) -> Vec<CallEvent> {
    if !minute.is_newly_low {
        return vec![(call.call_id, call.version, kind)];
    }
    let low = Kind::CallLowBalance(CallLowBalance {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        minute: minute.minute,
        coins_spent: call.coins_spent,
        remaining_coins: minute.balance_coins,
    });
    vec![
        (call.call_id, call.version - 1, kind),
        (call.call_id, call.version, low),
    ]
}

/// A live call is over: with what it came to, or with nothing but that while its figures are not certain.
pub(super) fn call_hung_up_or_ended(call: &Call, cause: EndCause) -> CallEvent {
    if call.figures_follow_settlement {
        let hung_up = Kind::CallHungUp(CallHungUp {
            call_id: call.call_id,
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: call.call_type.word().to_owned(),
        });
        return (call.call_id, call.version, hung_up);
    }
    let remaining_coins = match cause {
        EndCause::Unpaid {
            available_coins, ..
        } => available_coins,
        EndCause::HangUp { .. } | EndCause::Forbidden | EndCause::Silence { .. } => None,
    };
    call_ended(call, remaining_coins)
}

/// A call has ended, and its row holds what the receipt says.
pub(super) fn call_ended(call: &Call, remaining_coins: Option<i64>) -> CallEvent {
    let ended = Kind::CallEnded(CallEnded {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        status: call.status.word().to_owned(),
        duration_seconds: call.duration_seconds.unwrap_or_default(),
        duration_minutes: call.duration_minutes.unwrap_or_default(),
        coins_spent: call.coins_spent,
        listener_paise_earned: call.listener_paise_earned,
        remaining_coins,
    });
    (call.call_id, call.version, ended)
}
