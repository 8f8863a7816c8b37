//! Clients of the services that presence calls.

use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_proto::access::v1::Workload;
use talktime_proto::calls::v1::FilterLiveRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;

/// A client of the calls service; cheap to clone.
#[derive(Clone)]
pub struct CallsClient(CallsServiceClient<PeerChannel>);

impl CallsClient {
    /// Creates a client for `https://host:port`; it connects at the first call.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Calls, url)?;
        Ok(Self(CallsServiceClient::new(channel)))
    }

    /// Returns those of these calls that are live.
    pub async fn filter_live(&self, call_ids: &[i64]) -> Result<Vec<i64>, Error> {
        let answer = retry_idempotent(
            &self.0,
            CallsServiceClient::filter_live,
            FilterLiveRequest {
                call_ids: call_ids.to_vec(),
            },
        );
        Ok(answer.await?.live_call_ids)
    }
}
