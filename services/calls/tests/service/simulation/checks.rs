//! Assertions that must hold at every instant, and at the end.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallMedia, CallPhase, CallStatus};
use talktime_calls::domain::evidence::MinuteReturns;

use super::wallet::{WalletRequest, count};
use super::world::{PublishedFigures, SimulatedWorld};
use crate::model::{COINS_PER_MINUTE, MINUTE_SECS, PAISE_PER_MINUTE};

/// Asserts after each change that a person has at most one live call, that no balance is below zero, and
/// that all sums balance.
pub(super) fn assert_invariants(world: &SimulatedWorld) {
    let (Ok(rows), Ok(wallet)) = (world.rows.try_borrow(), world.wallet.try_borrow()) else {
        return;
    };
    let mut held = BTreeMap::new();
    for row in rows.calls.values() {
        let is_held = matches!(
            row.call.phase,
            CallPhase::Ringing | CallPhase::Reserving | CallPhase::Connecting | CallPhase::Active
        );
        if is_held {
            for party in row.call.parties() {
                let other = held.insert(party, row.call.call_id);
                assert_eq!(other, None, "{party} is on two calls, {}", row.call.call_id);
            }
        }
    }
    assert_eq!(
        held, rows.live_parties,
        "who is held is not who is on a call"
    );
    let coins: i64 = wallet.coins.values().sum();
    assert_eq!(coins + wallet.revenue_coins, wallet.issued_coins, "coins");
    assert!(wallet.coins.values().all(|coins| *coins >= 0), "below zero");
    let paise: i64 = wallet.paise.values().sum();
    assert_eq!(paise, wallet.cost_paise, "paise");
}

/// Asserts that no minute is charged before it begins by the clock of the database. Only a clock that was
/// replaced may have been ahead.
pub(super) fn assert_not_charged_early(world: &SimulatedWorld, request: &WalletRequest) {
    let WalletRequest::Charge {
        call_id, minute, ..
    } = *request
    else {
        return;
    };
    let rows = world.rows.borrow();
    let Some(row) = rows.calls.get(&call_id) else {
        return;
    };
    assert_ne!(
        row.call.phase,
        CallPhase::Ringing,
        "ring {call_id} is charged"
    );
    let Some(start_time) = row.call.start_time else {
        return;
    };
    let begins = start_time + TimeDelta::seconds(i64::from((minute - 1) * MINUTE_SECS));
    let is_early = world.database_now() < begins;
    assert!(
        !is_early || world.has_skew_changed.get(),
        "minute {minute} of call {call_id} is charged early"
    );
}

/// Asserts that a call does not end in the future. Only a clock that was replaced may have been ahead.
pub(super) fn assert_not_in_the_future(
    world: &SimulatedWorld,
    call_id: i64,
    end_time: DateTime<Utc>,
) {
    assert!(
        end_time <= world.database_now() || world.has_skew_changed.get(),
        "call {call_id} ends in the future"
    );
}

/// Asserts that a deleted user is on no new call once calls was informed before the deletion. Only after a
/// replacement of the clock may the bar have expired.
pub(super) fn assert_may_go_live(world: &SimulatedWorld, call: &Call) {
    for party in call.parties() {
        let deletions = world.deletions.borrow();
        let is_gone = deletions
            .get(&party)
            .is_some_and(|deletion| deletion.is_prepared || deletion.known_ms.is_some());
        assert!(
            !is_gone || world.has_skew_changed.get(),
            "call {} of {party} begins, who is deleted",
            call.call_id
        );
    }
}

/// Seconds by which a ring may end late: the interval of the sweeper and the way to the database.
const RING_LATE_SECS_MAX: i64 = 3;

/// Asserts that a ring ends within its time. While parts fail, it is the sweeper's lease that ends it.
pub(super) fn assert_ring_ends_in_time(world: &SimulatedWorld, call: &Call) {
    let expires_at = call.ring_expires_at.expect("a ring");
    let late = world.database_now() - expires_at;
    // In these seeds nothing fails but rows that are lost.
    if world.loses_rows {
        assert!(
            late <= TimeDelta::seconds(RING_LATE_SECS_MAX),
            "ring {} ends {late} late",
            call.call_id
        );
    }
}

/// Whether every call is settled, or was a ring that led to none.
pub(super) fn is_quiet(world: &SimulatedWorld) -> bool {
    let rows = world.rows.borrow();
    let mut phases = rows.calls.values().map(|row| row.call.phase);
    phases.all(|phase| matches!(phase, CallPhase::Settled | CallPhase::Unanswered))
}

/// Asserts at the end that each call has ended and was paid for exactly.
pub(super) fn assert_final_state(world: &SimulatedWorld) {
    assert_invariants(world);
    let rows = world.rows.borrow();
    let wallet = world.wallet.borrow();
    assert!(rows.live_parties.is_empty(), "a party is never freed");
    for row in rows.calls.values() {
        let call = &row.call;
        assert_ring_is_answered_or_not(world, call);
        if call.phase == CallPhase::Unanswered {
            continue;
        }
        assert_eq!(call.phase, CallPhase::Settled, "{call:?} never ends");
        assert_paid_exactly(world, call);
        assert_published_exactly(world, call);
        assert_deleted_not_billed(world, call);
    }
    for call_id in wallet.charged_calls() {
        if !rows.calls.contains_key(&call_id) {
            let left = wallet.charged_minutes(call_id);
            assert_eq!(left, [], "call {call_id} never was, and costs");
        }
    }
}

/// Asserts that a ring led to a call or to an outcome, never to both, that an outcome costs nothing, and that it
/// was published once.
fn assert_ring_is_answered_or_not(world: &SimulatedWorld, call: &Call) {
    let id = call.call_id;
    let is_unanswered = call.phase == CallPhase::Unanswered;
    assert_eq!(
        is_unanswered,
        call.outcome.is_some(),
        "outcome of call {id}"
    );
    let published = world.published_rings.borrow();
    let times = published.get(&id).copied().unwrap_or_default();
    assert_eq!(
        times,
        usize::from(is_unanswered),
        "outcomes published of {id}"
    );
    if is_unanswered {
        assert!(call.is_ring() && call.start_time.is_none(), "{call:?}");
        let charged = world.wallet.borrow().charged_minutes(id);
        assert_eq!((call.coins_spent, charged), (0, vec![]), "ring {id} costs");
    } else if call.is_ring() {
        assert!(call.accepted_at.is_some(), "call {id} was never accepted");
    }
}

/// Asserts that the end of the call was published once, with the figures of its receipt.
fn assert_published_exactly(world: &SimulatedWorld, call: &Call) {
    let published = world.published.borrow();
    assert_eq!(
        published.get(&call.call_id),
        Some(&vec![PublishedFigures::of(call)]),
        "what was published of call {}",
        call.call_id
    );
}

/// Asserts that no minute counts that was charged after calls learned of a deletion, except the last one of
/// a call that had been hung up in it before.
fn assert_deleted_not_billed(world: &SimulatedWorld, call: &Call) {
    if call.figures_follow_settlement {
        return;
    }
    let deletions = world.deletions.borrow();
    let known_ms = call.parties().into_iter();
    let known_ms = known_ms.filter_map(|party| deletions.get(&party)?.known_ms);
    let Some(known_ms) = known_ms.min() else {
        return;
    };
    for (minute, _) in world.wallet.borrow().charged_minutes(call.call_id) {
        let charged_ms = world.charged_ms.borrow()[&(call.call_id, minute)];
        assert!(
            charged_ms <= known_ms,
            "minute {minute} of call {} is billed after the deletion of a party",
            call.call_id
        );
    }
}

fn assert_paid_exactly(world: &SimulatedWorld, call: &Call) {
    let id = call.call_id;
    let seconds = call.duration_seconds.expect("it has ended");
    let minutes = call.duration_minutes.expect("it has ended");
    let taken_back = call.status == CallStatus::Cancelled && minutes == 0;
    if taken_back {
        let grace = world.limits.cancel_grace.num_seconds();
        assert!(seconds <= grace, "call {id} of {seconds} s costs nothing");
    } else {
        let minutes_begun = seconds.div_euclid(MINUTE_SECS.into())
            + i64::from(seconds.rem_euclid(MINUTE_SECS.into()) > 0);
        assert_eq!(
            i64::from(minutes),
            minutes_begun.max(1),
            "minutes of call {id}, {seconds} s"
        );
    }
    if !world.has_skew_changed.get() {
        assert_billed_for_talk_time(world, id, seconds);
    }
    let wallet = world.wallet.borrow();
    let returns = world.minute_returns(id);
    assert_returned_once(call, &returns);
    let kept = (1..=minutes).filter(|minute| !returns.returned.contains(minute));
    let expected: Vec<(i32, i64)> = kept.map(|minute| (minute, COINS_PER_MINUTE)).collect();
    assert_eq!(
        wallet.charged_minutes(id),
        expected,
        "minutes charged for call {id}"
    );
    assert_eq!(
        call.coins_spent,
        (i64::from(minutes) - count(&returns.returned)) * COINS_PER_MINUTE,
        "call {id}"
    );
    let earned = wallet.earned_paise(id, minutes, &returns.unearned, PAISE_PER_MINUTE);
    assert_eq!(call.listener_paise_earned, earned, "call {id}");
    let settled = wallet.settlement(id).expect("it is settled");
    assert_eq!(settled.listener_paise, earned, "call {id}");
}

/// Asserts that only minutes of a call that the platform carried are returned, each once, and that the listener loses
/// no other minute.
fn assert_returned_once(call: &Call, returns: &MinuteReturns) {
    let MinuteReturns { returned, unearned } = returns;
    let minutes = call.duration_minutes.expect("it has ended");
    let is_counted = |minute: &i32| (1..=minutes).contains(minute);
    assert!(returned.iter().all(is_counted), "{call:?}: {returns:?}");
    assert!(
        returned.is_sorted_by(|left, right| left < right),
        "{returns:?}"
    );
    assert!(
        unearned.iter().all(|minute| returned.contains(minute)),
        "{returns:?}"
    );
    assert!(
        call.media == CallMedia::Platform || returned.is_empty(),
        "{call:?}: {returns:?}"
    );
}

/// Asserts that a caller or listener who hangs up is billed for the time since the start. Less is billed only
/// if the service was unavailable or coins were missing: then the call ended with a paid minute.
fn assert_billed_for_talk_time(world: &SimulatedWorld, id: i64, seconds: i64) {
    let talked_ms = world.talked_ms.borrow();
    let talked = talked_ms.get(&id).expect("it was live");
    let Some(until_ms) = talked.until_ms else {
        return;
    };
    let talked_ms = until_ms - talked.from_ms;
    let talked_secs = talked_ms / 1_000 + i64::from(talked_ms % 1_000 > 0);
    let is_cut = seconds < talked_secs && seconds % i64::from(MINUTE_SECS) == 0;
    assert!(
        seconds == talked_secs || is_cut,
        "call {id} of {talked_secs} s is billed for {seconds} s"
    );
}
