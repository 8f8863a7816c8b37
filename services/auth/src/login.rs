//! From a phone to a session: one-time passwords and registration.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message as _;
use talktime_kit::Clock;
use talktime_kit::error::chain;
use talktime_kit::redis::Pool;
use talktime_proto::auth::v1::RegisterRequest;
use talktime_proto::profile::v1::CreateUserRequest;
use uuid::Uuid;

use crate::audit::AuditRefusalRecorder;
use crate::delivery::{OtpDelivery, OtpDeliveryFailure, OtpMessage};
use crate::domain::claims::{TokenClaims, TokenGrant};
use crate::domain::{
    AuthError, ClientAddress, DeviceName, LoginProof, OtpChallenge, OtpGuess, OtpRules, OtpStorage,
    PhoneNumber, PhoneRules,
};
use crate::metrics::{record_otp_guess, record_otp_send};
use crate::peers::ProfileClient;
use crate::sessions::{SessionService, SessionTokens};
use crate::store::audit_log::{AuditAction, AuditLogEntry};
use crate::store::otp_guesses;
use crate::store::otps::{self, OtpResendOutcome, OtpSendReason};
use crate::store::registrations::UsedRegistrationToken;
use crate::tokens::TokenIssuer;

const DEFAULT_LANGUAGE: &str = "en";

/// Operations of clients without a session.
pub struct LoginService {
    /// The Redis that stores one-time passwords.
    pub redis: Pool,
    /// The form in which they are stored there.
    pub otp_storage: OtpStorage,
    /// Limits of one-time passwords.
    pub otp_rules: OtpRules,
    /// The phone numbers that may log in.
    pub phone_rules: PhoneRules,
    /// The delivery of one-time passwords.
    pub delivery: OtpDelivery,
    /// The recorder of refusals for the audit log.
    pub refusals: AuditRefusalRecorder,
    pub issuer: Arc<TokenIssuer>,
    /// The profile service, which stores accounts.
    pub profile: ProfileClient,
    pub sessions: SessionService,
    pub clock: Clock,
}

/// The result of a right password.
pub enum OtpVerificationOutcome {
    /// The phone has an account: it is logged in.
    Registered(SessionTokens),
    /// The phone is new: a token that lets it register.
    New(String),
}

/// A password that was sent again, or a new one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResentPassword {
    /// Whether the password is one that was active before.
    pub was_active: bool,
    /// The challenge of the password, if the client may know it: it named the challenge, or the password is new.
    pub challenge_id: Option<Uuid>,
}

/// The session that a registration has opened for its new user.
pub struct RegisteredSession {
    pub user_id: i64,
    pub tokens: SessionTokens,
}

impl LoginService {
    /// Sends a new password and returns the id of its challenge. The answer does not reveal whether the phone has an
    /// account.
    pub async fn request_otp(
        &self,
        phone: &str,
        address: ClientAddress,
    ) -> Result<Uuid, AuthError> {
        let phone = PhoneNumber::parse_allowed(phone, &self.phone_rules)?;
        self.check_delivery()?;
        let fresh = self.otp_storage.generate(&mut rand::rng());
        let stored = self.seal(&phone, &fresh);
        let (redis, rules) = (&self.redis, &self.otp_rules);
        let mut outcome = otps::request(redis, &phone, address, &stored, rules).await;
        let uses_reserve = needs_reserve(&outcome) && self.is_known(&phone).await;
        if uses_reserve {
            let rules = &rules.with_reserve();
            outcome = otps::request(redis, &phone, address, &stored, rules).await;
        }
        record_otp_send(outcome.as_ref().err(), uses_reserve);
        self.audit_refusal(&phone, outcome)?;
        self.deliver(&phone, &fresh, address, OtpSendReason::Requested)
            .await?;
        Ok(fresh.id)
    }

    /// Sends a password again: that of the challenge, or the active one of the phone. If there is none, sends a new
    /// one. The challenge of an active password is not returned to a client that does not name it, since somebody else
    /// may have requested the password.
    pub async fn resend_otp(
        &self,
        phone: &str,
        address: ClientAddress,
        named_challenge: Option<Uuid>,
    ) -> Result<ResentPassword, AuthError> {
        let phone = PhoneNumber::parse_allowed(phone, &self.phone_rules)?;
        self.check_delivery()?;
        let fresh = self.otp_storage.generate(&mut rand::rng());
        let stored = self.seal(&phone, &fresh);
        let (redis, named, mut rules) = (&self.redis, named_challenge, self.otp_rules);
        let mut resent = otps::resend(redis, &phone, address, named, &stored, &rules).await;
        let uses_reserve = needs_reserve(&resent) && self.is_known(&phone).await;
        if uses_reserve {
            rules = rules.with_reserve();
            resent = otps::resend(redis, &phone, address, named, &stored, &rules).await;
        }
        record_otp_send(resent.as_ref().err(), uses_reserve);
        let (otp, sending) = match self.audit_refusal(&phone, resent)? {
            OtpResendOutcome::Active { otp, challenge_id } => {
                if let Some(active) = self.otp_storage.open(&phone, otp, challenge_id) {
                    (active, OtpSendReason::ResentActive)
                } else {
                    // A replica of an earlier release, or with another key, has stored a code that nobody can send
                    // again.
                    let requested = otps::request(redis, &phone, address, &stored, &rules).await;
                    self.audit_refusal(&phone, requested)?;
                    (fresh.otp, OtpSendReason::ResentFresh)
                }
            }
            OtpResendOutcome::Fresh => (fresh.otp, OtpSendReason::ResentFresh),
        };
        let sent = OtpChallenge { id: fresh.id, otp };
        self.deliver(&phone, &sent, address, sending).await?;
        let was_active = sending == OtpSendReason::ResentActive;
        Ok(ResentPassword {
            was_active,
            challenge_id: if was_active {
                named_challenge
            } else {
                Some(sent.id)
            },
        })
    }

    /// Returns a password in the form in which it is stored.
    fn seal(&self, phone: &PhoneNumber, sent: &OtpChallenge) -> OtpChallenge {
        OtpChallenge {
            id: sent.id,
            otp: self.otp_storage.seal(phone, sent.otp.expose()),
        }
    }

    /// Returns whether the phone has an account. If that is unknown, the phone has no part in the reserve.
    async fn is_known(&self, phone: &PhoneNumber) -> bool {
        match self.profile.find_account(phone).await {
            Ok(account) => account.is_some(),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "failed to look up a phone beyond the shared limits; its request is refused"
                );
                false
            }
        }
    }

    /// Refuses early if nothing can be sent, so that no tries are used up.
    fn check_delivery(&self) -> Result<(), AuthError> {
        let open = self.delivery.check_open();
        open.map_err(|_| AuthError::OtpNotSent)
    }

    /// Delivers a password. A message that was not sent is undone; one that may have been sent is not, since
    /// it may arrive.
    async fn deliver(
        &self,
        phone: &PhoneNumber,
        sent: &OtpChallenge,
        address: ClientAddress,
        sending: OtpSendReason,
    ) -> Result<(), AuthError> {
        let message = OtpMessage {
            phone: phone.clone(),
            otp: sent.otp.clone(),
        };
        let Err(failure) = self.delivery.deliver(&message).await else {
            return Ok(());
        };
        if failure == OtpDeliveryFailure::Unknown {
            return Err(AuthError::OtpNotSent);
        }
        let stored = self.seal(phone, sent);
        otps::undo_send(&self.redis, phone, address, &stored, sending).await?;
        Err(match failure {
            OtpDeliveryFailure::Refused => AuthError::PhoneUnreachable,
            OtpDeliveryFailure::NotSent | OtpDeliveryFailure::Unknown => AuthError::OtpNotSent,
        })
    }

    /// Exchanges a password for a session or a registration token.
    ///
    /// A wrong password is refused first, so that guessing costs nobody else anything. A right one is used
    /// up in the transaction that records the login: if anything fails before, or the answer comes too
    /// late for the client, the same password works again. If many requests have the right one at the same
    /// time, that transaction lets one of them through.
    pub async fn verify_otp(
        &self,
        phone: &str,
        guess: OtpGuess<'_>,
        device: &DeviceName,
    ) -> Result<OtpVerificationOutcome, AuthError> {
        let phone = PhoneNumber::parse_allowed(phone, &self.phone_rules)?;
        let verified = self.verify_guess(&phone, guess, device).await;
        self.audit_refusal(&phone, verified)
    }

    async fn verify_guess(
        &self,
        phone: &PhoneNumber,
        guess: OtpGuess<'_>,
        device: &DeviceName,
    ) -> Result<OtpVerificationOutcome, AuthError> {
        let (redis, rules, new_id) = (&self.redis, &self.otp_rules, Uuid::new_v4());
        let guessed = self.otp_storage.seal(phone, guess.digits);
        let guess = OtpGuess {
            digits: guessed.expose(),
            ..guess
        };
        let checked = otp_guesses::check_guess(redis, phone, guess, rules, new_id).await;
        record_otp_guess(guess.challenge_id.is_some(), &checked);
        let code_id = checked?.ok_or(AuthError::InvalidOtp)?;
        let verified = self.use_code(phone, code_id, device).await;
        let cleared = match &verified {
            Ok(_) => otp_guesses::delete_used(redis, phone, guess)
                .await
                .map(|_| ()),
            Err(AuthError::LoginUnconfirmed) => {
                let challenge_id = guess.challenge_id;
                otp_guesses::reset_use_id(redis, phone, challenge_id, Uuid::new_v4()).await
            }
            Err(_) => Ok(()),
        };
        if let Err(error) = cleared {
            // A used code is refused even if it remains. The code of an unconfirmed login then stays refused, too.
            tracing::warn!(%error, "failed to update a code after its use; it will expire");
        }
        verified
    }

    /// Opens a session for the code's phone, or a registration where the phone is new.
    async fn use_code(
        &self,
        phone: &PhoneNumber,
        code_id: Uuid,
        device: &DeviceName,
    ) -> Result<OtpVerificationOutcome, AuthError> {
        if let Some(account) = self.profile.find_account(phone).await? {
            let proof = LoginProof::Code { code_id };
            let tokens = self.sessions.open_session(account, device, proof).await?;
            return tokens
                .map(OtpVerificationOutcome::Registered)
                .ok_or(AuthError::InvalidOtp);
        }
        let token = self.issue_registration_token(phone)?;
        if self.sessions.recorder.record_code_use(code_id).await? {
            Ok(OtpVerificationOutcome::New(token))
        } else {
            Err(AuthError::InvalidOtp)
        }
    }

    /// Records a refusal in the audit log and returns the outcome.
    fn audit_refusal<T>(
        &self,
        phone: &PhoneNumber,
        outcome: Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        if let Err(refusal) = &outcome
            && let Some((action, limit)) = audit_action(refusal)
        {
            let entry = AuditLogEntry::new(action, self.clock.now()).with_phone(phone);
            self.refusals.record(match limit {
                Some(limit) => entry.with_detail(limit.to_owned()),
                None => entry,
            });
        }
        outcome
    }

    fn issue_registration_token(&self, phone: &PhoneNumber) -> Result<String, AuthError> {
        let phone = phone.to_string();
        let grant = TokenGrant::Registration { phone };
        Ok(self
            .issuer
            .issue_token(Uuid::new_v4(), self.clock.now(), grant)?)
    }

    /// Creates the account of a verified phone and logs it in. The profile service checks the fields.
    ///
    /// The token's id is the registration's: a repetition after a lost answer gets the tokens of the
    /// session that the first request opened, as long as nobody has used them and the session is open.
    /// Otherwise the token counts as expired.
    pub async fn register(&self, request: RegisterRequest) -> Result<RegisteredSession, AuthError> {
        let (registration_id, phone) = self.check_registration_token(&request)?;
        let device = DeviceName::new(&request.user_agent);
        let new_user = new_user(registration_id, phone, request);
        let content_hash = content_hash(&new_user);
        let recorder = &self.sessions.recorder;
        if let Some(used) = recorder.find_registration(registration_id).await? {
            return self.repeat_registration(&used, &content_hash).await;
        }
        let user = self.profile.create_user(new_user).await?;
        let user_id = user.user_id;
        let proof = LoginProof::Registration {
            registration_id,
            content_hash: content_hash.clone(),
        };
        if let Some(tokens) = self.sessions.open_session(user, &device, proof).await? {
            return Ok(RegisteredSession { user_id, tokens });
        }
        // The same registration came in twice at once.
        let used = recorder.find_registration(registration_id).await?;
        let used = used.ok_or_else(|| self.refuse_registration())?;
        self.repeat_registration(&used, &content_hash).await
    }

    async fn repeat_registration(
        &self,
        used: &UsedRegistrationToken,
        content_hash: &[u8],
    ) -> Result<RegisteredSession, AuthError> {
        let tokens = self.sessions.find_first_tokens(used).await?;
        let tokens = tokens.ok_or_else(|| self.refuse_registration())?;
        if used.content_hash != content_hash {
            return Err(AuthError::RegistrationReused);
        }
        Ok(RegisteredSession {
            user_id: used.session.user_id,
            tokens,
        })
    }

    /// Checks a registration token; returns its id and the verified phone.
    fn check_registration_token(
        &self,
        request: &RegisterRequest,
    ) -> Result<(Uuid, String), AuthError> {
        let token = self
            .issuer
            .check_token(&request.registration_token, self.clock.now())?;
        match token {
            Some(TokenClaims {
                jti,
                grant: TokenGrant::Registration { phone },
                ..
            }) => Ok((jti, phone)),
            _ => Err(self.refuse_registration()),
        }
    }

    fn refuse_registration(&self) -> AuthError {
        let entry = AuditLogEntry::new(AuditAction::RegistrationRefused, self.clock.now());
        self.refusals.record(entry);
        AuthError::InvalidRegistrationToken
    }
}

/// Whether a message was refused by a limit that has a reserve for phones with an account.
fn needs_reserve<T>(outcome: &Result<T, AuthError>) -> bool {
    matches!(
        outcome,
        Err(AuthError::OtpSendsLimited { limit, .. }) if OtpRules::has_reserve(limit)
    )
}

/// A hash of the fields that must be equal when a registration is repeated.
fn content_hash(new_user: &CreateUserRequest) -> Vec<u8> {
    digest(&SHA256, &new_user.encode_to_vec()).as_ref().to_vec()
}

/// The action of a refusal in the audit log, with the name of the limit.
fn audit_action(refusal: &AuthError) -> Option<(AuditAction, Option<&'static str>)> {
    match refusal {
        AuthError::InvalidOtp => Some((AuditAction::OtpRefused, None)),
        AuthError::OtpRateLimited { .. } => Some((AuditAction::OtpLimited, Some("phone"))),
        AuthError::OtpResentRecently { .. } => Some((AuditAction::OtpLimited, Some("resend"))),
        AuthError::OtpSendsLimited { limit, .. } | AuthError::OtpTriesLimited { limit, .. } => {
            Some((AuditAction::OtpLimited, Some(limit)))
        }
        _ => None,
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
        terms_version: request.terms_version,
    }
}
