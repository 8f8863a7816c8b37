//! Keeps people from calls: deleted users from all, and pairs of whom one has blocked the other from each
//! other.
//!
//! A deletion commits its row in `deleted_users` (a block its row in `barred_pairs`) before it looks for a
//! call. A start commits its reservation before it goes live, in a statement that looks for such rows. So
//! in any order, one of the two sees the other.

use super::steps::end::{CallEndOutcome, CallEndRequest};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase, PlannedParties};
use crate::domain::ending::{CallEndReason, EndingParty};
use crate::domain::ringing::RingEndCause;
use crate::domain::steps::CallEndCause;
use crate::service::CallService;
use crate::store::{barred_pairs, calls, deleted_users, live_parties};

/// Seconds for which a user is kept from calls before their deletion, and a pair after a block. Within this
/// time, a start that profile has permitted before has gone live, or has been undone by the sweeper.
const BARRED_SECS: f64 = 20.0;

impl CallService {
    /// Keeps a user from calls before their deletion. Returns whether they are on one; then they must not
    /// be deleted.
    pub async fn prepare_deletion(&self, user_id: i64) -> Result<bool, CallError> {
        if self.has_live_call(user_id).await? {
            return Ok(true);
        }
        self.bar_user(user_id, Some(BARRED_SECS)).await?;
        let Some(call) = self.find_call_of(user_id).await? else {
            return Ok(false);
        };
        // The call rings, or was reserved meanwhile. It goes live only if it was about to.
        let live = self
            .end_before_live(&call, RingEndCause::HungUp { user_id })
            .await?;
        Ok(live.is_some_and(|call| call.phase == CallPhase::Active))
    }

    /// Keeps a deleted user from calls permanently, and ends their live call, whose settlement goes on in the background.
    pub async fn forbid_calls_of(&self, user_id: i64) -> Result<(), CallError> {
        self.bar_user(user_id, None).await?;
        let Some(call) = self.find_call_of(user_id).await? else {
            return Ok(());
        };
        let live = self.end_before_live(&call, RingEndCause::HungUp { user_id });
        let Some(live) = live.await? else {
            return Ok(());
        };
        let by = call.party_of(user_id).unwrap_or(EndingParty::Server);
        let reason = CallEndReason::HungUp;
        let cause = CallEndCause::Forbidden { reason, by };
        let request = CallEndRequest::ByService(live.call_id, cause);
        if let Some(CallEndOutcome { call, is_new: true }) = self.end_live_call(request).await? {
            self.settle_in_background(call);
        }
        Ok(())
    }

    /// Keeps two people, of whom one has blocked the other, from new calls with each other. Their live call ends with
    /// its paid minute. Nothing happens to a call if the block was lifted before this event arrived.
    pub async fn forbid_call_between(&self, parties: [i64; 2]) -> Result<(), CallError> {
        let [user_id, other_id] = parties;
        let mut tx = self.db.begin().await?;
        barred_pairs::bar_pair(&mut tx, parties, BARRED_SECS).await?;
        tx.commit().await?;
        let call = self.find_call_of(user_id).await?;
        let Some(call) = call.filter(|call| call.has_party(other_id)) else {
            return Ok(());
        };
        if self.is_blocked(&call).await? {
            let by = call.party_of(user_id).unwrap_or(EndingParty::Server);
            let live = self.end_before_live(&call, RingEndCause::Blocked { by });
            if let Some(live) = live.await? {
                self.record_block(live.call_id, Some(by)).await?;
            }
        }
        Ok(())
    }

    /// Lets the live call of two people go on if neither blocks the other any more.
    pub async fn permit_call_between(&self, parties: [i64; 2]) -> Result<(), CallError> {
        let [user_id, other_id] = parties;
        let call = self.find_call_of(user_id).await?;
        let call = call.filter(|call| call.has_party(other_id) && call.blocked_by.is_some());
        if let Some(call) = call
            && !self.is_blocked(&call).await?
        {
            self.record_block(call.call_id, None).await?;
        }
        Ok(())
    }

    async fn is_blocked(&self, call: &Call) -> Result<bool, CallError> {
        let checks = self.peers.check_calls(&[PlannedParties::of(call)]).await?;
        Ok(checks.iter().any(|check| check.blocked))
    }

    async fn record_block(&self, call_id: i64, by: Option<EndingParty>) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        calls::record_block(&mut tx, call_id, by).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends the ring of somebody who may take no calls any more. A call that has begun goes on.
    pub async fn end_ring_of_listener(&self, listener_id: i64) -> Result<(), CallError> {
        let call = self.find_call_of(listener_id).await?;
        let ringing =
            call.filter(|call| call.phase == CallPhase::Ringing && call.listener_id == listener_id);
        if let Some(call) = ringing {
            self.end_ring(call.call_id, RingEndCause::ListenerSuspended)
                .await?;
        }
        Ok(())
    }

    async fn bar_user(&self, user_id: i64, for_secs: Option<f64>) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        deleted_users::bar_user(&mut tx, user_id, for_secs).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn has_live_call(&self, user_id: i64) -> Result<bool, CallError> {
        let call = self.find_call_of(user_id).await?;
        Ok(call.is_some_and(|call| call.phase == CallPhase::Active))
    }

    /// Finds the call that a user is busy with, in any phase.
    pub(crate) async fn find_call_of(&self, user_id: i64) -> Result<Option<Call>, CallError> {
        let mut connection = self.db.acquire().await?;
        match live_parties::find_call_id(&mut connection, user_id).await? {
            Some(call_id) => Ok(calls::find(&mut connection, call_id).await?),
            None => Ok(None),
        }
    }
}
