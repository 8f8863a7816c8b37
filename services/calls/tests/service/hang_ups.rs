//! A user who hangs up pays for the minutes that had begun, however long nobody could end the call.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallStatus};
use talktime_calls::domain::ending::{CallEndReason, EndingParty};
use talktime_calls::domain::limits::SagaTimeLimits;
use talktime_calls::domain::steps::{
    self, CallEndCause, CallEnding, DueSagaStep, MinuteBillingDecision, MinuteChargeOutcome,
};

use crate::model::{MINUTE_SECS, ModelRows};

const LEASE_SECS: f64 = 8.0;
const LIMITS: SagaTimeLimits = SagaTimeLimits {
    unpaid_grace: TimeDelta::seconds(30),
    cancel_grace: TimeDelta::zero(),
    silence_max: TimeDelta::seconds(900),
    reach: TimeDelta::seconds(5),
    connect: TimeDelta::seconds(10),
    caller_silence_max: TimeDelta::seconds(90),
};
const HANG_UP: CallEndCause = CallEndCause::HangUp {
    status: CallStatus::Completed,
    reason: CallEndReason::HungUp,
    by: EndingParty::Caller,
};
const PAID: MinuteChargeOutcome = MinuteChargeOutcome::Paid {
    balance_coins: 1_000,
    bonus_coins: 0,
};
/// A minute of which given coins have paid a part.
const PARTLY_GIVEN: MinuteChargeOutcome = MinuteChargeOutcome::Paid {
    balance_coins: 1_000,
    bonus_coins: 1,
};

fn started_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("valid")
}

/// Returns a call of which `minutes` are paid, as it is read at the end of the last of them.
fn call_with_paid_minutes(minutes: usize) -> Call {
    call_with_payments(&vec![PAID; minutes])
}

/// Returns a call whose minutes are paid like this, as it is read at the end of the last of them.
fn call_with_payments(payments: &[MinuteChargeOutcome]) -> Call {
    let mut rows = ModelRows::default();
    let reserved = rows.reserve(started_at(), (1, 2), None, LEASE_SECS);
    let reserved = reserved.expect("nobody is on a call");
    let first = steps::evaluate_first_charge(&reserved, payments[0]).expect("paid");
    let mut call = rows
        .activate(started_at(), reserved.call_id, first)
        .expect("it goes live");
    for payment in &payments[1..] {
        let next = steps::evaluate_next_charge(&call, *payment);
        let MinuteBillingDecision::Record(minute) = next else {
            panic!("the minute is paid");
        };
        let paid_until = call.paid_until().expect("live");
        let recorded = rows.record_minute(paid_until, call.call_id, minute);
        call = recorded.expect("it is live");
    }
    let read_at = call.paid_until().expect("live");
    Call { read_at, ..call }
}

fn hang_up(call: &Call, waited: TimeDelta) -> CallEnding {
    steps::resolve_end(&call.view_earlier(waited), HANG_UP, &LIMITS).expect("it ends")
}

#[test]
fn a_call_that_nobody_could_end_counts_only_the_minutes_begun_at_the_hang_up() {
    let call = call_with_paid_minutes(5);
    let minute = i64::from(MINUTE_SECS);
    // The hang-up was in the third minute, and two more were charged before it arrived.
    let waited = TimeDelta::seconds(2 * minute) + TimeDelta::milliseconds(1);
    let ending = hang_up(&call, waited);
    assert_eq!(ending.end_time, call.read_at - waited);
    assert_eq!(ending.duration.minutes, 3);
    assert_eq!(ending.minutes_settled, Some(3), "the rest is returned");
}

#[test]
fn a_hang_up_that_arrives_at_once_ends_the_call_now() {
    let call = call_with_paid_minutes(5);
    let ending = hang_up(&call, TimeDelta::zero());
    assert_eq!(ending.end_time, call.read_at);
    assert_eq!(ending.duration.minutes, 5);
}

#[test]
fn a_call_does_not_end_before_it_started() {
    let call = call_with_paid_minutes(2);
    let ending = hang_up(&call, TimeDelta::hours(1));
    assert_eq!(Some(ending.end_time), call.start_time);
    assert_eq!(ending.minutes_settled, Some(1), "a call costs a minute");
}

#[test]
fn the_figures_of_a_call_with_given_coins_follow_its_settlement() {
    for payments in [
        [PARTLY_GIVEN, PAID, PAID],
        [PAID, PARTLY_GIVEN, PAID],
        [PAID, PAID, PARTLY_GIVEN],
    ] {
        let ending = hang_up(&call_with_payments(&payments), TimeDelta::zero());
        assert_eq!(ending.duration.minutes, 3);
        assert_eq!(ending.minutes_settled, None, "{payments:?}");
    }
    let ending = hang_up(&call_with_payments(&[PAID; 3]), TimeDelta::zero());
    assert_eq!(ending.minutes_settled, Some(3), "bought coins alone");
}

fn blocked(call: Call) -> Call {
    Call {
        blocked_by: Some(EndingParty::Listener),
        ..call
    }
}

#[test]
fn after_a_block_the_paid_minute_is_the_last() {
    let call = blocked(call_with_paid_minutes(2));
    let in_time = call.view_earlier(TimeDelta::milliseconds(1));
    assert_eq!(
        steps::next_due_step(&in_time, &LIMITS),
        DueSagaStep::Nothing
    );
    let cause = CallEndCause::Forbidden {
        reason: CallEndReason::Blocked,
        by: EndingParty::Listener,
    };
    // A sweep that is late, by whatever time, charges nothing for it.
    for late in [TimeDelta::zero(), TimeDelta::seconds(3600)] {
        let call = call.view_earlier(-late);
        assert_eq!(
            steps::next_due_step(&call, &LIMITS),
            DueSagaStep::End(cause)
        );
        let ending = steps::resolve_end(&call, cause, &LIMITS).expect("it ends");
        assert_eq!(Some(ending.end_time), call.paid_until());
        assert_eq!(ending.duration.minutes, 2);
        assert_eq!(
            (ending.reason, ending.ended_by, ending.status),
            (
                CallEndReason::Blocked,
                EndingParty::Listener,
                CallStatus::Dropped
            )
        );
    }
}

#[test]
fn a_hang_up_after_a_block_begins_no_further_minute() {
    let call = blocked(call_with_paid_minutes(2));
    let ending = hang_up(
        &call.view_earlier(TimeDelta::seconds(-1)),
        TimeDelta::zero(),
    );
    assert_eq!(Some(ending.end_time), call.paid_until());
    assert_eq!(ending.duration.minutes, 2);
    let before = TimeDelta::seconds(1);
    let ending = hang_up(&call, before);
    assert_eq!(ending.end_time, call.read_at - before);
    assert_eq!(ending.reason, CallEndReason::HungUp);
}
