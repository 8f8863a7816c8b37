//! One-time passwords: one use, bounded tries, bounded sends.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::support::{address, challenge, guess, phone, redis};
use futures::future::join_all;
use talktime_auth::domain::{
    AuthError, ClientAddress, OtpChallenge, OtpRules, OtpStorage, PhoneNumber,
};
use talktime_auth::store::keys;
use talktime_auth::store::otp_guesses::check_guess;
use talktime_auth::store::otps::{self, OtpResendOutcome, OtpSendReason};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface as _;
use uuid::Uuid;

const AT_ONCE: usize = 20;

fn rules() -> OtpRules {
    OtpRules::default()
}

/// Returns the digits of an active password that is to be sent again.
fn active_digits(resent: OtpResendOutcome) -> String {
    match resent {
        OtpResendOutcome::Active { otp, .. } => otp.expose().to_owned(),
        OtpResendOutcome::Fresh => panic!("there is no active password"),
    }
}

async fn request_otp(redis: &Pool, phone: &PhoneNumber, digits: &str) -> Result<(), AuthError> {
    otps::request(redis, phone, address(), &challenge(digits), &rules()).await
}

/// Asks for the code once more, of whichever challenge; it becomes `digits` if there is none.
async fn resend_otp(
    redis: &Pool,
    phone: &PhoneNumber,
    digits: &str,
) -> Result<OtpResendOutcome, AuthError> {
    let fresh = challenge(digits);
    otps::resend(redis, phone, address(), None, &fresh, &rules()).await
}

async fn load_stored(redis: &Pool, phone: &PhoneNumber) -> Option<String> {
    redis.get(keys::otp(phone)).await.expect("redis")
}

async fn ttl_secs(redis: &Pool, key: String) -> i64 {
    redis.ttl(key).await.expect("redis")
}

#[tokio::test]
async fn the_keys_are_those_of_the_contract() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "012345").await.expect("sent");
    let resent = resend_otp(&redis, &phone, "999999").await;
    resent.expect("sent again");

    let code: String = redis.get(format!("otp:{phone}")).await.expect("redis");
    assert_eq!(code, "012345");
    let sends: i64 = redis.get(format!("otp_rl:{phone}")).await.expect("redis");
    assert_eq!(sends, 1);
    for (key, lifetime) in [("otp", 300), ("otp_rl", 900), ("otp_resend", 60)] {
        let ttl = ttl_secs(&redis, format!("{key}:{phone}")).await;
        assert!((lifetime - 5..=lifetime).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn five_codes_at_once_are_sent_and_no_more() {
    let (redis, phone) = (redis(), phone());
    let answers = join_all((0..AT_ONCE).map(|_| request_otp(&redis, &phone, "123456"))).await;

    let refusals: Vec<AuthError> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), AT_ONCE - 5);
    for refusal in refusals {
        let AuthError::OtpRateLimited { retry_after } = refusal else {
            panic!("{refusal}");
        };
        assert!(retry_after > Duration::from_secs(890), "{retry_after:?}");
        assert!(retry_after <= Duration::from_mins(15), "{retry_after:?}");
    }
}

#[tokio::test]
async fn a_resend_finds_the_active_code_and_does_not_prolong_it() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    let () = redis
        .expire(keys::otp(&phone), 100, None)
        .await
        .expect("redis");

    let resent = resend_otp(&redis, &phone, "654321").await;

    assert_eq!(active_digits(resent.expect("sent")), "123456");
    assert!(ttl_secs(&redis, keys::otp(&phone)).await <= 100);
    let again = resend_otp(&redis, &phone, "654321").await;
    let Err(AuthError::OtpResentRecently { retry_after }) = again else {
        panic!("{again:?}");
    };
    assert!(retry_after <= Duration::from_mins(1), "{retry_after:?}");
}

#[tokio::test]
async fn a_resend_finds_the_code_of_its_challenge() {
    let (redis, phone, first) = (redis(), phone(), challenge("123456"));
    let resend = async |named| {
        let () = redis.del(keys::otp_resend(&phone)).await.expect("redis");
        let fresh = challenge("999999");
        let resent = otps::resend(&redis, &phone, address(), named, &fresh, &rules()).await;
        resent.expect("sent")
    };
    otps::request(&redis, &phone, address(), &first, &rules())
        .await
        .expect("sent");
    let second = challenge("654321");
    otps::request(&redis, &phone, address(), &second, &rules())
        .await
        .expect("sent");
    let of_first = OtpResendOutcome::Active {
        otp: first.otp.clone(),
        challenge_id: Some(first.id),
    };
    assert_eq!(resend(Some(first.id)).await, of_first);
    let active = OtpResendOutcome::Active {
        otp: second.otp.clone(),
        challenge_id: Some(second.id),
    };
    assert_eq!(resend(None).await, active);
    let unknown = Some(challenge("").id);
    assert_eq!(resend(unknown).await, OtpResendOutcome::Fresh);
}

#[tokio::test]
async fn a_resend_without_an_active_code_counts_as_a_new_one() {
    let (redis, phone) = (redis(), phone());
    let resent = resend_otp(&redis, &phone, "654321").await;
    assert_eq!(resent.expect("sent"), OtpResendOutcome::Fresh);
    assert_eq!(load_stored(&redis, &phone).await.as_deref(), Some("654321"));

    for _ in 0..4 {
        request_otp(&redis, &phone, "123456").await.expect("sent");
    }
    let sixth = request_otp(&redis, &phone, "123456").await;
    assert!(
        matches!(sixth, Err(AuthError::OtpRateLimited { .. })),
        "{sixth:?}"
    );
}

#[tokio::test]
async fn a_resend_does_not_get_around_the_limit() {
    let (redis, phone) = (redis(), phone());
    for _ in 0..5 {
        request_otp(&redis, &phone, "123456").await.expect("sent");
    }
    let () = redis.del(keys::otp(&phone)).await.expect("redis");
    let resent = resend_otp(&redis, &phone, "654321").await;
    assert!(
        matches!(resent, Err(AuthError::OtpRateLimited { .. })),
        "{resent:?}"
    );
    assert_eq!(load_stored(&redis, &phone).await, None);
}

/// Returns which shared limit refuses a code. It does so for one window at most.
async fn shared_limit(
    redis: &Pool,
    phone: &PhoneNumber,
    from: ClientAddress,
    rules: &OtpRules,
) -> String {
    match otps::request(redis, phone, from, &challenge("123456"), rules).await {
        Err(AuthError::OtpSendsLimited { limit, retry_after }) => {
            assert!(retry_after <= Duration::from_secs(rules.shared_window_secs.into()));
            limit.to_owned()
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn twenty_phones_at_once_from_one_address_stay_within_its_limit() {
    let (redis, from) = (redis(), address());
    let rules = OtpRules {
        address_sends_max: 7,
        ..rules()
    };
    let phones: Vec<PhoneNumber> = (0..AT_ONCE).map(|_| phone()).collect();
    let code = challenge("123456");
    let requests = phones
        .iter()
        .map(|phone| otps::request(&redis, phone, from, &code, &rules));
    let sent = join_all(requests).await.into_iter().flatten();
    assert_eq!(sent.count(), 7);
    assert_eq!(
        shared_limit(&redis, &phone(), from, &rules).await,
        "address"
    );
    // Somebody else's address is not held up, and a refusal makes no code.
    let stranger = phone();
    assert_eq!(
        shared_limit(&redis, &stranger, from, &rules).await,
        "address"
    );
    assert_eq!(load_stored(&redis, &stranger).await, None);
    otps::request(&redis, &stranger, address(), &code, &rules)
        .await
        .expect("sent");
}

#[tokio::test]
async fn the_networks_of_an_address_share_limits_of_their_own() {
    let redis = redis();
    let rules = OtpRules {
        address_sends_max: 2,
        network_56_sends_max: 3,
        network_48_sends_max: 4,
        ..rules()
    };
    let site = Uuid::new_v4().as_u128() >> 80 << 80;
    let in_site = |network: u128| {
        let bits = site | network << 64;
        ClientAddress::parse(&Ipv6Addr::from_bits(bits).to_string())
    };
    for network in [1, 1, 2, 0x200] {
        let (phone, code) = (phone(), challenge("123456"));
        let sent = otps::request(&redis, &phone, in_site(network), &code, &rules).await;
        assert!(sent.is_ok(), "{network}: {sent:?}");
    }
    for (network, limit) in [(1, "address"), (2, "network_56"), (0x300, "network_48")] {
        let refused_by = shared_limit(&redis, &phone(), in_site(network), &rules).await;
        assert_eq!(refused_by, limit);
    }
}

#[tokio::test]
async fn known_phones_have_a_reserve_of_messages() {
    let (redis, stranger) = (redis(), phone());
    let known = PhoneNumber::parse(&format!("{}4321", stranger.prefix())).expect("a number");
    let rules = OtpRules {
        prefix_sends_max: 1,
        prefix_reserve: 1,
        ..rules()
    };
    let code = challenge("123456");
    otps::request(&redis, &stranger, address(), &code, &rules)
        .await
        .expect("sent");
    let limit = shared_limit(&redis, &known, address(), &rules).await;
    assert_eq!(limit, "prefix");
    assert!(OtpRules::has_reserve(&limit));
    let with_reserve = rules.with_reserve();
    otps::request(&redis, &known, address(), &code, &with_reserve)
        .await
        .expect("sent");
    for rules in [rules, with_reserve] {
        let limit = shared_limit(&redis, &known, address(), &rules).await;
        assert_eq!(limit, "prefix", "the reserve is limited too");
    }
}

#[tokio::test]
async fn neighbouring_numbers_share_a_limit_and_so_does_the_platform() {
    let (redis, first) = (redis(), phone());
    let neighbour = format!("{}{:04}", first.prefix(), 4_321);
    let neighbour = PhoneNumber::parse(&neighbour).expect("a number");
    let rules = OtpRules {
        prefix_sends_max: 1,
        ..rules()
    };
    otps::request(&redis, &first, address(), &challenge("123456"), &rules)
        .await
        .expect("sent");
    let limit = shared_limit(&redis, &neighbour, address(), &rules).await;
    assert_eq!(limit, "prefix");
    let broken = OtpRules {
        platform_sends_max: 0,
        ..rules
    };
    let limit = shared_limit(&redis, &phone(), address(), &broken).await;
    assert_eq!(limit, "platform");
}

#[tokio::test]
async fn a_resent_code_counts_as_a_message() {
    let (redis, phone, from) = (redis(), phone(), address());
    let rules = OtpRules {
        address_sends_max: 1,
        ..rules()
    };
    let code = challenge("123456");
    otps::request(&redis, &phone, from, &code, &rules)
        .await
        .expect("sent");
    let resent = otps::resend(&redis, &phone, from, None, &code, &rules).await;
    assert!(
        matches!(
            resent,
            Err(AuthError::OtpSendsLimited {
                limit: "address",
                ..
            })
        ),
        "{resent:?}"
    );
}

#[tokio::test]
async fn a_message_that_was_not_sent_does_not_count() {
    let (redis, phone, address) = (redis(), phone(), address());
    let count = |key: String| {
        let redis = &redis;
        async move { redis.get::<Option<i64>, _>(key).await.expect("redis") }
    };
    let sent = otps::request(&redis, &phone, address, &challenge("111111"), &rules()).await;
    sent.expect("sent");
    let lost = challenge("222222");
    let made = otps::request(&redis, &phone, address, &lost, &rules()).await;
    made.expect("made");
    otps::undo_send(&redis, &phone, address, &lost, OtpSendReason::Requested)
        .await
        .expect("taken back");
    assert_eq!(
        load_stored(&redis, &phone).await,
        None,
        "nobody has received it"
    );
    let exists: bool = redis
        .exists(keys::otp_challenge(lost.id))
        .await
        .expect("redis");
    assert!(!exists);
    assert_eq!(count(keys::otp_sends(&phone)).await, Some(1));
    for network in address.networks() {
        assert_eq!(count(keys::otp_network_sends(network)).await, Some(1));
    }

    request_otp(&redis, &phone, "333333").await.expect("sent");
    for _ in 0..2 {
        let resent = otps::resend(
            &redis,
            &phone,
            address,
            None,
            &challenge("444444"),
            &rules(),
        )
        .await;
        let active = resent.expect("not a minute apart");
        assert_eq!(active_digits(active), "333333");
        otps::undo_send(
            &redis,
            &phone,
            address,
            &challenge("333333"),
            OtpSendReason::ResentActive,
        )
        .await
        .expect("taken back");
    }
    assert_eq!(load_stored(&redis, &phone).await.as_deref(), Some("333333"));
    assert_eq!(count(keys::otp_sends(&phone)).await, Some(2));
}

#[tokio::test]
async fn a_hashed_code_is_compared_and_sent_again_and_redis_has_no_digits() {
    let (redis, phone) = (redis(), phone());
    let storage = OtpStorage::hashed(&"key".to_owned().into());
    let sent = storage.generate(&mut rand::rng());
    let stored = OtpChallenge {
        id: sent.id,
        otp: storage.seal(&phone, sent.otp.expose()),
    };
    otps::request(&redis, &phone, address(), &stored, &rules())
        .await
        .expect("sent");
    let active: String = redis.get(keys::otp(&phone)).await.expect("redis");
    let with_id: String = redis.get(keys::otp_id(&phone)).await.expect("redis");
    assert_eq!(active, stored.otp.expose());
    assert_eq!(with_id, format!("{active}:{}", sent.id));

    let resent = resend_otp(&redis, &phone, "999999").await.expect("sent");
    let OtpResendOutcome::Active { otp, challenge_id } = resent else {
        panic!("the code is active");
    };
    let opened = storage.open(&phone, otp, challenge_id);
    assert_eq!(opened, Some(sent.otp.clone()));

    for (digits, is_right) in [("12345", false), (sent.otp.expose(), true)] {
        let guessed = storage.seal(&phone, digits);
        let guess = guess(guessed.expose(), address());
        let checked = check_guess(&redis, &phone, guess, &rules(), Uuid::new_v4()).await;
        assert_eq!(checked.expect("redis").is_some(), is_right, "{digits}");
    }
}
