//! Guesses at one-time passwords: one use, bounded tries, and no stranger's tries that count for the owner.

use std::time::Duration;

use futures::future::join_all;
use talktime_auth::domain::{
    AuthError, ClientAddress, OtpChallenge, OtpGuess, OtpRules, PhoneNumber,
};
use talktime_auth::store::{keys, otp_guesses, otps};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface as _;
use uuid::Uuid;

use crate::support::{address, challenge, guess, phone, redis};

const AT_ONCE: usize = 20;
const DAY: Duration = Duration::from_hours(24);

/// The login of one phone, and the rules that apply to it.
struct PhoneLogin {
    redis: Pool,
    phone: PhoneNumber,
    rules: OtpRules,
}

impl PhoneLogin {
    fn new() -> Self {
        Self::with_rules(OtpRules::default())
    }

    fn with_rules(rules: OtpRules) -> Self {
        Self {
            redis: redis(),
            phone: phone(),
            rules,
        }
    }

    async fn send(&self, digits: &str) -> OtpChallenge {
        let sent = challenge(digits);
        let request = otps::request(&self.redis, &self.phone, address(), &sent, &self.rules);
        request.await.expect("sent");
        sent
    }

    async fn check(&self, guess: OtpGuess<'_>) -> Result<Option<Uuid>, AuthError> {
        let new_id = Uuid::new_v4();
        otp_guesses::check_guess(&self.redis, &self.phone, guess, &self.rules, new_id).await
    }

    async fn use_id(&self, guess: OtpGuess<'_>) -> Option<Uuid> {
        self.check(guess).await.expect("within the limits")
    }

    async fn is_right(&self, guess: OtpGuess<'_>) -> bool {
        self.use_id(guess).await.is_some()
    }

    async fn delete_used(&self, guess: OtpGuess<'_>) -> bool {
        let deleted = otp_guesses::delete_used(&self.redis, &self.phone, guess).await;
        deleted.expect("redis")
    }

    async fn exists(&self, key: String) -> bool {
        self.redis.exists(key).await.expect("redis")
    }

    async fn has_active_code(&self) -> bool {
        self.exists(keys::otp(&self.phone)).await
    }
}

fn guess_at<'a>(sent: &OtpChallenge, digits: &'a str) -> OtpGuess<'a> {
    OtpGuess {
        challenge_id: Some(sent.id),
        ..guess(digits, address())
    }
}

/// The limit that refuses a guess, and for how long.
fn refused_by(checked: Result<Option<Uuid>, AuthError>) -> (&'static str, Duration) {
    match checked {
        Err(AuthError::OtpTriesLimited { limit, retry_after }) => (limit, retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_code_has_one_use_with_and_without_its_challenge() {
    let login = PhoneLogin::new();
    let sent = login.send("123456").await;
    let (named, unnamed) = (guess_at(&sent, "123456"), guess("123456", address()));
    let first = login.use_id(named).await;
    assert!(first.is_some());
    assert_eq!(login.use_id(unnamed).await, first);

    // A use whose answer was lost may be repeated, under another id.
    for challenge_id in [None, Some(sent.id)] {
        let before = login.use_id(named).await;
        let (redis, phone) = (&login.redis, &login.phone);
        otp_guesses::reset_use_id(redis, phone, challenge_id, Uuid::new_v4())
            .await
            .expect("redis");
        let after = login.use_id(named).await;
        assert!(after.is_some() && after != before, "{challenge_id:?}");
        assert_eq!(login.use_id(unnamed).await, after);
    }

    let next = login.send("654321").await;
    assert!(login.use_id(guess("654321", address())).await != first);
    assert!(login.is_right(named).await, "it has five minutes");
    assert!(login.delete_used(guess("654321", address())).await);
    assert!(!login.exists(keys::otp_id(&login.phone)).await);
    assert!(!login.is_right(guess_at(&next, "654321")).await);
}

#[tokio::test]
async fn a_code_without_a_challenge_gets_an_id_with_its_first_use() {
    let login = PhoneLogin::new();
    let key = keys::otp(&login.phone);
    let () = login
        .redis
        .set(key, "123456", None, None, false)
        .await
        .expect("redis");
    let () = login
        .redis
        .expire(keys::otp(&login.phone), 300, None)
        .await
        .expect("redis");
    let unnamed = guess("123456", address());
    let first = login.use_id(unnamed).await;
    assert!(first.is_some());
    assert_eq!(login.use_id(unnamed).await, first);
    otp_guesses::reset_use_id(&login.redis, &login.phone, None, Uuid::new_v4())
        .await
        .expect("redis");
    let second = login.use_id(unnamed).await;
    assert!(second.is_some() && second != first);
    assert!(login.delete_used(unnamed).await);
    assert!(!login.has_active_code().await);
}

#[tokio::test]
async fn one_of_many_concurrent_guesses_uses_the_code() {
    for names_challenge in [true, false] {
        let login = PhoneLogin::new();
        let sent = login.send("123456").await;
        let right = OtpGuess {
            challenge_id: names_challenge.then_some(sent.id),
            ..guess("123456", address())
        };
        let attempts = (0..AT_ONCE)
            .map(|_| async { login.is_right(right).await && login.delete_used(right).await });
        let successes = join_all(attempts).await.into_iter().filter(|used| *used);
        assert_eq!(successes.count(), 1, "{names_challenge}");
        assert!(!login.has_active_code().await);
        assert!(!login.exists(keys::otp_challenge(sent.id)).await);
    }
}

#[tokio::test]
async fn the_fifth_wrong_try_burns_the_code_of_a_challenge() {
    let login = PhoneLogin::new();
    let sent = login.send("123456").await;
    for digits in ["000000", "", "12345", "1234567"] {
        assert!(!login.is_right(guess_at(&sent, digits)).await, "{digits}");
    }
    assert!(
        login.is_right(guess_at(&sent, "123456")).await,
        "four are forgiven"
    );
    assert!(!login.is_right(guess_at(&sent, "000000")).await);
    assert!(!login.is_right(guess_at(&sent, "123456")).await);
    assert!(!login.has_active_code().await);
}

#[tokio::test]
async fn the_fifth_wrong_try_of_an_address_burns_the_code_for_this_address() {
    let login = PhoneLogin::new();
    login.send("123456").await;
    let (owner, stranger) = (address(), address());
    join_all((0..5).map(|_| login.is_right(guess("000000", stranger)))).await;
    assert!(!login.is_right(guess("123456", stranger)).await);
    assert!(login.is_right(guess("123456", owner)).await);
    let key = keys::otp_guesses(&login.phone);
    let ttl: i64 = login.redis.ttl(key).await.expect("redis");
    assert!((1..=300).contains(&ttl), "goes with the code: {ttl}");

    login.send("654321").await;
    assert!(login.is_right(guess("654321", stranger)).await);
    assert!(!login.is_right(guess("123456", owner)).await, "the old one");
}

#[tokio::test]
async fn a_stranger_neither_burns_nor_replaces_the_code_of_a_challenge() {
    let login = PhoneLogin::new();
    let owners = login.send("123456").await;
    for _ in 0..5 {
        login.is_right(guess("000000", address())).await;
    }
    let strangers = login.send("654321").await;
    for _ in 0..5 {
        let wrong = guess_at(&strangers, "000000");
        assert!(!login.is_right(wrong).await);
    }
    assert!(login.is_right(guess_at(&owners, "123456")).await);
    let unknown = OtpChallenge {
        id: Uuid::new_v4(),
        ..owners.clone()
    };
    assert!(!login.is_right(guess_at(&unknown, "123456")).await);
    let other = PhoneLogin::new();
    assert!(
        !other.is_right(guess_at(&owners, "123456")).await,
        "a challenge is for one phone"
    );
}

#[tokio::test]
async fn wrong_tries_of_a_day_are_bounded_for_an_address_over_all_codes() {
    let login = PhoneLogin::with_rules(OtpRules {
        daily_wrong_tries_max: 3,
        ..OtpRules::default()
    });
    let (owner, stranger) = (address(), address());
    // Without a code there is nothing to guess.
    assert!(!login.is_right(guess("000000", stranger)).await);
    for _ in 0..3 {
        login.send("123456").await;
        assert!(!login.is_right(guess("000000", stranger)).await);
    }
    let refusal = refused_by(login.check(guess("123456", stranger)).await);
    assert_eq!(refusal.0, "phone_from_address");
    assert!(refusal.1 + Duration::from_mins(5) > DAY, "{refusal:?}");
    assert!(login.is_right(guess("123456", owner)).await);
}

#[tokio::test]
async fn after_many_wrong_tries_at_a_phone_a_challenge_has_one() {
    let login = PhoneLogin::with_rules(OtpRules {
        phone_wrong_tries_max: 2,
        ..OtpRules::default()
    });
    let first = login.send("123456").await;
    for _ in 0..2 {
        assert!(!login.is_right(guess("000000", address())).await);
        assert!(!login.is_right(guess_at(&first, "000000")).await);
    }
    let refusal = refused_by(login.check(guess("123456", address())).await);
    assert_eq!(refusal.0, "phone");
    let second = login.send("234567").await;
    assert!(login.is_right(guess_at(&second, "234567")).await);
    assert!(!login.is_right(guess_at(&second, "000000")).await);
    assert!(!login.is_right(guess_at(&second, "234567")).await, "burnt");
}

#[tokio::test]
async fn wrong_tries_from_one_network_are_bounded_over_all_phones() {
    let rules = OtpRules {
        address_wrong_tries_max: 2,
        network_56_wrong_tries_max: 3,
        network_48_wrong_tries_max: 4,
        ..OtpRules::default()
    };
    let prefix = Uuid::new_v4().as_u128() >> 80;
    let in_site = |network: u128| {
        let bits = prefix << 80 | network << 64;
        ClientAddress::parse(&std::net::Ipv6Addr::from_bits(bits).to_string())
    };
    let wrong_from = async |from: ClientAddress| {
        let login = PhoneLogin::with_rules(rules);
        let sent = login.send("123456").await;
        let wrong = OtpGuess {
            address: from,
            ..guess_at(&sent, "000000")
        };
        login.check(wrong).await
    };
    for network in [1, 1, 2, 0x200] {
        let checked = wrong_from(in_site(network)).await;
        assert_eq!(checked.expect("within the limits"), None, "{network}");
    }
    for (network, limit) in [(1, "address"), (2, "network_56"), (0x300, "network_48")] {
        let refusal = refused_by(wrong_from(in_site(network)).await);
        assert_eq!(refusal.0, limit);
        let window = Duration::from_secs(rules.shared_window_secs.into());
        assert!(refusal.1 <= window, "{refusal:?}");
    }
    assert!(wrong_from(address()).await.is_ok(), "from elsewhere");
}
