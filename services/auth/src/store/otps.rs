//! One-time passwords: made and sent again, each in one atomic step. The scripts only compare passwords, so they work with
//! digits and with hashes (`domain::OtpStorage`).

use std::sync::LazyLock;
use std::time::Duration;

use talktime_kit::Error;
use talktime_kit::redis::{Pool, Script};
use uuid::Uuid;

use super::keys;
use crate::domain::otp::{PLATFORM_LIMIT, PREFIX_LIMIT};
use crate::domain::{
    AuthError, ClientAddress, NetworkSize, OneTimePassword, OtpChallenge, OtpRules, PhoneNumber,
};

static REQUEST: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_limits.lua"),
        include_str!("scripts/otp_new.lua"),
        include_str!("scripts/otp_request.lua")
    ))
});
static RESEND: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_limits.lua"),
        include_str!("scripts/otp_new.lua"),
        include_str!("scripts/otp_resend.lua")
    ))
});
static TAKE_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_take_back.lua")));

/// The password that is to be delivered after a resend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OtpResendOutcome {
    /// The one that was active already; it holds no longer than before.
    Active {
        /// The password as it is stored.
        otp: OneTimePassword,
        /// Its challenge; `None` for a password of an earlier release.
        challenge_id: Option<Uuid>,
    },
    /// The fresh one: there was none.
    Fresh,
}

/// Makes `fresh` the active password, unless the phone, its prefix, the client's address or the platform has
/// reached a limit of messages.
pub async fn request(
    redis: &Pool,
    phone: &PhoneNumber,
    address: ClientAddress,
    fresh: &OtpChallenge,
    rules: &OtpRules,
) -> Result<(), AuthError> {
    let keys = send_keys(phone, address, fresh.id, None);
    let answer = run_send_script(redis, &REQUEST, keys, (phone, address), fresh, rules).await?;
    match answer.outcome() {
        ("new", _) => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// Finds the password to send again, or makes `fresh` the active one: the password of the challenge that the client
/// names, or the active one of the phone. Refused while the last resend is recent.
pub async fn resend(
    redis: &Pool,
    phone: &PhoneNumber,
    address: ClientAddress,
    named_challenge: Option<Uuid>,
    fresh: &OtpChallenge,
    rules: &OtpRules,
) -> Result<OtpResendOutcome, AuthError> {
    let keys = send_keys(phone, address, fresh.id, named_challenge);
    let answer = run_send_script(redis, &RESEND, keys, (phone, address), fresh, rules).await?;
    match answer.outcome() {
        ("new", _) => Ok(OtpResendOutcome::Fresh),
        ("active", found) => {
            let (stored, challenge_id) = found.split_once(':').unwrap_or((found, ""));
            Ok(OtpResendOutcome::Active {
                otp: OneTimePassword::from_stored(stored.to_owned()),
                challenge_id: named_challenge.or_else(|| challenge_id.parse().ok()),
            })
        }
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
    sent: &OtpChallenge,
    sending: OtpSendReason,
) -> Result<(), AuthError> {
    let flag = |is_set: bool| if is_set { "1" } else { "0" };
    let is_new = sending != OtpSendReason::ResentActive;
    let is_resent = sending != OtpSendReason::Requested;
    let arguments = vec![
        sent.otp.expose().to_owned(),
        flag(is_new).to_owned(),
        flag(is_resent).to_owned(),
    ];
    Ok(TAKE_BACK
        .evalsha_with_reload(
            redis.next(),
            send_keys(phone, address, sent.id, None),
            arguments,
        )
        .await?)
}

/// The names of the limits that phones share.
pub(crate) fn shared_limits() -> impl Iterator<Item = &'static str> {
    let networks = NetworkSize::ALL.map(NetworkSize::name);
    networks.into_iter().chain([PREFIX_LIMIT, PLATFORM_LIMIT])
}

fn find_shared_limit(name: &str) -> Option<&'static str> {
    shared_limits().find(|limit| *limit == name)
}

/// The reply of a script: an outcome, and a code or seconds to wait.
pub(super) struct OtpScriptReply(pub(super) Vec<String>);

impl OtpScriptReply {
    /// Returns the outcome and its value; both are empty if the script has returned anything else.
    pub(super) fn outcome(&self) -> (&str, &str) {
        match self.0.as_slice() {
            [outcome, value] => (outcome, value),
            _ => ("", ""),
        }
    }

    /// Returns the wait of a refusal. Redis reports the last second of a key as zero, which counts as one.
    pub(super) fn retry_after(&self) -> Duration {
        let (_, value) = self.outcome();
        Duration::from_secs(value.parse().unwrap_or_default()).max(SECOND)
    }

    pub(super) fn refusal(&self) -> AuthError {
        let retry_after = self.retry_after();
        let outcome = self.outcome().0;
        if let Some(limit) = find_shared_limit(outcome) {
            return AuthError::OtpSendsLimited { limit, retry_after };
        }
        match outcome {
            "limited" => AuthError::OtpRateLimited { retry_after },
            "recent" => AuthError::OtpResentRecently { retry_after },
            outcome => Error::internal(format!("a script answered {outcome:?}")).into(),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

async fn run_send_script(
    redis: &Pool,
    script: &Script,
    keys: Vec<String>,
    (phone, address): (&PhoneNumber, ClientAddress),
    fresh: &OtpChallenge,
    rules: &OtpRules,
) -> Result<OtpScriptReply, AuthError> {
    let mut arguments = vec![
        fresh.otp.expose().to_owned(),
        rules.lifetime_secs.to_string(),
        rules.sends_max.to_string(),
        rules.sends_window_secs.to_string(),
        rules.resend_pause_secs.to_string(),
        rules.shared_window_secs.to_string(),
        fresh.id.to_string(),
        phone.to_string(),
    ];
    for network in address.networks() {
        let sends_max = rules.network_sends_max(network.size);
        arguments.extend([network.size.name().to_owned(), sends_max.to_string()]);
    }
    for (name, sends_max) in [
        (PREFIX_LIMIT, rules.prefix_sends_max),
        (PLATFORM_LIMIT, rules.platform_sends_max),
    ] {
        arguments.extend([name.to_owned(), sends_max.to_string()]);
    }
    let answer = script
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?;
    Ok(OtpScriptReply(answer))
}

/// Returns the keys in the order in which the scripts for sending expect them.
fn send_keys(
    phone: &PhoneNumber,
    address: ClientAddress,
    fresh_challenge: Uuid,
    named_challenge: Option<Uuid>,
) -> Vec<String> {
    let mut keys = vec![
        keys::otp(phone),
        keys::otp_guesses(phone),
        keys::otp_sends(phone),
        keys::otp_resend(phone),
        keys::otp_id(phone),
        keys::otp_challenge(fresh_challenge),
        keys::otp_challenge(named_challenge.unwrap_or(fresh_challenge)),
    ];
    let networks = address.networks().into_iter();
    keys.extend(networks.map(keys::otp_network_sends));
    keys.push(keys::otp_prefix_sends(phone));
    keys.push(keys::OTP_PLATFORM_SENDS.to_owned());
    keys
}
