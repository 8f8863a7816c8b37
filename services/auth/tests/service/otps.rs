//! One-time passwords: one use, bounded tries, bounded sends.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::support::{phone, redis};
use futures::future::join_all;
use talktime_auth::domain::{AuthError, ClientAddress, OneTimePassword, OtpRules, PhoneNumber};
use talktime_auth::store::keys;
use talktime_auth::store::otps::{self, OtpResendOutcome, OtpSendReason};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface as _;
use uuid::Uuid;

const AT_ONCE: usize = 20;

fn rules() -> OtpRules {
    OtpRules::default()
}

/// An address that no other test has.
fn address() -> ClientAddress {
    let network = Uuid::new_v4().as_u128() >> 64 << 64;
    ClientAddress::parse(&Ipv6Addr::from_bits(network).to_string())
}

fn otp(digits: &str) -> OneTimePassword {
    OneTimePassword::from_stored(digits.to_owned())
}

async fn request_otp(redis: &Pool, phone: &PhoneNumber, digits: &str) -> Result<(), AuthError> {
    otps::request(redis, phone, address(), &otp(digits), &rules()).await
}

async fn guess_otp(redis: &Pool, phone: &PhoneNumber, guess: &str) -> bool {
    code_id(redis, phone, guess).await.is_some()
}

async fn code_id(redis: &Pool, phone: &PhoneNumber, guess: &str) -> Option<Uuid> {
    otps::check_guess(redis, phone, guess, &rules(), Uuid::new_v4())
        .await
        .expect("redis")
}

#[tokio::test]
async fn a_code_keeps_its_id_until_its_use_is_forgotten() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    let first = code_id(&redis, &phone, "123456").await;
    assert!(first.is_some());
    assert_eq!(code_id(&redis, &phone, "123456").await, first);
    otps::reset_code_id(&redis, &phone).await.expect("redis");
    let second = code_id(&redis, &phone, "123456").await;
    assert!(second.is_some() && second != first);

    // Another code has another id, and no id outlives its code.
    request_otp(&redis, &phone, "654321").await.expect("sent");
    let third = code_id(&redis, &phone, "654321").await;
    assert!(third.is_some() && third != second);
    let ttl = |key: String| async { redis.ttl::<i64, _>(key).await.expect("redis") };
    assert!(ttl(keys::otp_id(&phone)).await <= ttl(keys::otp(&phone)).await);
    let consumed = otps::delete_used(&redis, &phone, "654321").await;
    assert!(consumed.expect("redis"));
    assert_eq!(ttl(keys::otp_id(&phone)).await, -2, "it is gone");
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
    let resent = otps::resend(&redis, &phone, address(), &otp("999999"), &rules()).await;
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
async fn one_of_many_concurrent_guesses_uses_the_code() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");

    let attempts = (0..AT_ONCE).map(|_| async {
        guess_otp(&redis, &phone, "123456").await
            && otps::delete_used(&redis, &phone, "123456")
                .await
                .expect("redis")
    });
    let successes = join_all(attempts).await.into_iter().filter(|used| *used);

    assert_eq!(successes.count(), 1);
    assert_eq!(load_stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn a_right_guess_does_not_use_up_the_code() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    assert!(guess_otp(&redis, &phone, "123456").await);
    assert!(guess_otp(&redis, &phone, "123456").await);
}

#[tokio::test]
async fn the_fifth_wrong_try_burns_the_code() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    for guess in ["000000", "", "12345", "1234567"] {
        assert!(!guess_otp(&redis, &phone, guess).await, "{guess}");
    }
    assert!(
        guess_otp(&redis, &phone, "123456").await,
        "four are forgiven"
    );
    let tries_ttl = ttl_secs(&redis, keys::otp_tries(&phone)).await;
    assert!(
        (1..=300).contains(&tries_ttl),
        "goes with the code: {tries_ttl}"
    );

    assert!(!guess_otp(&redis, &phone, "000000").await);
    assert!(!guess_otp(&redis, &phone, "123456").await);
    assert_eq!(load_stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn wrong_tries_at_once_are_all_counted() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    join_all((0..5).map(|_| guess_otp(&redis, &phone, "000000"))).await;
    assert_eq!(load_stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn a_new_code_has_all_its_tries() {
    let (redis, phone) = (redis(), phone());
    request_otp(&redis, &phone, "123456").await.expect("sent");
    for _ in 0..4 {
        guess_otp(&redis, &phone, "000000").await;
    }
    request_otp(&redis, &phone, "654321").await.expect("sent");
    guess_otp(&redis, &phone, "000000").await;
    assert!(guess_otp(&redis, &phone, "654321").await);
    assert!(
        !guess_otp(&redis, &phone, "123456").await,
        "the old one is gone"
    );
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

    let resent = otps::resend(&redis, &phone, address(), &otp("654321"), &rules()).await;

    assert_eq!(
        resent.expect("sent"),
        OtpResendOutcome::Active(otp("123456"))
    );
    assert!(ttl_secs(&redis, keys::otp(&phone)).await <= 100);
    let again = otps::resend(&redis, &phone, address(), &otp("654321"), &rules()).await;
    let Err(AuthError::OtpResentRecently { retry_after }) = again else {
        panic!("{again:?}");
    };
    assert!(retry_after <= Duration::from_mins(1), "{retry_after:?}");
}

#[tokio::test]
async fn a_resend_without_an_active_code_counts_as_a_new_one() {
    let (redis, phone) = (redis(), phone());
    let resent = otps::resend(&redis, &phone, address(), &otp("654321"), &rules()).await;
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
    otps::delete_used(&redis, &phone, "123456")
        .await
        .expect("redis");
    let resent = otps::resend(&redis, &phone, address(), &otp("654321"), &rules()).await;
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
    match otps::request(redis, phone, from, &otp("123456"), rules).await {
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
    let code = otp("123456");
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
async fn neighbouring_numbers_share_a_limit_and_so_does_the_platform() {
    let (redis, first) = (redis(), phone());
    let neighbour = format!("{}{:04}", first.prefix(), 4_321);
    let neighbour = PhoneNumber::parse(&neighbour).expect("a number");
    let rules = OtpRules {
        prefix_sends_max: 1,
        ..rules()
    };
    otps::request(&redis, &first, address(), &otp("123456"), &rules)
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
    let code = otp("123456");
    otps::request(&redis, &phone, from, &code, &rules)
        .await
        .expect("sent");
    let resent = otps::resend(&redis, &phone, from, &code, &rules).await;
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
async fn wrong_tries_of_a_day_are_bounded_over_all_codes() {
    let (redis, phone) = (redis(), phone());
    let rules = OtpRules {
        daily_wrong_tries_max: 3,
        ..rules()
    };
    let verify_guess = async |guess: &str| {
        let id = otps::check_guess(&redis, &phone, guess, &rules, Uuid::new_v4()).await?;
        Ok::<_, AuthError>(id.is_some())
    };
    // Without a code there is nothing to guess.
    assert!(!verify_guess("000000").await.expect("redis"));
    for _ in 0..3 {
        request_otp(&redis, &phone, "123456").await.expect("sent");
        assert!(!verify_guess("000000").await.expect("redis"));
    }
    let refused = verify_guess("123456").await;
    let Err(AuthError::OtpTriesLimited { retry_after }) = refused else {
        panic!("{refused:?}");
    };
    assert!(retry_after > Duration::from_secs(86_000), "{retry_after:?}");
}

#[tokio::test]
async fn a_message_that_was_not_sent_does_not_count() {
    let (redis, phone, address) = (redis(), phone(), address());
    let count = |key: String| {
        let redis = &redis;
        async move { redis.get::<Option<i64>, _>(key).await.expect("redis") }
    };
    let sent = otps::request(&redis, &phone, address, &otp("111111"), &rules()).await;
    sent.expect("sent");
    let lost = otps::request(&redis, &phone, address, &otp("222222"), &rules()).await;
    lost.expect("made");
    otps::undo_send(
        &redis,
        &phone,
        address,
        &otp("222222"),
        OtpSendReason::Requested,
    )
    .await
    .expect("taken back");
    assert_eq!(
        load_stored(&redis, &phone).await,
        None,
        "nobody has received it"
    );
    assert_eq!(count(keys::otp_sends(&phone)).await, Some(1));
    assert_eq!(count(keys::otp_address_sends(address)).await, Some(1));

    request_otp(&redis, &phone, "333333").await.expect("sent");
    for _ in 0..2 {
        let resent = otps::resend(&redis, &phone, address, &otp("444444"), &rules()).await;
        let active = OtpResendOutcome::Active(otp("333333"));
        assert_eq!(resent.expect("not a minute apart"), active);
        otps::undo_send(
            &redis,
            &phone,
            address,
            &otp("333333"),
            OtpSendReason::ResentActive,
        )
        .await
        .expect("taken back");
    }
    assert_eq!(load_stored(&redis, &phone).await.as_deref(), Some("333333"));
    assert_eq!(count(keys::otp_sends(&phone)).await, Some(2));
}
