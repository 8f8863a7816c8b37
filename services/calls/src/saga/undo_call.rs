//! Undoes a start: frees the parties, voids the charge, then deletes the row. The row of a ring that
//! was accepted stays as an unanswered call.

use std::time::Duration;

use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint, idempotency};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::bounds::LEASE_SECS;
use super::requests::START_ROUTE;
use crate::domain::CallError;
use crate::domain::call::{Call, CallMedia, CallPhase};
use crate::domain::ringing::{self, RingEnding};
use crate::domain::steps::CallEndCause;
use crate::metrics;
use crate::ring_events;
use crate::service::CallService;
use crate::store::{calls, live_parties};

/// Maximum number of attempts to void a charge whose call has no row. Without a row the sweeper cannot
/// retry it.
const UNRECORDED_VOIDS_MAX: u32 = 5;
/// Delay before the second attempt; it doubles for each later one.
const UNRECORDED_VOID_BACKOFF: Duration = Duration::from_millis(250);

/// Calls that are cut and counted at the same time because their time to connect is over.
const CUTS_MAX: usize = 64;
static CUTS: Semaphore = Semaphore::const_new(CUTS_MAX);

/// The effect of an undo on presence.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum PresenceUndo {
    /// The parties may be shown as busy, which is possible once the call is reserved.
    MarkFree,
    /// Presence was never informed of the call.
    Nothing,
}

impl CallService {
    /// Undoes a call that is not live. Returns the call if it went live meanwhile: then it stays.
    ///
    /// The charge is voided by the id of the call even if there is no row. Either another replica has
    /// undone the call, and a second void has no effect, or the row was lost and the charge was not.
    pub(super) async fn undo_call(
        &self,
        call: &Call,
        presence: PresenceUndo,
    ) -> Result<Option<Call>, CallError> {
        let ending = ringing::abandoned_ending(call);
        self.undo_call_as(call, presence, ending).await
    }

    /// As [`CallService::undo_call`]; a call that rang and was accepted gets this ending.
    pub(super) async fn undo_call_as(
        &self,
        call: &Call,
        presence: PresenceUndo,
        ending: RingEnding,
    ) -> Result<Option<Call>, CallError> {
        self.free_reserved_parties(call.call_id, ending).await?;
        let row = calls::find(&mut *self.db.acquire().await?, call.call_id).await?;
        let is_recorded = match row {
            Some(row) if row.phase == CallPhase::Unanswered => return Ok(None),
            Some(row) if row.phase != CallPhase::Undoing => return Ok(Some(row)),
            row => row.is_some(),
        };
        failpoint::reach("calls.undo.freed");
        // The row outlives both, so that the sweeper repeats them after a crash: no event reports an undone start.
        // On the heap, since every request that may undo a call contains them.
        let freeing = Box::pin(self.free_in_presence(call, presence));
        let voiding = Box::pin(self.void_charge(call, is_recorded));
        let ((), voided) = tokio::join!(freeing, voiding);
        voided?;
        failpoint::reach("calls.undo.voided");
        self.drop_undone_call(call).await?;
        failpoint::reach("calls.undo.dropped");
        Ok(None)
    }

    /// Undoes a call without a waiting request; if that fails, the sweeper retries. Returns how many were
    /// undone. A connecting call goes live instead if its media flows, which its apps may not have reported.
    pub(super) async fn undo_best_effort(&self, call: Call) -> usize {
        if call.phase != CallPhase::Connecting {
            let undone = self.undo_or_return_live(&call).await;
            return usize::from(matches!(undone, Ok(None)));
        }
        if self.connect_by_flow_best_effort(&call).await.is_none() {
            self.undo_unconnected_in_background(call);
        }
        0
    }

    /// Cuts a call whose time to connect is over, and undoes it unless the relays have counted media: then its first
    /// minute is paid, and it ends. The relays may take seconds to answer, so this runs in the background, where the
    /// other calls of the sweeper do not wait for it. Beyond [`CUTS_MAX`], calls are left to a later sweep.
    fn undo_unconnected_in_background(&self, call: Call) {
        let Ok(permit) = CUTS.try_acquire() else {
            return;
        };
        let service = self.clone();
        let undo = async move {
            let was_cut = service.cut_and_count(&call).await;
            let live = match service.connect_by_flow_best_effort(&call).await {
                Some(live) => Some(live),
                None => service.undo_or_return_live(&call).await.unwrap_or_default(),
            };
            if let Some(live) = live.filter(|_| was_cut) {
                let last_good = live.read_at;
                let cause = CallEndCause::MediaLost { last_good };
                service.end_for_cause(live.call_id, cause).await;
            }
            drop(permit);
        };
        self.lifecycle.spawn(undo.in_current_span());
    }

    /// Undoes a call, and returns it if it went live meanwhile. The sweeper retries what fails.
    async fn undo_or_return_live(&self, call: &Call) -> Result<Option<Call>, ()> {
        let undone = self.undo_call(call, PresenceUndo::MarkFree).await;
        undone.map_err(|error| {
            let (call_id, error) = (call.call_id, Error::from(error));
            tracing::warn!(%error, call_id, "failed to undo a call; the sweeper will retry");
        })
    }

    /// Frees both parties and the idempotency key of the client, exactly once: by the time of a second
    /// attempt the next request of the client may hold the key. The key of a ring keeps its answer, since the
    /// ring took place; its end is published.
    async fn free_reserved_parties(
        &self,
        call_id: i64,
        ending: RingEnding,
    ) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let Some(call) = calls::begin_undoing(&mut tx, call_id, ending, LEASE_SECS).await? else {
            return Ok(());
        };
        let freed = live_parties::delete_by_call(&mut tx, call_id).await?;
        if freed != call.parties().len() as u64 {
            tracing::error!(
                call_id,
                freed,
                "a reserved call did not hold both of its parties in calls.live_parties"
            );
        }
        failpoint::reach("calls.undo.before_freed");
        if call.is_ring() {
            let event = ring_events::call_unanswered(&call);
            outbox::append_all(&mut tx, self.clock.now(), vec![event]).await?;
        } else if let Some(key) = &call.idempotency_key {
            idempotency::release(&mut tx, call.user_id, START_ROUTE, key).await?;
        }
        tx.commit().await?;
        self.close_seats_in_background(&call);
        if call.media == CallMedia::Platform {
            metrics::record_media_unconnected(&call);
        }
        if call.is_ring() {
            self.relay.wake();
            metrics::record_unanswered(&call);
        }
        Ok(())
    }

    async fn free_in_presence(&self, call: &Call, presence: PresenceUndo) {
        if presence == PresenceUndo::MarkFree {
            self.presence.free_parties(call).await;
        }
    }

    async fn void_charge(&self, call: &Call, is_recorded: bool) -> Result<(), CallError> {
        if is_recorded {
            Ok(self.peers.void_first_minute(call).await?)
        } else {
            self.void_unrecorded_charge(call).await
        }
    }

    async fn void_unrecorded_charge(&self, call: &Call) -> Result<(), CallError> {
        let mut wait = UNRECORDED_VOID_BACKOFF;
        for _ in 1..UNRECORDED_VOIDS_MAX {
            match self.peers.void_first_minute(call).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let call_id = call.call_id;
                    tracing::warn!(
                        %error,
                        call_id,
                        "failed to void the charge of a call without a row; retrying"
                    );
                }
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Ok(self.peers.void_first_minute(call).await?)
    }

    async fn drop_undone_call(&self, call: &Call) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let is_dropped = calls::drop_undone(&mut tx, call).await?;
        tx.commit().await?;
        if is_dropped {
            metrics::record_undone();
        }
        Ok(())
    }
}
