//! The tables of verification on a real Postgres.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::db::{PgConnection, is_unique_violation};
use talktime_kit::messaging::EventHandler;
use talktime_kit::testing::TestDatabase;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, UserDeleted};
use talktime_verification::SCHEMA;
use talktime_verification::consumers::UserDeletionHandler;
use talktime_verification::domain::{ListenerVerification, ProfilePhoto, ReviewState};
use talktime_verification::store::decisions::{self, ReviewDecision};
use talktime_verification::store::listener_verifications::{list_pending, load_verification};
use talktime_verification::store::{profile_photos, standings};
use uuid::Uuid;

const LISTENER: i64 = 7;
const OTHER: i64 = 8;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("valid") + TimeDelta::minutes(minutes)
}

/// Inserts a sample that was submitted `minutes` after the first one and, unless it is pending, reviewed a
/// minute later.
async fn insert_sample(
    db: &mut PgConnection,
    user_id: i64,
    state: ReviewState,
    minutes: i64,
) -> sqlx::Result<()> {
    let reviewed_at = (state != ReviewState::Pending).then(|| at(minutes + 1));
    sqlx::query(
        "INSERT INTO verification.listener_verifications
             (user_id, audio_url, status, submitted_at, reviewed_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(user_id)
    .bind(format!("verification-audio/{user_id}/{minutes}.mp3"))
    .bind(state)
    .bind(at(minutes))
    .bind(reviewed_at)
    .execute(&mut *db)
    .await?;
    let before = standings::lock(db, user_id).await?;
    let is_verified = before.is_verified || state == ReviewState::Approved;
    standings::update_verified(db, user_id, is_verified).await?;
    Ok(())
}

#[tokio::test]
async fn the_newest_sample_determines_the_status() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    let read = load_verification(&mut db, LISTENER)
        .await
        .expect("readable");
    assert_eq!(read, ListenerVerification::default());

    for (state, minutes) in [
        (ReviewState::Approved, 0),
        (ReviewState::Rejected, 10),
        (ReviewState::Pending, 20),
    ] {
        insert_sample(&mut db, LISTENER, state, minutes)
            .await
            .expect("kept");
    }
    insert_sample(&mut db, OTHER, ReviewState::Rejected, 30)
        .await
        .expect("kept");

    let read = load_verification(&mut db, LISTENER)
        .await
        .expect("readable");
    assert_eq!(read.sample_count, 3);
    assert_eq!(read.status_name(), "pending");
    assert!(read.is_verified, "an approval is not lost by a new sample");
    let newest = read.newest_sample.expect("there are samples");
    assert_eq!(newest.submitted_at, at(20));
    assert_eq!(newest.reviewed_at, None);
}

#[tokio::test]
async fn a_listener_has_one_pending_sample() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    insert_sample(&mut db, LISTENER, ReviewState::Pending, 0)
        .await
        .expect("kept");
    insert_sample(&mut db, OTHER, ReviewState::Pending, 0)
        .await
        .expect("another's");
    let second = insert_sample(&mut db, LISTENER, ReviewState::Pending, 1).await;
    let error = second.expect_err("the first still waits");
    assert!(is_unique_violation(
        &error,
        "listener_verifications_one_pending"
    ));
}

#[tokio::test]
async fn samples_of_a_deleted_user_are_deleted() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    insert_sample(&mut db, LISTENER, ReviewState::Approved, 0)
        .await
        .expect("kept");
    insert_sample(&mut db, OTHER, ReviewState::Approved, 0)
        .await
        .expect("kept");
    let deleted = Event {
        version: 2,
        happened_at: None,
        kind: Some(Kind::UserDeleted(UserDeleted {
            user_id: LISTENER,
            ..UserDeleted::default()
        })),
    };
    // An event may be delivered twice.
    for _ in 0..2 {
        let handled = UserDeletionHandler.handle(&mut db, deleted.clone()).await;
        handled.expect("handled");
    }
    assert_eq!(
        load_verification(&mut db, LISTENER)
            .await
            .expect("readable")
            .sample_count,
        0
    );
    assert_eq!(
        load_verification(&mut db, OTHER)
            .await
            .expect("readable")
            .sample_count,
        1
    );
}

#[tokio::test]
async fn a_listeners_samples_are_found_by_index() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    sqlx::query("SET enable_seqscan = off")
        .execute(&mut db)
        .await
        .expect("set");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT verification_id FROM verification.listener_verifications
         WHERE user_id = 7 ORDER BY submitted_at DESC, verification_id DESC LIMIT 1",
    )
    .fetch_all(&mut db)
    .await
    .expect("a plan");
    let plan = plan.join("\n");
    assert!(plan.contains("listener_verifications_user"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}

#[tokio::test]
async fn a_deleted_user_stays_deleted() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    standings::lock(&mut db, LISTENER).await.expect("made");
    standings::mark_deleted(&mut db, LISTENER)
        .await
        .expect("kept");
    let locked = standings::lock(&mut db, LISTENER).await.expect("found");
    assert!(locked.is_deleted && !locked.is_verified);
}

#[tokio::test]
async fn decisions_are_never_rewritten() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    let decision = ReviewDecision {
        decided_by: 1,
        user_id: LISTENER,
        verification_id: Some(3),
        decision: "approved",
        notes: None,
    };
    decisions::insert(&mut db, decision, at(0))
        .await
        .expect("kept");
    for statement in [
        "UPDATE verification.decisions SET decided_by = 2",
        "DELETE FROM verification.decisions",
        "UPDATE verification.photo_decisions SET decided_by = 2",
        "DELETE FROM verification.photo_decisions",
    ] {
        let refused = sqlx::query(statement).execute(&mut db).await;
        assert!(refused.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn the_queue_is_read_in_the_order_of_its_index() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.connect().await;
    for user_id in [5, 6, 7] {
        let minutes = 10 - user_id;
        insert_sample(&mut db, user_id, ReviewState::Pending, minutes)
            .await
            .expect("kept");
    }
    let (page, total) = list_pending(&mut db, 1, 1).await.expect("read");
    assert_eq!((page.len(), page[0].user_id, total), (1, 6, 3));
}

#[tokio::test]
async fn a_user_has_one_photo_of_each_state() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app.begin().await.expect("connected");
    let photo = profile_photos::insert(&mut db, LISTENER, Uuid::new_v4(), at(0)).await;
    let photo = photo.expect("inserted");
    let approved = ProfilePhoto {
        state: ReviewState::Approved,
        reviewed_at: Some(at(1)),
        reviewer_id: Some(1),
        ..photo
    };
    let updated = profile_photos::update_reviewed(&mut db, &approved).await;
    updated.expect("updated");
    let found = profile_photos::find_approved(&mut db, approved.photo_key).await;
    assert_eq!(found.expect("readable"), Some(approved.clone()));
    let second = profile_photos::insert(&mut db, LISTENER, Uuid::new_v4(), at(2)).await;
    let pending = second.expect("another state");
    let found = profile_photos::list(&mut db, LISTENER).await;
    assert_eq!(found.expect("readable"), [pending, approved]);
    let third = profile_photos::insert(&mut db, LISTENER, Uuid::new_v4(), at(3)).await;
    let error = third.expect_err("there is a pending photo");
    assert!(is_unique_violation(
        &error,
        "profile_photos_one_of_each_status"
    ));
}
