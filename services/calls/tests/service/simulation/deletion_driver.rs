//! The deletion of a user, whose calls end before and after it.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallPhase};
use talktime_calls::domain::ending::{CallEndReason, EndingParty};
use talktime_calls::domain::ringing::RingEndCause;
use talktime_calls::domain::steps::CallEndCause;

use super::driver::end_live;
use super::ringing_driver::end_before_live;
use super::world::{DELETION_SECS_MAX, SimulatedWorld, UnknownOutcome};
use crate::model::ModelRows;

/// Keeps a user from calls before their deletion; returns whether they are on one.
pub(super) async fn prepare_deletion(
    world: &SimulatedWorld,
    user_id: i64,
) -> Result<bool, UnknownOutcome> {
    if let Some(call) = call_of(world, user_id).await?
        && call.phase == CallPhase::Active
    {
        return Ok(true);
    }
    let bar = |rows: &mut ModelRows, now| {
        rows.bar(user_id, now + TimeDelta::seconds(DELETION_SECS_MAX));
    };
    world.transact(bar).await?;
    let Some(call) = call_of(world, user_id).await? else {
        return Ok(false);
    };
    let live = end_before_live(world, &call, RingEndCause::HungUp { user_id }).await?;
    Ok(live.is_some_and(|call| call.phase == CallPhase::Active))
}

/// Keeps a deleted user from calls permanently, and ends their live call.
pub(super) async fn forbid_calls_of(
    world: &SimulatedWorld,
    user_id: i64,
) -> Result<(), UnknownOutcome> {
    let bar = |rows: &mut ModelRows, _| rows.bar(user_id, DateTime::<Utc>::MAX_UTC);
    world.transact(bar).await?;
    let Some(call) = call_of(world, user_id).await? else {
        return Ok(());
    };
    let Some(live) = end_before_live(world, &call, RingEndCause::HungUp { user_id }).await? else {
        return Ok(());
    };
    let cause = CallEndCause::Forbidden {
        reason: CallEndReason::HungUp,
        by: live.party_of(user_id).unwrap_or(EndingParty::Server),
    };
    let end = |rows: &mut ModelRows, now| end_live(world, rows, now, live.call_id, cause);
    world.transact(end).await?;
    Ok(())
}

async fn call_of(world: &SimulatedWorld, user_id: i64) -> Result<Option<Call>, UnknownOutcome> {
    let find_call = |rows: &mut ModelRows, now| {
        let call_id = rows.live_parties.get(&user_id).copied()?;
        rows.find(now, call_id)
    };
    world.transact(find_call).await
}
