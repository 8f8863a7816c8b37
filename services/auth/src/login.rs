//! From a phone to a session: one-time passwords and registration.

use std::sync::Arc;

use talktime_kit::Clock;
use talktime_kit::redis::Pool;
use talktime_proto::auth::v1::RegisterRequest;
use talktime_proto::profile::v1::CreateUserRequest;
use uuid::Uuid;

use crate::delivery::{Delivery, Message};
use crate::domain::claims::{Claims, Grant};
use crate::domain::{AuthError, ClientAddress, Device, Otp, OtpRules, Phone};
use crate::peers::Profile;
use crate::sessions::{Sessions, Tokens};
use crate::store::otps::{self, Resent};
use crate::tokens::Issuer;

const DEFAULT_LANGUAGE: &str = "en";

/// The use cases of somebody without a session.
pub struct Login {
    /// Where one-time passwords are kept.
    pub redis: Pool,
    /// What bounds them.
    pub otp_rules: OtpRules,
    /// How they reach people.
    pub delivery: Delivery,
    /// What signs registration tokens.
    pub issuer: Arc<Issuer>,
    /// Who has an account.
    pub profile: Profile,
    /// What a login opens.
    pub sessions: Sessions,
    /// The time.
    pub clock: Clock,
}

/// What a right password leads to.
pub enum Verified {
    /// The phone has an account: it is logged in.
    Registered(Tokens),
    /// The phone is new: a token that lets it register.
    New(String),
}

impl Login {
    /// Sends a new password. The answer does not tell whether the phone has an account.
    pub async fn request_otp(&self, phone: &str, address: ClientAddress) -> Result<(), AuthError> {
        let phone = Phone::parse(phone)?;
        let otp = Otp::generate(&mut rand::rng());
        otps::request(&self.redis, &phone, address, &otp, &self.otp_rules).await?;
        self.delivery.deliver(&Message { phone, otp });
        Ok(())
    }

    /// Sends the active password again, or a new one; answers whether there was an active one.
    pub async fn resend_otp(&self, phone: &str, address: ClientAddress) -> Result<bool, AuthError> {
        let phone = Phone::parse(phone)?;
        let fresh = Otp::generate(&mut rand::rng());
        let resent = otps::resend(&self.redis, &phone, address, &fresh, &self.otp_rules).await?;
        let (otp, was_active) = match resent {
            Resent::Active(active) => (active, true),
            Resent::Fresh => (fresh, false),
        };
        self.delivery.deliver(&Message { phone, otp });
        Ok(was_active)
    }

    /// Exchanges a password for a session or a registration token.
    ///
    /// A wrong password is refused first, so that guessing costs nobody else anything. A right one
    /// is used up only when the profile service has answered: if it is down, the same password
    /// works later. Of many at once with the right one, the last step lets one through.
    pub async fn verify_otp(
        &self,
        phone: &str,
        otp: &str,
        device: &Device,
    ) -> Result<Verified, AuthError> {
        let phone = Phone::parse(phone)?;
        if !otps::is_right(&self.redis, &phone, otp, &self.otp_rules).await? {
            return Err(AuthError::InvalidOtp);
        }
        let user = self.profile.user_by_phone(&phone).await?;
        if !otps::consume(&self.redis, &phone, otp).await? {
            return Err(AuthError::InvalidOtp);
        }
        match user {
            Some(user) => Ok(Verified::Registered(
                self.sessions.open(user, device).await?,
            )),
            None => Ok(Verified::New(self.registration_token(&phone)?)),
        }
    }

    fn registration_token(&self, phone: &Phone) -> Result<String, AuthError> {
        let phone = phone.to_string();
        let grant = Grant::Registration { phone };
        Ok(self.issuer.issue(Uuid::new_v4(), self.clock.now(), grant)?)
    }

    /// Makes the account of a verified phone and logs it in; answers the user's id. The profile
    /// service checks the fields. The token's id is the registration's: asking again after a lost
    /// answer finds the same user.
    pub async fn register(&self, request: RegisterRequest) -> Result<(i64, Tokens), AuthError> {
        let token = self
            .issuer
            .check(&request.registration_token, self.clock.now())?;
        let Some(Claims {
            jti,
            grant: Grant::Registration { phone },
            ..
        }) = token
        else {
            return Err(AuthError::InvalidRegistrationToken);
        };
        let device = Device::new(&request.user_agent);
        let new_user = new_user(jti, phone, request);
        let user = self.profile.create_user(new_user).await?;
        let user_id = user.user_id;
        Ok((user_id, self.sessions.open(user, &device).await?))
    }
}

fn new_user(registration_id: Uuid, phone: String, request: RegisterRequest) -> CreateUserRequest {
    CreateUserRequest {
        registration_id: registration_id.to_string(),
        phone,
        username: request.username,
        sex: request.sex,
        dob: request.dob,
        role: request.role,
        bio: request.bio,
        interests: request.interests,
        profile_image_url: request.profile_image_url,
        preferred_language: request
            .preferred_language
            .unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
    }
}
