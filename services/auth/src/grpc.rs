//! Auth as the gateway sees it.

use std::sync::Arc;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::auth::v1::auth_service_server::AuthService;
use talktime_proto::auth::v1::verify_otp_response::Outcome;
use talktime_proto::auth::v1::{
    self as pb, EndAccountRequest, EndAccountResponse, EndSessionRequest, EndSessionResponse,
    GetKeySetRequest, GetKeySetResponse, ListRevocationsRequest, ListRevocationsResponse,
    ListSessionsRequest, ListSessionsResponse, LogoutAllRequest, LogoutAllResponse, LogoutRequest,
    LogoutResponse, RefreshTokensRequest, RefreshTokensResponse, RegisterRequest, RegisterResponse,
    RequestOtpRequest, RequestOtpResponse, ResendOtpRequest, ResendOtpResponse, TokenPair,
    VerifyOtpRequest, VerifyOtpResponse,
};
use talktime_proto::{datetime, timestamp};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::domain::claims::Session;
use crate::domain::{AuthError, ClientAddress, Device};
use crate::events::tokens_revoked;
use crate::login::{Login, Verified};
use crate::sessions::{Sessions, Tokens};
use crate::store::revocations::{PAGE_MAX, Page};
use crate::store::sessions::OpenSession;
use crate::tokens::Issuer;

pub(crate) struct AuthApi {
    login: Login,
    sessions: Sessions,
    issuer: Arc<Issuer>,
}

impl AuthApi {
    pub(crate) fn new(login: Login, sessions: Sessions, issuer: Arc<Issuer>) -> Self {
        Self {
            login,
            sessions,
            issuer,
        }
    }
}

#[tonic::async_trait]
impl AuthService for AuthApi {
    async fn request_otp(
        &self,
        request: Request<RequestOtpRequest>,
    ) -> Result<Response<RequestOtpResponse>, Status> {
        let request = request.into_inner();
        let address = ClientAddress::parse(&request.client_address);
        let sent = self.login.request_otp(&request.phone, address).await;
        sent.map_err(refused)?;
        Ok(Response::new(RequestOtpResponse {}))
    }

    async fn resend_otp(
        &self,
        request: Request<ResendOtpRequest>,
    ) -> Result<Response<ResendOtpResponse>, Status> {
        let request = request.into_inner();
        let address = ClientAddress::parse(&request.client_address);
        let was_active = self.login.resend_otp(&request.phone, address).await;
        Ok(Response::new(ResendOtpResponse {
            was_active: was_active.map_err(refused)?,
        }))
    }

    async fn verify_otp(
        &self,
        request: Request<VerifyOtpRequest>,
    ) -> Result<Response<VerifyOtpResponse>, Status> {
        let VerifyOtpRequest {
            phone,
            otp,
            user_agent,
        } = request.into_inner();
        let device = Device::new(&user_agent);
        let verified = self.login.verify_otp(&phone, &otp, &device).await;
        let outcome = match verified.map_err(refused)? {
            Verified::Registered(tokens) => Outcome::Registered(pair(tokens)),
            Verified::New(token) => Outcome::RegistrationToken(token),
        };
        Ok(Response::new(VerifyOtpResponse {
            outcome: Some(outcome),
        }))
    }

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let registration = self.login.register(request.into_inner()).await;
        let (user_id, tokens) = registration.map_err(refused)?;
        Ok(Response::new(RegisterResponse {
            tokens: Some(pair(tokens)),
            user_id,
        }))
    }

    async fn refresh_tokens(
        &self,
        request: Request<RefreshTokensRequest>,
    ) -> Result<Response<RefreshTokensResponse>, Status> {
        let refresh_token = request.into_inner().refresh_token;
        let tokens = self.sessions.refresh(&refresh_token).await;
        Ok(Response::new(RefreshTokensResponse {
            tokens: Some(pair(tokens.map_err(refused)?)),
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let request = request.into_inner();
        let access_jti = Uuid::parse_str(&request.access_token_id)
            .map_err(|_| refused(AuthError::InvalidTokenId))?;
        let session_id = match request.session_id.as_str() {
            "" => None,
            session_id => Some(session(request.user_id, session_id)?.session_id),
        };
        self.sessions
            .log_out(request.user_id, access_jti, session_id)
            .await
            .map_err(refused)?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let sessions = self.sessions.list(user_id).await.map_err(refused)?;
        Ok(Response::new(ListSessionsResponse {
            sessions: sessions.into_iter().map(open_session).collect(),
        }))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let request = request.into_inner();
        let session = session(request.user_id, &request.session_id)?;
        self.sessions.end(session).await.map_err(refused)?;
        Ok(Response::new(EndSessionResponse {}))
    }

    async fn logout_all(
        &self,
        request: Request<LogoutAllRequest>,
    ) -> Result<Response<LogoutAllResponse>, Status> {
        let request = request.into_inner();
        let session = session(request.user_id, &request.session_id)?;
        let logout = self.sessions.log_out_everywhere(session).await;
        logout.map_err(refused)?;
        Ok(Response::new(LogoutAllResponse {}))
    }

    async fn end_account(
        &self,
        request: Request<EndAccountRequest>,
    ) -> Result<Response<EndAccountResponse>, Status> {
        let user_id = request.into_inner().user_id;
        self.sessions.end_account(user_id).await.map_err(refused)?;
        Ok(Response::new(EndAccountResponse {}))
    }

    async fn get_key_set(
        &self,
        _request: Request<GetKeySetRequest>,
    ) -> Result<Response<GetKeySetResponse>, Status> {
        let ring = self.issuer.ring().map_err(refuse)?;
        Ok(Response::new(GetKeySetResponse {
            jwks_json: ring.jwks_json().to_owned(),
        }))
    }

    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        let request = request.into_inner();
        let since = datetime(request.since.as_ref());
        let page = self.sessions.revocations(since, request.after_id).await;
        let Page { revocations, as_of } = page.map_err(refused)?;
        Ok(Response::new(ListRevocationsResponse {
            has_more: revocations.len() == PAGE_MAX,
            last_id: revocations.last().map_or(request.after_id, |(id, _)| *id),
            revocations: revocations
                .into_iter()
                .map(|(_, revocation)| tokens_revoked(revocation))
                .collect(),
            as_of: Some(timestamp(as_of)),
        }))
    }
}

fn refused(error: AuthError) -> Status {
    refuse(Error::from(error))
}

fn pair(tokens: Tokens) -> TokenPair {
    TokenPair {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
    }
}

/// What is no id of a session is the id of none.
fn session(user_id: i64, session_id: &str) -> Result<Session, Status> {
    let session_id = Uuid::parse_str(session_id);
    Ok(Session {
        user_id,
        session_id: session_id.map_err(|_| refused(AuthError::SessionNotFound))?,
    })
}

fn open_session(session: OpenSession) -> pb::Session {
    pb::Session {
        session_id: session.session_id,
        device: session.device,
        created_at: session.created_at.map(timestamp),
        last_used_at: session.last_used_at.map(timestamp),
    }
}
