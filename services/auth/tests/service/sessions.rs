//! Sessions: rotation, reuse, revocation.

use crate::support::{self, redis, session};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use talktime_auth::domain::claims::{TokenLifetimes, UserSession};
use talktime_auth::domain::{DeviceName, TokenRevocation};
use talktime_auth::store::keys;
use talktime_auth::store::sessions::{self, TokenIdPair, TokenRotationOutcome};
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface as _;
use uuid::Uuid;

const AT_ONCE: usize = 20;
const LIFETIME_SECS: u32 = 600;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).expect("valid")
}

fn pair(refresh_jti: Uuid) -> TokenIdPair {
    TokenIdPair {
        refresh_jti,
        access_jti: Uuid::new_v4(),
        issued_at: now(),
    }
}

/// Opens a session; returns the id of its refresh token.
async fn open(redis: &Pool, session: UserSession) -> Uuid {
    let jti = Uuid::new_v4();
    sessions::open(
        redis,
        session,
        jti,
        LIFETIME_SECS,
        &DeviceName::default(),
        now(),
    )
    .await
    .expect("redis");
    jti
}

/// Uses a refresh token; returns the id of the next one as well.
async fn rotate(redis: &Pool, session: UserSession, used: Uuid) -> (TokenRotationOutcome, Uuid) {
    let next = Uuid::new_v4();
    let rotation = sessions::rotate(redis, session, used, pair(next), LIFETIME_SECS, 0).await;
    (rotation.expect("redis"), next)
}

async fn is_alive(redis: &Pool, session: UserSession, jti: Uuid) -> bool {
    let key = keys::refresh_token(session.user_id, jti);
    redis.exists(key).await.expect("redis")
}

/// Ends all sessions of a user, and revokes one access token.
async fn log_out(redis: &Pool, user_id: i64, access_jti: Uuid, lifetime: TimeDelta) {
    let revocation = TokenRevocation {
        token_ids: vec![access_jti.to_string()],
        expires_at: now() + lifetime,
        ..TokenRevocation::for_sessions(user_id, vec![], now(), &TokenLifetimes::default())
    };
    let revoked = sessions::revoke(redis, &revocation, now()).await;
    revoked.expect("redis");
}

/// Another session of the same user.
fn sibling(of: UserSession) -> UserSession {
    UserSession {
        session_id: Uuid::new_v4(),
        ..of
    }
}

#[tokio::test]
async fn the_keys_are_those_of_the_contract() {
    let (redis, session) = (redis(), session());
    let jti = open(&redis, session).await;
    let user_id = session.user_id;
    let token = format!("refresh:{user_id}:{jti}");
    let ttl: i64 = redis.ttl(&token).await.expect("redis");
    assert!((595..=600).contains(&ttl), "{ttl}");

    let access = Uuid::new_v4();
    log_out(&redis, user_id, access, TimeDelta::seconds(120)).await;
    let ttl: i64 = redis
        .ttl(format!("access:{user_id}:{access}"))
        .await
        .expect("redis");
    assert!((115..=120).contains(&ttl), "{ttl}");
    assert!(!is_alive(&redis, session, jti).await);
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_gives_the_next() {
    let (redis, session) = (redis(), session());
    let first = open(&redis, session).await;
    let (rotation, second) = rotate(&redis, session, first).await;
    assert_eq!(rotation, TokenRotationOutcome::Rotated);
    assert!(!is_alive(&redis, session, first).await);
    assert!(is_alive(&redis, session, second).await);
    let (rotation, third) = rotate(&redis, session, second).await;
    assert_eq!(rotation, TokenRotationOutcome::Rotated);
    assert!(is_alive(&redis, session, third).await);
}

#[tokio::test]
async fn a_reuse_ends_every_session_of_the_user_and_nobody_elses() {
    let redis = redis();
    let (session, stranger) = (session(), support::session());
    let other = sibling(session);
    let first = open(&redis, session).await;
    let others_token = open(&redis, other).await;
    let strangers_token = open(&redis, stranger).await;
    let (_, second) = rotate(&redis, session, first).await;

    let (rotation, never) = rotate(&redis, session, first).await;

    let TokenRotationOutcome::Reused { mut ended } = rotation else {
        panic!("{rotation:?}");
    };
    let mut sessions = [session, other].map(|session| session.session_id.to_string());
    sessions.sort();
    ended.sort();
    assert_eq!(ended, sessions);
    for (session, jti) in [(session, second), (session, never), (other, others_token)] {
        assert!(!is_alive(&redis, session, jti).await);
        assert_eq!(
            rotate(&redis, session, jti).await.0,
            TokenRotationOutcome::Unknown
        );
    }
    assert!(is_alive(&redis, stranger, strangers_token).await);
}

#[tokio::test]
async fn one_of_many_concurrent_uses_rotates_and_the_others_end_the_session() {
    let (redis, session) = (redis(), session());
    let first = open(&redis, session).await;

    let rotations = join_all((0..AT_ONCE).map(|_| rotate(&redis, session, first))).await;

    let count_outcomes = |is_counted: fn(&TokenRotationOutcome) -> bool| {
        let got = rotations.iter().filter(|(got, _)| is_counted(got));
        got.count()
    };
    assert_eq!(
        count_outcomes(|got| *got == TokenRotationOutcome::Rotated),
        1
    );
    let reuses = count_outcomes(|got| matches!(got, TokenRotationOutcome::Reused { .. }));
    assert_eq!(reuses, 1, "then nothing is left");
    for (_, next) in &rotations {
        assert!(!is_alive(&redis, session, *next).await);
    }
}

#[tokio::test]
async fn a_rotation_sent_twice_by_the_redis_client_is_no_reuse() {
    let (redis, session) = (redis(), session());
    let (first, second) = (open(&redis, session).await, Uuid::new_v4());
    for _ in 0..2 {
        let rotation =
            sessions::rotate(&redis, session, first, pair(second), LIFETIME_SECS, 0).await;
        assert_eq!(rotation.expect("redis"), TokenRotationOutcome::Rotated);
    }
    assert!(is_alive(&redis, session, second).await);
}

/// A device that was logged out from elsewhere still holds its token, and is no thief.
#[tokio::test]
async fn a_token_of_an_ended_session_does_not_end_other_sessions() {
    let (redis, session) = (redis(), session());
    let before = open(&redis, session).await;
    let lifetime = TimeDelta::seconds(60);
    log_out(&redis, session.user_id, Uuid::new_v4(), lifetime).await;
    let later = sibling(session);
    let after = open(&redis, later).await;

    assert_eq!(
        rotate(&redis, session, before).await.0,
        TokenRotationOutcome::Unknown
    );
    assert!(is_alive(&redis, later, after).await);
}

#[tokio::test]
async fn expired_sessions_are_deleted() {
    let (redis, session) = (redis(), session());
    let jti = open(&redis, session).await;
    // As if the refresh token had expired: the next login deletes its session.
    let () = redis
        .del(keys::refresh_token(session.user_id, jti))
        .await
        .expect("redis");
    open(&redis, sibling(session)).await;
    assert_eq!(
        rotate(&redis, session, jti).await.0,
        TokenRotationOutcome::Unknown
    );
}

#[tokio::test]
async fn a_deleted_user_has_no_tokens_left() {
    let (redis, session) = (redis(), session());
    let jti = open(&redis, session).await;
    let until = DateTime::from_timestamp(1_750_000_000, 0).expect("valid");
    let expires_at = now() + TimeDelta::seconds(60);
    let revocation = TokenRevocation::for_user(session.user_id, until, expires_at);
    let revoked = sessions::revoke(&redis, &revocation, now()).await;
    revoked.expect("redis");

    assert!(!is_alive(&redis, session, jti).await);
    let key = format!("access:{}:revoked_before", session.user_id);
    let revoked_before: i64 = redis.get(key).await.expect("redis");
    assert_eq!(revoked_before, until.timestamp());
}
