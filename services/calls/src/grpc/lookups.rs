//! Questions about several calls or users at once, which the gateway asks before it answers about others.

use talktime_proto::calls::v1 as wire;
use tonic::Status;

use super::{CallsGrpcApi, convert, into_status};

impl CallsGrpcApi {
    /// Finds the calls among several that are live.
    pub(super) async fn find_live(
        &self,
        request: wire::FilterLiveRequest,
    ) -> Result<wire::FilterLiveResponse, Status> {
        let live = self.calls.list_live_among(&request.call_ids).await;
        let live_call_ids = live.map_err(into_status)?;
        Ok(wire::FilterLiveResponse { live_call_ids })
    }

    /// Finds the users among several who have called a user or have been called by them.
    pub(super) async fn find_counterparts(
        &self,
        request: wire::FilterCounterpartsRequest,
    ) -> Result<wire::FilterCounterpartsResponse, Status> {
        let others = self
            .calls
            .list_counterparts_among(request.user_id, &request.other_user_ids);
        Ok(wire::FilterCounterpartsResponse {
            counterpart_user_ids: others.await.map_err(into_status)?,
        })
    }

    /// Finds what several listeners have talked in all.
    pub(super) async fn find_listener_totals(
        &self,
        request: wire::GetListenerTotalsRequest,
    ) -> Result<wire::GetListenerTotalsResponse, Status> {
        let totals = self.calls.list_listener_totals(&request.listener_ids).await;
        let totals = totals.map_err(into_status)?.into_iter();
        Ok(wire::GetListenerTotalsResponse {
            totals: totals.map(convert::listener_totals).collect(),
        })
    }
}
