//! The part of the model about calls that ring.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_calls::domain::call::{Call, CallMedia, CallPhase, CallStatus};
use talktime_calls::domain::ringing::RingEnding;
use talktime_calls::store::reservations::NewRing;

use crate::model::{ModelRows, secs};

pub(crate) const RING_SECS: i32 = 12;
pub(crate) const REACH_SECS: i32 = 5;
pub(crate) const CONNECT_SECS: i64 = 6;

/// The ring of a new call.
pub(crate) fn new_ring(media: CallMedia) -> NewRing {
    NewRing {
        media,
        ring_secs: RING_SECS,
        reach_secs: REACH_SECS,
        estimated_minutes: None,
    }
}

impl ModelRows {
    /// Turns a call that was just reserved into one that rings, as `reserve` writes it at once.
    pub(crate) fn let_ring(&mut self, now: DateTime<Utc>, call_id: i64, ring: NewRing) -> Call {
        let row = self.calls.get_mut(&call_id).expect("just reserved");
        let seconds = |seconds: i32| TimeDelta::seconds(seconds.into());
        row.call.phase = CallPhase::Ringing;
        row.call.status = CallStatus::Ringing;
        row.call.version = 1;
        row.call.media = ring.media;
        row.call.ring_expires_at = Some(now + seconds(ring.ring_secs));
        row.next_step_at = Some(now + seconds(ring.ring_secs.min(ring.reach_secs)));
        row.call.clone()
    }

    pub(crate) fn record_reached(&mut self, now: DateTime<Utc>, call_id: i64) -> Option<Call> {
        let row = self.in_phase(call_id, CallPhase::Ringing, now)?;
        let call = &mut row.call;
        if call.reached_at.is_some() || call.ring_expires_at <= Some(now) {
            return None;
        }
        call.reached_at = Some(now);
        call.version += 1;
        row.next_step_at = call.ring_expires_at;
        Some(row.call.clone())
    }

    /// Models `begin_accepts` for one call, under the lock of the row.
    pub(crate) fn begin_accept(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        session_id: &str,
        lease_secs: f64,
    ) -> Call {
        let row = self
            .in_phase(call_id, CallPhase::Ringing, now)
            .expect("it is locked and rings");
        row.call.phase = CallPhase::Reserving;
        row.call.status = CallStatus::Connecting;
        row.call.accepted_at = Some(now);
        row.call.accepted_session = Some(session_id.to_owned());
        row.call.reached_at.get_or_insert(now);
        row.next_step_at = Some(now + secs(lease_secs));
        row.call.clone()
    }

    pub(crate) fn begin_connecting(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        connect_secs: i64,
    ) -> Option<Call> {
        let row = self.in_phase(call_id, CallPhase::Reserving, now)?;
        if !row.call.is_ring() || row.call.media != CallMedia::Platform {
            return None;
        }
        row.call.phase = CallPhase::Connecting;
        row.call.version += 1;
        let accepted_at = row.call.accepted_at;
        row.next_step_at = accepted_at.map(|at| at + TimeDelta::seconds(connect_secs));
        Some(row.call.clone())
    }

    /// Models `end_rings`, under the lock of the row.
    pub(crate) fn end_ring(
        &mut self,
        now: DateTime<Utc>,
        call_id: i64,
        ending: RingEnding,
    ) -> Call {
        let row = self
            .in_phase(call_id, CallPhase::Ringing, now)
            .expect("it is locked and rings");
        row.call.phase = CallPhase::Unanswered;
        row.call.status = CallStatus::Unanswered;
        row.call.version += 1;
        row.next_step_at = None;
        row.set_ring_ending(now, ending);
        let call = row.call.clone();
        self.free(call_id);
        call
    }
}
