//! Decides whose status a user may see: profile knows listeners, favourites and blocks, and calls knows who has called whom.

use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::FilterCounterpartsRequest;
use talktime_proto::profile::v1::FilterVisibleRequest;

use crate::clients::{CallsClient, ProfileClient};

/// Returns those of some users whose status the viewer may see. Calls is asked only if that depends on it.
///
/// # Errors
///
/// Fails if a service that must be asked does not answer: what nobody can check is not shown.
pub async fn filter_visible(
    profile: &ProfileClient,
    calls: &CallsClient,
    viewer_id: i64,
    user_ids: Vec<i64>,
) -> Result<Vec<i64>, Error> {
    let request = FilterVisibleRequest {
        viewer_id,
        user_ids,
    };
    let filtered = retry_idempotent(profile, ProfileClient::filter_visible, request).await?;
    let mut visible = filtered.visible_user_ids;
    if !filtered.acquaintance_user_ids.is_empty() {
        let request = FilterCounterpartsRequest {
            user_id: viewer_id,
            other_user_ids: filtered.acquaintance_user_ids,
        };
        let called = retry_idempotent(calls, CallsClient::filter_counterparts, request).await?;
        visible.extend(called.counterpart_user_ids);
    }
    Ok(visible)
}
