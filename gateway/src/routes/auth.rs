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
use utoipa::ToSchema;

use super::Message;
use crate::clients::AuthClient;
use crate::extract::{ClientAddress, Json, UserAgent};
use crate::openapi::values::{RegistrationRole, Sex};
use crate::problem::Result;
use crate::revocations::RevocationList;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PhoneBody {
    /// E.164.
    #[schema(example = "+919812345678")]
    phone: String,
}

/// Sends a one-time password to a phone.
///
/// It is good for five minutes and one login. At most 5 in 15 minutes go to a phone.
#[utoipa::path(
    post,
    path = "/auth/request_otp",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = Message),
        (status = 400, description = "invalid_phone, phone_unreachable"),
        (status = 429, description = "otp_rate_limited, otp_sends_limited"),
        (status = 503, description = "otp_not_sent"),
    )
)]
pub(super) async fn request_otp(
    State(mut auth): State<AuthClient>,
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

/// Sends the active one-time password again, or a new one when there is none.
///
/// At most once in 60 seconds.
#[utoipa::path(
    post,
    path = "/auth/resend_otp",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = Message),
        (status = 400, description = "invalid_phone, phone_unreachable"),
        (status = 429, description = "otp_rate_limited, otp_resent_recently, otp_sends_limited"),
        (status = 503, description = "otp_not_sent"),
    )
)]
pub(super) async fn resend_otp(
    State(mut auth): State<AuthClient>,
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

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct VerifyBody {
    /// E.164.
    #[schema(example = "+919812345678")]
    phone: String,
    /// Six digits.
    #[schema(example = "483920")]
    otp: String,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum Verified {
    Registered(Tokens),
    NeedsRegistration { registration_token: String },
}

#[derive(Serialize, ToSchema)]
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

/// Logs in with a one-time password, or answers a token to register with.
///
/// Five wrong tries burn the password. One whose login was answered 503 works again.
#[utoipa::path(
    post,
    path = "/auth/verify",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = Verified),
        (status = 400, description = "invalid_phone, invalid_otp"),
        (status = 429, description = "otp_tries_limited"),
    )
)]
pub(super) async fn verify(
    State(mut auth): State<AuthClient>,
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

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RegisterBody {
    registration_token: String,
    /// Unique without regard to case.
    #[schema(
        min_length = 3,
        max_length = 50,
        pattern = "^[A-Za-z0-9_]+$",
        example = "asha_p"
    )]
    username: String,
    #[schema(value_type = Sex)]
    sex: String,
    /// Date of birth; at least 18 years ago.
    #[schema(format = Date, example = "1999-12-31")]
    dob: String,
    #[schema(value_type = RegistrationRole)]
    role: String,
    /// Empty for none, as is the case for the image.
    #[serde(default)]
    #[schema(max_length = 500)]
    bio: Option<String>,
    /// Letters, digits, spaces and hyphens; up to 50 of them each.
    #[serde(default)]
    #[schema(max_items = 10, example = json!(["music", "films"]))]
    interests: Option<Vec<String>>,
    #[serde(default)]
    profile_image_url: Option<String>,
    /// `en` by default.
    #[serde(default)]
    #[schema(example = "en")]
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

#[derive(Serialize, ToSchema)]
pub(super) struct Registered {
    #[serde(flatten)]
    tokens: Tokens,
    user_id: i64,
}

/// Registers the phone of a registration token, and logs in.
///
/// The same registration again gets the same tokens, as long as nobody has used the refresh token and the
/// session is open; then its token is refused.
#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = Registered),
        (status = 400, description = "invalid_username, invalid_sex, invalid_dob, under_age, invalid_role, invalid_bio, invalid_interests, invalid_profile_image_url, invalid_language"),
        (status = 401, description = "invalid_registration_token"),
        (status = 409, description = "username_taken, phone_taken, registration_reused"),
    )
)]
pub(super) async fn register(
    State(mut auth): State<AuthClient>,
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

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RefreshBody {
    refresh_token: String,
}

/// Trades a refresh token for a new pair; the old one is dead from then on.
///
/// Using it again ends every session of the user.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = Tokens),
        (status = 401, description = "invalid_refresh_token"),
    )
)]
// Never tried again by itself: a second use of a refresh token ends all sessions of its user.
pub(super) async fn refresh(
    State(mut auth): State<AuthClient>,
    Json(RefreshBody { refresh_token }): Json<RefreshBody>,
) -> Result<Json<Tokens>> {
    let request = RefreshTokensRequest { refresh_token };
    let answer = auth.refresh_tokens(request).await?.into_inner();
    Ok(Json(answer.tokens.ok_or_else(no_tokens)?.into()))
}

/// Ends this session with all its tokens and sockets, and every refresh token of the user.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    security(("access_token" = [])),
    responses((status = 200, body = Message))
)]
pub(super) async fn logout(
    State(auth): State<AuthClient>,
    State(revocations): State<RevocationList>,
    current_user: CurrentUser,
) -> Result<Json<Message>> {
    let request = LogoutRequest {
        user_id: current_user.user_id,
        access_token_id: current_user.token_id,
        expires_at: Some(timestamp(current_user.expires_at)),
        session_id: current_user.session_id,
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
