//! Guesses at one-time passwords, and the use of right ones, each in one atomic step.

use std::sync::LazyLock;

use talktime_kit::Error;
use talktime_kit::redis::{Pool, Script};
use uuid::Uuid;

use super::keys;
use super::otps::OtpScriptReply;
use crate::domain::{AuthError, ClientNetwork, NetworkSize, OtpGuess, OtpRules, PhoneNumber};

static TRY: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_limits.lua"),
        include_str!("scripts/otp_guess.lua"),
        include_str!("scripts/otp_try.lua")
    ))
});
static CHALLENGE_TRY: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(concat!(
        include_str!("scripts/otp_limits.lua"),
        include_str!("scripts/otp_guess.lua"),
        include_str!("scripts/otp_challenge_try.lua")
    ))
});
static CONSUME: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_consume.lua")));
static RESET: LazyLock<Script> =
    LazyLock::new(|| Script::from_lua(include_str!("scripts/otp_reset.lua")));

const DAY_SECS: u32 = 24 * 60 * 60;
/// The names by which the scripts report that the tries at a phone are used up.
const PHONE_LIMITS: [&str; 2] = ["phone", "phone_from_address"];

/// Returns the id of the password's one use if the guess is right; `new_id` for a password that has none yet. A right
/// guess leaves the password for [`delete_used`].
///
/// A wrong guess with a challenge counts for the challenge, and the last one allowed burns its password. A wrong
/// guess without one counts for the address: after the last one allowed the password is refused to this address, and
/// after too many in a day so is every password of the phone. All wrong guesses of an address count together as well.
pub async fn check_guess(
    redis: &Pool,
    phone: &PhoneNumber,
    guess: OtpGuess<'_>,
    rules: &OtpRules,
    new_id: Uuid,
) -> Result<Option<Uuid>, AuthError> {
    let script = if guess.challenge_id.is_some() {
        &CHALLENGE_TRY
    } else {
        &TRY
    };
    let keys = guess_keys(phone, guess);
    let arguments = guess_arguments(phone, guess, rules, new_id);
    let answer = script
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?;
    let answer = OtpScriptReply(answer);
    match answer.outcome() {
        ("right", id) => Ok(Some(id.parse().map_err(Error::internal)?)),
        ("wrong", _) => Ok(None),
        (name, _) => match find_limit(name) {
            Some(limit) => Err(AuthError::OtpTriesLimited {
                limit,
                retry_after: answer.retry_after(),
            }),
            None => Err(answer.refusal()),
        },
    }
}

fn find_limit(name: &str) -> Option<&'static str> {
    let networks = NetworkSize::ALL.map(NetworkSize::name);
    let mut limits = PHONE_LIMITS.into_iter().chain(networks);
    limits.find(|limit| *limit == name)
}

fn guess_keys(phone: &PhoneNumber, guess: OtpGuess<'_>) -> Vec<String> {
    let (daily_tries, challenge) = match guess.challenge_id {
        Some(challenge_id) => (
            keys::otp_daily_challenge_tries(phone),
            keys::otp_challenge(challenge_id),
        ),
        None => (keys::otp_daily_tries(phone), keys::otp_id(phone)),
    };
    let mut keys = vec![
        keys::otp(phone),
        keys::otp_guesses(phone),
        keys::otp_id(phone),
        daily_tries,
        keys::otp_daily_tries_from(phone, guess.address),
        challenge,
    ];
    keys.extend(
        limited_networks(guess)
            .into_iter()
            .map(keys::otp_network_tries),
    );
    keys
}

/// The networks whose wrong guesses are limited. Gateways of earlier releases do not tell the address of a guess, so all
/// their users would share one limit.
fn limited_networks(guess: OtpGuess<'_>) -> Vec<ClientNetwork> {
    if guess.address.is_known() {
        guess.address.networks()
    } else {
        vec![]
    }
}

fn guess_arguments(
    phone: &PhoneNumber,
    guess: OtpGuess<'_>,
    rules: &OtpRules,
    new_id: Uuid,
) -> Vec<String> {
    let mut arguments = vec![
        guess.digits.to_owned(),
        rules.wrong_tries_max.to_string(),
        rules.phone_wrong_tries_max.to_string(),
        rules.daily_wrong_tries_max.to_string(),
        DAY_SECS.to_string(),
        guess.address.to_string(),
        new_id.to_string(),
        keys::OTP_CHALLENGES.to_owned(),
        rules.shared_window_secs.to_string(),
    ];
    for network in limited_networks(guess) {
        let tries_max = rules.network_wrong_tries_max(network.size);
        arguments.extend([network.size.name().to_owned(), tries_max.to_string()]);
    }
    arguments.push(phone.to_string());
    arguments
}

/// Deletes a password after its use. Of several concurrent callers with the right one, exactly one gets `true`.
pub async fn delete_used(
    redis: &Pool,
    phone: &PhoneNumber,
    guess: OtpGuess<'_>,
) -> Result<bool, AuthError> {
    let mut keys = vec![
        keys::otp(phone),
        keys::otp_guesses(phone),
        keys::otp_id(phone),
    ];
    keys.extend(guess.challenge_id.map(keys::otp_challenge));
    let arguments = vec![guess.digits.to_owned(), keys::OTP_CHALLENGES.to_owned()];
    Ok(CONSUME
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?)
}

/// Makes a password usable once more, under another id, since the client got no answer to its use.
pub async fn reset_use_id(
    redis: &Pool,
    phone: &PhoneNumber,
    challenge_id: Option<Uuid>,
    new_id: Uuid,
) -> Result<(), AuthError> {
    let mut keys = vec![keys::otp_id(phone)];
    keys.extend(challenge_id.map(keys::otp_challenge));
    let arguments = vec![new_id.to_string(), keys::OTP_CHALLENGES.to_owned()];
    Ok(RESET
        .evalsha_with_reload(redis.next(), keys, arguments)
        .await?)
}
