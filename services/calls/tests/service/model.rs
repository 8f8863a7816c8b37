//! A model of the rows of the calls service, which change as its statements change them but without a
//! database. The simulation runs on it, and `agreement` compares it with the statements.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::badge::Badge;
use talktime_calls::domain::call::{Call, CallMedia, CallPhase, CallStatus, CallType};
use talktime_calls::domain::ending::{CallEndReason, EndingParty};
use talktime_calls::domain::ringing::RingEnding;
use talktime_calls::domain::steps::{CallEnding, PaidMinute};
use talktime_calls::domain::transitions;
use talktime_calls::store::calls::CallReceipt;
use talktime_calls::store::reservations::NewRing;

pub(crate) const MINUTE_SECS: i32 = 10;
pub(crate) const COINS_PER_MINUTE: i64 = 10;
pub(crate) const PAISE_PER_MINUTE: i64 = 125;
pub(crate) const PAISE_PER_COIN: i64 = 50;

/// A row with the columns that only statements read.
#[derive(Clone, Debug)]
pub(crate) struct CallRow {
    pub(crate) call: Call,
    pub(crate) end_time: Option<DateTime<Utc>>,
    pub(crate) next_step_at: Option<DateTime<Utc>>,
}

impl CallRow {
    pub(crate) fn set_ring_ending(&mut self, now: DateTime<Utc>, ending: RingEnding) {
        self.call.outcome = Some(ending.outcome);
        self.call.outcome_reason = Some(ending.reason);
        self.call.ended_by = Some(ending.ended_by);
        self.end_time = Some(now);
    }
}

/// `calls.user_calls`, `calls.live_parties` and `calls.deleted_users`. Every function stands for one
/// statement or transaction.
#[derive(Default)]
pub(crate) struct ModelRows {
    pub(crate) calls: BTreeMap<i64, CallRow>,
    pub(crate) live_parties: BTreeMap<i64, i64>,
    /// Time until which users are kept from calls.
    pub(crate) barred_until: BTreeMap<i64, DateTime<Utc>>,
    last_id: i64,
}

pub(crate) fn secs(secs: f64) -> TimeDelta {
    TimeDelta::from_std(Duration::from_secs_f64(secs)).expect("a few")
}

impl ModelRows {
    /// Models `reserve`: `None` if a party is busy or barred.
    pub(crate) fn reserve(
        &mut self,
        now: DateTime<Utc>,
        (user_id, listener_id): (i64, i64),
        ring: Option<NewRing>,
        lease_secs: f64,
    ) -> Option<Call> {
        if self.is_barred(now, [user_id, listener_id]) {
            return None;
        }
        self.insert_reserved(now, (user_id, listener_id), ring, lease_secs)
    }

    /// Models the part of `reserve` after the check for barred users.
    pub(crate) fn insert_reserved(
        &mut self,
        now: DateTime<Utc>,
        (user_id, listener_id): (i64, i64),
        ring: Option<NewRing>,
        lease_secs: f64,
    ) -> Option<Call> {
        let parties = [user_id, listener_id];
        if parties.iter().any(|id| self.live_parties.contains_key(id)) {
            return None;
        }
        self.last_id += 1;
        let call = reserved(self.last_id, parties, now);
        self.live_parties
            .extend(parties.map(|party| (party, call.call_id)));
        let row = CallRow {
            call: call.clone(),
            end_time: None,
            next_step_at: Some(now + secs(lease_secs)),
        };
        self.calls.insert(call.call_id, row);
        Some(match ring {
            Some(ring) => self.let_ring(now, call.call_id, ring),
            None => call,
        })
    }

    pub(crate) fn in_phase(
        &mut self,
        call_id: i64,
        phase: CallPhase,
        now: DateTime<Utc>,
    ) -> Option<&mut CallRow> {
        let row = self.calls.get_mut(&call_id)?;
        row.call.read_at = now;
        (row.call.phase == phase).then_some(row)
    }

    pub(crate) fn activate(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        minute: PaidMinute,
    ) -> Option<Call> {
        let found = self.find(now, call_id)?;
        if self.is_barred(now, found.parties()) {
            return None;
        }
        let live = transitions::expect_live(&found, minute)?;
        let row = self.in_phase(call_id, found.phase, now)?;
        row.call = Call {
            start_time: Some(now),
            ..live
        };
        let minute_secs = i64::from(row.call.minute_secs);
        row.next_step_at = Some(now + TimeDelta::seconds(minute_secs));
        Some(row.call.clone())
    }

    /// Models `begin_undoing` and `live_parties::delete_by_call`.
    pub(crate) fn begin_undoing(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        ending: RingEnding,
        lease_secs: f64,
    ) -> Option<Call> {
        let phase = self.find(now, call_id)?.phase;
        if !matches!(phase, CallPhase::Reserving | CallPhase::Connecting) {
            return None;
        }
        let row = self.in_phase(call_id, phase, now)?;
        row.call.phase = CallPhase::Undoing;
        row.next_step_at = Some(now + secs(lease_secs));
        if row.call.is_ring() {
            row.call.version += 1;
            row.set_ring_ending(now, ending);
        }
        let call = row.call.clone();
        self.free(call_id);
        Some(call)
    }

    pub(crate) fn drop_undone(&mut self, now: DateTime<Utc>, call_id: i64) -> bool {
        let Some(row) = self.in_phase(call_id, CallPhase::Undoing, now) else {
            return false;
        };
        if row.call.is_ring() {
            row.call.phase = CallPhase::Unanswered;
            row.call.status = CallStatus::Unanswered;
            row.next_step_at = None;
            return true;
        }
        self.calls.remove(&call_id).is_some()
    }

    pub(crate) fn find(&mut self, now: DateTime<Utc>, call_id: i64) -> Option<Call> {
        let row = self.calls.get_mut(&call_id)?;
        row.call.read_at = now;
        Some(row.call.clone())
    }

    pub(crate) fn claim_due(&mut self, now: DateTime<Utc>, lease_secs: f64) -> Vec<Call> {
        let due = self.calls.values_mut();
        due.filter(|row| row.next_step_at.is_some_and(|at| at <= now))
            .map(|row| {
                row.next_step_at = Some(now + secs(lease_secs));
                row.call.read_at = now;
                row.call.clone()
            })
            .collect()
    }

    pub(crate) fn record_minute(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        paid: PaidMinute,
    ) -> Option<Call> {
        let row = self.in_phase(call_id, CallPhase::Active, now)?;
        if row.call.minutes_billed != paid.minute - 1 {
            return None;
        }
        let call = &mut row.call;
        call.minutes_billed = paid.minute;
        call.coins_spent += call.coins_per_minute;
        call.low_balance_told = paid.is_low;
        call.has_bonus |= paid.has_bonus;
        call.version += 1 + i64::from(paid.is_newly_low);
        row.next_step_at = call.end_of_minute(paid.minute);
        Some(row.call.clone())
    }

    /// Models `begin_settling`, under the lock of the row.
    pub(crate) fn begin_settling(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        ending: CallEnding,
        lease_secs: f64,
    ) -> Call {
        let row = self
            .in_phase(call_id, CallPhase::Active, now)
            .expect("it is locked and active");
        row.call = transitions::expect_ended(&row.call, &ending, PAISE_PER_COIN);
        row.end_time = Some(ending.end_time);
        row.next_step_at = Some(now + secs(lease_secs));
        let call = row.call.clone();
        self.free(call_id);
        call
    }

    /// `None` if the row does not exist.
    pub(crate) fn decide_minutes(&mut self, call_id: i64, minutes: i32) -> Option<i32> {
        let row = self.calls.get_mut(&call_id)?;
        Some(*row.call.minutes_settled.get_or_insert(minutes))
    }

    pub(crate) fn settle(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        receipt: CallReceipt,
    ) -> Option<Call> {
        let row = self.in_phase(call_id, CallPhase::Settling, now)?;
        let call = &mut row.call;
        call.phase = CallPhase::Settled;
        call.version += i64::from(call.figures_follow_settlement);
        call.minutes_billed = receipt.minutes;
        call.coins_spent = receipt.coins_spent;
        call.user_paise_spent = receipt.user_paise_spent;
        call.listener_paise_earned = receipt.listener_paise_earned;
        if call.duration_minutes > Some(receipt.minutes) {
            call.status = CallStatus::Dropped;
            call.end_reason = Some(CallEndReason::CoinsEmpty);
            call.ended_by = Some(EndingParty::Server);
            call.duration_seconds = Some(i64::from(receipt.minutes * call.minute_secs));
            row.end_time = call.end_of_minute(receipt.minutes);
        }
        call.duration_minutes = Some(receipt.minutes);
        row.next_step_at = None;
        Some(row.call.clone())
    }

    /// Loses a reservation that was acknowledged.
    pub(crate) fn lose_reservation(&mut self, call_id: i64) {
        self.calls.remove(&call_id);
        self.free(call_id);
    }

    pub(crate) fn bar(&mut self, user_id: i64, until: DateTime<Utc>) {
        let barred_until = self.barred_until.entry(user_id).or_insert(until);
        *barred_until = until.max(*barred_until);
    }

    pub(crate) fn is_barred(&self, now: DateTime<Utc>, parties: [i64; 2]) -> bool {
        let mut until = parties.iter().filter_map(|id| self.barred_until.get(id));
        until.any(|until| *until > now)
    }

    pub(crate) fn free(&mut self, call_id: i64) {
        self.live_parties.retain(|_, call| *call != call_id);
    }
}

fn reserved(call_id: i64, [user_id, listener_id]: [i64; 2], now: DateTime<Utc>) -> Call {
    Call {
        call_id,
        user_id,
        listener_id,
        call_type: CallType::Audio,
        status: CallStatus::Ongoing,
        phase: CallPhase::Reserving,
        start_time: None,
        duration_seconds: None,
        duration_minutes: None,
        coins_spent: 0,
        user_paise_spent: 0,
        listener_paise_earned: 0,
        coins_per_minute: COINS_PER_MINUTE,
        listener_paise_per_minute: PAISE_PER_MINUTE,
        listener_badge: Badge::Basic,
        prices_version: Some(1),
        minute_secs: MINUTE_SECS,
        minutes_billed: 0,
        minutes_settled: None,
        figures_follow_settlement: false,
        low_balance_told: false,
        has_bonus: false,
        caller_username: String::new(),
        listener_username: String::new(),
        idempotency_key: None,
        media: CallMedia::Own,
        ring_expires_at: None,
        reached_at: None,
        accepted_at: None,
        accepted_session: None,
        estimated_minutes: None,
        outcome: None,
        outcome_reason: None,
        end_reason: None,
        ended_by: None,
        blocked_by: None,
        created_at: now,
        version: 0,
        read_at: now,
    }
}
