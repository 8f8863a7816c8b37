//! Badges on a real Postgres, at times set by the test.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::future::join_all;
use sqlx::PgPool;
use talktime_calls::SCHEMA;
use talktime_calls::badges::BadgeService;
use talktime_calls::config::CallsConfig;
use talktime_calls::domain::badge::Badge;
use talktime_calls::store::badges::{self, ListenerDayBadge};
use talktime_calls::store::history;
use talktime_kit::Clock;
use talktime_kit::testing::TestDatabase;

const LISTENERS: [i64; 4] = [11, 12, 13, 14];
const HOURS: [i64; 4] = [2, 3, 6, 9];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("RFC 3339")
}

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).expect("a date")
}

/// Returns a badge service at 00:01 of the 24th, on a database where four listeners talked for some hours
/// on the 23rd in India.
async fn listeners_with_talk_time() -> (TestDatabase, BadgeService) {
    let database = TestDatabase::new(SCHEMA).await;
    for (listener_id, hours) in LISTENERS.into_iter().zip(HOURS) {
        let mut connection = database.connect().await;
        badges::upsert_listener(&mut connection, listener_id, 1, true)
            .await
            .expect("added");
        // Calls count that end in the last second of the day, but not those of the next day.
        insert_ended_call(
            &database.app_pool,
            listener_id,
            at("2026-11-23T18:29:59Z"),
            hours * 3_600 - 60,
        )
        .await;
        insert_ended_call(
            &database.app_pool,
            listener_id,
            at("2026-11-22T18:30:00Z"),
            60,
        )
        .await;
        insert_ended_call(
            &database.app_pool,
            listener_id,
            at("2026-11-23T18:30:00Z"),
            5 * 3_600,
        )
        .await;
        insert_ended_call(
            &database.app_pool,
            listener_id,
            at("2026-11-22T18:29:59Z"),
            5 * 3_600,
        )
        .await;
    }
    let badges = badges_at(&database, "2026-11-23T18:31:00Z");
    (database, badges)
}

fn badges_at(database: &TestDatabase, now: &str) -> BadgeService {
    let config = serde_json::json!({
        "peers": {"auth": "", "profile": "", "presence": "", "wallet": ""}, "redis": {"url": ""},
    });
    let config: CallsConfig = serde_json::from_value(config).expect("settings");
    BadgeService::new(
        database.app.clone(),
        Clock::manual(at(now)),
        config.call_terms().badges,
    )
}

async fn insert_ended_call(pool: &PgPool, listener_id: i64, end_time: DateTime<Utc>, secs: i64) {
    insert_ended_call_as(pool, listener_id, end_time, secs, "completed").await;
}

async fn insert_ended_call_as(
    pool: &PgPool,
    listener_id: i64,
    end_time: DateTime<Utc>,
    secs: i64,
    status: &str,
) {
    sqlx::query(
        "INSERT INTO calls.user_calls
             (user_id, listener_id, call_type, status, phase, start_time, end_time,
              duration_seconds, coins_per_minute, listener_paise_per_minute, minute_secs,
              caller_username, listener_username, created_at, updated_at)
         VALUES (1, $1, 'audio', $5, 'settled', $2, $3, $4, 10, 100, 60, '', '', $2, $3)",
    )
    .bind(listener_id)
    .bind(end_time - TimeDelta::seconds(secs))
    .bind(end_time)
    .bind(secs)
    .bind(status)
    .execute(pool)
    .await
    .expect("inserted");
}

async fn load_badges(database: &TestDatabase, date: NaiveDate) -> Vec<Option<ListenerDayBadge>> {
    let mut connection = database.connect().await;
    let mut assigned = Vec::new();
    for listener_id in LISTENERS {
        let badge = badges::find_for_day(&mut connection, listener_id, date).await;
        assigned.push(badge.expect("read"));
    }
    assigned
}

#[tokio::test]
async fn badges_follow_the_talk_time_of_the_day_before() {
    let (database, badges) = listeners_with_talk_time().await;
    assert_eq!(
        badges
            .assign_missed_days(at("2026-11-23T18:30:59Z"))
            .await
            .expect("too early"),
        1
    );
    assert_eq!(
        load_badges(&database, day(24)).await,
        [const { None }; 4],
        "that was the 23rd's"
    );
    assert_eq!(
        badges
            .assign_missed_days(at("2026-11-23T18:31:00Z"))
            .await
            .expect("given"),
        1
    );
    let assigned = load_badges(&database, day(24)).await;
    let expected = [
        (Badge::Basic, 100, 600),
        (Badge::Bronze, 125, 700),
        (Badge::Silver, 150, 850),
        (Badge::Gold, 180, 1_000),
    ];
    for (assigned, (badge, audio_paise, video_paise)) in assigned.into_iter().zip(expected) {
        let assigned = assigned.expect("everybody has one");
        let rates = (
            assigned.audio_paise_per_minute,
            assigned.video_paise_per_minute,
        );
        assert_eq!((assigned.badge, rates), (badge, (audio_paise, video_paise)));
        assert_eq!(assigned.assigned_at, at("2026-11-23T18:31:00Z"));
    }
}

#[tokio::test]
async fn the_history_begins_with_the_newest_badge() {
    let (_database, badges) = listeners_with_talk_time().await;
    for now in ["2026-11-23T18:30:59Z", "2026-11-23T18:31:00Z"] {
        assert_eq!(badges.assign_missed_days(at(now)).await.expect("given"), 1);
    }
    let history = badges.list_badges(LISTENERS[0], None, None).await;
    let dates: Vec<_> = history
        .expect("read")
        .iter()
        .map(|given| given.date)
        .collect();
    assert_eq!(dates, [day(24), day(23)]);
}

#[tokio::test]
async fn one_replica_assigns_badges_once() {
    let (database, badges) = listeners_with_talk_time().await;
    let now = at("2026-11-23T18:31:00Z");
    let replicas = join_all((0..6).map(|_| badges.assign_missed_days(now))).await;
    let assigned_count: usize = replicas
        .into_iter()
        .map(|days| days.expect("answered"))
        .sum();
    assert_eq!(assigned_count, 1);
    // Badges assigned at night stay, even if the talk time of yesterday grows.
    insert_ended_call(
        &database.app_pool,
        LISTENERS[0],
        at("2026-11-23T12:00:00Z"),
        9 * 3_600,
    )
    .await;
    assert_eq!(badges.assign_missed_days(now).await.expect("answered"), 0);
    let standing = badges.load_standing(LISTENERS[0]).await.expect("read");
    assert_eq!(
        (standing.badge.badge, standing.yesterday_secs),
        (Badge::Basic, 11 * 3_600)
    );
    assert_eq!(standing.next_threshold_hours, Some(3));
    let reassigned = badges.assign_badges(Some(day(24))).await.expect("given");
    assert_eq!(reassigned.counts, [0, 1, 1, 2]);
}

#[tokio::test]
async fn days_missed_during_a_downtime_are_assigned_later() {
    let (database, badges) = listeners_with_talk_time().await;
    badges
        .assign_missed_days(at("2026-11-21T20:00:00Z"))
        .await
        .expect("the 22nd's");
    assert_eq!(
        badges
            .assign_missed_days(at("2026-11-25T20:00:00Z"))
            .await
            .expect("given"),
        4
    );
    let badges_of = |date| load_badges(&database, date);
    assert_eq!(
        badges_of(day(24)).await[3]
            .as_ref()
            .map(|given| given.badge),
        Some(Badge::Gold)
    );
    assert_eq!(
        badges_of(day(25)).await[3]
            .as_ref()
            .map(|given| given.badge),
        Some(Badge::Bronze)
    );
    assert_eq!(
        badges_of(day(26)).await[3]
            .as_ref()
            .map(|given| given.badge),
        Some(Badge::Basic)
    );
}

#[tokio::test]
async fn a_new_listener_gets_a_badge_when_it_is_first_read() {
    let (_database, badges) = listeners_with_talk_time().await;
    let standing = badges.load_standing(99).await.expect("given");
    assert_eq!(
        (standing.badge.badge, standing.badge.date),
        (Badge::Basic, day(24))
    );
    let history = badges.list_badges(99, None, None).await.expect("read");
    assert_eq!(history, [standing.badge]);
}

#[tokio::test]
async fn only_completed_calls_count_towards_a_badge() {
    let (database, badges) = listeners_with_talk_time().await;
    let noon = at("2026-11-23T06:30:00Z");
    for status in ["cancelled", "dropped"] {
        insert_ended_call_as(&database.app_pool, LISTENERS[0], noon, 3 * 3_600, status).await;
    }
    let before_its_badge_is_given = badges.load_standing(LISTENERS[0]).await.expect("read");
    assert_eq!(before_its_badge_is_given.badge.badge, Badge::Basic);
    assert_eq!(before_its_badge_is_given.yesterday_secs, 2 * 3_600);
    let assigned = badges.assign_badges(Some(day(24))).await.expect("given");
    assert_eq!(assigned.counts, [1, 1, 1, 1]);
}

#[tokio::test]
async fn the_week_of_a_summary_begins_on_monday_in_india() {
    let (database, _) = listeners_with_talk_time().await;
    let mut connection = database.connect().await;
    for (now, expected) in [
        ("2026-11-23T18:31:00Z", 2),
        ("2026-11-29T18:29:59Z", 2),
        ("2026-11-29T18:30:00Z", 0),
    ] {
        let count = history::count_this_week(&mut connection, LISTENERS[0], at(now)).await;
        assert_eq!(count.expect("counted"), expected, "{now}");
    }
}

#[tokio::test]
async fn the_latest_version_of_a_role_counts_in_any_order_of_events() {
    let (database, badges) = listeners_with_talk_time().await;
    let mut tx = database.app.begin().await.expect("begun");
    let registered = (1, true);
    let revoked = (2, false);
    let granted = (3, true);
    let deleted = (4, false);
    for (user_id, (events, is_listener)) in (100..).zip([
        (vec![deleted, registered], false),
        (vec![registered, deleted], false),
        (vec![granted, revoked, registered], true),
        (vec![deleted, granted, revoked, registered], false),
    ]) {
        for (version, is_active) in &events {
            let stored = badges::upsert_listener(&mut tx, user_id, *version, *is_active).await;
            stored.expect("stored");
        }
        let found = badges::is_listener(&mut tx, user_id).await.expect("found");
        assert_eq!(found, is_listener, "{events:?}");
    }
    tx.commit().await.expect("committed");
    let assigned = badges.assign_badges(None).await.expect("assigned");
    let listeners: i64 = assigned.counts.iter().sum();
    assert_eq!(
        listeners, 5,
        "the four with talk time, and the one who is active"
    );
}
