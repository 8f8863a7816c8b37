//! The services that verification asks.

use talktime_kit::Error;
use talktime_kit::grpc::client::{self, PeerChannel, retry_idempotent};
use talktime_proto::profile::v1::GetUserRequest;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;

const LISTENER: &str = "listener";

/// Knows who is a listener.
#[derive(Clone)]
pub struct Profile(ProfileServiceClient<PeerChannel>);

impl Profile {
    /// Its client at `http://host:port`.
    pub fn connect(url: &str) -> anyhow::Result<Self> {
        Ok(Self(ProfileServiceClient::new(client::connect(url)?)))
    }

    /// Whether a user has the role now. Not found when there is no such user.
    pub async fn is_listener(&self, user_id: i64) -> Result<bool, Error> {
        let user = retry_idempotent(|| {
            let mut client = self.0.clone();
            async move { client.get_user(GetUserRequest { user_id }).await }
        })
        .await?;
        Ok(user.roles.iter().any(|role| role == LISTENER))
    }
}
