//! The next due step of a call, as the sweeper takes it.

use talktime_calls::domain::call::{Call, CallPhase};
use talktime_calls::domain::ringing::{self, RingEndCause};
use talktime_calls::domain::steps::{self, DueSagaStep, MinuteBillingDecision};

use super::driver::{charge, end, settle, undo};
use super::ringing_driver::end_ring;
use super::world::{LEASE_SECS, SimulatedWorld, UnknownOutcome};
use crate::model::ModelRows;

/// Bills the due minutes of one call at the request of a client.
pub(super) async fn bill_due_minutes(
    world: &SimulatedWorld,
    call_id: i64,
) -> Result<(), UnknownOutcome> {
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    match found {
        Some(call) if call.phase == CallPhase::Active => drive(world, call).await,
        _ => Ok(()),
    }
}

/// Claims every call whose next step is due.
pub(super) async fn claim(world: &SimulatedWorld) -> Result<Vec<Call>, UnknownOutcome> {
    world
        .transact(|rows, now| rows.claim_due(now, LEASE_SECS))
        .await
}

/// Takes a call one step further.
pub(super) async fn drive(world: &SimulatedWorld, call: Call) -> Result<(), UnknownOutcome> {
    match steps::next_due_step(&call, &world.limits) {
        DueSagaStep::EndRing => end_ring(world, call.call_id, RingEndCause::Expired)
            .await
            .map(|_| ()),
        DueSagaStep::Undo => undo(world, &call, ringing::abandoned_ending(&call))
            .await
            .map(|_| ()),
        DueSagaStep::Settle => settle(world, &call).await,
        DueSagaStep::End(cause) => end(world, call.call_id, cause).await,
        DueSagaStep::Charge => bill(world, &call).await,
        DueSagaStep::Nothing => Ok(()),
    }
}

async fn bill(world: &SimulatedWorld, call: &Call) -> Result<(), UnknownOutcome> {
    let charge = charge(world, call, call.minutes_billed + 1).await?;
    match steps::evaluate_next_charge(call, charge) {
        MinuteBillingDecision::Record(minute) => {
            let record = |rows: &mut ModelRows, now| rows.record_minute(now, call.call_id, minute);
            let recorded = world.transact(record).await?;
            world.log_line(|| {
                let (id, was_new) = (call.call_id, recorded.is_some());
                format!("minute {} of {id} recorded: {was_new}", minute.minute)
            });
            Ok(())
        }
        MinuteBillingDecision::End(cause) => end(world, call.call_id, cause).await,
    }
}
