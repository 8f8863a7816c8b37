//! What the caller may do, asked of profile on each request: a role that was taken away is gone.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, Kind};
use talktime_proto::profile::v1::GetUserRequest;
use talktime_proto::profile::{ROLE_ADMIN, ROLE_LISTENER};

use crate::clients::ProfileClient;
use crate::problem::Problem;
use crate::token::{Caller, Tokens};

/// A caller who is an admin; 403 for anyone else.
pub struct Admin(pub Caller);

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Tokens: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refusal = Error::new(Kind::PermissionDenied, "admin_only", "This is for admins.");
        caller_with(ROLE_ADMIN, refusal, parts, state)
            .await
            .map(Self)
    }
}

/// A caller who is a listener; 403 for anyone else.
pub struct Listener(pub Caller);

impl<S> FromRequestParts<S> for Listener
where
    S: Send + Sync,
    Tokens: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let detail = "This is for listeners.";
        let refusal = Error::new(Kind::PermissionDenied, "listener_only", detail);
        caller_with(ROLE_LISTENER, refusal, parts, state)
            .await
            .map(Self)
    }
}

async fn caller_with<S>(
    role: &str,
    refusal: Error,
    parts: &mut Parts,
    state: &S,
) -> Result<Caller, Problem>
where
    S: Send + Sync,
    Tokens: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    let caller = Caller::from_request_parts(parts, state).await?;
    if has_role(&ProfileClient::from_ref(state), caller.user_id, role).await? {
        Ok(caller)
    } else {
        Err(refusal.into())
    }
}

/// Whether this user is an admin now.
pub async fn is_admin(profile: &ProfileClient, user_id: i64) -> Result<bool, Error> {
    has_role(profile, user_id, ROLE_ADMIN).await
}

async fn has_role(profile: &ProfileClient, user_id: i64, role: &str) -> Result<bool, Error> {
    let user = retry_idempotent(|| {
        let mut profile = profile.clone();
        async move { profile.get_user(GetUserRequest { user_id }).await }
    })
    .await?;
    Ok(user.roles.iter().any(|has| has == role))
}
