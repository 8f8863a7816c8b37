//! Logging in and out (contract, section 2).

use axum::extract::State;
use serde::Serialize;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::auth::v1::verify_otp_response::Outcome;
use talktime_proto::auth::v1::{
    LogoutRequest, RefreshTokensRequest, RegisterRequest, RequestOtpRequest, ResendOtpRequest,
    TokenPair, VerifyOtpRequest,
};
use talktime_proto::timestamp;

use super::Message;
use crate::app::Auth;
use crate::extract::{ClientAddress, Json, UserAgent};
use crate::problem::Result;
use crate::revocations::Revocations;
use crate::token::Caller;

#[derive(eserde::Deserialize)]
pub(super) struct PhoneBody {
    phone: String,
}

pub(super) async fn request_otp(
    State(mut auth): State<Auth>,
    ClientAddress(client_address): ClientAddress,
    Json(PhoneBody { phone }): Json<PhoneBody>,
) -> Result<Json<Message>> {
    let request = RequestOtpRequest {
        phone,
        client_address,
    };
    auth.request_otp(request).await?;
    Ok(Json(Message::new("OTP sent")))
}

pub(super) async fn resend_otp(
    State(mut auth): State<Auth>,
    ClientAddress(client_address): ClientAddress,
    Json(PhoneBody { phone }): Json<PhoneBody>,
) -> Result<Json<Message>> {
    let request = ResendOtpRequest {
        phone,
        client_address,
    };
    let answer = auth.resend_otp(request).await?;
    let message = if answer.into_inner().was_active {
        "OTP re-sent"
    } else {
        "OTP sent"
    };
    Ok(Json(Message::new(message)))
}

#[derive(eserde::Deserialize)]
pub(super) struct VerifyBody {
    phone: String,
    otp: String,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum Verified {
    Registered(Tokens),
    NeedsRegistration { registration_token: String },
}

#[derive(Serialize)]
pub(super) struct Tokens {
    access_token: String,
    refresh_token: String,
}

impl From<TokenPair> for Tokens {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
        }
    }
}

pub(super) async fn verify(
    State(mut auth): State<Auth>,
    UserAgent(user_agent): UserAgent,
    Json(body): Json<VerifyBody>,
) -> Result<Json<Verified>> {
    let request = VerifyOtpRequest {
        phone: body.phone,
        otp: body.otp,
        user_agent,
    };
    let answer = auth.verify_otp(request).await?.into_inner();
    let verified = match answer.outcome.ok_or_else(no_tokens)? {
        Outcome::Registered(pair) => Verified::Registered(pair.into()),
        Outcome::RegistrationToken(registration_token) => {
            Verified::NeedsRegistration { registration_token }
        }
    };
    Ok(Json(verified))
}

#[derive(eserde::Deserialize)]
pub(super) struct RegisterBody {
    registration_token: String,
    username: String,
    sex: String,
    dob: String,
    role: String,
    #[serde(default)]
    bio: Option<String>,
    #[serde(default)]
    interests: Option<Vec<String>>,
    #[serde(default)]
    profile_image_url: Option<String>,
    #[serde(default)]
    preferred_language: Option<String>,
}

impl RegisterBody {
    fn into_request(self, user_agent: String) -> RegisterRequest {
        let body = self;
        RegisterRequest {
            user_agent,
            registration_token: body.registration_token,
            username: body.username,
            sex: body.sex,
            dob: body.dob,
            role: body.role,
            bio: body.bio,
            interests: body.interests.unwrap_or_default(),
            profile_image_url: body.profile_image_url,
            preferred_language: body.preferred_language,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Registered {
    #[serde(flatten)]
    tokens: Tokens,
    user_id: i64,
}

pub(super) async fn register(
    State(mut auth): State<Auth>,
    UserAgent(user_agent): UserAgent,
    Json(body): Json<RegisterBody>,
) -> Result<Json<Registered>> {
    let request = body.into_request(user_agent);
    let answer = auth.register(request).await?.into_inner();
    Ok(Json(Registered {
        tokens: answer.tokens.ok_or_else(no_tokens)?.into(),
        user_id: answer.user_id,
    }))
}

#[derive(eserde::Deserialize)]
pub(super) struct RefreshBody {
    refresh_token: String,
}

/// Never tried again by itself: a second use of a refresh token ends all sessions of its user.
pub(super) async fn refresh(
    State(mut auth): State<Auth>,
    Json(RefreshBody { refresh_token }): Json<RefreshBody>,
) -> Result<Json<Tokens>> {
    let request = RefreshTokensRequest { refresh_token };
    let answer = auth.refresh_tokens(request).await?.into_inner();
    Ok(Json(answer.tokens.ok_or_else(no_tokens)?.into()))
}

pub(super) async fn logout(
    State(auth): State<Auth>,
    State(revocations): State<Revocations>,
    caller: Caller,
) -> Result<Json<Message>> {
    let request = LogoutRequest {
        user_id: caller.user_id,
        access_token_id: caller.token_id,
        expires_at: Some(timestamp(caller.expires_at)),
    };
    retry_idempotent(|| {
        let (mut auth, request) = (auth.clone(), request.clone());
        async move { auth.logout(request).await }
    })
    .await?;
    revocations.refresh().await;
    Ok(Json(Message::new("Logged out")))
}

fn no_tokens() -> Error {
    Error::internal("the auth service answered without tokens")
}
