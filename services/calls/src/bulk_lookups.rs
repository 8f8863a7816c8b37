//! What other services reconcile their own tables with: presence its busy flags, profile its feed.

use crate::domain::CallError;
use crate::service::CallService;
use crate::store::bulk_lookups::{self, ListenerTotals};

/// Ids that one request may name.
const IDS_MAX: usize = 500;

impl CallService {
    /// Which of these calls are live.
    pub(crate) async fn list_live_among(&self, call_ids: &[i64]) -> Result<Vec<i64>, CallError> {
        check_ids(call_ids)?;
        let mut connection = self.db.acquire().await?;
        Ok(bulk_lookups::list_live(&mut connection, call_ids).await?)
    }

    /// How much these listeners have talked.
    pub(crate) async fn list_listener_totals(
        &self,
        listener_ids: &[i64],
    ) -> Result<Vec<ListenerTotals>, CallError> {
        check_ids(listener_ids)?;
        let mut connection = self.db.acquire().await?;
        Ok(bulk_lookups::list_listener_totals(&mut connection, listener_ids).await?)
    }
}

fn check_ids(ids: &[i64]) -> Result<(), CallError> {
    if ids.len() > IDS_MAX {
        return Err(CallError::TooManyIds);
    }
    Ok(())
}
