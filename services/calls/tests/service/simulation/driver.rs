//! The calls service: what `saga` does with real parts, with the same decisions, on simulated ones.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallPhase};
use talktime_calls::domain::steps::{
    self, BillingDecision, ChargeOutcome, DueStep, EndCause, SettlementStep,
};
use talktime_calls::store::calls::CallReceipt;

use super::checks;
use super::wallet::{Answer, Ask};
use super::world::{DELETION_SECS_MAX, LEASE_SECS, Talked, Unknown, World};
use crate::model::{PAISE_PER_COIN, Rows};

/// How long a reservation waits for the lock of another.
const LOCKED_MS: Range<i64> = 0..300;

/// Starts a call; none when it is refused.
pub(super) async fn start(world: &World, parties: (i64, i64)) -> Result<Option<i64>, Unknown> {
    if world.is_deleted(parties.0) || world.is_deleted(parties.1) {
        return Ok(None);
    }
    // The statement looks who is barred as of its beginning; it may wait for the lock of another that takes
    // the same people before it is seen itself.
    let is_barred = {
        let rows = world.rows.borrow();
        rows.is_barred(world.database_now(), [parties.0, parties.1])
    };
    if is_barred {
        return Ok(None);
    }
    world.runtime.sleep(LOCKED_MS).await;
    let reserve = |rows: &mut Rows, now| {
        let reserved = rows.insert_reserved(now, parties, LEASE_SECS)?;
        if world.loses_row() {
            rows.lose(reserved.call_id);
        }
        Some(reserved)
    };
    let Some(reserved) = world.transact(reserve).await? else {
        return Ok(None);
    };
    world.note(|| format!("reserved {} for {parties:?}", reserved.call_id));
    if let Ok(Some(())) = charge_and_activate(world, &reserved).await {
        return Ok(Some(reserved.call_id));
    }
    // A start whose commit was not confirmed may be live all the same.
    let live = undo(world, reserved.call_id).await?;
    Ok(live.map(|call| call.call_id))
}

async fn charge_and_activate(world: &World, reserved: &Call) -> Result<Option<()>, Unknown> {
    let charge = charge(world, reserved, 1).await?;
    let Ok(minute) = steps::evaluate_first_charge(reserved, charge) else {
        return Ok(None);
    };
    let activate = |rows: &mut Rows, now| {
        let live = rows.activate(now, reserved.call_id, minute)?;
        checks::may_go_live(world, &live);
        let from_ms = world.runtime.now_ms();
        let talked = Talked {
            from_ms,
            until_ms: None,
        };
        world.talked_ms.borrow_mut().insert(live.call_id, talked);
        Some(live)
    };
    let live = world.transact(activate).await?;
    world.note(|| format!("{} live: {}", reserved.call_id, live.is_some()));
    Ok(live.map(|_| ()))
}

/// Tries to void a charge that no row remembers.
const UNRECORDED_VOIDS_MAX: usize = 5;

/// Undoes a call that is not live; answers a call that is.
async fn undo(world: &World, call_id: i64) -> Result<Option<Call>, Unknown> {
    let begin = |rows: &mut Rows, now| rows.begin_undoing(now, call_id, LEASE_SECS);
    world.transact(begin).await?;
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    let is_recorded = match found {
        Some(call) if call.phase != CallPhase::Undoing => return Ok(Some(call)),
        found => found.is_some(),
    };
    let tries_max = if is_recorded { 1 } else { UNRECORDED_VOIDS_MAX };
    void(world, call_id, tries_max).await?;
    world
        .transact(|rows, now| rows.delete_undone(now, call_id))
        .await?;
    world.note(|| format!("undone {call_id}"));
    Ok(None)
}

async fn void(world: &World, call_id: i64, tries_max: usize) -> Result<(), Unknown> {
    for _ in 1..tries_max {
        if world.ask_wallet(Ask::Void { call_id }).await.is_ok() {
            return Ok(());
        }
    }
    world.ask_wallet(Ask::Void { call_id }).await?;
    Ok(())
}

/// Ends a call for a cause and settles it.
pub(super) async fn end(world: &World, call_id: i64, cause: EndCause) -> Result<(), Unknown> {
    let ended = world
        .transact(|rows, now| end_live(world, rows, now, call_id, cause))
        .await?;
    match ended {
        Some(ended) => settle(world, &ended).await,
        None => Ok(()),
    }
}

fn end_live(
    world: &World,
    rows: &mut Rows,
    now: DateTime<Utc>,
    call_id: i64,
    cause: EndCause,
) -> Option<Call> {
    let call = rows.find(now, call_id)?;
    if call.phase != CallPhase::Active {
        return Some(call).filter(|call| call.phase == CallPhase::Settling);
    }
    let ending = steps::resolve_end(&call, cause, &world.limits)?;
    world.note(|| format!("ends {call_id}: {cause:?} -> {ending:?}"));
    checks::not_in_the_future(world, call_id, ending.end_time);
    if matches!(cause, EndCause::HangUp { .. })
        && let Some(talked) = world.talked_ms.borrow_mut().get_mut(&call_id)
    {
        talked.until_ms = Some(world.runtime.now_ms());
    }
    let ended = rows.begin_settling(now, call_id, ending, LEASE_SECS);
    if !ended.figures_follow_settlement {
        world.publish_end(&ended);
    }
    Some(ended)
}

async fn settle(world: &World, call: &Call) -> Result<(), Unknown> {
    let minutes = match call.minutes_settled {
        Some(minutes) => minutes,
        None => decide_minutes(world, call).await?,
    };
    let ask = Ask::Settle {
        call_id: call.call_id,
        listener_id: call.listener_id,
        minutes,
        paise_per_minute: call.listener_paise_per_minute,
    };
    let Answer::Settled(settled) = world.ask_wallet(ask).await? else {
        unreachable!("a settlement is answered by one");
    };
    let receipt = CallReceipt {
        minutes,
        coins_spent: settled.coins_spent,
        user_paise_spent: settled.coins_spent * PAISE_PER_COIN,
        listener_paise_earned: settled.listener_paise,
    };
    let close = |rows: &mut Rows, now| {
        let closed = rows.settle(now, call.call_id, receipt);
        if let Some(closed) = closed.filter(|call| call.figures_follow_settlement) {
            world.publish_end(&closed);
        }
    };
    world.transact(close).await?;
    world.note(|| format!("settled {}: {settled:?}", call.call_id));
    Ok(())
}

async fn decide_minutes(world: &World, call: &Call) -> Result<i32, Unknown> {
    let mut next = steps::next_settlement_step(call, call.minutes_billed);
    let paid = loop {
        match next {
            SettlementStep::Close(minutes) => break minutes,
            SettlementStep::Charge(minute) => {
                let charge = charge(world, call, minute).await?;
                next = steps::settlement_step_after_charge(call, minute, charge);
            }
        }
    };
    let decide = |rows: &mut Rows, _| rows.decide_minutes(call.call_id, paid);
    Ok(world.transact(decide).await?.expect("an ended call stays"))
}

async fn charge(world: &World, call: &Call, minute: i32) -> Result<ChargeOutcome, Unknown> {
    let ask = Ask::Charge {
        call_id: call.call_id,
        minute,
        user_id: call.user_id,
        coins: call.coins_per_minute,
    };
    match world.ask_wallet(ask).await? {
        Answer::Charge(charge) => Ok(charge),
        Answer::Voided | Answer::Settled(_) => unreachable!("a charge is answered by one"),
    }
}

/// Bills what is due of one call, as a client's nudge asks for.
pub(super) async fn nudge(world: &World, call_id: i64) -> Result<(), Unknown> {
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    match found {
        Some(call) if call.phase == CallPhase::Active => drive(world, call).await,
        _ => Ok(()),
    }
}

/// Takes everything that is due one step further, each call in a task of its own.
pub(super) async fn claim(world: &World) -> Result<Vec<Call>, Unknown> {
    world
        .transact(|rows, now| rows.claim_due(now, LEASE_SECS))
        .await
}

/// The next step of a call.
pub(super) async fn drive(world: &World, call: Call) -> Result<(), Unknown> {
    match steps::next_due_step(&call, &world.limits) {
        DueStep::Undo => undo(world, call.call_id).await.map(|_| ()),
        DueStep::Settle => settle(world, &call).await,
        DueStep::End(cause) => end(world, call.call_id, cause).await,
        DueStep::Charge => bill(world, &call).await,
        DueStep::Nothing => Ok(()),
    }
}

async fn bill(world: &World, call: &Call) -> Result<(), Unknown> {
    let charge = charge(world, call, call.minutes_billed + 1).await?;
    match steps::evaluate_next_charge(call, charge) {
        BillingDecision::Record(minute) => {
            let record = |rows: &mut Rows, now| rows.record_minute(now, call.call_id, minute);
            let recorded = world.transact(record).await?;
            world.note(|| {
                let (id, was_new) = (call.call_id, recorded.is_some());
                format!("minute {} of {id} recorded: {was_new}", minute.minute)
            });
            Ok(())
        }
        BillingDecision::End(cause) => end(world, call.call_id, cause).await,
    }
}

/// Keeps somebody who is about to be deleted from calls; answers whether they are on one.
pub(super) async fn prepare_deletion(world: &World, user_id: i64) -> Result<bool, Unknown> {
    if let Some(call) = call_of(world, user_id).await?
        && call.phase == CallPhase::Active
    {
        return Ok(true);
    }
    let bar = |rows: &mut Rows, now| {
        rows.bar(user_id, now + TimeDelta::seconds(DELETION_SECS_MAX));
    };
    world.transact(bar).await?;
    let Some(call) = call_of(world, user_id).await? else {
        return Ok(false);
    };
    let live = undo(world, call.call_id).await?;
    Ok(live.is_some_and(|call| call.phase == CallPhase::Active))
}

/// Keeps somebody who is deleted from calls for ever, and ends the one that they are on.
pub(super) async fn forbid_calls_of(world: &World, user_id: i64) -> Result<(), Unknown> {
    let bar = |rows: &mut Rows, _| rows.bar(user_id, DateTime::<Utc>::MAX_UTC);
    world.transact(bar).await?;
    let Some(call) = call_of(world, user_id).await? else {
        return Ok(());
    };
    let Some(live) = undo(world, call.call_id).await? else {
        return Ok(());
    };
    let end = |rows: &mut Rows, now| end_live(world, rows, now, live.call_id, EndCause::Forbidden);
    world.transact(end).await?;
    Ok(())
}

async fn call_of(world: &World, user_id: i64) -> Result<Option<Call>, Unknown> {
    let look = |rows: &mut Rows, now| {
        let call_id = rows.live_parties.get(&user_id).copied()?;
        rows.find(now, call_id)
    };
    world.transact(look).await
}

/// Ends calls whose sides have both been silent for too long.
pub(super) async fn end_silent(world: &World) -> Result<(), Unknown> {
    let live = world.transact(|rows, now| {
        let ids: Vec<i64> = rows.calls.keys().copied().collect();
        let calls = ids.into_iter().filter_map(|id| rows.find(now, id));
        calls
            .filter(|call| call.phase == CallPhase::Active)
            .collect::<Vec<_>>()
    });
    for call in live.await? {
        let last_sign = world.last_sign(call.parties());
        if let Some(cause) = steps::evaluate_silence(&call, last_sign, &world.limits) {
            end(world, call.call_id, cause).await?;
        }
    }
    Ok(())
}
