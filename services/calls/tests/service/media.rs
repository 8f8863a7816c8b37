//! Decisions about the seats and the sound of calls that the platform carries.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallMedia, CallPhase};
use talktime_calls::domain::media_loss::{LossLimits, RelayPresence, evaluate_loss};
use talktime_calls::domain::relay::SeatRole;
use talktime_calls::domain::seats::{
    MediaStatus, Seat, SeatPair, SeatState, derive_state, evaluate_join, require_role,
};
use talktime_calls::domain::steps::CallEndCause;
use talktime_kit::Error;

use crate::model::ModelRows;
use crate::ring_model::new_ring;

const LIMITS: LossLimits = LossLimits {
    lost: TimeDelta::seconds(45),
    reported_within: TimeDelta::seconds(30),
};

/// A moment of the call, which began at zero.
fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + secs, 0).expect("valid")
}

/// A live call of the platform's media, read so many seconds after its start.
fn live_call(read_secs: i64) -> Call {
    let ring = Some(new_ring(CallMedia::Platform));
    let call = ModelRows::default().insert_reserved(at(-10), (1, 2), ring, 8.0);
    Call {
        phase: CallPhase::Active,
        accepted_at: Some(at(-2)),
        accepted_session: Some("phone".to_owned()),
        start_time: Some(at(0)),
        read_at: at(read_secs),
        ..call.expect("both are free")
    }
}

fn seat(role: SeatRole) -> Seat {
    Seat {
        call_id: 1,
        role,
        epoch: 1,
        session_id: "phone".to_owned(),
        state: SeatState::Connected,
        state_since: at(0),
        connected_at: Some(at(0)),
        left_at: None,
        reported_at: None,
        tx_packets: 0,
        rx_packets: 0,
        rx_lost: 0,
        rx_energy: 0.0,
        rx_grew_at: None,
        relay_in_grew_at: None,
        relay_out_grew_at: None,
        relay_realm: None,
    }
}

/// Both seats, of which the relay last counted packets at these moments: from the caller, to the caller, from the
/// listener.
fn counted_pair(from_caller: i64, to_caller: i64, from_listener: i64) -> SeatPair {
    let caller = Seat {
        relay_in_grew_at: Some(at(from_caller)),
        relay_out_grew_at: Some(at(to_caller)),
        ..seat(SeatRole::Caller)
    };
    let listener = Seat {
        relay_in_grew_at: Some(at(from_listener)),
        ..seat(SeatRole::Listener)
    };
    SeatPair::default().with_seat(caller).with_seat(listener)
}

fn lost_pair(caller_since: Option<i64>, listener_since: Option<i64>) -> SeatPair {
    let side = |role, since: Option<i64>| match since {
        Some(since) => Seat {
            state: SeatState::Failed,
            state_since: at(since),
            ..seat(role)
        },
        None => seat(role),
    };
    SeatPair::default()
        .with_seat(side(SeatRole::Caller, caller_since))
        .with_seat(side(SeatRole::Listener, listener_since))
}

/// Seconds from the start to the moment as of which the call ends for lack of sound; `None` if it goes on.
fn lost_at(read_secs: i64, pair: &SeatPair, relays: RelayPresence) -> Option<i64> {
    match evaluate_loss(&live_call(read_secs), pair, relays, LIMITS)? {
        CallEndCause::MediaLost { last_good } => Some((last_good - at(0)).num_seconds()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_ends_with_the_last_packet_that_reached_the_caller() {
    let reporting = RelayPresence::Reporting;
    assert_eq!(
        lost_at(145, &counted_pair(140, 100, 140), reporting),
        Some(100)
    );
    assert_eq!(lost_at(144, &counted_pair(140, 100, 140), reporting), None);
    // Packets to the caller count only as far as the listener has sent them.
    assert_eq!(
        lost_at(145, &counted_pair(140, 140, 90), reporting),
        Some(90)
    );
    // Nothing comes from the caller's phone any more, so nobody listens.
    assert_eq!(
        lost_at(145, &counted_pair(80, 140, 140), reporting),
        Some(80)
    );
}

#[test]
fn a_caller_who_says_that_packets_arrive_is_not_cut_off() {
    let mut pair = counted_pair(100, 100, 100);
    let caller = pair.caller.as_mut().expect("a seat");
    caller.rx_grew_at = Some(at(140));
    caller.reported_at = Some(at(140));
    assert_eq!(lost_at(160, &pair, RelayPresence::Reporting), None);
    assert_eq!(lost_at(185, &pair, RelayPresence::Reporting), Some(140));
}

#[test]
fn without_counters_both_must_have_lost_the_call() {
    let away = RelayPresence::Away;
    assert_eq!(
        lost_at(145, &lost_pair(Some(100), Some(90)), away),
        Some(100)
    );
    assert_eq!(lost_at(144, &lost_pair(Some(100), Some(90)), away), None);
    assert_eq!(lost_at(500, &lost_pair(Some(100), None), away), None);
    assert_eq!(lost_at(500, &lost_pair(None, Some(90)), away), None);
    // Counters of a relay that does not report any more say nothing.
    assert_eq!(lost_at(500, &counted_pair(10, 10, 10), away), None);
}

#[test]
fn a_call_whose_listener_died_before_anything_was_counted_ends() {
    let reporting = RelayPresence::Reporting;
    let mut pair = lost_pair(Some(100), None);
    assert_eq!(lost_at(144, &pair, reporting), None);
    assert_eq!(lost_at(145, &pair, reporting), Some(100));
    // The listener's app was there until then.
    pair.listener.as_mut().expect("a seat").reported_at = Some(at(110));
    assert_eq!(lost_at(154, &pair, reporting), None);
    assert_eq!(lost_at(155, &pair, reporting), Some(100));
}

#[test]
fn nothing_is_lost_before_the_start() {
    let both = lost_pair(Some(-5), Some(-5));
    assert_eq!(lost_at(44, &both, RelayPresence::Away), None);
    assert_eq!(lost_at(45, &both, RelayPresence::Away), Some(0));
    let connecting = Call {
        phase: CallPhase::Connecting,
        start_time: None,
        ..live_call(500)
    };
    let cause = evaluate_loss(&connecting, &both, RelayPresence::Away, LIMITS);
    assert_eq!(cause, None);
}

#[test]
fn the_state_says_when_the_call_will_end() {
    let state = |pair: &SeatPair| derive_state(&live_call(60), pair, LIMITS.lost);
    let connected = state(&lost_pair(None, None));
    assert_eq!(
        (connected.status, connected.ends_at),
        (MediaStatus::Connected, None)
    );
    let one = state(&lost_pair(None, Some(20)));
    assert_eq!(
        (one.status, one.since, one.ends_at),
        (MediaStatus::PeerLost, at(20), None)
    );
    let both = state(&lost_pair(Some(30), Some(20)));
    assert_eq!((both.since, both.ends_at), (at(20), Some(at(75))));
}

fn code(refusal: impl Into<Error>) -> String {
    refusal.into().code().to_owned()
}

#[test]
fn a_seat_belongs_to_one_session_until_another_takes_it_over() {
    let call = live_call(10);
    let evaluate = |session, take_over, present: Option<&Seat>| {
        evaluate_join(&call, SeatRole::Listener, session, take_over, present).map_err(code)
    };
    let join = |session, present: Option<&Seat>| evaluate(session, false, present);
    let take_over = |session, present: Option<&Seat>| evaluate(session, true, present);
    let taken = Err("seat_taken".to_owned());
    // The session that has accepted comes first.
    assert_eq!(join("phone", None), Ok(1));
    assert_eq!(join("tablet", None), taken);
    assert_eq!(take_over("tablet", None), Ok(1));
    let held = seat(SeatRole::Listener);
    assert_eq!(join("phone", Some(&held)), Ok(2));
    assert_eq!(join("tablet", Some(&held)), taken);
    assert_eq!(take_over("tablet", Some(&held)), Ok(2));
    let left = Seat {
        left_at: Some(at(5)),
        ..held
    };
    assert_eq!(join("tablet", Some(&left)), Ok(2));
    let is_take_over = false;
    let caller = evaluate_join(&call, SeatRole::Caller, "laptop", is_take_over, None);
    assert_eq!(caller.map_err(code), Ok(1));
}

#[test]
fn only_accepted_and_live_calls_of_the_platform_have_seats() {
    let role = |call: &Call, user_id| require_role(call, user_id).map_err(code);
    let live = live_call(10);
    assert_eq!(role(&live, 1), Ok(SeatRole::Caller));
    assert_eq!(role(&live, 2), Ok(SeatRole::Listener));
    assert_eq!(role(&live, 3), Err("not_a_party".to_owned()));
    let own = Call {
        media: CallMedia::Own,
        ..live.clone()
    };
    assert_eq!(role(&own, 1), Err("media_not_platform".to_owned()));
    for phase in CallPhase::ALL {
        let call = Call {
            phase,
            ..live.clone()
        };
        let is_open = matches!(phase, CallPhase::Connecting | CallPhase::Active);
        assert_eq!(role(&call, 1).is_ok(), is_open, "{phase:?}");
    }
}
