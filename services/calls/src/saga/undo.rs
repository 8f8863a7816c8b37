//! Undoing a start: people first, then their coins, then the row.

use talktime_kit::{Error, failpoint, idempotency};

use super::{Calls, LEASE_SECS};
use crate::domain::CallError;
use crate::domain::call::{Call, Phase};
use crate::observe;
use crate::store::{calls, live_parties};

impl Calls {
    /// Undoes a call that is not live. Answers a call that went live meanwhile, which stays. Presence
    /// hears of it where it `may_be_shown` as busy, which is once the first minute was paid.
    pub(super) async fn undo(
        &self,
        call_id: i64,
        may_be_shown: bool,
    ) -> Result<Option<Call>, CallError> {
        self.free_reserved(call_id).await?;
        let call = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        let call = match call {
            Some(call) if call.phase == Phase::Undoing => call,
            live_or_gone => return Ok(live_or_gone),
        };
        failpoint::reach("calls.undo.freed");
        if may_be_shown {
            self.shown.free(&call);
        }
        self.peers.void_first_minute(&call).await?;
        failpoint::reach("calls.undo.voided");
        let mut tx = self.db.begin().await?;
        calls::delete_undone(&mut tx, call_id).await?;
        tx.commit().await?;
        failpoint::reach("calls.undo.dropped");
        observe::undone();
        Ok(None)
    }

    /// Undoes a call that is not live; the sweeper tries again where that fails. Answers how many were
    /// undone.
    pub(super) async fn undo_at_best(&self, call_id: i64) -> usize {
        match self.undo(call_id, true).await.map_err(Error::from) {
            Ok(live) => usize::from(live.is_none()),
            Err(error) => {
                tracing::warn!(%error, call_id, "undoing waits");
                0
            }
        }
    }

    /// Frees both people and the client's key, once: a later try may find the key in the hands of the
    /// client's next request.
    async fn free_reserved(&self, call_id: i64) -> Result<(), CallError> {
        let mut tx = self.db.begin().await?;
        let Some(call) = calls::begin_undoing(&mut tx, call_id, LEASE_SECS).await? else {
            return Ok(());
        };
        live_parties::free(&mut tx, call_id).await?;
        failpoint::reach("calls.undo.before_freed");
        if let Some(key) = &call.idempotency_key {
            idempotency::release(&mut tx, call.user_id, super::START_ROUTE, key).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
