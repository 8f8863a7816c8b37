//! The statements about rings: limits, lists, streaks, rates and deletion.

use sqlx::PgPool;
use talktime_calls::SCHEMA;
use talktime_calls::domain::call::PlannedParties;
use talktime_calls::store::bulk_lookups::{self, ListenerTalkTotals};
use talktime_calls::store::ring_limits::{self, UnansweredRingLimits};
use talktime_calls::store::rings::{self, RingDirection};
use talktime_calls::store::{answer_rates, seen_unanswered, unanswered_streaks};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::testing::TestDatabase;

const CALLER: i64 = 1;
const LISTENER: i64 = 2;
const LIMITS: UnansweredRingLimits = UnansweredRingLimits {
    per_pair: 2,
    per_caller: 3,
    window_mins: 10,
};

/// Inserts a ring of `minutes_ago` that led to no call.
async fn insert_ring(pool: &PgPool, parties: (i64, i64), outcome: &str, minutes_ago: i32) -> i64 {
    insert_call(pool, parties, "unanswered", Some(outcome), minutes_ago).await
}

async fn insert_call(
    pool: &PgPool,
    (user_id, listener_id): (i64, i64),
    phase: &str,
    outcome: Option<&str>,
    minutes_ago: i32,
) -> i64 {
    let inserted = sqlx::query_scalar(
        "INSERT INTO calls.user_calls
             (user_id, listener_id, call_type, status, phase, coins_per_minute,
              listener_paise_per_minute, minute_secs, caller_username, listener_username,
              created_at, updated_at, ring_expires_at, end_time, outcome, outcome_reason)
         SELECT $1, $2, 'audio', CASE $3 WHEN 'unanswered' THEN 'unanswered' ELSE 'completed' END, $3,
                10, 100, 60, 'ravi', 'asha', rung, rung, rung + interval '40 seconds',
                rung + interval '12 seconds', $4, CASE WHEN $4 IS NOT NULL THEN 'no_answer' END
         FROM (SELECT now() - make_interval(mins => $5) AS rung) AS made
         RETURNING call_id",
    )
    .bind(user_id)
    .bind(listener_id)
    .bind(phase)
    .bind(outcome)
    .bind(minutes_ago)
    .fetch_one(pool)
    .await;
    inserted.expect("inserted")
}

async fn waiting_secs(connection: &mut PgConnection, planned: &[(i64, i64)]) -> Vec<Option<i64>> {
    let planned = planned
        .iter()
        .map(|(caller_id, listener_id)| PlannedParties {
            caller_id: *caller_id,
            listener_id: *listener_id,
        });
    let planned: Vec<PlannedParties> = planned.collect();
    ring_limits::load_waiting_secs(connection, &planned, LIMITS)
        .await
        .expect("read")
}

#[tokio::test]
async fn a_caller_waits_after_too_many_unanswered_rings() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    let connection = &mut database.connect().await;
    insert_ring(pool, (CALLER, LISTENER), "missed", 9).await;
    let both = [(CALLER, LISTENER), (CALLER, 3)];
    assert_eq!(waiting_secs(connection, &both).await, [None, None]);

    insert_ring(pool, (CALLER, LISTENER), "cancelled", 2).await;
    let [of_pair, of_other] = waiting_secs(connection, &both).await[..] else {
        panic!("an answer for each");
    };
    // The older of the two leaves the window in a minute.
    assert!(
        (55..=60).contains(&of_pair.expect("too many")),
        "{of_pair:?}"
    );
    assert_eq!(of_other, None);

    insert_ring(pool, (CALLER, 3), "rejected", 1).await;
    let waiting = waiting_secs(connection, &both).await;
    assert!(waiting.iter().all(Option::is_some), "{waiting:?}");
    let others = [(LISTENER, CALLER), (4, LISTENER)];
    assert_eq!(waiting_secs(connection, &others).await, [None, None]);
}

#[tokio::test]
async fn rings_that_are_old_or_failed_on_our_side_do_not_count() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    for _ in 0..4 {
        insert_ring(pool, (CALLER, LISTENER), "failed", 1).await;
        insert_ring(pool, (CALLER, LISTENER), "missed", 11).await;
        insert_call(pool, (CALLER, LISTENER), "settled", None, 1).await;
    }
    let connection = &mut database.connect().await;
    assert_eq!(
        waiting_secs(connection, &[(CALLER, LISTENER)]).await,
        [None]
    );
}

#[tokio::test]
async fn unanswered_calls_are_listed_for_both_sides_newest_first() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    let older = insert_ring(pool, (CALLER, LISTENER), "missed", 60).await;
    let newer = insert_ring(pool, (LISTENER, CALLER), "cancelled", 30).await;
    insert_call(pool, (CALLER, LISTENER), "settled", None, 20).await;
    insert_ring(pool, (3, 4), "missed", 10).await;
    let connection = &mut database.connect().await;
    for (direction, expected) in [
        (None, vec![(newer, false), (older, true)]),
        (Some(RingDirection::Incoming), vec![(older, true)]),
        (Some(RingDirection::Outgoing), vec![(newer, false)]),
    ] {
        let listed = rings::list_unanswered(connection, LISTENER, direction, 10, 0).await;
        let listed = listed.expect("read");
        let seen: Vec<(i64, bool)> = listed
            .iter()
            .map(|call| (call.call_id, call.is_incoming))
            .collect();
        assert_eq!(seen, expected, "{direction:?}");
        assert!(
            listed
                .iter()
                .all(|call| call.peer_id == CALLER && call.rung_seconds == 12)
        );
        let total = rings::count_unanswered(connection, LISTENER, direction).await;
        assert_eq!(usize::try_from(total.expect("read")), Ok(expected.len()));
    }
    let second = rings::list_unanswered(connection, LISTENER, None, 1, 1).await;
    assert_eq!(second.expect("read")[0].call_id, older);
}

#[tokio::test]
async fn missed_calls_are_unseen_until_the_listener_has_seen_the_list() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    insert_ring(pool, (CALLER, LISTENER), "missed", 3).await;
    insert_ring(pool, (CALLER, LISTENER), "rejected", 2).await;
    insert_ring(pool, (LISTENER, CALLER), "missed", 1).await;
    let connection = &mut database.connect().await;
    assert_eq!(count_unseen(connection).await, 1);
    mark_seen(&database.app).await;
    assert_eq!(count_unseen(connection).await, 0);
    insert_ring(pool, (CALLER, LISTENER), "unreachable", 0).await;
    assert_eq!(count_unseen(connection).await, 1);
    mark_seen(&database.app).await;
    mark_seen(&database.app).await;
    assert_eq!(count_unseen(connection).await, 0);
}

async fn count_unseen(connection: &mut PgConnection) -> i64 {
    let unseen = seen_unanswered::count_unseen(connection, LISTENER).await;
    unseen.expect("read")
}

async fn mark_seen(db: &DatabasePool) {
    let mut tx = db.begin().await.expect("begun");
    seen_unanswered::mark_seen(&mut tx, LISTENER)
        .await
        .expect("marked");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn three_unanswered_rings_in_a_row_pause_a_listener_once() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    let mut paused = Vec::new();
    for round in 0..7 {
        if round == 2 {
            unanswered_streaks::reset(&mut tx, &[LISTENER])
                .await
                .expect("reset");
        }
        let now = unanswered_streaks::add_rings(&mut tx, &[CALLER, LISTENER], 3).await;
        let mut now = now.expect("counted");
        now.sort_unstable();
        paused.push(now);
    }
    let none: Vec<i64> = vec![];
    let expected = [
        none.clone(),
        none.clone(),
        vec![CALLER],
        none.clone(),
        vec![LISTENER],
        vec![CALLER],
        none.clone(),
    ];
    assert_eq!(paused, expected);
    let never = unanswered_streaks::add_rings(&mut tx, &[CALLER], 0).await;
    assert_eq!(never.expect("counted"), none);
}

#[tokio::test]
async fn an_answer_rate_counts_the_rings_that_a_listener_could_answer() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    for _ in 0..15 {
        insert_call(pool, (CALLER, LISTENER), "settled", None, 60).await;
        insert_ring(pool, (CALLER, LISTENER), "cancelled", 60).await;
        insert_ring(pool, (CALLER, LISTENER), "failed", 60).await;
        insert_ring(pool, (CALLER, LISTENER), "missed", 31 * 24 * 60).await;
        insert_ring(pool, (CALLER, 3), "missed", 60).await;
    }
    for outcome in ["missed", "unreachable", "rejected", "missed", "missed"] {
        insert_ring(pool, (CALLER, LISTENER), outcome, 60).await;
    }
    let mut tx = database.app.begin().await.expect("begun");
    for _ in 0..2 {
        answer_rates::update(&mut tx, &[LISTENER, 3, 4])
            .await
            .expect("counted");
    }
    let totals = bulk_lookups::list_listener_totals(&mut tx, &[LISTENER, 3, 4]).await;
    let rated = ListenerTalkTotals {
        listener_id: LISTENER,
        call_count: 0,
        total_call_secs: 0,
        answer_percent: Some(75),
    };
    assert_eq!(
        totals.expect("read"),
        [rated],
        "fifteen rings are too few for a rate"
    );
}

#[tokio::test]
async fn unanswered_calls_are_deleted_after_half_a_year() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    let day = 24 * 60;
    let kept = insert_ring(pool, (CALLER, LISTENER), "missed", 179 * day).await;
    let talked = insert_call(pool, (CALLER, LISTENER), "settled", None, 300 * day).await;
    for _ in 0..3 {
        insert_ring(pool, (CALLER, LISTENER), "missed", 181 * day).await;
    }
    let mut deleted = Vec::new();
    for _ in 0..3 {
        let mut tx = database.app.begin().await.expect("begun");
        let batch = rings::delete_old_unanswered(&mut tx, 180, 2).await;
        deleted.push(batch.expect("deleted"));
        tx.commit().await.expect("committed");
    }
    assert_eq!(deleted, [2, 1, 0]);
    let left: Vec<i64> =
        sqlx::query_scalar("SELECT call_id FROM calls.user_calls ORDER BY call_id")
            .fetch_all(pool)
            .await
            .expect("read");
    assert_eq!(left, [kept, talked]);
}
