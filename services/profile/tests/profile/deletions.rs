//! Deletions of users.

use futures::future::join_all;
use talktime_kit::messaging::Relay;
use talktime_kit::testing::stack_peers;
use talktime_kit::{Error, ErrorKind};
use talktime_profile::deletions::AccountDeletionService;
use talktime_profile::peers::{AuthClient, CallsClient};
use talktime_profile::users::UserService;
use talktime_proto::access::v1::Workload;
use talktime_proto::events::v1::UserDeleted;
use talktime_proto::events::v1::event::Kind;
use tonic::Code;

use crate::{TestProfile, refusal, registration, require_variable};

#[tokio::test]
async fn a_deletion_removes_every_row_and_publishes_an_event() {
    let profile = TestProfile::start().await;
    // The stack's calls service prepares the deletion; its own users have other ids.
    sqlx::query("ALTER TABLE profile.users ALTER COLUMN user_id RESTART WITH 4000000000")
        .execute(&profile.database.superuser)
        .await
        .expect("restarted");
    let asha = profile.register("asha", "listener").await.user_id;
    let ravi = profile.register("ravi", "user").await.user_id;
    profile.block(asha, ravi).await;
    sqlx::query("INSERT INTO profile.user_favorites (favoriter_id, favoritee_id) VALUES ($1, $2)")
        .bind(ravi)
        .bind(asha)
        .execute(&profile.database.app_pool)
        .await
        .expect("liked");

    profile.delete(asha).await.expect("deleted");
    for (query, left) in [
        ("SELECT count(*) FROM profile.users", 1),
        ("SELECT count(*) FROM profile.user_roles", 1),
        ("SELECT count(*) FROM profile.feed_listeners", 0),
        ("SELECT count(*) FROM profile.user_blocks", 0),
        ("SELECT count(*) FROM profile.user_favorites", 0),
    ] {
        assert_eq!(profile.count(query).await, left, "{query}");
    }
    let events = profile.load_events(asha).await;
    let deleted = Kind::UserDeleted(UserDeleted {
        user_id: asha,
        ..UserDeleted::default()
    });
    assert_eq!((events[1].version, &events[1].kind), (2, &Some(deleted)));
    assert_eq!(
        profile.delete(asha).await.expect_err("gone"),
        refusal(Code::NotFound, "user_not_found")
    );
}

#[tokio::test]
async fn the_registration_of_a_deleted_user_creates_no_user_and_a_new_one_does() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await;
    profile.delete(asha.user_id).await.expect("deleted");
    for _ in 0..2 {
        let refused = profile.create(registration("asha", "listener")).await;
        assert_eq!(
            refused.expect_err("spent"),
            refusal(Code::Unauthenticated, "invalid_registration_token")
        );
    }
    let mut new_registration = registration("asha", "listener");
    new_registration.registration_id = "another".to_owned();
    let again = profile.create(new_registration).await.expect("registered");
    assert_ne!(again.user_id, asha.user_id);
}

#[tokio::test]
async fn a_registration_during_its_deletion_creates_no_second_user() {
    let profile = TestProfile::start().await;
    for round in 0..10 {
        let name = format!("asha{round}");
        let asha = profile.register(&name, "user").await.user_id;
        let users = UserService::new(
            profile.database.app.clone(),
            Relay::default(),
            profile.clock.clone(),
        );
        let repeats = (0..10).map(|_| profile.create(registration(&name, "user")));
        let (deleted, repeats) = tokio::join!(users.delete_user(asha), join_all(repeats));
        deleted.expect("deleted");
        for user in repeats.into_iter().flatten() {
            assert_eq!(user.user_id, asha);
        }
        assert_eq!(profile.count("SELECT count(*) FROM profile.users").await, 0);
    }
}

#[tokio::test]
async fn a_deletion_waits_for_auth_and_is_finished_by_a_sweep() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let deletions = |auth_url: &str| {
        let (db, clock) = (profile.database.app.clone(), profile.clock.clone());
        let users = UserService::new(db.clone(), Relay::default(), clock);
        let peers = stack_peers(Workload::Profile);
        let auth = AuthClient::connect(&peers, auth_url).expect("a URL");
        let calls =
            CallsClient::connect(&peers, &require_variable("CALLS_GRPC_URL")).expect("a URL");
        AccountDeletionService::new(db, users, auth, calls)
    };
    let cut_off = deletions("https://127.0.0.1:1")
        .delete_user(asha, Some("No time"))
        .await;
    let error = Error::from(cut_off.expect_err("auth is away"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    profile.user(asha).await.expect("still there");

    sqlx::query("UPDATE profile.pending_deletions SET next_attempt_at = now()")
        .execute(&profile.database.app_pool)
        .await
        .expect("due");
    let sweep = deletions(&require_variable("AUTH_GRPC_URL"));
    sweep.finish_pending().await.expect("swept");
    assert_eq!(profile.count("SELECT count(*) FROM profile.users").await, 0);
    let events = profile.load_events(asha).await;
    let deleted = Kind::UserDeleted(UserDeleted {
        user_id: asha,
        ..UserDeleted::default()
    });
    assert_eq!(
        events.last().and_then(|event| event.kind.clone()),
        Some(deleted)
    );
    let left = "SELECT count(*) FROM profile.pending_deletions";
    assert_eq!(profile.count(left).await, 0);
    assert_eq!(
        load_reasons(&profile).await,
        [("listener".to_owned(), "No time".to_owned())]
    );
}

/// Loads role and reason of all finished deletions.
async fn load_reasons(profile: &TestProfile) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT role, reason FROM profile.deletion_reasons WHERE day = '2027-01-15' ORDER BY reason",
    )
    .fetch_all(&profile.database.app_pool)
    .await
    .expect("readable")
}

#[tokio::test]
async fn the_reason_of_a_deletion_is_kept_without_the_person() {
    let profile = TestProfile::start().await;
    let reasons = [
        ("asha", "listener", Some("No time")),
        ("ravi", "user", Some("")),
        ("devi", "user", None),
    ];
    for (name, role, reason) in reasons {
        let user_id = profile.register(name, role).await.user_id;
        let deleted = profile.delete_because(user_id, reason).await;
        deleted.expect("deleted");
    }
    assert_eq!(
        load_reasons(&profile).await,
        [("listener".to_owned(), "No time".to_owned())]
    );
    let columns = "SELECT count(*) FROM information_schema.columns
                   WHERE table_schema = 'profile' AND table_name = 'deletion_reasons'";
    assert_eq!(
        profile.count(columns).await,
        4,
        "a key, a role, a reason and a day"
    );

    let meena = profile.register("meena", "user").await.user_id;
    let refused = profile.delete_because(meena, Some(&"x".repeat(501))).await;
    assert_eq!(
        refused.expect_err("too long"),
        refusal(Code::InvalidArgument, "invalid_reason")
    );
    profile.user(meena).await.expect("not deleted");
}
