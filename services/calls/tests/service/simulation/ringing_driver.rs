//! The operations on calls that ring, with the same decisions as the service.

use chrono::{DateTime, Utc};
use talktime_calls::domain::call::{Call, CallMedia, CallPhase};
use talktime_calls::domain::ending::RingOutcomeReason;
use talktime_calls::domain::ringing::{self, AcceptRingDecision, RingEndCause, RingEnding};
use talktime_calls::domain::steps::{self, CallEndCause};

use super::world::{LEASE_SECS, SimulatedWorld, UnknownOutcome};
use super::{checks, driver};
use crate::model::ModelRows;
use crate::ring_model::CONNECT_SECS;

/// Records that a device of the listener rings.
pub(super) async fn acknowledge(
    world: &SimulatedWorld,
    call_id: i64,
) -> Result<(), UnknownOutcome> {
    let record = |rows: &mut ModelRows, now| rows.record_reached(now, call_id);
    world.transact(record).await?;
    Ok(())
}

/// Accepts a call for a session of its listener.
pub(super) async fn accept(
    world: &SimulatedWorld,
    call_id: i64,
    session_id: &'static str,
) -> Result<(), UnknownOutcome> {
    let begin = |rows: &mut ModelRows, now| {
        let call = rows.find(now, call_id)?;
        match ringing::evaluate_accept(&call, session_id) {
            AcceptRingDecision::Accept => {
                Some(rows.begin_accept(now, call_id, session_id, LEASE_SECS))
            }
            AcceptRingDecision::Repeat => Some(call),
            AcceptRingDecision::Refuse(_) => None,
        }
    };
    let accepted = world.transact(begin).await?;
    let reserved = accepted.filter(|call| call.phase == CallPhase::Reserving);
    let Some(reserved) = reserved else {
        return Ok(());
    };
    world.log_line(|| format!("{session_id} accepts {call_id}"));
    let begun = match reserved.media {
        CallMedia::Own => driver::charge_and_activate(world, &reserved).await,
        CallMedia::Platform => charge_and_connect(world, &reserved).await,
    };
    let reason = match begun {
        Ok(Some(())) => return Ok(()),
        Ok(None) => RingOutcomeReason::InsufficientCoins,
        Err(UnknownOutcome) => RingOutcomeReason::WalletAway,
    };
    // Another driver of the same session may have turned the call live; then it stays.
    driver::undo(world, &reserved, RingEnding::failed(reason)).await?;
    Ok(())
}

async fn charge_and_connect(
    world: &SimulatedWorld,
    reserved: &Call,
) -> Result<Option<()>, UnknownOutcome> {
    let charge = driver::charge(world, reserved, 1).await?;
    if steps::evaluate_first_charge(reserved, charge).is_err() {
        return Ok(None);
    }
    let call_id = reserved.call_id;
    let connect = |rows: &mut ModelRows, now| rows.begin_connecting(now, call_id, CONNECT_SECS);
    Ok(world.transact(connect).await?.map(|_| ()))
}

/// Turns a call live whose parties the platform's media has connected.
pub(super) async fn connect(world: &SimulatedWorld, call_id: i64) -> Result<(), UnknownOutcome> {
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    if let Some(call) = found.filter(|call| call.phase == CallPhase::Connecting) {
        driver::charge_and_activate(world, &call).await?;
    }
    Ok(())
}

/// Ends a ring; returns whether this request ended it.
pub(super) async fn end_ring(
    world: &SimulatedWorld,
    call_id: i64,
    cause: RingEndCause,
) -> Result<bool, UnknownOutcome> {
    let end = |rows: &mut ModelRows, now: DateTime<Utc>| {
        let call = rows.find(now, call_id)?;
        if call.phase != CallPhase::Ringing {
            return None;
        }
        let ending = ringing::resolve_ring_end(&call, cause, &world.limits)?;
        let ended = rows.end_ring(now, call_id, ending);
        world.publish_unanswered(&ended);
        checks::assert_ring_ends_in_time(world, &ended);
        Some(ended)
    };
    let ended = world.transact(end).await?;
    world.log_line(|| format!("ring {call_id} ends: {cause:?}, {}", ended.is_some()));
    Ok(ended.is_some())
}

/// Ends a ring, or undoes another call that is not live; returns a call that is.
pub(super) async fn end_before_live(
    world: &SimulatedWorld,
    call: &Call,
    cause: RingEndCause,
) -> Result<Option<Call>, UnknownOutcome> {
    if call.is_ring() && end_ring(world, call.call_id, cause).await? {
        return Ok(None);
    }
    let ending = ringing::resolve_ring_end(call, cause, &world.limits);
    let ending = ending.unwrap_or_else(|| ringing::abandoned_ending(call));
    driver::undo(world, call, ending).await
}

/// Hangs up on a call in any phase, as a client does that only knows how to end calls.
pub(super) async fn hang_up(
    world: &SimulatedWorld,
    call_id: i64,
    user_id: i64,
    cause: CallEndCause,
) -> Result<(), UnknownOutcome> {
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    let is_unstarted = |call: &Call| {
        let phases = [
            CallPhase::Ringing,
            CallPhase::Reserving,
            CallPhase::Connecting,
        ];
        call.is_ring() && phases.contains(&call.phase)
    };
    if let Some(call) = found.filter(is_unstarted)
        && end_before_live(world, &call, RingEndCause::HungUp { user_id })
            .await?
            .is_none()
    {
        return Ok(());
    }
    driver::end(world, call_id, cause).await
}
