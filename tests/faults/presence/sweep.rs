//! One replica sweeps at a time, and another one takes over when it dies.

use std::time::{Duration, Instant};

use prost::Message as _;
use serde_json::json;
use sqlx::{PgPool, Postgres, Transaction};
use talktime_client::{AppUser, UserRole};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_tests::replica::start_presence;
use talktime_tests::{ExpectAnswer, connect_app, wait_for};
use tokio::process::{Child, Command};

use super::{database_url, sign_up_many};
use crate::lock_stack;

const SILENT: usize = 12;
const EVERY_SECS: u64 = 1;
const SILENCE_SECS: u64 = 2;
/// A lease ends with its process, and the other replica tries every second; the rest is a margin for a busy
/// machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

fn user_ids_of(people: &[AppUser]) -> Vec<i64> {
    people.iter().map(|person| person.user_id).collect()
}

async fn start_sweeping_presence() -> Child {
    start_presence(&[
        (
            "TALKTIME_PRESENCE__SWEEP__EVERY_SECS",
            &EVERY_SECS.to_string(),
        ),
        (
            "TALKTIME_PRESENCE__SWEEP__OFFLINE_AFTER_SECS",
            &SILENCE_SECS.to_string(),
        ),
        ("TALKTIME_PRESENCE__SWEEP__OWN_BUSY_GRACE_SECS", "0"),
    ])
    .await
}

/// Returns those of the users who are online, in the order of their ids.
async fn list_online(db: &PgPool, user_ids: &[i64]) -> Vec<i64> {
    let online = "SELECT user_id FROM presence.user_status
                  WHERE user_id = ANY($1) AND is_online ORDER BY user_id";
    let online = sqlx::query_scalar(online).bind(user_ids).fetch_all(db);
    online.await.expect("readable")
}

/// Waits until the sweepers regard users without heartbeats as silent.
async fn wait_until_silent() {
    tokio::time::sleep(Duration::from_secs(SILENCE_SECS)).await;
}

async fn wait_until_all_are_offline(db: &PgPool, user_ids: &[i64]) {
    wait_for("silent users to be offline", || async {
        list_online(db, user_ids).await.is_empty().then_some(())
    })
    .await;
}

/// Finds the database session that waits for a row which `session` has locked.
async fn find_waiting_session(db: &PgPool, session: i32) -> Option<i32> {
    let waiting = "SELECT pid FROM pg_locks
                   WHERE NOT granted AND $1 = ANY(pg_blocking_pids(pid))";
    let waiting = sqlx::query_scalar(waiting).bind(session);
    waiting.fetch_optional(db).await.expect("readable")
}

async fn count_lease_holders(db: &PgPool) -> i64 {
    let holders = "SELECT count(*) FROM pg_locks
                   WHERE locktype = 'advisory' AND granted
                     AND (classid::bigint << 32) | objid::bigint
                         = hashtext('presence.sweep')::bigint";
    sqlx::query_scalar(holders)
        .fetch_one(db)
        .await
        .expect("counted")
}

async fn suspend_process(process: &Child) {
    let pid = process.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-STOP", &pid]).status().await;
    assert!(sent.expect("kill runs").success());
}

/// Asserts that each user went offline in one change, which was published once.
async fn assert_marked_offline_once(db: &PgPool, user_ids: &[i64]) {
    for user_id in user_ids {
        let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT payload FROM presence.outbox
             WHERE aggregate_id = $1 AND subject = 'events.presence.status_changed'
             ORDER BY outbox_id",
        )
        .bind(user_id)
        .fetch_all(db)
        .await
        .expect("readable");
        let events = payloads.iter().map(|event| Event::decode(event.as_slice()));
        let events: Vec<Event> = events.map(|event| event.expect("an event")).collect();
        let versions: Vec<i64> = events.iter().map(|event| event.version).collect();
        assert!(
            versions.is_sorted_by(|one, next| one < next),
            "{versions:?}"
        );
        let is_offline =
            |event: &&Event| matches!(&event.kind, Some(Kind::StatusChanged(s)) if !s.is_online);
        let last_online = events.iter().rposition(|event| !is_offline(&event));
        let last_online = last_online.expect("they were online");
        assert_eq!(events.len() - last_online, 2, "{user_id}: {events:?}");
        assert_eq!(
            versions[last_online + 1],
            versions[last_online] + 1,
            "{user_id}"
        );
        let version =
            sqlx::query_scalar("SELECT version FROM presence.user_status WHERE user_id = $1");
        let version: i64 = version.bind(user_id).fetch_one(db).await.expect("a status");
        assert_eq!(versions.last(), Some(&version), "{user_id}");
    }
}

/// Waits until the events of profile are applied. They change the row as well, and must not be what waits for
/// the locked row.
async fn wait_until_profile_is_applied(db: &PgPool, person: &AppUser) {
    let applied = "SELECT profile_version > 0 AND role_version > 0
                 FROM presence.user_status WHERE user_id = $1";
    wait_for("the events of profile", || async {
        let is_applied = sqlx::query_scalar(applied).bind(person.user_id);
        let is_applied: bool = is_applied.fetch_one(db).await.expect("a status");
        is_applied.then_some(())
    })
    .await;
}

/// Locks the row of `busy`, so that a sweeper hangs there; returns the transaction and its session.
async fn lock_row(db: &PgPool, busy: &AppUser) -> (Transaction<'static, Postgres>, i32) {
    let mut lock = db.begin().await.expect("begun");
    let statement =
        "SELECT pg_backend_pid() FROM presence.user_status WHERE user_id = $1 FOR UPDATE";
    let locked = sqlx::query_scalar(statement).bind(busy.user_id);
    let session = locked.fetch_one(&mut *lock).await.expect("locked");
    (lock, session)
}

/// Starts a replica whose sweeper holds the lease and hangs during its work, as after a fault of its machine. Its
/// transaction is rolled back, so that only the lease hinders others.
async fn start_hanging_sweeper(db: &PgPool, busy: &AppUser) -> Child {
    let (lock, session) = lock_row(db, busy).await;
    let sweeper = start_sweeping_presence().await;
    let caught = wait_for("the sweeper to hang", || find_waiting_session(db, session)).await;
    suspend_process(&sweeper).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(caught)
        .execute(db)
        .await
        .expect("rolled back");
    lock.rollback().await.expect("released");
    assert_eq!(count_lease_holders(db).await, 1);
    sweeper
}

#[tokio::test]
async fn one_replica_sweeps_at_a_time_and_another_takes_over_when_it_dies() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    let db = PgPool::connect(&database_url()).await.expect("connected");
    let busy = app.sign_up(UserRole::User).await;
    let is_busy = || async {
        let status = app.get("/users/me/status").as_user(&busy).answer().await;
        status.body["is_busy"] == true
    };
    let put = app.put("/users/me/status").as_user(&busy);
    let answer = put.json(&json!({"is_busy": true})).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until_profile_is_applied(&db, &busy).await;
    let first = user_ids_of(&sign_up_many(&app, SILENT).await);
    wait_until_silent().await;
    let mut hanging = start_hanging_sweeper(&db, &busy).await;
    let left = list_online(&db, &first).await;
    assert!(left.is_empty(), "not swept before the hang: {left:?}");

    let _other = start_sweeping_presence().await;
    let second = user_ids_of(&sign_up_many(&app, SILENT).await);
    wait_until_silent().await;
    // The time itself is tested: the other replica tries three times.
    tokio::time::sleep(Duration::from_secs(3 * EVERY_SECS)).await;
    assert_eq!(list_online(&db, &second).await, second);
    assert!(is_busy().await, "the other replica does not sweep");

    let died = Instant::now();
    hanging.kill().await.expect("killed");
    wait_until_all_are_offline(&db, &second).await;
    assert!(died.elapsed() < TAKEN_OVER_WITHIN, "{:?}", died.elapsed());
    wait_for("the busy flag to be cleared", || async {
        (!is_busy().await).then_some(())
    })
    .await;
    assert_marked_offline_once(&db, &[first, second].concat()).await;
}
