//! Shared by the tests: Redis, names that no other test uses, and services whose peers are unavailable.

use std::net::Ipv6Addr;
use std::sync::Arc;

use chrono::DateTime;
use prost::Message as _;
use talktime_auth::audit;
use talktime_auth::delivery::OtpDelivery;
use talktime_auth::domain::claims::{TokenClaims, TokenLifetimes, UserSession};
use talktime_auth::domain::{
    AuthError, ClientAddress, DeviceName, LoginProof, OneTimePassword, OtpChallenge, OtpGuess,
    OtpRules, OtpStorage, PhoneNumber, PhoneRules, UserAccount,
};
use talktime_auth::events::SessionEventRecorder;
use talktime_auth::keyring::{Ed25519PrivateKey, TokenKeyRing};
use talktime_auth::login::LoginService;
use talktime_auth::peers::{PresenceClient, ProfileClient};
use talktime_auth::sessions::{SessionService, SessionTokens};
use talktime_auth::tokens::TokenIssuer;
use talktime_kit::Clock;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::Relay;
use talktime_kit::redis::{self, Pool};
use talktime_kit::testing::{TestDatabase, stack_peers, stack_redis};
use talktime_proto::access::v1::Workload;
use talktime_proto::events::v1::Event;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// An address at which no process listens.
pub(crate) const NOWHERE: &str = "https://127.0.0.1:1";

pub(crate) fn issuer() -> Arc<TokenIssuer> {
    let key =
        Ed25519PrivateKey::from_der(&Ed25519PrivateKey::generate().expect("made")).expect("a key");
    let ring = TokenKeyRing::new(key, &[]).expect("a ring");
    Arc::new(TokenIssuer::with_ring(ring, TokenLifetimes::default()))
}

/// The claims of a token of ours.
pub(crate) fn read_claims(sessions: &SessionService, token: &str) -> TokenClaims {
    let claims = sessions.issuer.check_token(token, sessions.clock.now());
    claims.expect("keys are there").expect("ours")
}

pub(crate) fn sessions(database: &TestDatabase) -> SessionService {
    let (refusals, queue) = audit::refusal_queue();
    tokio::spawn(queue.run(database.app.clone(), CancellationToken::new()));
    SessionService {
        refusals,
        redis: redis(),
        issuer: issuer(),
        recorder: SessionEventRecorder::start(
            &ProcessLifecycle::default(),
            database.app.clone(),
            Relay::default(),
        ),
        presence: PresenceClient::start(
            &ProcessLifecycle::default(),
            &stack_peers(Workload::Auth),
            NOWHERE,
        )
        .expect("an address"),
        clock: Clock::manual(DateTime::from_timestamp(1_750_000_000, 123_456_000).expect("valid")),
        refresh_grace_secs: 0,
    }
}

/// A client of a profile service that is unavailable.
pub(crate) fn login(sessions: SessionService, delivery: OtpDelivery) -> LoginService {
    LoginService {
        otp_storage: OtpStorage::Digits,
        redis: redis(),
        otp_rules: OtpRules::default(),
        phone_rules: PhoneRules::default(),
        delivery,
        issuer: sessions.issuer.clone(),
        profile: ProfileClient::start(
            &ProcessLifecycle::default(),
            &stack_peers(Workload::Auth),
            NOWHERE,
        )
        .expect("an address"),
        refusals: sessions.refusals.clone(),
        clock: sessions.clock.clone(),
        sessions,
    }
}

/// A user that no other test has.
pub(crate) fn user() -> UserAccount {
    UserAccount {
        user_id: session().user_id,
        username: "asha".to_owned(),
    }
}

pub(crate) fn device() -> DeviceName {
    DeviceName::new("Talktime/1.0 (Pixel)")
}

pub(crate) async fn log_in(
    sessions: &SessionService,
    user: UserAccount,
) -> Result<SessionTokens, AuthError> {
    log_in_on(sessions, user, &device()).await
}

/// Logs in with a code that nobody has used.
pub(crate) async fn log_in_on(
    sessions: &SessionService,
    user: UserAccount,
    device: &DeviceName,
) -> Result<SessionTokens, AuthError> {
    let proof = LoginProof::Code {
        code_id: Uuid::new_v4(),
    };
    let opened = sessions.open_session(user, device, proof).await?;
    Ok(opened.expect("the code was unused"))
}

pub(crate) async fn published_events(database: &TestDatabase) -> Vec<Event> {
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM auth.outbox ORDER BY outbox_id")
            .fetch_all(&database.app_pool)
            .await
            .expect("outbox");
    payloads
        .iter()
        .map(|payload| Event::decode(payload.as_slice()).expect("an event"))
        .collect()
}

/// The audit log, oldest entry first.
pub(crate) async fn audit_actions(database: &TestDatabase) -> Vec<String> {
    sqlx::query_scalar("SELECT action FROM auth.audit_log ORDER BY audit_id")
        .fetch_all(&database.app_pool)
        .await
        .expect("the audit log")
}

/// Redis of the stack that `cargo dev test` brings up.
pub(crate) fn redis() -> Pool {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `cargo dev test`");
    redis::connect(&stack_redis(url)).expect("a Redis URL")
}

/// A phone that no other test has.
pub(crate) fn phone() -> PhoneNumber {
    let random = Uuid::new_v4().as_u128() % 1_000_000_000;
    PhoneNumber::parse(&format!("+919{random:09}"))
        .expect("every Indian number with a 9 is a mobile")
}

/// An address that no other test has, in networks that no other test has.
pub(crate) fn address() -> ClientAddress {
    let network = Uuid::new_v4().as_u128() >> 64 << 64;
    ClientAddress::parse(&Ipv6Addr::from_bits(network).to_string())
}

/// A challenge with these digits and an id that no other test has.
pub(crate) fn challenge(digits: &str) -> OtpChallenge {
    OtpChallenge {
        id: Uuid::new_v4(),
        otp: OneTimePassword::from_stored(digits.to_owned()),
    }
}

/// A guess without a challenge.
pub(crate) fn guess(digits: &str, address: ClientAddress) -> OtpGuess<'_> {
    OtpGuess {
        digits,
        challenge_id: None,
        address,
    }
}

/// A session of a user that no other test has.
pub(crate) fn session() -> UserSession {
    let [high, low] = [Uuid::new_v4(), Uuid::new_v4()];
    UserSession {
        user_id: i64::try_from(high.as_u128() % (1 << 62)).expect("62 bits"),
        session_id: low,
    }
}
