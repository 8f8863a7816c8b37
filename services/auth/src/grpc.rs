//! The gRPC interface of auth.

use std::sync::Arc;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::auth::v1::auth_service_server::AuthService;
use talktime_proto::auth::v1::verify_otp_response::Outcome;
use talktime_proto::auth::v1::{
    self as pb, AuthorizeAdminRequest, AuthorizeAdminResponse, EndAccountRequest,
    EndAccountResponse, EndSessionRequest, EndSessionResponse, GetKeySetRequest, GetKeySetResponse,
    ListRevocationsRequest, ListRevocationsResponse, ListSessionsRequest, ListSessionsResponse,
    LogoutAllRequest, LogoutAllResponse, LogoutRequest, LogoutResponse, RefreshTokensRequest,
    RefreshTokensResponse, RegisterRequest, RegisterResponse, RequestOtpRequest,
    RequestOtpResponse, ResendOtpRequest, ResendOtpResponse, TokenPair, VerifyOtpRequest,
    VerifyOtpResponse,
};
use talktime_proto::{datetime, timestamp};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::admins::AdminAuthorizer;
use crate::attestation::AttestationGuard;
use crate::domain::claims::UserSession;
use crate::domain::{AttestedOperation, AuthError, ClientAddress, DeviceName, OtpGuess};
use crate::events::tokens_revoked_event;
use crate::login::{LoginService, OtpVerificationOutcome};
use crate::sessions::{OpenSession, SessionService, SessionTokens, TokenRevocationPage};
use crate::tokens::TokenIssuer;

pub(crate) struct AuthGrpcApi {
    login: LoginService,
    attestation: AttestationGuard,
    sessions: SessionService,
    issuer: Arc<TokenIssuer>,
    admins: AdminAuthorizer,
}

impl AuthGrpcApi {
    pub(crate) fn new(
        login: LoginService,
        attestation: AttestationGuard,
        sessions: SessionService,
        issuer: Arc<TokenIssuer>,
        admins: AdminAuthorizer,
    ) -> Self {
        Self {
            login,
            attestation,
            sessions,
            issuer,
            admins,
        }
    }
}

#[tonic::async_trait]
impl AuthService for AuthGrpcApi {
    async fn request_otp(
        &self,
        request: Request<RequestOtpRequest>,
    ) -> Result<Response<RequestOtpResponse>, Status> {
        let request = request.into_inner();
        let attestation = request.attestation.as_deref();
        let operation = AttestedOperation::RequestOtp;
        let attested = self
            .attestation
            .check(operation, &request.phone, attestation);
        attested.await.map_err(to_status)?;
        let address = ClientAddress::parse(&request.client_address);
        let sent = self.login.request_otp(&request.phone, address).await;
        let challenge_id = sent.map_err(to_status)?.to_string();
        Ok(Response::new(RequestOtpResponse { challenge_id }))
    }

    async fn resend_otp(
        &self,
        request: Request<ResendOtpRequest>,
    ) -> Result<Response<ResendOtpResponse>, Status> {
        let request = request.into_inner();
        let attestation = request.attestation.as_deref();
        let operation = AttestedOperation::ResendOtp;
        let attested = self
            .attestation
            .check(operation, &request.phone, attestation);
        attested.await.map_err(to_status)?;
        let address = ClientAddress::parse(&request.client_address);
        let challenge_id = parse_challenge(request.challenge_id.as_deref());
        let resent = self.login.resend_otp(&request.phone, address, challenge_id);
        let resent = resent.await.map_err(to_status)?;
        Ok(Response::new(ResendOtpResponse {
            was_active: resent.was_active,
            challenge_id: resent.challenge_id.map(|id| id.to_string()),
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
            client_address,
            challenge_id,
        } = request.into_inner();
        let device = DeviceName::new(&user_agent);
        let guess = OtpGuess {
            digits: &otp,
            challenge_id: parse_challenge(challenge_id.as_deref()),
            address: ClientAddress::parse(&client_address),
        };
        let verified = self.login.verify_otp(&phone, guess, &device).await;
        let outcome = match verified.map_err(to_status)? {
            OtpVerificationOutcome::Registered(tokens) => Outcome::Registered(token_pair(tokens)),
            OtpVerificationOutcome::New(token) => Outcome::RegistrationToken(token),
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
        let registered = registration.map_err(to_status)?;
        Ok(Response::new(RegisterResponse {
            tokens: Some(token_pair(registered.tokens)),
            user_id: registered.user_id,
        }))
    }

    async fn refresh_tokens(
        &self,
        request: Request<RefreshTokensRequest>,
    ) -> Result<Response<RefreshTokensResponse>, Status> {
        let refresh_token = request.into_inner().refresh_token;
        let tokens = self.sessions.refresh_tokens(&refresh_token).await;
        Ok(Response::new(RefreshTokensResponse {
            tokens: Some(token_pair(tokens.map_err(to_status)?)),
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let request = request.into_inner();
        let access_jti = Uuid::parse_str(&request.access_token_id)
            .map_err(|_| to_status(AuthError::InvalidTokenId))?;
        let session_id = match request.session_id.as_str() {
            "" => None,
            session_id => Some(parse_session(request.user_id, session_id)?.session_id),
        };
        self.sessions
            .log_out(request.user_id, access_jti, session_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let sessions = self.sessions.list_open(user_id).await.map_err(to_status)?;
        Ok(Response::new(ListSessionsResponse {
            sessions: sessions.into_iter().map(session_item).collect(),
        }))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let request = request.into_inner();
        let session = parse_session(request.user_id, &request.session_id)?;
        self.sessions
            .end_session(session)
            .await
            .map_err(to_status)?;
        Ok(Response::new(EndSessionResponse {}))
    }

    async fn logout_all(
        &self,
        request: Request<LogoutAllRequest>,
    ) -> Result<Response<LogoutAllResponse>, Status> {
        let request = request.into_inner();
        let session = parse_session(request.user_id, &request.session_id)?;
        let logout = self.sessions.log_out_everywhere(session).await;
        logout.map_err(to_status)?;
        Ok(Response::new(LogoutAllResponse {}))
    }

    async fn end_account(
        &self,
        request: Request<EndAccountRequest>,
    ) -> Result<Response<EndAccountResponse>, Status> {
        let user_id = request.into_inner().user_id;
        self.sessions
            .end_account(user_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(EndAccountResponse {}))
    }

    async fn get_key_set(
        &self,
        _request: Request<GetKeySetRequest>,
    ) -> Result<Response<GetKeySetResponse>, Status> {
        let ring = self.issuer.current_ring().map_err(refuse)?;
        Ok(Response::new(GetKeySetResponse {
            jwks_json: ring.jwks_json().to_owned(),
        }))
    }

    async fn authorize_admin(
        &self,
        request: Request<AuthorizeAdminRequest>,
    ) -> Result<Response<AuthorizeAdminResponse>, Status> {
        let authorized = self.admins.authorize(request.get_ref()).await;
        authorized.map_err(to_status)?;
        Ok(Response::new(AuthorizeAdminResponse {}))
    }

    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        let request = request.into_inner();
        let since = datetime(request.since.as_ref());
        let page = self
            .sessions
            .list_revocations(since, request.after_id)
            .await;
        let TokenRevocationPage {
            revocations,
            has_more,
            as_of,
        } = page.map_err(to_status)?;
        Ok(Response::new(ListRevocationsResponse {
            has_more,
            last_id: revocations.last().map_or(request.after_id, |(id, _)| *id),
            revocations: revocations
                .into_iter()
                .map(|(_, revocation)| tokens_revoked_event(revocation))
                .collect(),
            as_of: Some(timestamp(as_of)),
        }))
    }
}

fn to_status(error: AuthError) -> Status {
    refuse(Error::from(error))
}

fn token_pair(tokens: SessionTokens) -> TokenPair {
    TokenPair {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
    }
}

/// Parses the id of a challenge. A malformed id is treated like one that does not exist, and an empty one, with which
/// replicas from before challenges have answered, like none.
fn parse_challenge(challenge_id: Option<&str>) -> Option<Uuid> {
    let challenge_id = challenge_id.filter(|challenge_id| !challenge_id.is_empty())?;
    Some(Uuid::parse_str(challenge_id).unwrap_or_default())
}

/// Parses the id of a session. A malformed id is answered like the id of a session that does not exist.
fn parse_session(user_id: i64, session_id: &str) -> Result<UserSession, Status> {
    let session_id = Uuid::parse_str(session_id);
    Ok(UserSession {
        user_id,
        session_id: session_id.map_err(|_| to_status(AuthError::SessionNotFound))?,
    })
}

fn session_item(session: OpenSession) -> pb::Session {
    pb::Session {
        session_id: session.session_id,
        device: session.device,
        created_at: session.created_at.map(timestamp),
        last_used_at: session.last_used_at.map(timestamp),
    }
}
