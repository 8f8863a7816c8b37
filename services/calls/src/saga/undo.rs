//! Undoing a start: people first, then their coins, then the row.

use talktime_kit::{failpoint, idempotency};

use super::{Calls, LEASE};
use crate::domain::CallError;
use crate::store::{calls, live_parties};

impl Calls {
    /// Undoes a call that is not live. A call that went live meanwhile stays.
    pub(super) async fn undo(&self, call_id: i64) -> Result<(), CallError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let undoing = calls::begin_undoing(&mut tx, call_id, now, now + LEASE).await?;
        let Some(call) = undoing else {
            return Ok(());
        };
        live_parties::free(&mut tx, call_id).await?;
        if let Some(key) = &call.idempotency_key {
            idempotency::release(&mut tx, call.user_id, super::START_ROUTE, key).await?;
        }
        tx.commit().await?;
        failpoint::reach("calls.undo.freed");

        self.peers.void_first_minute(&call).await?;
        failpoint::reach("calls.undo.voided");
        calls::delete_undone(&mut *self.db.acquire().await?, call_id).await?;
        metrics::counter!("calls_undone_total").increment(1);
        Ok(())
    }
}
