//! People who call, top up, request billing and hang up, and machines that fail.

use std::cell::Cell;
use std::rc::Rc;

use chrono::TimeDelta;
use talktime_calls::domain::call::{CallMedia, CallStatus};
use talktime_calls::domain::ending::{CallEndReason, EndingParty};
use talktime_calls::domain::steps::CallEndCause;

use super::runtime::TaskOwner;
use super::world::{Deletion, REPLICAS, SKEW_MS, SimulatedWorld};
use super::{deletion_driver, driver, ringing_driver, sweep_driver};
use crate::ring_model::{CONNECT_SECS, REACH_SECS};

pub(super) const PEOPLE: i64 = 4;
/// Time at which failures stop and people stop calling.
pub(super) const ROUGH_MS: i64 = 120_000;
const ROUNDS: usize = 6;
/// Share of rounds in which a user requests their deletion while they go on calling.
const ONE_IN_DELETIONS: i64 = 16;

/// A user who calls others and hangs up on most of them.
pub(super) async fn run_person(world: SimulatedWorld, user_id: i64, is_done: Rc<Cell<usize>>) {
    let runtime = world.runtime.clone();
    top_up(&world, user_id, 1..5);
    for _ in 0..ROUNDS {
        runtime.sleep(0..8_000).await;
        if runtime.now_ms() > ROUGH_MS || world.is_deleted(user_id) {
            break;
        }
        if runtime.one_in(ONE_IN_DELETIONS) {
            runtime.spawn(TaskOwner::World, delete(world.clone(), user_id));
        }
        world.sign_of_life(user_id);
        let other = (user_id + runtime.between(1..PEOPLE)) % PEOPLE;
        let started = Rc::new(Cell::new(None));
        let seen = started.clone();
        let ring = match runtime.between(0..4) {
            0 | 1 => None,
            2 => Some(CallMedia::Own),
            _ => Some(CallMedia::Platform),
        };
        request(&world, move |world| async move {
            let answer = driver::start(&world, (user_id, other), ring).await;
            seen.set(answer.ok().flatten());
        });
        talk(&world, user_id).await;
        // Without an answer the app requests its ongoing call.
        let on = || world.rows.borrow().live_parties.get(&user_id).copied();
        if let Some(call_id) = started.get().or_else(on) {
            hang_up(&world, user_id, call_id);
            // Coins may arrive while the call is being settled.
            runtime.sleep(0..3_000).await;
            top_up(&world, user_id, 0..2);
        }
    }
    is_done.set(is_done.get() + 1);
}

/// Deletes a user as profile does: it informs calls, unless it is an older release, deletes the user, and
/// publishes an event that arrives late.
async fn delete(world: SimulatedWorld, user_id: i64) {
    let runtime = world.runtime.clone();
    let is_prepared = !runtime.one_in(4);
    if is_prepared
        && !matches!(
            deletion_driver::prepare_deletion(&world, user_id).await,
            Ok(false)
        )
    {
        return;
    }
    world.log_line(|| format!("{user_id} is deleted; calls was asked: {is_prepared}"));
    let deletion = Deletion {
        is_prepared,
        known_ms: None,
    };
    world.deletions.borrow_mut().insert(user_id, deletion);
    runtime.sleep(10..15_000).await;
    while deletion_driver::forbid_calls_of(&world, user_id)
        .await
        .is_err()
    {}
    let known_ms = Some(runtime.now_ms());
    world.log_line(|| format!("calls knows that {user_id} is deleted"));
    let deletion = Deletion {
        is_prepared,
        known_ms,
    };
    world.deletions.borrow_mut().insert(user_id, deletion);
}

fn top_up(world: &SimulatedWorld, user_id: i64, minutes: std::ops::Range<i64>) {
    // The amount is no multiple of the price, so that a remainder must stay.
    let coins = world.runtime.between(minutes) * 10 + world.runtime.between(0..10);
    world.wallet.borrow_mut().recharge(user_id, coins);
}

async fn talk(world: &SimulatedWorld, user_id: i64) {
    let runtime = &world.runtime;
    for _ in 0..runtime.between(0..6) {
        runtime.sleep(0..9_000).await;
        if runtime.one_in(2) {
            world.sign_of_life(user_id);
        }
        if runtime.one_in(6) {
            top_up(world, user_id, 0..3);
        }
        let on = world.rows.borrow().live_parties.get(&user_id).copied();
        if let Some(call_id) = on.filter(|_| runtime.one_in(3)) {
            request(world, move |world| async move {
                let _ = sweep_driver::bill_due_minutes(&world, call_id).await;
            });
        }
    }
}

/// Hangs up once, several times at once, or not at all.
fn hang_up(world: &SimulatedWorld, user_id: i64, call_id: i64) {
    let status = match world.runtime.between(0..4) {
        0 => CallStatus::Cancelled,
        1 => CallStatus::Dropped,
        _ => CallStatus::Completed,
    };
    let caller = world
        .rows
        .borrow()
        .calls
        .get(&call_id)
        .map(|row| row.call.user_id);
    let cause = CallEndCause::HangUp {
        status,
        reason: CallEndReason::HungUp,
        by: if caller == Some(user_id) {
            EndingParty::Caller
        } else {
            EndingParty::Listener
        },
    };
    for _ in 0..world.runtime.between(0..4) {
        request(world, move |world| async move {
            let _ = ringing_driver::hang_up(&world, call_id, user_id, cause).await;
        });
    }
}

/// Runs a request on a random replica, if it is up. The request dies with the replica.
pub(super) fn request<F: Future<Output = ()> + 'static>(
    world: &SimulatedWorld,
    act: impl FnOnce(SimulatedWorld) -> F,
) {
    let replica = world.runtime.index(REPLICAS);
    if world.up.borrow()[replica] {
        world
            .runtime
            .spawn(TaskOwner::Replica(replica), act(world.clone()));
    }
}

/// Starts the background tasks of a replica.
pub(super) fn start_replica(world: &SimulatedWorld, replica: usize) {
    world.up.borrow_mut()[replica] = true;
    let (sweeping, watching) = (world.clone(), world.clone());
    world
        .runtime
        .spawn(TaskOwner::Replica(replica), async move {
            loop {
                for call in sweep_driver::claim(&sweeping).await.unwrap_or_default() {
                    let world = sweeping.clone();
                    sweeping
                        .runtime
                        .spawn(TaskOwner::Replica(replica), async move {
                            let _ = sweep_driver::drive(&world, call).await;
                        });
                }
                sweeping.runtime.sleep(200..1_500).await;
            }
        });
    world
        .runtime
        .spawn(TaskOwner::Replica(replica), async move {
            loop {
                watching.runtime.sleep(2_000..9_000).await;
                let _ = driver::end_silent(&watching).await;
            }
        });
}

/// Kills replicas, makes the wallet unavailable, and lets another database with another clock take over.
pub(super) async fn cause_failures(world: SimulatedWorld) {
    let runtime = world.runtime.clone();
    let changes_clocks = runtime.one_in(4);
    while runtime.now_ms() < ROUGH_MS {
        runtime.sleep(500..8_000).await;
        if world.loses_rows {
            continue;
        }
        match runtime.between(0..6) {
            0..3 => {
                let replica = runtime.index(REPLICAS);
                world.log_line(|| format!("replica {replica} dies"));
                world.up.borrow_mut()[replica] = false;
                runtime.crash(TaskOwner::Replica(replica));
                runtime.sleep(100..6_000).await;
                start_replica(&world, replica);
            }
            3 => {
                world.log_line(|| "the wallet is away".to_owned());
                world.is_wallet_up.set(false);
                runtime.sleep(500..15_000).await;
                world.is_wallet_up.set(true);
            }
            4 if changes_clocks => {
                world.has_skew_changed.set(true);
                world
                    .database_skew_ms
                    .set(runtime.between(-SKEW_MS..SKEW_MS));
                world.log_line(|| "the database's clock is another".to_owned());
            }
            _ => {}
        }
    }
    world.is_rough.set(false);
}

/// Time limits as configured, on the scale of a short minute.
pub(super) fn saga_limits(
    cancel_grace_secs: i64,
) -> talktime_calls::domain::limits::SagaTimeLimits {
    talktime_calls::domain::limits::SagaTimeLimits {
        unpaid_grace: TimeDelta::seconds(5),
        cancel_grace: TimeDelta::seconds(cancel_grace_secs),
        silence_max: TimeDelta::seconds(45),
        reach: TimeDelta::seconds(REACH_SECS.into()),
        connect: TimeDelta::seconds(CONNECT_SECS),
        caller_silence_max: TimeDelta::seconds(90),
    }
}
