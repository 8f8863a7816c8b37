//! Clients of the services that auth calls.

use std::time::Duration;

use chrono::{DateTime, Utc};
use talktime_kit::error::chain;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_kit::{Error, ErrorKind};
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::SetOnlineRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::ROLE_ADMIN;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{
    CreateUserRequest, GetRolesRequest, GetUserByPhoneRequest, User,
};
use talktime_proto::timestamp;

use crate::domain::PhoneNumber;

/// A login waits for presence no longer than this: the event does the same a moment later.
const SET_ONLINE_TIMEOUT: Duration = Duration::from_millis(300);

/// A client of the profile service, which stores accounts.
#[derive(Clone)]
pub struct ProfileClient(ProfileServiceClient<PeerChannel>);

impl ProfileClient {
    /// Creates a client for `https://host:port`; it connects at the first call.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Profile, url)?;
        Ok(Self(ProfileServiceClient::new(channel)))
    }

    /// Finds the user with this phone; `None` if the phone is new.
    pub async fn find_user_by_phone(&self, phone: &PhoneNumber) -> Result<Option<User>, Error> {
        let found = retry_idempotent(
            &self.0,
            ProfileServiceClient::get_user_by_phone,
            GetUserByPhoneRequest {
                phone: phone.to_string(),
            },
        )
        .await;
        match found {
            Ok(user) => Ok(Some(user)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a user has the role of an admin at this moment.
    pub async fn is_admin(&self, user_id: i64) -> Result<bool, Error> {
        let request = GetRolesRequest { user_id };
        let found = retry_idempotent(&self.0, ProfileServiceClient::get_roles, request).await?;
        Ok(found.roles.iter().any(|role| role == ROLE_ADMIN))
    }

    /// Creates a user, once for each registration id.
    pub async fn create_user(&self, request: CreateUserRequest) -> Result<User, Error> {
        retry_idempotent(&self.0, ProfileServiceClient::create_user, request).await
    }
}

/// A client of the presence service.
#[derive(Clone)]
pub struct PresenceClient(PresenceServiceClient<PeerChannel>);

impl PresenceClient {
    /// Creates a client for `https://host:port`; it connects at the first call.
    pub fn connect(peers: &PeerConnector, url: &str) -> anyhow::Result<Self> {
        let channel = peers.connect(Workload::Presence, url)?;
        Ok(Self(PresenceServiceClient::new(channel)))
    }

    /// Reports a login to presence at once, if possible.
    pub async fn report_login(&self, user_id: i64, username: String, happened_at: DateTime<Utc>) {
        self.set_online(SetOnlineRequest {
            user_id,
            username,
            is_online: true,
            happened_at: Some(timestamp(happened_at)),
            ..SetOnlineRequest::default()
        })
        .await;
    }

    /// Reports a logout to presence at once, if possible: the user goes offline, and heartbeats of these sessions
    /// are ignored from now on.
    pub async fn report_logout(
        &self,
        user_id: i64,
        ended_session_ids: Vec<String>,
        happened_at: DateTime<Utc>,
    ) {
        self.set_online(SetOnlineRequest {
            user_id,
            is_online: false,
            happened_at: Some(timestamp(happened_at)),
            ended_session_ids,
            ..SetOnlineRequest::default()
        })
        .await;
    }

    /// Reports a change to presence. A failure is only logged, since presence also gets the event of the same
    /// instant.
    async fn set_online(&self, request: SetOnlineRequest) {
        let user_id = request.user_id;
        let mut client = self.0.clone();
        let outcome = tokio::time::timeout(SET_ONLINE_TIMEOUT, client.set_online(request)).await;
        let reason = match outcome {
            Ok(Ok(_status)) => return,
            Ok(Err(status)) => chain(&Error::from(status)),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        tracing::warn!(
            user_id,
            reason,
            "failed to report a login or logout to presence; the event will"
        );
    }
}
