//! The operations of the saga on simulated parts, with the same decisions as the service.

use std::ops::Range;

use chrono::{DateTime, Utc};
use talktime_calls::domain::call::{Call, CallMedia, CallPhase};
use talktime_calls::domain::ringing::{self, RingEnding};
use talktime_calls::domain::steps::{self, CallEndCause, MinuteChargeOutcome, SettlementStep};
use talktime_calls::domain::transitions;
use talktime_calls::store::calls::CallReceipt;

use super::checks;
use super::wallet::{WalletAnswer, WalletRequest};
use super::world::{LEASE_SECS, SimulatedWorld, TalkTime, UnknownOutcome};
use crate::model::{ModelRows, PAISE_PER_COIN};
use crate::ring_model::new_ring;

/// Time for which a reservation waits for the lock of another.
const LOCKED_MS: Range<i64> = 0..300;

/// Starts a call, or lets it ring; `None` if it is refused.
pub(super) async fn start(
    world: &SimulatedWorld,
    parties: (i64, i64),
    ring: Option<CallMedia>,
) -> Result<Option<i64>, UnknownOutcome> {
    let (caller_id, listener_id) = parties;
    if world.is_deleted(caller_id) || world.is_deleted(listener_id) {
        return Ok(None);
    }
    // The statement reads the barred users as of its beginning. Its own rows become visible later, since it
    // may wait for the lock of a reservation of the same people.
    let is_barred = {
        let rows = world.rows.borrow();
        rows.is_barred(world.database_now(), [caller_id, listener_id])
    };
    if is_barred {
        return Ok(None);
    }
    world.runtime.sleep(LOCKED_MS).await;
    let reserve = |rows: &mut ModelRows, now| {
        let reserved = rows.insert_reserved(now, parties, ring.map(new_ring), LEASE_SECS)?;
        if world.loses_row() {
            rows.lose_reservation(reserved.call_id);
        }
        Some(reserved)
    };
    let Some(reserved) = world.transact(reserve).await? else {
        return Ok(None);
    };
    world.log_line(|| format!("reserved {} for {parties:?}, {ring:?}", reserved.call_id));
    if ring.is_some() {
        return Ok(Some(reserved.call_id));
    }
    if let Ok(Some(())) = charge_and_activate(world, &reserved).await {
        return Ok(Some(reserved.call_id));
    }
    // The call may be live all the same if the commit was not confirmed.
    let live = undo(world, &reserved, ringing::abandoned_ending(&reserved)).await?;
    Ok(live.map(|call| call.call_id))
}

/// Charges the first minute of a call and turns it live; `None` if it cannot be paid, or was undone meanwhile.
pub(super) async fn charge_and_activate(
    world: &SimulatedWorld,
    reserved: &Call,
) -> Result<Option<()>, UnknownOutcome> {
    let charge = charge(world, reserved, 1).await?;
    let Ok(minute) = steps::evaluate_first_charge(reserved, charge) else {
        return Ok(None);
    };
    let activate = |rows: &mut ModelRows, now| {
        let live = rows.activate(now, reserved.call_id, minute)?;
        // The service builds the events of the start from the row as it was before the charge.
        let expected = transitions::expect_live(reserved, minute);
        assert_eq!(expected.map(|call| call.version), Some(live.version));
        checks::assert_may_go_live(world, &live);
        let from_ms = world.runtime.now_ms();
        let talked = TalkTime {
            from_ms,
            until_ms: None,
        };
        world.talked_ms.borrow_mut().insert(live.call_id, talked);
        Some(live)
    };
    let live = world.transact(activate).await?;
    world.log_line(|| format!("{} live: {}", reserved.call_id, live.is_some()));
    Ok(live.map(|_| ()))
}

/// Attempts to void a charge whose call has no row.
const UNRECORDED_VOIDS_MAX: usize = 5;

/// Undoes a call that is not live; returns a call that is.
pub(super) async fn undo(
    world: &SimulatedWorld,
    call: &Call,
    ending: RingEnding,
) -> Result<Option<Call>, UnknownOutcome> {
    let call_id = call.call_id;
    let begin = |rows: &mut ModelRows, now| {
        let begun = rows.begin_undoing(now, call_id, ending, LEASE_SECS);
        if let Some(call) = begun.filter(Call::is_ring) {
            world.publish_unanswered(&call);
        }
    };
    world.transact(begin).await?;
    let found = world.transact(|rows, now| rows.find(now, call_id)).await?;
    let is_recorded = match found {
        Some(call) if call.phase == CallPhase::Unanswered => return Ok(None),
        Some(call) if call.phase != CallPhase::Undoing => return Ok(Some(call)),
        found => found.is_some(),
    };
    let tries_max = if is_recorded { 1 } else { UNRECORDED_VOIDS_MAX };
    void(world, call_id, tries_max).await?;
    world
        .transact(|rows, now| rows.drop_undone(now, call_id))
        .await?;
    world.log_line(|| format!("undone {call_id}"));
    Ok(None)
}

async fn void(
    world: &SimulatedWorld,
    call_id: i64,
    tries_max: usize,
) -> Result<(), UnknownOutcome> {
    for _ in 1..tries_max {
        if world
            .ask_wallet(WalletRequest::Void { call_id })
            .await
            .is_ok()
        {
            return Ok(());
        }
    }
    world.ask_wallet(WalletRequest::Void { call_id }).await?;
    Ok(())
}

/// Ends a call for a cause and settles it.
pub(super) async fn end(
    world: &SimulatedWorld,
    call_id: i64,
    cause: CallEndCause,
) -> Result<(), UnknownOutcome> {
    let ended = world
        .transact(|rows, now| end_live(world, rows, now, call_id, cause))
        .await?;
    match ended {
        Some(ended) => settle(world, &ended).await,
        None => Ok(()),
    }
}

pub(super) fn end_live(
    world: &SimulatedWorld,
    rows: &mut ModelRows,
    now: DateTime<Utc>,
    call_id: i64,
    cause: CallEndCause,
) -> Option<Call> {
    let call = rows.find(now, call_id)?;
    if call.phase != CallPhase::Active {
        return Some(call).filter(|call| call.phase == CallPhase::Settling);
    }
    let ending = steps::resolve_end(&call, cause, &world.limits)?;
    world.log_line(|| format!("ends {call_id}: {cause:?} -> {ending:?}"));
    checks::assert_not_in_the_future(world, call_id, ending.end_time);
    if matches!(cause, CallEndCause::HangUp { .. })
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

pub(super) async fn settle(world: &SimulatedWorld, call: &Call) -> Result<(), UnknownOutcome> {
    let minutes = match call.minutes_settled {
        Some(minutes) => minutes,
        None => decide_minutes(world, call).await?,
    };
    let request = WalletRequest::Settle {
        returns: world.minute_returns(call.call_id),
        call_id: call.call_id,
        listener_id: call.listener_id,
        minutes,
        paise_per_minute: call.listener_paise_per_minute,
    };
    let WalletAnswer::Settled(settled) = world.ask_wallet(request).await? else {
        unreachable!("a settlement is answered by one");
    };
    let receipt = CallReceipt {
        minutes,
        coins_spent: settled.coins_spent,
        user_paise_spent: settled.coins_spent * PAISE_PER_COIN,
        listener_paise_earned: settled.listener_paise,
    };
    let close = |rows: &mut ModelRows, now| {
        let closed = rows.settle(now, call.call_id, receipt);
        if let Some(closed) = closed.filter(|call| call.figures_follow_settlement) {
            world.publish_end(&closed);
        }
    };
    world.transact(close).await?;
    world.log_line(|| format!("settled {}: {settled:?}", call.call_id));
    Ok(())
}

async fn decide_minutes(world: &SimulatedWorld, call: &Call) -> Result<i32, UnknownOutcome> {
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
    let decide = |rows: &mut ModelRows, _| {
        let decided = rows.decide_minutes(call.call_id, paid)?;
        world.judge_minutes(call, decided);
        Some(decided)
    };
    Ok(world.transact(decide).await?.expect("an ended call stays"))
}

pub(super) async fn charge(
    world: &SimulatedWorld,
    call: &Call,
    minute: i32,
) -> Result<MinuteChargeOutcome, UnknownOutcome> {
    let request = WalletRequest::Charge {
        call_id: call.call_id,
        minute,
        user_id: call.user_id,
        coins: call.coins_per_minute,
    };
    match world.ask_wallet(request).await? {
        WalletAnswer::Charge(charge) => Ok(charge),
        WalletAnswer::Voided | WalletAnswer::Settled(_) => {
            unreachable!("a charge is answered by one")
        }
    }
}

/// Ends calls of which both parties have been silent for too long.
pub(super) async fn end_silent(world: &SimulatedWorld) -> Result<(), UnknownOutcome> {
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
