//! Logins and logouts: what is signed, stored and published while other services are unavailable.

use std::time::Instant;

use chrono::TimeDelta;
use futures::future::join_all;
use talktime_auth::SCHEMA;
use talktime_auth::delivery::{OtpDelivery, OtpDeliveryAdapter};
use talktime_auth::domain::claims::{TokenGrant, UserSession};
use talktime_auth::domain::{AuthError, ClientAddress, DeviceName, LoginProof, OtpStorage};
use talktime_auth::login::LoginService;
use talktime_auth::store::code_logins::{self, CodeLogin};
use talktime_auth::store::{self, keys, otps};
use talktime_kit::config::DeploymentEnvironment;
use talktime_kit::messaging::outbox::OutboxColumns;
use talktime_kit::redis::commands::KeysInterface as _;
use talktime_kit::testing::TestDatabase;
use talktime_kit::{ErrorKind, grpc};
use talktime_proto::auth::{ended_session_key, revoked_token_key};
use talktime_proto::events::v1::event::Kind as EventKind;
use talktime_proto::events::v1::{LoggedIn, LoggedOut, TokensRevoked};
use talktime_proto::{datetime, timestamp};
use uuid::Uuid;

use crate::support::{
    NOWHERE, address, audit_actions, challenge, device, guess, log_in, log_in_on, login, phone,
    published_events, read_claims, session, sessions, user,
};

#[tokio::test]
async fn a_login_succeeds_and_appends_its_event_while_presence_is_unavailable() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let now = sessions.clock.now();

    let tokens = log_in(&sessions, user.clone()).await.expect("logged in");

    let access = read_claims(&sessions, &tokens.access);
    let refresh = read_claims(&sessions, &tokens.refresh);
    let TokenGrant::Access(session) = access.grant else {
        panic!("{access:?}");
    };
    assert_eq!(session.user_id, user.user_id);
    assert_eq!(refresh.grant, TokenGrant::Refresh(session));
    assert_eq!(access.exp - access.iat, 30 * 60);
    assert_eq!(refresh.exp - refresh.iat, 30 * 24 * 60 * 60);

    let events = published_events(&database).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    let logged_in = LoggedIn {
        user_id: user.user_id,
        username: "asha".to_owned(),
    };
    assert_eq!(event.kind, Some(EventKind::LoggedIn(logged_in)));
    assert_eq!(datetime(event.happened_at.as_ref()), Some(now));
}

#[tokio::test]
async fn a_second_use_of_a_refresh_token_revokes_the_new_pair() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let first = log_in(&sessions, user()).await.expect("logged in");
    let second = sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("refreshed");
    assert_ne!(second.refresh, first.refresh);

    for dead in [&first.refresh, &second.refresh] {
        let refused = sessions.refresh_tokens(dead).await.err();
        assert!(
            matches!(refused, Some(AuthError::InvalidRefreshToken)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn only_a_valid_refresh_token_is_exchanged() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let tokens = log_in(&sessions, user()).await.expect("logged in");
    let phone = phone().to_string();
    let registration = sessions
        .issuer
        .issue_token(
            Uuid::new_v4(),
            sessions.clock.now(),
            TokenGrant::Registration { phone },
        )
        .expect("signed");
    for wrong in [tokens.access.as_str(), registration.as_str(), ""] {
        let refused = sessions.refresh_tokens(wrong).await.err();
        assert!(
            matches!(refused, Some(AuthError::InvalidRefreshToken)),
            "{refused:?}"
        );
    }

    sessions.clock.advance(TimeDelta::days(30));
    let refused = sessions.refresh_tokens(&tokens.refresh).await.err();
    assert!(
        matches!(refused, Some(AuthError::InvalidRefreshToken)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_logout_ends_every_session_and_appends_its_event() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let here = log_in(&sessions, user.clone()).await.expect("logged in");
    let elsewhere = log_in(&sessions, user.clone()).await.expect("logged in");
    let access = read_claims(&sessions, &here.access);
    let TokenGrant::Access(session) = access.grant else {
        panic!("{access:?}");
    };
    sessions.clock.advance(TimeDelta::minutes(10));

    let session_id = session.session_id;
    let logout = sessions.log_out(user.user_id, access.jti, Some(session_id));
    logout.await.expect("logged out");

    for tokens in [here, elsewhere] {
        let refused = sessions.refresh_tokens(&tokens.refresh).await.err();
        assert!(
            matches!(refused, Some(AuthError::InvalidRefreshToken)),
            "{refused:?}"
        );
    }
    let (user_id, session_id) = (user.user_id, session_id.to_string());
    // Until the last token that the session can have has expired, by whichever clock.
    for blacklisted in [
        revoked_token_key(user_id, &access.jti.to_string()),
        ended_session_key(user_id, &session_id),
    ] {
        let ttl: i64 = sessions.redis.ttl(blacklisted).await.expect("redis");
        assert!((31 * 60 - 5..=31 * 60).contains(&ttl), "{ttl}");
    }
    let expires_at = sessions.clock.now() + TimeDelta::minutes(31);
    let revoked = TokensRevoked {
        user_id,
        token_ids: vec![access.jti.to_string()],
        session_ids: vec![session_id.clone()],
        expires_at: Some(timestamp(expires_at)),
        ..TokensRevoked::default()
    };
    let session_ids = vec![session_id];
    let kinds = published_events(&database)
        .await
        .into_iter()
        .map(|event| event.kind);
    assert_eq!(
        kinds.skip(2).collect::<Vec<_>>(),
        [
            Some(EventKind::LoggedOut(LoggedOut {
                user_id,
                session_ids,
            })),
            Some(EventKind::TokensRevoked(revoked)),
        ],
        "after two logins"
    );
}

#[tokio::test]
async fn a_session_ends_ninety_days_after_its_login() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let login = sessions.clock.now();
    let end = login + TimeDelta::days(90);
    let mut tokens = log_in(&sessions, user).await.expect("logged in");
    for _ in 0..3 {
        sessions.clock.advance(TimeDelta::days(29));
        let refreshed = sessions.refresh_tokens(&tokens.refresh).await;
        tokens = refreshed.map_err(|error| error.to_string()).expect("open");
        let access = read_claims(&sessions, &tokens.access);
        assert_eq!(access.auth_time, Some(login.timestamp()));
    }
    let refresh = read_claims(&sessions, &tokens.refresh);
    assert_eq!(refresh.exp, end.timestamp(), "three days instead of thirty");
    sessions.clock.advance(end - sessions.clock.now());
    let refused = sessions.refresh_tokens(&tokens.refresh).await;
    assert!(matches!(refused, Err(AuthError::InvalidRefreshToken)));
}

#[tokio::test]
async fn a_right_otp_stays_valid_while_the_profile_service_is_unavailable() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let login = login(sessions, OtpDelivery::Log);
    let (phone, address) = (phone(), address());
    let sent = challenge("123456");
    otps::request(&login.redis, &phone, address, &sent, &login.otp_rules)
        .await
        .expect("sent");

    let wrong = login
        .verify_otp(phone.as_str(), guess("000000", address), &device())
        .await
        .err();
    assert!(matches!(wrong, Some(AuthError::InvalidOtp)), "{wrong:?}");
    let right = login
        .verify_otp(phone.as_str(), guess("123456", address), &device())
        .await
        .err();
    let Some(AuthError::Other(error)) = right else {
        panic!("{right:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let kept: Option<String> = login.redis.get(keys::otp(&phone)).await.expect("redis");
    assert_eq!(kept.as_deref(), Some("123456"));
}

#[tokio::test]
async fn sessions_are_listed_with_device_and_use_and_end_one_by_one() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let opened_at = sessions.clock.now();
    let first = log_in(&sessions, user.clone()).await;
    let first = first.expect("logged in");
    sessions.clock.advance(TimeDelta::seconds(1));
    let second = log_in_on(&sessions, user.clone(), &DeviceName::default()).await;
    second.expect("logged in");
    sessions.clock.advance(TimeDelta::seconds(1));
    sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("refreshed");

    let listed = sessions.list_open(user.user_id).await.expect("listed");
    let [used_last, other] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!(used_last.device, device().to_string());
    assert_eq!(used_last.created_at, Some(opened_at));
    assert_eq!(used_last.last_used_at, Some(sessions.clock.now()));
    assert_eq!(other.device, "");

    let session = UserSession {
        user_id: user.user_id,
        session_id: used_last.session_id.parse().expect("an id"),
    };
    sessions.end_session(session).await.expect("ended");
    let again = sessions.end_session(session).await;
    assert!(
        matches!(again, Err(AuthError::SessionNotFound)),
        "{again:?}"
    );
    let left = sessions.list_open(user.user_id).await.expect("listed");
    assert_eq!(left.as_slice(), std::slice::from_ref(other));
}

#[tokio::test]
async fn a_lost_answer_is_repeated_once_within_the_grace() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut sessions = sessions(&database);
    sessions.refresh_grace_secs = 60;
    let first = log_in(&sessions, user()).await.expect("logged in");
    let lost = sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("refreshed");
    sessions.clock.advance(TimeDelta::seconds(5));
    let again = sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("once more");
    assert_eq!((again.access, &again.refresh), (lost.access, &lost.refresh));

    let twice = sessions.refresh_tokens(&first.refresh).await.err();
    assert!(
        matches!(twice, Some(AuthError::InvalidRefreshToken)),
        "{twice:?}"
    );
    let ended = sessions.refresh_tokens(&again.refresh).await.err();
    assert!(
        matches!(ended, Some(AuthError::InvalidRefreshToken)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn the_grace_ends_when_the_new_pair_is_used() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut sessions = sessions(&database);
    sessions.refresh_grace_secs = 60;
    let first = log_in(&sessions, user()).await.expect("logged in");
    let second = sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("refreshed");
    let third = sessions
        .refresh_tokens(&second.refresh)
        .await
        .expect("refreshed");
    for dead in [&first.refresh, &third.refresh] {
        let refused = sessions.refresh_tokens(dead).await.err();
        assert!(
            matches!(refused, Some(AuthError::InvalidRefreshToken)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_code_that_was_not_sent_is_invalid_and_uses_up_no_try() {
    let database = TestDatabase::new(SCHEMA).await;
    let sms = Some(crate::sms::config(NOWHERE));
    let delivery = OtpDelivery::new(
        OtpDeliveryAdapter::Sms,
        sms,
        DeploymentEnvironment::Development,
    );
    let login = login(sessions(&database), delivery.expect("allowed"));
    let (phone, address) = (phone(), ClientAddress::parse("2001:db8::2"));
    for _ in 0..2 * login.otp_rules.sends_max {
        let refused = login.request_otp(phone.as_str(), address).await;
        assert!(matches!(refused, Err(AuthError::OtpNotSent)), "{refused:?}");
        let refused = login.resend_otp(phone.as_str(), address, None).await;
        assert!(matches!(refused, Err(AuthError::OtpNotSent)), "{refused:?}");
    }
    let kept: Option<String> = login.redis.get(keys::otp(&phone)).await.expect("redis");
    assert_eq!(kept, None);
}

#[tokio::test]
async fn a_code_that_an_earlier_release_has_stored_is_replaced_instead_of_sent_again() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, phone, address) = (sessions(&database), phone(), address());
    let earlier = login(sessions.clone(), OtpDelivery::Log);
    let current = LoginService {
        otp_storage: OtpStorage::hashed(&"key".to_owned().into()),
        ..login(sessions, OtpDelivery::Log)
    };
    let requested = earlier.request_otp(phone.as_str(), address).await;
    let named = Some(requested.expect("sent"));
    let resent = current.resend_otp(phone.as_str(), address, named).await;
    let resent = resent.expect("sent");
    assert!(!resent.was_active);
    assert!(resent.challenge_id.is_some() && resent.challenge_id != named);
    let stored: Option<String> = current.redis.get(keys::otp(&phone)).await.expect("redis");
    assert_eq!(stored.map(|stored| stored.len()), Some(64), "a hash");
}

fn assert_is<T>(result: Result<T, AuthError>, expected: &AuthError) {
    let error = result.err().expect("refused");
    let same = std::mem::discriminant(&error) == std::mem::discriminant(expected);
    assert!(same, "{error:?} is not {expected:?}");
}

#[tokio::test]
async fn an_ended_account_gets_no_tokens_even_if_redis_still_has_its_session() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let tokens = log_in(&sessions, user.clone()).await.expect("logged in");
    let refresh = read_claims(&sessions, &tokens.refresh);
    for _ in ["the first time", "again"] {
        sessions.end_account(user.user_id).await.expect("ended");
    }
    let refused = sessions.refresh_tokens(&tokens.refresh).await;
    assert_is(refused, &AuthError::InvalidRefreshToken);
    let refused = log_in(&sessions, user.clone()).await;
    assert_is(refused, &AuthError::AccountDeletionInProgress);
    let listed = sessions.list_open(user.user_id).await.expect("listed");
    assert!(listed.is_empty(), "{listed:?}");

    // The state of a Redis that was restored from an older copy.
    let TokenGrant::Refresh(session) = refresh.grant else {
        panic!("{refresh:?}");
    };
    let (redis, now, device) = (&sessions.redis, sessions.clock.now(), device());
    let opened = store::sessions::open(redis, session, refresh.jti, 600, &device, now);
    opened.await.expect("redis");
    let refused = sessions.refresh_tokens(&tokens.refresh).await;
    assert_is(refused, &AuthError::InvalidRefreshToken);
    let entries = audit_actions(&database).await;
    let deletions = entries.iter().filter(|entry| *entry == "user_deleted");
    assert_eq!(deletions.count(), 1, "{entries:?}");
}

#[tokio::test]
async fn a_login_concurrent_with_a_deletion_leaves_no_session() {
    let database = TestDatabase::new(SCHEMA).await;
    for _ in 0..10 {
        let (sessions, user) = (sessions(&database), user());
        let logins = join_all((0..4).map(|_| log_in(&sessions, user.clone())));
        let (logins, ended) = tokio::join!(logins, sessions.end_account(user.user_id));
        ended.expect("ended");
        for login in logins {
            match login {
                Ok(tokens) => {
                    let refused = sessions.refresh_tokens(&tokens.refresh).await;
                    assert_is(refused, &AuthError::InvalidRefreshToken);
                }
                refused => assert_is(refused, &AuthError::AccountDeletionInProgress),
            }
        }
        let listed = sessions.list_open(user.user_id).await.expect("listed");
        assert!(listed.is_empty(), "{listed:?}");
    }
}

#[tokio::test]
async fn one_of_many_logins_with_one_code_opens_a_session() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let proof = LoginProof::Code {
        code_id: Uuid::new_v4(),
    };
    let device = device();
    let logins = (0..20).map(|_| sessions.open_session(user.clone(), &device, proof.clone()));
    let logins = join_all(logins).await.into_iter();
    let opened = logins.filter_map(|login| login.expect("decided")).count();
    assert_eq!(opened, 1);
    let listed = sessions.list_open(user.user_id).await.expect("listed");
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[tokio::test]
async fn each_login_with_a_code_of_one_statement_is_decided_by_itself() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let ended = session();
    sessions.end_account(ended.user_id).await.expect("ended");
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let logins = [
        (session(), first),
        (session(), first),
        (ended, second),
        (session(), second),
        (session(), Uuid::new_v4()),
    ];
    let logins = logins.map(|(session, code_id)| CodeLogin { code_id, session });
    let insert_all = async || {
        let at = sessions.clock.now();
        let events = logins.iter().map(|login| {
            let user_id = login.session.user_id;
            let username = "asha".to_owned();
            let event = EventKind::LoggedIn(LoggedIn { user_id, username });
            ((user_id, at.timestamp_micros(), event), None)
        });
        let events = OutboxColumns::encode(at, events.collect());
        let mut tx = database.app.begin().await.expect("connected");
        let states = code_logins::insert_all(&mut tx, &logins, events, at).await;
        tx.commit().await.expect("committed");
        let states = states.expect("decided").into_iter();
        let states = states.map(|state| (state.is_account_deleted, state.is_recorded));
        states.collect::<Vec<_>>()
    };
    let (recorded, used, deleted) = ((false, true), (false, false), (true, false));
    assert_eq!(
        insert_all().await,
        [recorded, used, deleted, recorded, recorded]
    );
    assert_eq!(insert_all().await, [used, used, deleted, used, used]);

    let events = published_events(&database).await.into_iter();
    let mut published: Vec<i64> = events
        .filter_map(|event| match event.kind {
            Some(EventKind::LoggedIn(login)) => Some(login.user_id),
            _ => None,
        })
        .collect();
    let mut expected = [0, 3, 4].map(|place: usize| logins[place].session.user_id);
    published.sort_unstable();
    expected.sort_unstable();
    assert_eq!(published, expected);
    let mut actions = audit_actions(&database).await;
    actions.retain(|action| action == "logged_in");
    assert_eq!(actions.len(), expected.len());
}

#[tokio::test]
async fn a_login_past_its_deadline_leaves_its_code_usable() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user, device) = (sessions(&database), user(), device());
    let proof = LoginProof::Code {
        code_id: Uuid::new_v4(),
    };
    let late = sessions.open_session(user.clone(), &device, proof.clone());
    let late = grpc::with_deadline(Instant::now(), Box::pin(late)).await;
    assert_is(late, &AuthError::OutOfTime);
    let listed = sessions.list_open(user.user_id).await.expect("listed");
    assert!(listed.is_empty(), "{listed:?}");
    let again = sessions
        .open_session(user, &device, proof)
        .await
        .expect("decided");
    assert!(again.is_some());
}
