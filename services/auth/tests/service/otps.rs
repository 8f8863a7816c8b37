//! One-time passwords: one use, bounded tries, bounded sends.

use std::time::Duration;

use crate::support::{phone, redis};
use futures::future::join_all;
use talktime_auth::domain::{AuthError, Otp, OtpRules, Phone};
use talktime_auth::store::keys;
use talktime_auth::store::otps::{self, Resent};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface as _;

const AT_ONCE: usize = 20;

fn rules() -> OtpRules {
    OtpRules::default()
}

fn otp(digits: &str) -> Otp {
    Otp::stored(digits.to_owned())
}

async fn request(redis: &Pool, phone: &Phone, digits: &str) -> Result<(), AuthError> {
    otps::request(redis, phone, &otp(digits), &rules()).await
}

async fn is_right(redis: &Pool, phone: &Phone, guess: &str) -> bool {
    otps::is_right(redis, phone, guess, &rules())
        .await
        .expect("redis")
}

async fn stored(redis: &Pool, phone: &Phone) -> Option<String> {
    redis.get(keys::otp(phone)).await.expect("redis")
}

async fn ttl_secs(redis: &Pool, key: String) -> i64 {
    redis.ttl(key).await.expect("redis")
}

#[tokio::test]
async fn the_keys_are_those_of_the_contract() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "012345").await.expect("sent");
    let resent = otps::resend(&redis, &phone, &otp("999999"), &rules()).await;
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
async fn of_many_at_once_one_uses_the_code() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");

    let attempts = (0..AT_ONCE).map(|_| async {
        is_right(&redis, &phone, "123456").await
            && otps::consume(&redis, &phone, "123456")
                .await
                .expect("redis")
    });
    let successes = join_all(attempts).await.into_iter().filter(|used| *used);

    assert_eq!(successes.count(), 1);
    assert_eq!(stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn a_right_guess_alone_uses_nothing_up() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");
    assert!(is_right(&redis, &phone, "123456").await);
    assert!(is_right(&redis, &phone, "123456").await);
}

#[tokio::test]
async fn the_fifth_wrong_try_burns_the_code() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");
    for guess in ["000000", "", "12345", "1234567"] {
        assert!(!is_right(&redis, &phone, guess).await, "{guess}");
    }
    assert!(
        is_right(&redis, &phone, "123456").await,
        "four are forgiven"
    );
    let tries_ttl = ttl_secs(&redis, keys::otp_tries(&phone)).await;
    assert!(
        (1..=300).contains(&tries_ttl),
        "goes with the code: {tries_ttl}"
    );

    assert!(!is_right(&redis, &phone, "000000").await);
    assert!(!is_right(&redis, &phone, "123456").await);
    assert_eq!(stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn wrong_tries_at_once_are_all_counted() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");
    join_all((0..5).map(|_| is_right(&redis, &phone, "000000"))).await;
    assert_eq!(stored(&redis, &phone).await, None);
}

#[tokio::test]
async fn a_new_code_has_all_its_tries() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");
    for _ in 0..4 {
        is_right(&redis, &phone, "000000").await;
    }
    request(&redis, &phone, "654321").await.expect("sent");
    is_right(&redis, &phone, "000000").await;
    assert!(is_right(&redis, &phone, "654321").await);
    assert!(
        !is_right(&redis, &phone, "123456").await,
        "the old one is gone"
    );
}

#[tokio::test]
async fn five_codes_at_once_are_sent_and_no_more() {
    let (redis, phone) = (redis(), phone());
    let answers = join_all((0..AT_ONCE).map(|_| request(&redis, &phone, "123456"))).await;

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
async fn a_resend_finds_the_active_code_and_leaves_its_life() {
    let (redis, phone) = (redis(), phone());
    request(&redis, &phone, "123456").await.expect("sent");
    let () = redis
        .expire(keys::otp(&phone), 100, None)
        .await
        .expect("redis");

    let resent = otps::resend(&redis, &phone, &otp("654321"), &rules()).await;

    assert_eq!(resent.expect("sent"), Resent::Active(otp("123456")));
    assert!(ttl_secs(&redis, keys::otp(&phone)).await <= 100);
    let again = otps::resend(&redis, &phone, &otp("654321"), &rules()).await;
    let Err(AuthError::OtpResentRecently { retry_after }) = again else {
        panic!("{again:?}");
    };
    assert!(retry_after <= Duration::from_mins(1), "{retry_after:?}");
}

#[tokio::test]
async fn a_resend_without_an_active_code_counts_as_a_new_one() {
    let (redis, phone) = (redis(), phone());
    let resent = otps::resend(&redis, &phone, &otp("654321"), &rules()).await;
    assert_eq!(resent.expect("sent"), Resent::Fresh);
    assert_eq!(stored(&redis, &phone).await.as_deref(), Some("654321"));

    for _ in 0..4 {
        request(&redis, &phone, "123456").await.expect("sent");
    }
    let sixth = request(&redis, &phone, "123456").await;
    assert!(
        matches!(sixth, Err(AuthError::OtpRateLimited { .. })),
        "{sixth:?}"
    );
}

#[tokio::test]
async fn a_resend_does_not_get_around_the_limit() {
    let (redis, phone) = (redis(), phone());
    for _ in 0..5 {
        request(&redis, &phone, "123456").await.expect("sent");
    }
    otps::consume(&redis, &phone, "123456")
        .await
        .expect("redis");
    let resent = otps::resend(&redis, &phone, &otp("654321"), &rules()).await;
    assert!(
        matches!(resent, Err(AuthError::OtpRateLimited { .. })),
        "{resent:?}"
    );
    assert_eq!(stored(&redis, &phone).await, None);
}
