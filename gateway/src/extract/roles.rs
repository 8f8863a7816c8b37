//! The roles of the current user. Each request loads them from profile, so that a revoked role has no effect any
//! more.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::profile::v1::GetUserRequest;
use talktime_proto::profile::{ROLE_ADMIN, ROLE_LISTENER};

use super::AuditReason;
use crate::clients::ProfileClient;
use crate::problem::Problem;
use crate::token::{CurrentUser, TokenVerifier};

/// A current user with the role `admin`. Refuses others with 403, and a reason that cannot be kept with 400.
pub struct AdminUser(pub CurrentUser);

impl<S> FromRequestParts<S> for AdminUser
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refusal = Error::new(
            ErrorKind::PermissionDenied,
            "admin_only",
            "This is for admins only.",
        );
        let admin = require_role(ROLE_ADMIN, refusal, parts, state).await?;
        AuditReason::parse(&parts.headers)?;
        Ok(Self(admin))
    }
}

/// A current user with the role `listener`. Refuses others with 403.
pub struct ListenerUser(pub CurrentUser);

impl<S> FromRequestParts<S> for ListenerUser
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let detail = "This is for listeners only.";
        let refusal = Error::new(ErrorKind::PermissionDenied, "listener_only", detail);
        require_role(ROLE_LISTENER, refusal, parts, state)
            .await
            .map(Self)
    }
}

async fn require_role<S>(
    role: &str,
    refusal: Error,
    parts: &mut Parts,
    state: &S,
) -> Result<CurrentUser, Problem>
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    ProfileClient: FromRef<S>,
{
    let current_user = CurrentUser::from_request_parts(parts, state).await?;
    if has_role(&ProfileClient::from_ref(state), current_user.user_id, role).await? {
        Ok(current_user)
    } else {
        Err(refusal.into())
    }
}

/// Returns whether a user currently has the role `admin`.
pub async fn is_admin(profile: &ProfileClient, user_id: i64) -> Result<bool, Error> {
    has_role(profile, user_id, ROLE_ADMIN).await
}

async fn has_role(profile: &ProfileClient, user_id: i64, role: &str) -> Result<bool, Error> {
    let user =
        retry_idempotent(profile, ProfileClient::get_user, GetUserRequest { user_id }).await?;
    Ok(user.roles.iter().any(|has| has == role))
}
