//! Lookups in bulk: presence reconciles its busy flags with them, profile its feed, and the gateway decides whose status
//! a user may see.

use crate::domain::CallError;
use crate::service::CallService;
use crate::store::bulk_lookups;
pub(crate) use crate::store::bulk_lookups::ListenerTalkTotals;

/// Maximum number of ids per request.
const IDS_MAX: usize = 500;

impl CallService {
    /// Returns the live calls among these.
    pub(crate) async fn list_live_among(&self, call_ids: &[i64]) -> Result<Vec<i64>, CallError> {
        validate_ids(call_ids)?;
        let mut connection = self.db.acquire().await?;
        Ok(bulk_lookups::list_live(&mut connection, call_ids).await?)
    }

    /// Returns the users among these who have called a user or have been called by them.
    pub(crate) async fn list_counterparts_among(
        &self,
        user_id: i64,
        other_user_ids: &[i64],
    ) -> Result<Vec<i64>, CallError> {
        validate_ids(other_user_ids)?;
        let mut connection = self.db.acquire().await?;
        Ok(bulk_lookups::list_counterparts(&mut connection, user_id, other_user_ids).await?)
    }

    /// Returns the talk time of these listeners.
    pub(crate) async fn list_listener_totals(
        &self,
        listener_ids: &[i64],
    ) -> Result<Vec<ListenerTalkTotals>, CallError> {
        validate_ids(listener_ids)?;
        let mut connection = self.db.acquire().await?;
        Ok(bulk_lookups::list_listener_totals(&mut connection, listener_ids).await?)
    }
}

fn validate_ids(ids: &[i64]) -> Result<(), CallError> {
    if ids.len() > IDS_MAX {
        return Err(CallError::TooManyIds);
    }
    Ok(())
}
