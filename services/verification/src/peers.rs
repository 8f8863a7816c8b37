//! Clients of the services that verification calls.

use std::collections::HashMap;

use talktime_kit::Error;
use talktime_kit::grpc::client::{self, PeerChannel, retry_idempotent};
use talktime_proto::profile::ROLE_LISTENER;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{GetUserRequest, GetUsernamesRequest};

/// A client of profile; cheap to clone.
#[derive(Clone)]
pub struct ProfileClient(ProfileServiceClient<PeerChannel>);

impl ProfileClient {
    /// Returns a client of the profile service at `http://host:port`.
    pub fn connect(url: &str) -> anyhow::Result<Self> {
        Ok(Self(ProfileServiceClient::new(client::connect(url)?)))
    }

    /// Fetches whether a user has the role of a listener at present. Fails if there is no such user.
    pub async fn is_listener(&self, user_id: i64) -> Result<bool, Error> {
        let user = retry_idempotent(|| {
            let mut client = self.0.clone();
            async move { client.get_user(GetUserRequest { user_id }).await }
        })
        .await?;
        Ok(user.roles.iter().any(|role| role == ROLE_LISTENER))
    }

    /// Fetches the names of up to 200 users. Deleted users are left out.
    pub async fn fetch_usernames(&self, user_ids: Vec<i64>) -> Result<HashMap<i64, String>, Error> {
        let request = GetUsernamesRequest { user_ids };
        let names = retry_idempotent(|| {
            let mut client = self.0.clone();
            let request = request.clone();
            async move { client.get_usernames(request).await }
        })
        .await?;
        Ok(names.usernames)
    }
}
