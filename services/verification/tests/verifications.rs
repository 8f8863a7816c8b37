//! Samples on a real Postgres.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use talktime_kit::db::is_unique_violation;
use talktime_kit::messaging::Handler;
use talktime_kit::testing::TestDatabase;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, UserDeleted};
use talktime_verification::SCHEMA;
use talktime_verification::domain::{Standing, State};
use talktime_verification::events::ProfileEvents;
use talktime_verification::store::decisions::{self, Decision};
use talktime_verification::store::listener_verifications::{pending, standing};
use talktime_verification::store::standings;

const LISTENER: i64 = 7;
const OTHER: i64 = 8;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("valid") + TimeDelta::minutes(minutes)
}

/// A sample that came `minutes` after the first, and was reviewed a minute later if at all.
async fn sample(
    db: &mut PgConnection,
    user_id: i64,
    state: State,
    minutes: i64,
) -> sqlx::Result<()> {
    let reviewed_at = (state != State::Pending).then(|| at(minutes + 1));
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
    let is_verified = before.is_verified || state == State::Approved;
    standings::decide(db, user_id, is_verified).await?;
    Ok(())
}

#[tokio::test]
async fn the_newest_sample_says_where_a_listener_stands() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    let read = standing(&mut db, LISTENER).await.expect("readable");
    assert_eq!(read, Standing::default());

    for (state, minutes) in [
        (State::Approved, 0),
        (State::Rejected, 10),
        (State::Pending, 20),
    ] {
        sample(&mut db, LISTENER, state, minutes)
            .await
            .expect("kept");
    }
    sample(&mut db, OTHER, State::Rejected, 30)
        .await
        .expect("kept");

    let read = standing(&mut db, LISTENER).await.expect("readable");
    assert_eq!(read.count, 3);
    assert_eq!(read.name(), "pending");
    assert!(read.is_verified, "an approval is not lost by a new sample");
    let newest = read.newest.expect("there are samples");
    assert_eq!(newest.submitted_at, at(20));
    assert_eq!(newest.reviewed_at, None);
}

#[tokio::test]
async fn one_sample_waits_at_a_time() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    sample(&mut db, LISTENER, State::Pending, 0)
        .await
        .expect("kept");
    sample(&mut db, OTHER, State::Pending, 0)
        .await
        .expect("another's");
    let second = sample(&mut db, LISTENER, State::Pending, 1).await;
    let error = second.expect_err("the first still waits");
    assert!(is_unique_violation(
        &error,
        "listener_verifications_one_pending"
    ));
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    sample(&mut db, LISTENER, State::Approved, 0)
        .await
        .expect("kept");
    sample(&mut db, OTHER, State::Approved, 0)
        .await
        .expect("kept");
    let deleted = Event {
        version: 2,
        happened_at: None,
        kind: Some(Kind::UserDeleted(UserDeleted { user_id: LISTENER })),
    };
    // Twice: an event may come again.
    for _ in 0..2 {
        let handled = ProfileEvents.handle(&mut db, deleted.clone()).await;
        handled.expect("handled");
    }
    assert_eq!(
        standing(&mut db, LISTENER).await.expect("readable").count,
        0
    );
    assert_eq!(standing(&mut db, OTHER).await.expect("readable").count, 1);
}

#[tokio::test]
async fn a_listeners_samples_are_found_by_index() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    sqlx::query("SET enable_seqscan = off")
        .execute(&mut *db)
        .await
        .expect("set");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT verification_id FROM verification.listener_verifications
         WHERE user_id = 7 ORDER BY submitted_at DESC, verification_id DESC LIMIT 1",
    )
    .fetch_all(&mut *db)
    .await
    .expect("a plan");
    let plan = plan.join("\n");
    assert!(plan.contains("listener_verifications_user"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}

#[tokio::test]
async fn who_is_gone_stays_gone() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    standings::lock(&mut db, LISTENER).await.expect("made");
    standings::delete(&mut db, LISTENER).await.expect("kept");
    let locked = standings::lock(&mut db, LISTENER).await.expect("found");
    assert!(locked.is_deleted && !locked.is_verified);
}

#[tokio::test]
async fn decisions_are_never_rewritten() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    let decision = Decision {
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
    ] {
        let refused = sqlx::query(statement).execute(&mut *db).await;
        assert!(refused.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn the_queue_is_read_in_the_order_of_its_index() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut db = database.app_pool.acquire().await.expect("connected");
    for user_id in [5, 6, 7] {
        let minutes = 10 - user_id;
        sample(&mut db, user_id, State::Pending, minutes)
            .await
            .expect("kept");
    }
    let (page, total) = pending(&mut db, 1, 1).await.expect("read");
    assert_eq!((page.len(), page[0].user_id, total), (1, 6, 3));
}
