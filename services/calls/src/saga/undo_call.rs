//! Undoing a start: people first, then their coins, then the row.

use std::time::Duration;

use talktime_kit::{Error, failpoint, idempotency};

use super::bounds::LEASE_SECS;
use super::requests::START_ROUTE;
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::observe;
use crate::service::CallService;
use crate::store::{calls, live_parties};

/// Tries to void a charge that no row remembers, and so no sweeper.
const UNRECORDED_VOIDS_MAX: u32 = 5;
/// Before the second of them; each later one waits twice as long.
const UNRECORDED_VOID_BACKOFF: Duration = Duration::from_millis(250);

impl CallService {
    /// Undoes a call that is not live. Answers a call that went live meanwhile, which stays. Presence
    /// hears of it where it `may_be_shown` as busy, which is once the first minute was paid.
    ///
    /// The charge is voided by the call's id even where there is no row. Either somebody else has undone
    /// the call, and voiding again changes nothing, or the row is lost and the charge is not.
    pub(super) async fn undo(
        &self,
        call: &Call,
        may_be_shown: bool,
    ) -> Result<Option<Call>, CallError> {
        self.free_reserved_parties(call.call_id).await?;
        let row = calls::find(&mut *self.db.acquire().await?, call.call_id).await?;
        let is_recorded = match row {
            Some(row) if row.phase != CallPhase::Undoing => return Ok(Some(row)),
            row => row.is_some(),
        };
        failpoint::reach("calls.undo.freed");
        if may_be_shown {
            self.presence.mark_free(call);
        }
        if is_recorded {
            self.peers.void_first_minute(call).await?;
        } else {
            self.void_unrecorded_charge(call).await?;
        }
        failpoint::reach("calls.undo.voided");
        self.delete_undone_call(call.call_id).await?;
        failpoint::reach("calls.undo.dropped");
        Ok(None)
    }

    /// Undoes a call that is not live; the sweeper tries again where that fails. Answers how many were
    /// undone.
    pub(super) async fn undo_best_effort(&self, call: Call) -> usize {
        match self.undo(&call, true).await.map_err(Error::from) {
            Ok(live) => usize::from(live.is_none()),
            Err(error) => {
                let call_id = call.call_id;
                tracing::warn!(%error, call_id, "failed to undo a call; the sweeper will try again");
                0
            }
        }
    }

    /// Frees both people and the client's key, once: a later try may find the key in the hands of the
    /// client's next request.
    async fn free_reserved_parties(&self, call_id: i64) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let Some(call) = calls::begin_undoing(&mut tx, call_id, LEASE_SECS).await? else {
            return Ok(());
        };
        let freed = live_parties::delete_by_call(&mut tx, call_id).await?;
        if freed != call.parties().len() as u64 {
            tracing::error!(
                call_id,
                freed,
                "a reserved call did not hold both of its people"
            );
        }
        failpoint::reach("calls.undo.before_freed");
        if let Some(key) = &call.idempotency_key {
            idempotency::release(&mut tx, call.user_id, START_ROUTE, key).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn void_unrecorded_charge(&self, call: &Call) -> Result<(), CallError> {
        let mut wait = UNRECORDED_VOID_BACKOFF;
        for _ in 1..UNRECORDED_VOIDS_MAX {
            match self.peers.void_first_minute(call).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let call_id = call.call_id;
                    tracing::warn!(%error, call_id, "failed to void a charge without a call; trying again");
                }
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Ok(self.peers.void_first_minute(call).await?)
    }

    async fn delete_undone_call(&self, call_id: i64) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let is_dropped = calls::delete_undone(&mut tx, call_id).await?;
        tx.commit().await?;
        if is_dropped {
            observe::record_undone();
        }
        Ok(())
    }
}
