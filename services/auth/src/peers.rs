//! Clients of the services that auth calls.

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::batch::{BatchLimits, Batcher};
use talktime_kit::error::chain;
use talktime_kit::grpc::client::{PeerChannel, PeerConnector, retry_idempotent};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::SetOnlineRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_proto::profile::ROLE_ADMIN;
use talktime_proto::profile::v1::profile_service_client::ProfileServiceClient;
use talktime_proto::profile::v1::{CreateUserRequest, GetRolesRequest, User};
use talktime_proto::timestamp;

use crate::domain::{PhoneNumber, UserAccount};
use crate::peer_batches::{
    AccountLookupBatchHandler, LOOKUP_LIMITS, SET_ONLINE_TIMEOUT, SessionReportBatchHandler,
};

/// A client of the profile service, which stores accounts; cheap to clone.
#[derive(Clone)]
pub struct ProfileClient {
    profile: ProfileServiceClient<PeerChannel>,
    lookups: Batcher<AccountLookupBatchHandler>,
}

impl ProfileClient {
    /// Starts a client for `https://host:port`; it connects at the first call.
    pub fn start(
        lifecycle: &ProcessLifecycle,
        peers: &PeerConnector,
        url: &str,
    ) -> anyhow::Result<Self> {
        let profile = ProfileServiceClient::new(peers.connect(Workload::Profile, url)?);
        let handler = AccountLookupBatchHandler {
            profile: profile.clone(),
        };
        let lookups = Batcher::start(lifecycle, LOOKUP_LIMITS, handler);
        Ok(Self { profile, lookups })
    }

    /// Finds the account of a phone; `None` if the phone is new.
    pub async fn find_account(&self, phone: &PhoneNumber) -> Result<Option<UserAccount>, Error> {
        self.lookups.submit(phone.clone()).await
    }

    /// Returns whether a user has the role of an admin at this moment.
    pub async fn is_admin(&self, user_id: i64) -> Result<bool, Error> {
        let request = GetRolesRequest { user_id };
        let found =
            retry_idempotent(&self.profile, ProfileServiceClient::get_roles, request).await?;
        Ok(found.roles.iter().any(|role| role == ROLE_ADMIN))
    }

    /// Creates a user, once for each registration id.
    pub async fn create_user(&self, request: CreateUserRequest) -> Result<UserAccount, Error> {
        let method = ProfileServiceClient::create_user;
        let user = retry_idempotent(&self.profile, method, request).await?;
        Ok(user.into())
    }
}

impl From<User> for UserAccount {
    fn from(user: User) -> Self {
        Self {
            user_id: user.user_id,
            username: user.username,
        }
    }
}

/// A client of the presence service; cheap to clone.
#[derive(Clone)]
pub struct PresenceClient(Batcher<SessionReportBatchHandler>);

impl PresenceClient {
    /// Starts a client for `https://host:port`; it connects at the first call.
    pub fn start(
        lifecycle: &ProcessLifecycle,
        peers: &PeerConnector,
        url: &str,
    ) -> anyhow::Result<Self> {
        let presence = PresenceServiceClient::new(peers.connect(Workload::Presence, url)?);
        let handler = SessionReportBatchHandler { presence };
        // Large requests cost least for each login.
        Ok(Self(Batcher::start(
            lifecycle,
            BatchLimits::ONE_AT_A_TIME,
            handler,
        )))
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
        let outcome = tokio::time::timeout(SET_ONLINE_TIMEOUT, self.0.submit(request)).await;
        let reason = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        tracing::warn!(
            user_id,
            reason,
            "failed to report a login or logout to presence; the event will"
        );
    }
}
