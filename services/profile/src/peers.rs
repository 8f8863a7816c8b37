//! Clients of the services that profile calls; cheap to clone.

use std::collections::HashMap;

use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_proto::access::v1::Workload;
use talktime_proto::auth::v1::EndAccountRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::calls::v1::{GetListenerTotalsRequest, ListenerTotals, PrepareDeletionRequest};
use talktime_proto::datetime;
use talktime_proto::presence::v1::GetStatusesRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::verification::v1::GetStandingsRequest;
use talktime_proto::verification::v1::verification_service_client::VerificationServiceClient;

use crate::config::PeerAddressConfig;
use crate::domain::feed_row::FeedSourceRow;

/// A client of the auth service, which has the sessions and tokens of accounts.
#[derive(Clone)]
pub struct AuthClient(AuthServiceClient<PeerChannel>);

impl AuthClient {
    /// Creates a client for `https://host:port`; it connects at the first call.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Auth, url)?;
        Ok(Self(AuthServiceClient::new(channel)))
    }

    /// Ends an account. After this has returned, no gateway accepts a token of the user any more.
    pub async fn end_account(&self, user_id: i64) -> Result<(), Error> {
        retry_idempotent(
            &self.0,
            AuthServiceClient::end_account,
            EndAccountRequest { user_id },
        )
        .await?;
        Ok(())
    }
}

/// A client of the calls service.
#[derive(Clone)]
pub struct CallsClient(CallsServiceClient<PeerChannel>);

impl CallsClient {
    /// Creates a client for `https://host:port`; it connects at the first call.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Calls, url)?;
        Ok(Self(CallsServiceClient::new(channel)))
    }

    /// Returns whether the user is on a call. If not, calls refuses new ones for twenty seconds.
    pub async fn prepare_deletion(&self, user_id: i64) -> Result<bool, Error> {
        let prepared = retry_idempotent(
            &self.0,
            CallsServiceClient::prepare_deletion,
            PrepareDeletionRequest { user_id },
        );
        Ok(prepared.await?.is_on_a_call)
    }

    async fn load_totals(&self, listener_ids: &[i64]) -> Result<Vec<ListenerTotals>, Error> {
        let found = retry_idempotent(
            &self.0,
            CallsServiceClient::get_listener_totals,
            GetListenerTotalsRequest {
                listener_ids: listener_ids.to_vec(),
            },
        );
        Ok(found.await?.totals)
    }
}

/// Clients of the services that own the data of the feed's read model.
#[derive(Clone)]
pub struct FeedSourceClients {
    presence: PresenceServiceClient<PeerChannel>,
    calls: CallsClient,
    verification: VerificationServiceClient<PeerChannel>,
}

impl FeedSourceClients {
    /// Creates the clients; they connect at the first call.
    pub fn connect(peers: &PeerConnector, config: &PeerAddressConfig) -> anyhow::Result<Self> {
        Ok(Self {
            presence: PresenceServiceClient::new(
                peers.connect(Workload::Presence, &config.presence)?,
            ),
            calls: CallsClient::connect(peers, &config.calls)?,
            verification: VerificationServiceClient::new(
                peers.connect(Workload::Verification, &config.verification)?,
            ),
        })
    }

    /// Fetches the rows of up to 200 listeners as their sources have them. Fields that a source does not know
    /// are those of a new listener.
    pub async fn fetch(&self, user_ids: &[i64]) -> Result<HashMap<i64, FeedSourceRow>, Error> {
        let new_row = |user_id| (user_id, FeedSourceRow::new(user_id));
        let mut rows: HashMap<i64, FeedSourceRow> = user_ids.iter().copied().map(new_row).collect();
        self.add_statuses(user_ids, &mut rows).await?;
        self.add_totals(user_ids, &mut rows).await?;
        self.add_standings(user_ids, &mut rows).await?;
        Ok(rows)
    }

    async fn add_statuses(
        &self,
        user_ids: &[i64],
        rows: &mut HashMap<i64, FeedSourceRow>,
    ) -> Result<(), Error> {
        let found = retry_idempotent(
            &self.presence,
            PresenceServiceClient::get_statuses,
            GetStatusesRequest {
                user_ids: user_ids.to_vec(),
            },
        );
        for status in found.await?.statuses {
            if let Some(row) = rows.get_mut(&status.user_id) {
                row.status_version = status.version;
                row.is_online = status.is_online;
                row.is_busy = status.is_busy;
                row.accepting_calls = status.takes_calls();
                row.wait_time = status.wait_time;
                row.last_seen = datetime(status.last_seen.as_ref());
            }
        }
        Ok(())
    }

    async fn add_totals(
        &self,
        user_ids: &[i64],
        rows: &mut HashMap<i64, FeedSourceRow>,
    ) -> Result<(), Error> {
        for totals in self.calls.load_totals(user_ids).await? {
            if let Some(row) = rows.get_mut(&totals.listener_id) {
                row.call_count = totals.call_count;
                row.total_call_secs = totals.total_call_secs;
                row.answer_percent = totals.answer_percent;
            }
        }
        Ok(())
    }

    async fn add_standings(
        &self,
        user_ids: &[i64],
        rows: &mut HashMap<i64, FeedSourceRow>,
    ) -> Result<(), Error> {
        let found = retry_idempotent(
            &self.verification,
            VerificationServiceClient::get_standings,
            GetStandingsRequest {
                user_ids: user_ids.to_vec(),
            },
        );
        for standing in found.await?.standings {
            if let Some(row) = rows.get_mut(&standing.user_id) {
                row.is_verified = standing.is_verified;
                row.verification_version = standing.version;
            }
        }
        Ok(())
    }
}
