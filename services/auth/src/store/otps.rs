//! One-time passwords: made, sent again, tried and used up, each in one atomic step.

use std::sync::LazyLock;
use std::time::Duration;

use talktime_kit::Error;
use talktime_kit::redis::commands::KeysInterface as _;
use talktime_kit::redis::{Pool, Script};
use uuid::Uuid;

use super::keys;
use crate::domain::{AuthError, ClientAddress, OneTimePassword, OtpRules, PhoneNumber};

static REQUEST: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_new.lua"),
        include_str!("scripts/otp_request.lua")
    ))
});
static RESEND: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_new.lua"),
        include_str!("scripts/otp_resend.lua")
    ))
});
static TAKE_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_take_back.lua")));
static TRY: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_try.lua")));
static CONSUME: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_consume.lua")));

/// Which password is to be delivered after a resend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OtpResendOutcome {
    /// The one that was active already; it holds no longer than before.
    Active(OneTimePassword),
    /// The fresh one: there was none.
    Fresh,
}

/// Makes `fresh` the active password, unless the phone, its prefix, the client's address or the platform has
/// reached a limit of messages.
pub async fn request(
    redis: &Pool,
    phone: &PhoneNumber,
    address: ClientAddress,
    fresh: &OneTimePassword,
    rules: &OtpRules,
) -> Result<(), AuthError> {
    let answer = run_send_script(redis, &REQUEST, phone, address, fresh, rules).await?;
    match answer.outcome() {
        ("new", _) => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// Finds the active password to send again, or makes `fresh` the active one. Refused while the
/// last resend is recent.
pub async fn resend(
    redis: &Pool,
    phone: &PhoneNumber,
    address: ClientAddress,
    fresh: &OneTimePassword,
    rules: &OtpRules,
) -> Result<OtpResendOutcome, AuthError> {
    let answer = run_send_script(redis, &RESEND, phone, address, fresh, rules).await?;
    match answer.outcome() {
        ("new", _) => Ok(OtpResendOutcome::Fresh),
        ("active", digits) => Ok(OtpResendOutcome::Active(OneTimePassword::from_stored(
            digits.to_owned(),
        ))),
        _ => Err(answer.refusal()),
    }
}

/// The reason why a message is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OtpSendReason {
    /// The request for a new password.
    Requested,
    /// A new password, since there was none to send again.
    ResentFresh,
    /// The active password again.
    ResentActive,
}

/// Undoes a message that was not sent: it does not count against the limits, and its new password is deleted.
pub async fn undo_send(
    redis: &Pool,
    phone: &PhoneNumber,
    address: ClientAddress,
    otp: &OneTimePassword,
    sending: OtpSendReason,
) -> Result<(), AuthError> {
    let flag = |is_set: bool| if is_set { "1" } else { "0" };
    let is_new = sending != OtpSendReason::ResentActive;
    let is_resent = sending != OtpSendReason::Requested;
    let arguments = vec![
        otp.expose().to_owned(),
        flag(is_new).to_owned(),
        flag(is_resent).to_owned(),
    ];
    Ok(TAKE_BACK
        .evalsha_with_reload(redis.next(), send_keys(phone, address), arguments)
        .await?)
}

/// Returns the id of the active password if the guess is right: `new_id`, unless it has got an id before. A wrong
/// guess counts, and the last one allowed burns the password; a right one leaves it for [`delete_used`].
/// After too many wrong guesses in a day, over all passwords of the phone, every guess is refused.
pub async fn check_guess(
    redis: &Pool,
    phone: &PhoneNumber,
    guess: &str,
    rules: &OtpRules,
    new_id: Uuid,
) -> Result<Option<Uuid>, AuthError> {
    let keys = vec![
        keys::otp(phone),
        keys::otp_tries(phone),
        keys::otp_daily_tries(phone),
        keys::otp_id(phone),
    ];
    let arguments = vec![
        guess.to_owned(),
        rules.wrong_tries_max.to_string(),
        rules.daily_wrong_tries_max.to_string(),
        DAY_SECS.to_string(),
        new_id.to_string(),
    ];
    let answer = TRY
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?;
    let answer = OtpScriptReply(answer);
    match answer.outcome() {
        ("right", id) => Ok(Some(id.parse().map_err(Error::internal)?)),
        ("wrong", _) => Ok(None),
        ("limited", _) => Err(AuthError::OtpTriesLimited {
            retry_after: answer.retry_after(),
        }),
        _ => Err(answer.refusal()),
    }
}

/// Deletes a password after its use. Of several concurrent callers with the right one, exactly one gets `true`.
pub async fn delete_used(
    redis: &Pool,
    phone: &PhoneNumber,
    guess: &str,
) -> Result<bool, AuthError> {
    let keys = vec![
        keys::otp(phone),
        keys::otp_tries(phone),
        keys::otp_id(phone),
    ];
    Ok(CONSUME
        .evalsha_with_reload(redis.next(), keys, guess.to_owned())
        .await?)
}

/// Makes a password usable once more, under another id, since the client got no answer to its use.
pub async fn reset_code_id(redis: &Pool, phone: &PhoneNumber) -> Result<(), AuthError> {
    let () = redis.del(keys::otp_id(phone)).await?;
    Ok(())
}

/// The reply of a script: an outcome, and a code or seconds to wait.
struct OtpScriptReply(Vec<String>);

impl OtpScriptReply {
    /// Returns the outcome and its value; both are empty if the script has returned anything else.
    fn outcome(&self) -> (&str, &str) {
        match self.0.as_slice() {
            [outcome, value] => (outcome, value),
            _ => ("", ""),
        }
    }

    /// Returns the wait of a refusal. Redis reports the last second of a key as zero, which counts as one.
    fn retry_after(&self) -> Duration {
        let (_, value) = self.outcome();
        Duration::from_secs(value.parse().unwrap_or_default()).max(SECOND)
    }

    fn refusal(&self) -> AuthError {
        let retry_after = self.retry_after();
        let shared = |limit| AuthError::OtpSendsLimited { limit, retry_after };
        match self.outcome().0 {
            "address" => shared("address"),
            "prefix" => shared("prefix"),
            "platform" => shared("platform"),
            "limited" => AuthError::OtpRateLimited { retry_after },
            "recent" => AuthError::OtpResentRecently { retry_after },
            outcome => Error::internal(format!("a script answered {outcome:?}")).into(),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY_SECS: u32 = 24 * 60 * 60;

async fn run_send_script(
    redis: &Pool,
    script: &Script,
    phone: &PhoneNumber,
    address: ClientAddress,
    fresh: &OneTimePassword,
    rules: &OtpRules,
) -> Result<OtpScriptReply, AuthError> {
    let arguments = vec![
        fresh.expose().to_owned(),
        rules.lifetime_secs.to_string(),
        rules.sends_max.to_string(),
        rules.sends_window_secs.to_string(),
        rules.resend_pause_secs.to_string(),
        rules.address_sends_max.to_string(),
        rules.prefix_sends_max.to_string(),
        rules.platform_sends_max.to_string(),
        rules.shared_window_secs.to_string(),
    ];
    let answer = script
        .evalsha_with_reload(redis.next(), send_keys(phone, address), arguments)
        .await?;
    Ok(OtpScriptReply(answer))
}

/// Returns the keys in the order in which the scripts for sending expect them.
fn send_keys(phone: &PhoneNumber, address: ClientAddress) -> Vec<String> {
    vec![
        keys::otp(phone),
        keys::otp_tries(phone),
        keys::otp_sends(phone),
        keys::otp_resend(phone),
        keys::otp_address_sends(address),
        keys::otp_prefix_sends(phone),
        keys::OTP_PLATFORM_SENDS.to_owned(),
    ]
}
