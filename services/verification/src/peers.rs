//! Clients of the services that verification calls.

use std::collections::HashMap;

use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_proto::access::v1::Workload;
use talktime_proto::export::v1::export_service_client::ExportServiceClient;
use talktime_proto::export::v1::{ExportUserRequest, ExportUserResponse};
use talktime_proto::profile::ROLE_LISTENER;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{GetUserRequest, GetUsernamesRequest};

use crate::config::PeerAddressConfig;

/// A client of profile; cheap to clone.
#[derive(Clone)]
pub struct ProfileClient(ProfileServiceClient<PeerChannel>);

impl ProfileClient {
    /// Returns a client of the profile service at `https://host:port`.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Profile, url)?;
        Ok(Self(ProfileServiceClient::new(channel)))
    }

    /// Fetches whether a user has the role of a listener at present. Fails if there is no such user.
    pub async fn is_listener(&self, user_id: i64) -> Result<bool, Error> {
        let user = retry_idempotent(
            &self.0,
            ProfileServiceClient::get_user,
            GetUserRequest { user_id },
        )
        .await?;
        Ok(user.roles.iter().any(|role| role == ROLE_LISTENER))
    }

    /// Fetches the names of up to 200 users. Deleted users are left out.
    pub async fn fetch_usernames(&self, user_ids: Vec<i64>) -> Result<HashMap<i64, String>, Error> {
        let request = GetUsernamesRequest { user_ids };
        let names = retry_idempotent(&self.0, ProfileServiceClient::get_usernames, request).await?;
        Ok(names.usernames)
    }
}

/// A service that exports the data it keeps about a user.
#[derive(Clone)]
pub struct UserDataSource {
    /// The name of the service in an archive.
    pub name: &'static str,
    client: ExportServiceClient<PeerChannel>,
}

impl UserDataSource {
    /// Returns clients of all services that keep data of users, except for this one.
    pub fn connect_all(
        peers: &PeerConnector,
        config: &PeerAddressConfig,
    ) -> anyhow::Result<Vec<Self>> {
        let sources = [
            (Workload::Auth, &config.auth),
            (Workload::Profile, &config.profile),
            (Workload::Presence, &config.presence),
            (Workload::Wallet, &config.wallet),
            (Workload::Calls, &config.calls),
        ];
        let connect = |(source, url): (Workload, &String)| {
            let client = ExportServiceClient::new(peers.connect(source, url)?);
            let name = source.name();
            anyhow::Ok(Self { name, client })
        };
        sources.into_iter().map(connect).collect()
    }

    /// Fetches a page of a user's data. An empty cursor stands for the first one.
    pub async fn fetch_page(
        &self,
        user_id: i64,
        cursor: &str,
    ) -> Result<ExportUserResponse, Error> {
        let request = ExportUserRequest {
            user_id,
            cursor: cursor.to_owned(),
        };
        retry_idempotent(&self.client, ExportServiceClient::export_user, request).await
    }
}
