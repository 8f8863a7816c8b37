//! The audit log: what is recorded, and what is not.

use std::time::Duration;

use futures::future::join_all;
use talktime_auth::SCHEMA;
use talktime_auth::consumers::AuthEventHandler;
use talktime_auth::delivery::OtpDelivery;
use talktime_auth::domain::claims::{TokenGrant, TokenLifetimes, UserSession};
use talktime_auth::domain::{AuthError, ClientAddress};
use talktime_auth::store::audit_log::{AuditAction, AuditLogEntry};
use talktime_kit::messaging::{EventHandler as _, Relay};
use talktime_kit::testing::TestDatabase;
use talktime_proto::auth::v1::RegisterRequest;
use talktime_proto::events::v1::event::Kind as EventKind;
use talktime_proto::events::v1::{Event, RoleChanged, UserDeleted};
use uuid::Uuid;

use crate::support::{
    audit_actions, device, guess, log_in, login, phone, published_events, read_claims, redis,
    sessions, user,
};

#[tokio::test]
async fn logins_that_share_a_transaction_are_all_recorded() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let users: Vec<_> = (0..40).map(|_| user()).collect();
    let logins = users.iter().map(|user| log_in(&sessions, user.clone()));
    for login in join_all(logins).await {
        login.expect("logged in");
    }
    assert_eq!(audit_actions(&database).await, ["logged_in"; 40]);
    let events = published_events(&database).await.into_iter();
    let mut recorded: Vec<i64> = events
        .filter_map(|event| match event.kind {
            Some(EventKind::LoggedIn(login)) => Some(login.user_id),
            _ => None,
        })
        .collect();
    let mut expected: Vec<i64> = users.iter().map(|user| user.user_id).collect();
    recorded.sort_unstable();
    expected.sort_unstable();
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn changes_of_sessions_are_audited_permanently() {
    let database = TestDatabase::new(SCHEMA).await;
    let (sessions, user) = (sessions(&database), user());
    let first = log_in(&sessions, user.clone()).await;
    let first = first.expect("logged in");
    sessions
        .refresh_tokens(&first.refresh)
        .await
        .expect("refreshed");
    assert!(sessions.refresh_tokens(&first.refresh).await.is_err());
    let second = log_in(&sessions, user.clone()).await;
    second.expect("logged in");
    let listed = sessions.list_open(user.user_id).await.expect("listed");
    let session = UserSession {
        user_id: user.user_id,
        session_id: listed[0].session_id.parse().expect("an id"),
    };
    sessions.end_session(session).await.expect("ended");
    let everywhere = sessions.log_out_everywhere(session).await;
    everywhere.expect("logged out");
    let logout = sessions.log_out(user.user_id, Uuid::new_v4(), None).await;
    logout.expect("logged out");

    assert_eq!(
        audit_actions(&database).await,
        [
            "logged_in",
            "refresh_token_reused",
            "logged_in",
            "session_ended",
            "logged_out_everywhere",
            "logged_out",
        ]
    );
    for statement in [
        "DELETE FROM auth.audit_log",
        "UPDATE auth.audit_log SET user_id = 0",
    ] {
        let refused = sqlx::query(statement).execute(&database.app_pool).await;
        assert!(refused.is_err(), "{statement}");
    }
}

/// Waits for this number of entries about refusals, and returns each as text.
async fn refusals(database: &TestDatabase, count: usize) -> Vec<String> {
    let read_entries = || async {
        sqlx::query_scalar(
            "SELECT concat_ws(' ', action, user_id, session_id, phone_ends_in, detail)
             FROM auth.audit_log WHERE action ~ '(refused|limited)$' ORDER BY audit_id",
        )
        .fetch_all(&database.app_pool)
        .await
        .expect("the audit log")
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let entries: Vec<String> = read_entries().await;
            if entries.len() >= count {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("the refusals are written")
}

#[tokio::test]
async fn refusals_are_audited_without_secrets() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let tokens = log_in(&sessions, user()).await.expect("logged in");
    let session = match read_claims(&sessions, &tokens.access).grant {
        TokenGrant::Access(session) => session,
        other => panic!("{other:?}"),
    };
    sessions.end_session(session).await.expect("ended");
    assert!(sessions.refresh_tokens(&tokens.refresh).await.is_err());
    let login = login(sessions, OtpDelivery::Log);
    let (phone, address) = (phone(), ClientAddress::parse("2001:db8::1"));
    for _ in 0..=login.otp_rules.sends_max {
        let _ = login.request_otp(phone.as_str(), address).await;
    }
    let wrong = login
        .verify_otp(phone.as_str(), guess("none", address), &device())
        .await;
    assert!(matches!(wrong, Err(AuthError::InvalidOtp)));
    let register = RegisterRequest::default();
    assert!(login.register(register).await.is_err());

    let UserSession {
        user_id,
        session_id,
    } = session;
    let ends_in = phone.last_two_digits();
    assert_eq!(
        refusals(&database, 4).await,
        [
            format!("refresh_refused {user_id} {session_id}"),
            format!("otp_limited {ends_in} phone"),
            format!("otp_refused {ends_in}"),
            "registration_refused".to_owned(),
        ]
    );
}

#[tokio::test]
async fn refusals_are_written_at_a_bounded_rate() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    for _ in 0..5_000 {
        let entry = AuditLogEntry::new(AuditAction::OtpRefused, sessions.clock.now());
        sessions.refusals.record(entry);
    }
    // No more than a batch a second, however many there are.
    let written = refusals(&database, 1).await.len();
    assert!(written <= 200, "{written}");
}

#[tokio::test]
async fn roles_and_deletions_are_audited() {
    let database = TestDatabase::new(SCHEMA).await;
    let sessions = sessions(&database);
    let user_id = user().user_id;
    let handler = AuthEventHandler::new(
        redis(),
        TokenLifetimes::default(),
        Relay::default(),
        sessions.clock.clone(),
    );
    let role = |active| {
        EventKind::RoleChanged(RoleChanged {
            user_id,
            role: "admin".to_owned(),
            active,
            operator: "ravi".to_owned(),
        })
    };
    let deleted = EventKind::UserDeleted(UserDeleted {
        user_id,
        ..UserDeleted::default()
    });
    for kind in [role(true), role(false), deleted] {
        let event = Event {
            kind: Some(kind),
            ..Event::default()
        };
        let mut tx = database.app.begin().await.expect("begun");
        handler.handle(&mut tx, event).await.expect("handled");
        tx.commit().await.expect("committed");
    }
    let entries: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', action, user_id, detail) FROM auth.audit_log ORDER BY audit_id",
    )
    .fetch_all(&database.app_pool)
    .await
    .expect("the audit log");
    assert_eq!(
        entries,
        [
            format!("role_granted {user_id} admin by ravi"),
            format!("role_revoked {user_id} admin by ravi"),
            format!("user_deleted {user_id}"),
        ]
    );
}
