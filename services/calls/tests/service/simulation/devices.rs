//! Devices of people who are rung: they ring, accept, decline, or do nothing.

use chrono::TimeDelta;
use talktime_calls::domain::call::{Call, CallMedia, CallPhase};
use talktime_calls::domain::ending::RingOutcomeReason;
use talktime_calls::domain::ringing::RingEndCause;
use talktime_calls::domain::steps::CallEndCause;

use super::people::request;
use super::runtime::TaskOwner;
use super::world::SimulatedWorld;
use super::{driver, ringing_driver};

/// Sessions of the devices of a person.
const SESSIONS: [&str; 2] = ["phone", "tablet"];

/// Looks for calls that ring this person, and handles each once.
pub(super) async fn run_devices(world: SimulatedWorld, user_id: i64) {
    let runtime = world.runtime.clone();
    let mut handled = 0;
    loop {
        runtime.sleep(100..2_000).await;
        if let Some(call) = find_ring(&world, user_id).filter(|call| call.call_id > handled) {
            handled = call.call_id;
            runtime.spawn(TaskOwner::World, handle_ring(world.clone(), call));
        }
    }
}

fn find_ring(world: &SimulatedWorld, user_id: i64) -> Option<Call> {
    let rows = world.rows.borrow();
    let call_id = rows.live_parties.get(&user_id)?;
    let call = &rows.calls.get(call_id)?.call;
    let rings = call.phase == CallPhase::Ringing && call.listener_id == user_id;
    rings.then(|| call.clone())
}

async fn handle_ring(world: SimulatedWorld, call: Call) {
    let runtime = world.runtime.clone();
    let call_id = call.call_id;
    if !runtime.one_in(6) {
        request(&world, move |world| async move {
            let _ = ringing_driver::acknowledge(&world, call_id).await;
        });
    }
    runtime.sleep(100..14_000).await;
    match runtime.between(0..8) {
        0 => {}
        1 => request(&world, move |world| async move {
            let cause = RingEndCause::Declined(RingOutcomeReason::Busy);
            let _ = ringing_driver::end_ring(&world, call_id, cause).await;
        }),
        _ => accept(&world, &call).await,
    }
}

/// Accepts once or several times, on one device or two; the platform's media then connects, or does not.
async fn accept(world: &SimulatedWorld, call: &Call) {
    let runtime = &world.runtime;
    let call_id = call.call_id;
    for _ in 0..runtime.between(1..4) {
        let session_id = SESSIONS[runtime.index(SESSIONS.len())];
        request(world, move |world| async move {
            let _ = ringing_driver::accept(&world, call_id, session_id).await;
        });
        runtime.sleep(0..400).await;
    }
    if call.media == CallMedia::Platform && !runtime.one_in(4) {
        runtime.sleep(200..7_000).await;
        request(world, move |world| async move {
            let _ = ringing_driver::connect(&world, call_id).await;
        });
        if runtime.one_in(3) {
            lose_media(world, call_id).await;
        }
    }
}

/// Ends a call some time after its sound was lost, as several replicas may find at once.
async fn lose_media(world: &SimulatedWorld, call_id: i64) {
    let runtime = &world.runtime;
    runtime.sleep(0..30_000).await;
    let last_good = world.database_now() - TimeDelta::milliseconds(runtime.between(0..20_000));
    let cause = CallEndCause::MediaLost { last_good };
    for _ in 0..runtime.between(1..3) {
        request(world, move |world| async move {
            let _ = driver::end(&world, call_id, cause).await;
        });
    }
}
