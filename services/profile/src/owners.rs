//! Who owns what the feed's read model holds, and what they say of it now.

use std::collections::HashMap;

use talktime_kit::Error;
use talktime_kit::grpc::client::{self, PeerChannel, retry_idempotent};
use talktime_proto::calls::v1::GetListenerTotalsRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::datetime;
use talktime_proto::presence::v1::GetStatusesRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::verification::v1::GetStandingsRequest;
use talktime_proto::verification::v1::verification_service_client::VerificationServiceClient;

use crate::config::PeersConfig;
use crate::store::feed_listeners::Held;

/// Clients of the owners; cheap to clone.
#[derive(Clone)]
pub struct Owners {
    presence: PresenceServiceClient<PeerChannel>,
    calls: CallsServiceClient<PeerChannel>,
    verification: VerificationServiceClient<PeerChannel>,
}

impl Owners {
    /// Prepares the connections and waits for none.
    pub fn connect(config: &PeersConfig) -> anyhow::Result<Self> {
        Ok(Self {
            presence: PresenceServiceClient::new(client::connect(&config.presence)?),
            calls: CallsServiceClient::new(client::connect(&config.calls)?),
            verification: VerificationServiceClient::new(client::connect(&config.verification)?),
        })
    }

    /// Calls, which is also asked about deletions.
    pub fn calls(&self) -> CallsServiceClient<PeerChannel> {
        self.calls.clone()
    }

    /// What the owners say of these listeners, at most 200. Where an owner has never heard of one,
    /// that part is as for a listener who has just registered.
    pub async fn say(&self, user_ids: &[i64]) -> Result<HashMap<i64, Held>, Error> {
        let new = |user_id| (user_id, Held::new(user_id));
        let mut said: HashMap<i64, Held> = user_ids.iter().copied().map(new).collect();
        self.add_statuses(user_ids, &mut said).await?;
        self.add_totals(user_ids, &mut said).await?;
        self.add_standings(user_ids, &mut said).await?;
        Ok(said)
    }

    async fn add_statuses(
        &self,
        user_ids: &[i64],
        said: &mut HashMap<i64, Held>,
    ) -> Result<(), Error> {
        let answer = retry_idempotent(|| {
            let mut presence = self.presence.clone();
            let user_ids = user_ids.to_vec();
            async move { presence.get_statuses(GetStatusesRequest { user_ids }).await }
        });
        for status in answer.await?.statuses {
            if let Some(held) = said.get_mut(&status.user_id) {
                held.status_version = status.version;
                held.is_online = status.is_online;
                held.is_busy = status.is_busy;
                held.wait_time = status.wait_time;
                held.last_seen = datetime(status.last_seen.as_ref());
            }
        }
        Ok(())
    }

    async fn add_totals(
        &self,
        user_ids: &[i64],
        said: &mut HashMap<i64, Held>,
    ) -> Result<(), Error> {
        let answer = retry_idempotent(|| {
            let mut calls = self.calls.clone();
            let listener_ids = user_ids.to_vec();
            let request = GetListenerTotalsRequest { listener_ids };
            async move { calls.get_listener_totals(request).await }
        });
        for totals in answer.await?.totals {
            if let Some(held) = said.get_mut(&totals.listener_id) {
                held.call_count = totals.call_count;
                held.total_call_secs = totals.total_call_secs;
            }
        }
        Ok(())
    }

    async fn add_standings(
        &self,
        user_ids: &[i64],
        said: &mut HashMap<i64, Held>,
    ) -> Result<(), Error> {
        let answer = retry_idempotent(|| {
            let mut verification = self.verification.clone();
            let user_ids = user_ids.to_vec();
            let request = GetStandingsRequest { user_ids };
            async move { verification.get_standings(request).await }
        });
        for standing in answer.await?.standings {
            if let Some(held) = said.get_mut(&standing.user_id) {
                held.is_verified = standing.is_verified;
                held.verification_version = standing.version;
            }
        }
        Ok(())
    }
}
