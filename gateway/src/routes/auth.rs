//! Login and logout (contract, section 2).

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

const OTP_SENT: &str = "OTP sent";

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct PhoneBody {
    /// The phone number in E.164 format.
    #[schema(example = "+919812345678")]
    phone: String,
    /// The integrity token of Google Play (or of a developer's key), made for the nonce of this request: the SHA-256 of
    /// `talktime:request_otp:` and the phone as written here, in URL-safe base64. Each is accepted once.
    #[serde(default)]
    attestation: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OtpSentAnswer {
    #[schema(example = "OTP sent")]
    message: &'static str,
    /// The login that this password begins, for `/auth/verify` and `/auth/resend_otp`.
    challenge_id: String,
}

/// Send a one-time password to a phone number.
///
/// The password is valid for five minutes and one login. A phone number receives at most 5 passwords in 15 minutes
/// (`otp_rate_limited`). Only mobile numbers of the countries that the operator allows receive one. Send the `challenge_id` with the password to `/auth/verify`: then wrong attempts of others
/// do not count against this login. If the operator requires it, `attestation` must prove that the request comes from the
/// app.
#[utoipa::path(
    post,
    path = "/auth/request_otp",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = OtpSentAnswer),
        (status = 400, description = "invalid_phone, phone_country_refused, phone_not_mobile, phone_unreachable"),
        (status = 403, description = "attestation_required, attestation_failed"),
        (status = 429, description = "otp_rate_limited, otp_sends_limited"),
        (status = 503, description = "otp_not_sent"),
    )
)]
pub(super) async fn request_otp(
    State(mut auth): State<AuthClient>,
    ClientAddress(client_address): ClientAddress,
    Json(body): Json<PhoneBody>,
) -> Result<Json<OtpSentAnswer>> {
    let request = RequestOtpRequest {
        phone: body.phone,
        client_address,
        attestation: body.attestation,
    };
    let sent = auth.request_otp(request).await?.into_inner();
    Ok(Json(OtpSentAnswer {
        message: OTP_SENT,
        challenge_id: sent.challenge_id,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = ResendBody)]
pub(super) struct OtpResendBody {
    /// The phone number in E.164 format.
    #[schema(example = "+919812345678")]
    phone: String,
    /// The challenge whose password is to be sent again. Without it, the active password of the phone is sent.
    #[serde(default)]
    challenge_id: Option<String>,
    /// As for `/auth/request_otp`, with a nonce for `talktime:resend_otp:`.
    #[serde(default)]
    attestation: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OtpResentAnswer {
    /// `OTP re-sent`, or `OTP sent` if the password is a new one.
    #[schema(example = "OTP re-sent")]
    message: &'static str,
    /// The challenge of a new password, or that of the request; null if an active password was sent again and the
    /// request named no challenge.
    challenge_id: Option<String>,
}

/// Send the active one-time password again.
///
/// If there is no active password, a new one is sent. This is possible once in 60 seconds (`otp_resent_recently`).
#[utoipa::path(
    post,
    path = "/auth/resend_otp",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = OtpResentAnswer),
        (status = 400, description = "invalid_phone, phone_country_refused, phone_not_mobile, phone_unreachable"),
        (status = 403, description = "attestation_required, attestation_failed"),
        (status = 429, description = "otp_rate_limited, otp_resent_recently, otp_sends_limited"),
        (status = 503, description = "otp_not_sent"),
    )
)]
pub(super) async fn resend_otp(
    State(mut auth): State<AuthClient>,
    ClientAddress(client_address): ClientAddress,
    Json(body): Json<OtpResendBody>,
) -> Result<Json<OtpResentAnswer>> {
    let request = ResendOtpRequest {
        phone: body.phone,
        client_address,
        challenge_id: body.challenge_id,
        attestation: body.attestation,
    };
    let resent = auth.resend_otp(request).await?.into_inner();
    Ok(Json(OtpResentAnswer {
        message: if resent.was_active {
            "OTP re-sent"
        } else {
            OTP_SENT
        },
        challenge_id: resent.challenge_id,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = VerifyBody)]
pub(super) struct OtpVerifyBody {
    /// The phone number in E.164 format.
    #[schema(example = "+919812345678")]
    phone: String,
    /// The one-time password, six digits.
    #[schema(example = "483920")]
    otp: String,
    /// The `challenge_id` that `/auth/request_otp` answered for this password. Without it, the password is compared
    /// with the active one of the phone, and wrong attempts count for the address of the client.
    #[serde(default)]
    challenge_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
#[schema(as = VerifyAnswer)]
pub(super) enum OtpVerifyAnswer {
    Registered(TokensAnswer),
    NeedsRegistration { registration_token: String },
}

#[derive(Serialize, ToSchema)]
pub(super) struct TokensAnswer {
    access_token: String,
    refresh_token: String,
}

impl From<TokenPair> for TokensAnswer {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
        }
    }
}

/// Log in with a one-time password.
///
/// The answer for a phone number that is not registered is a token for `/auth/register`. After five wrong attempts the
/// password is invalid (`invalid_otp`). They are counted for the challenge; without `challenge_id` they are counted for
/// the address of the client, which has 20 at one phone in a day (`otp_tries_limited`). A login that was answered with
/// 503 can be repeated with the same password.
#[utoipa::path(
    post,
    path = "/auth/verify",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = OtpVerifyAnswer),
        (status = 400, description = "invalid_phone, phone_country_refused, phone_not_mobile, invalid_otp"),
        (status = 429, description = "otp_tries_limited"),
    )
)]
pub(super) async fn verify_otp(
    State(mut auth): State<AuthClient>,
    ClientAddress(client_address): ClientAddress,
    UserAgent(user_agent): UserAgent,
    Json(body): Json<OtpVerifyBody>,
) -> Result<Json<OtpVerifyAnswer>> {
    let request = VerifyOtpRequest {
        phone: body.phone,
        otp: body.otp,
        user_agent,
        client_address,
        challenge_id: body.challenge_id,
    };
    let answer = auth.verify_otp(request).await?.into_inner();
    let verified = match answer.outcome.ok_or_else(no_tokens)? {
        Outcome::Registered(pair) => OtpVerifyAnswer::Registered(pair.into()),
        Outcome::RegistrationToken(registration_token) => {
            OtpVerifyAnswer::NeedsRegistration { registration_token }
        }
    };
    Ok(Json(verified))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RegisterBody {
    /// The token from `/auth/verify`, valid for ten minutes.
    registration_token: String,
    /// Unique, ignoring case.
    #[schema(
        min_length = 3,
        max_length = 50,
        pattern = "^[A-Za-z0-9_]+$",
        example = "asha_p"
    )]
    username: String,
    #[schema(value_type = Sex)]
    sex: String,
    /// The date of birth, at least 18 years ago.
    #[schema(format = Date, example = "1999-12-31")]
    dob: String,
    #[schema(value_type = RegistrationRole)]
    role: String,
    /// An empty text means that there is none.
    #[serde(default)]
    #[schema(max_length = 500)]
    bio: Option<String>,
    /// Each has up to 50 letters, digits, spaces and hyphens.
    #[serde(default)]
    #[schema(max_items = 10, example = json!(["music", "films"]))]
    interests: Option<Vec<String>>,
    /// An empty text means that there is none.
    #[serde(default)]
    profile_image_url: Option<String>,
    /// A language tag. The default is `en`.
    #[serde(default)]
    #[schema(example = "en")]
    preferred_language: Option<String>,
    /// The version of the terms that the user accepts; it is stored with the time.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 32, example = "2026-01")]
    terms_version: Option<String>,
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
            terms_version: body.terms_version,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct RegisterAnswer {
    #[serde(flatten)]
    tokens: TokensAnswer,
    user_id: i64,
}

/// Register a user and log in.
///
/// A repeated request receives the same tokens, as long as the refresh token was not used and the session is open.
/// Afterwards the registration token is refused (`invalid_registration_token`).
#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = RegisterAnswer),
        (status = 400, description = "invalid_username, invalid_sex, invalid_dob, under_age, invalid_role, invalid_bio, invalid_interests, invalid_profile_image_url, external_image_refused, invalid_language, invalid_terms_version, contact_details_refused"),
        (status = 401, description = "invalid_registration_token"),
        (status = 403, description = "terms_outdated"),
        (status = 409, description = "username_taken, username_reserved, phone_taken, registration_reused"),
    )
)]
pub(super) async fn register_user(
    State(mut auth): State<AuthClient>,
    UserAgent(user_agent): UserAgent,
    Json(body): Json<RegisterBody>,
) -> Result<Json<RegisterAnswer>> {
    let request = body.into_request(user_agent);
    let answer = auth.register(request).await?.into_inner();
    Ok(Json(RegisterAnswer {
        tokens: answer.tokens.ok_or_else(no_tokens)?.into(),
        user_id: answer.user_id,
    }))
}

#[derive(eserde::Deserialize, ToSchema)]
pub(super) struct RefreshBody {
    refresh_token: String,
}

/// Exchange a refresh token for a new pair of tokens.
///
/// The old refresh token is invalid afterwards. Using it again ends every session of the user.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    tag = "auth",
    security(()),
    responses(
        (status = 200, body = TokensAnswer),
        (status = 401, description = "invalid_refresh_token"),
    )
)]
// The gateway does not retry: a second use of a refresh token ends all sessions of its user.
pub(super) async fn refresh_tokens(
    State(mut auth): State<AuthClient>,
    Json(RefreshBody { refresh_token }): Json<RefreshBody>,
) -> Result<Json<TokensAnswer>> {
    let request = RefreshTokensRequest { refresh_token };
    let answer = auth.refresh_tokens(request).await?.into_inner();
    Ok(Json(answer.tokens.ok_or_else(no_tokens)?.into()))
}

/// End the current session.
///
/// All tokens and sockets of the session end, and all refresh tokens of the user are revoked.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "auth",
    security(("access_token" = [])),
    responses((status = 200, body = Message))
)]
pub(super) async fn log_out(
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
    retry_idempotent(&auth, AuthClient::logout, request).await?;
    revocations.refresh().await;
    Ok(Json(Message::new("Logged out")))
}

fn no_tokens() -> Error {
    Error::internal("the auth service answered without tokens")
}
