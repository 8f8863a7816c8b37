//! For whom a method acts. The gateway sends the access token of its user along with a request; the service verifies it
//! and compares its user with the one in the request. So a process that has the gateway's certificate, but no token, can
//! act as nobody.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chrono::TimeDelta;
use http::HeaderMap;
use talktime_proto::access::v1::{Actor, Workload};
use talktime_proto::access::{MethodAccess, find_access};
use talktime_proto::auth::v1::AuthorizeAdminRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use tokio::time::timeout;
use tonic::Status;

use super::acting_user::{names_user, read_first_message};
use super::client::{PeerChannel, retry_idempotent};
use super::request_origin::read_request_origin;
use super::transport::find_caller;
use super::user_token::read_user_token;
use crate::clock::Clock;
use crate::deadlines::SIGNING_KEYS;
use crate::error::{Error, ErrorKind};
use crate::tokens::{AccessTokenVerifier, SigningKeys, UserToken};

type AuthClient = AuthServiceClient<PeerChannel>;

const REFUSED_USERS: &str = "grpc_refused_users_total";
/// A token is accepted for so long after its end. The gateway has accepted it before, and repeats the end of a call for
/// ten minutes after that.
const ACCEPTED_AFTER_END: TimeDelta = TimeDelta::minutes(12);

/// The user for whom a request is made, as their access token proves. Handlers find it in the extensions of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserAssertion {
    /// The user.
    pub user_id: i64,
    /// The session, which is the `sid` of the token.
    pub session_id: String,
    /// The login of the session, in seconds since 1970. Tokens from before it was kept have none.
    pub auth_time: Option<i64>,
}

/// Refuses requests whose user is not proven; cheap to clone.
#[derive(Clone)]
pub struct UserGuard(Arc<UserGuardParts>);

struct UserGuardParts {
    tokens: AccessTokenVerifier,
    /// Absent in auth itself, which has no methods for admins.
    auth: Option<AuthClient>,
    requires_tokens: bool,
    clock: Clock,
}

/// A reason to refuse a request, as the label of the metric has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RefusalReason {
    Missing,
    Invalid,
    Expired,
    OtherUser,
    NotAdmin,
}

impl RefusalReason {
    const ALL: [Self; 5] = [
        Self::Missing,
        Self::Invalid,
        Self::Expired,
        Self::OtherUser,
        Self::NotAdmin,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::OtherUser => "other_user",
            Self::NotAdmin => "not_admin",
        }
    }
}

impl UserGuard {
    /// Creates a guard that verifies tokens with the keys of auth, and asks auth about admins. Without
    /// `requires_tokens` it admits requests that carry none, as replicas of the gateway from before tokens travelled send
    /// them.
    pub fn new(auth: AuthClient, keys: SigningKeys, requires_tokens: bool, clock: Clock) -> Self {
        Self::create(Some(auth), keys, requires_tokens, clock)
    }

    /// Creates the guard of auth itself.
    pub fn of_auth(keys: SigningKeys, requires_tokens: bool, clock: Clock) -> Self {
        Self::create(None, keys, requires_tokens, clock)
    }

    fn create(
        auth: Option<AuthClient>,
        keys: SigningKeys,
        requires_tokens: bool,
        clock: Clock,
    ) -> Self {
        for reason in RefusalReason::ALL {
            metrics::counter!(REFUSED_USERS, "reason" => reason.label()).increment(0);
        }
        Self(Arc::new(UserGuardParts {
            tokens: AccessTokenVerifier::new(keys),
            auth,
            requires_tokens,
            clock,
        }))
    }

    /// Returns the request with its [`UserAssertion`], if its method acts for a user.
    async fn admit(&self, request: Request) -> Result<Request, Error> {
        let Some(method) = find_access(request.uri().path()) else {
            return Ok(request);
        };
        let is_of_gateway = find_caller(&request) == Some(Workload::Gateway);
        if method.actor == Actor::Workload || !is_of_gateway {
            return Ok(request);
        }
        match read_user_token(request.headers()) {
            Some(token) => self.admit_user(method, &token, request).await,
            None if self.0.requires_tokens => Err(refuse(method, RefusalReason::Missing)),
            None => {
                count_refusal(RefusalReason::Missing);
                Ok(request)
            }
        }
    }

    async fn admit_user(
        &self,
        method: &MethodAccess,
        token: &UserToken,
        request: Request,
    ) -> Result<Request, Error> {
        let user = self.identify(method, token).await?;
        let (mut parts, mut body) = request.into_parts();
        if let [path] = method.user_fields {
            let (message, again) = read_first_message(body).await?;
            if !names_user(&message, path, user.user_id)? {
                return Err(refuse(method, RefusalReason::OtherUser));
            }
            body = again;
        }
        if method.actor == Actor::Admin {
            let request = authorization_request(method, token, parts.headers.clone());
            self.authorize_admin(method, request).await?;
        }
        parts.extensions.insert(user);
        Ok(Request::from_parts(parts, body))
    }

    /// Returns the user of a valid token.
    async fn identify(
        &self,
        method: &MethodAccess,
        token: &UserToken,
    ) -> Result<UserAssertion, Error> {
        let UserGuardParts { tokens, clock, .. } = &*self.0;
        if !tokens.keys().are_loaded() {
            // Without keys, the verification below says so.
            let _ = timeout(SIGNING_KEYS, tokens.keys().wait_until_loaded()).await;
        }
        let verified = tokens.verify(token.as_str()).await;
        let verified = verified.map_err(|error| match error.kind() {
            ErrorKind::Unauthenticated => refuse(method, RefusalReason::Invalid),
            _ => error,
        })?;
        let claims = &verified.claims;
        if claims.expires_at()? + ACCEPTED_AFTER_END <= clock.now() {
            return Err(refuse(method, RefusalReason::Expired));
        }
        Ok(UserAssertion {
            user_id: claims.user_id,
            session_id: claims.sid.clone(),
            auth_time: claims.auth_time,
        })
    }

    async fn authorize_admin(
        &self,
        method: &MethodAccess,
        request: AuthorizeAdminRequest,
    ) -> Result<(), Error> {
        let auth = self.0.auth.as_ref();
        let auth = auth.ok_or_else(|| Error::internal("auth has no methods for admins"))?;
        let authorized = retry_idempotent(auth, AuthClient::authorize_admin, request).await;
        authorized.map(drop).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => refuse(method, RefusalReason::NotAdmin),
            _ => error,
        })
    }
}

fn authorization_request(
    method: &MethodAccess,
    token: &UserToken,
    headers: HeaderMap,
) -> AuthorizeAdminRequest {
    let (client_address, reason) = read_request_origin(headers);
    AuthorizeAdminRequest {
        access_token: token.as_str().to_owned(),
        method: method.path.trim_start_matches('/').to_owned(),
        client_address,
        reason,
    }
}

fn count_refusal(reason: RefusalReason) {
    metrics::counter!(REFUSED_USERS, "reason" => reason.label()).increment(1);
}

/// Counts a refusal, logs it, because refused requests indicate a fault or an attack, and returns its error.
fn refuse(method: &MethodAccess, reason: RefusalReason) -> Error {
    count_refusal(reason);
    tracing::warn!(
        method = method.path,
        reason = reason.label(),
        "the gateway sent a request whose user is not proven; the request was refused"
    );
    let (kind, code, detail) = match reason {
        RefusalReason::Missing => (
            ErrorKind::Unauthenticated,
            "user_token_missing",
            "The request must carry the access token of its user.",
        ),
        RefusalReason::Invalid => (
            ErrorKind::Unauthenticated,
            "invalid_token",
            "The access token is not valid.",
        ),
        RefusalReason::Expired => (
            ErrorKind::Unauthenticated,
            "token_expired",
            "The access token has expired.",
        ),
        RefusalReason::OtherUser => (
            ErrorKind::PermissionDenied,
            "token_of_another_user",
            "The access token belongs to another user.",
        ),
        RefusalReason::NotAdmin => (
            ErrorKind::PermissionDenied,
            "admin_only",
            "This is for admins only.",
        ),
    };
    Error::new(kind, code, detail)
}

/// Refuses a request that acts for a user without a proof.
pub(super) async fn require_user(
    State(guard): State<UserGuard>,
    request: Request,
    next: Next,
) -> Response {
    match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}
