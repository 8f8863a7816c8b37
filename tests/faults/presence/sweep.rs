//! One replica looks for the silent at a time, and always some replica does.

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

use super::{database, sign_up};
use crate::take_stack;

const SILENT: usize = 12;
const EVERY_SECS: u64 = 1;
const SILENCE_SECS: u64 = 2;
/// A lease ends with the process that has it, and the other looks every second; the rest is for a
/// busy machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);

fn ids(people: &[AppUser]) -> Vec<i64> {
    people.iter().map(|person| person.user_id).collect()
}

async fn sweeping_presence() -> Child {
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

/// In the order of their ids.
async fn online_among(db: &PgPool, user_ids: &[i64]) -> Vec<i64> {
    let online = "SELECT user_id FROM presence.user_status
                  WHERE user_id = ANY($1) AND is_online ORDER BY user_id";
    let online = sqlx::query_scalar(online).bind(user_ids).fetch_all(db);
    online.await.expect("readable")
}

/// Nobody shows a sign of life: so long, that the sweepers call it silence.
async fn wait_until_silent() {
    tokio::time::sleep(Duration::from_secs(SILENCE_SECS)).await;
}

async fn wait_until_all_are_offline(db: &PgPool, user_ids: &[i64]) {
    wait_for("the silent to be offline", || async {
        online_among(db, user_ids).await.is_empty().then_some(())
    })
    .await;
}

/// The session that waits for a row which this one has locked.
async fn waiting_for(db: &PgPool, session: i32) -> Option<i32> {
    let waiting = "SELECT pid FROM pg_locks
                   WHERE NOT granted AND $1 = ANY(pg_blocking_pids(pid))";
    let waiting = sqlx::query_scalar(waiting).bind(session);
    waiting.fetch_optional(db).await.expect("readable")
}

async fn holders_of_the_lease(db: &PgPool) -> i64 {
    let holders = "SELECT count(*) FROM pg_locks
                   WHERE locktype = 'advisory' AND granted
                     AND (classid::bigint << 32) | objid::bigint
                         = hashtext('presence.sweep')::bigint";
    sqlx::query_scalar(holders)
        .fetch_one(db)
        .await
        .expect("counted")
}

async fn stop(process: &Child) {
    let pid = process.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-STOP", &pid]).status().await;
    assert!(told.expect("kill runs").success());
}

/// Each went offline in one step, and that was told once.
async fn assert_put_offline_once(db: &PgPool, user_ids: &[i64]) {
    for user_id in user_ids {
        let told: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT payload FROM presence.outbox
             WHERE aggregate_id = $1 AND subject = 'events.presence.status_changed'
             ORDER BY outbox_id",
        )
        .bind(user_id)
        .fetch_all(db)
        .await
        .expect("readable");
        let told = told.iter().map(|event| Event::decode(event.as_slice()));
        let told: Vec<Event> = told.map(|event| event.expect("an event")).collect();
        let versions: Vec<i64> = told.iter().map(|event| event.version).collect();
        assert!(
            versions.is_sorted_by(|one, next| one < next),
            "{versions:?}"
        );
        let is_offline =
            |event: &&Event| matches!(&event.kind, Some(Kind::StatusChanged(s)) if !s.is_online);
        let last_online = told.iter().rposition(|event| !is_offline(&event));
        let last_online = last_online.expect("they were online");
        assert_eq!(told.len() - last_online, 2, "{user_id}: {told:?}");
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

/// What profile tells of them changes their row once more, and must not be what the trap catches.
async fn wait_until_profile_is_heard(db: &PgPool, person: &AppUser) {
    let heard = "SELECT profile_version > 0 AND role_version > 0
                 FROM presence.user_status WHERE user_id = $1";
    wait_for("what profile tells", || async {
        let heard = sqlx::query_scalar(heard).bind(person.user_id);
        let heard: bool = heard.fetch_one(db).await.expect("a status");
        heard.then_some(())
    })
    .await;
}

/// A row of `busy` that the test has locked; the sweeper of its replica gets stuck there.
async fn trap(db: &PgPool, busy: &AppUser) -> (Transaction<'static, Postgres>, i32) {
    let mut trap = db.begin().await.expect("begun");
    let lock = "SELECT pg_backend_pid() FROM presence.user_status WHERE user_id = $1 FOR UPDATE";
    let lock = sqlx::query_scalar(lock).bind(busy.user_id);
    let session = lock.fetch_one(&mut *trap).await.expect("locked");
    (trap, session)
}

/// A sweeper that has the lease and hangs in the midst of its work, as a machine may. What it had begun is
/// rolled back, so that nothing but the lease is in the way of others.
async fn hanging_sweeper(db: &PgPool, busy: &AppUser) -> Child {
    let (trap, session) = trap(db, busy).await;
    let sweeper = sweeping_presence().await;
    let caught = wait_for("the sweeper to be caught", || waiting_for(db, session)).await;
    stop(&sweeper).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(caught)
        .execute(db)
        .await
        .expect("rolled back");
    trap.rollback().await.expect("let go");
    assert_eq!(holders_of_the_lease(db).await, 1);
    sweeper
}

#[tokio::test]
async fn one_replica_sweeps_at_a_time_and_another_takes_over_when_it_dies() {
    let _stack = take_stack().await;
    let app = connect_app().await;
    let db = PgPool::connect(&database()).await.expect("connected");
    let busy = app.sign_up(UserRole::User).await;
    let is_busy = || async {
        let status = app.get("/users/me/status").as_user(&busy).answer().await;
        status.body["is_busy"] == true
    };
    let put = app.put("/users/me/status").as_user(&busy);
    let said = put.json(&json!({"is_busy": true})).answer().await;
    assert_eq!(said.status, 200, "{said:?}");
    wait_until_profile_is_heard(&db, &busy).await;
    let first = ids(&sign_up(&app, SILENT).await);
    wait_until_silent().await;
    let mut hanging = hanging_sweeper(&db, &busy).await;
    let left = online_among(&db, &first).await;
    assert!(left.is_empty(), "swept before it hung: {left:?}");

    let _other = sweeping_presence().await;
    let second = ids(&sign_up(&app, SILENT).await);
    wait_until_silent().await;
    // The time itself is what is tested: the other looks three times.
    tokio::time::sleep(Duration::from_secs(3 * EVERY_SECS)).await;
    assert_eq!(online_among(&db, &second).await, second);
    assert!(is_busy().await, "nobody else works");

    let died = Instant::now();
    hanging.kill().await.expect("killed");
    wait_until_all_are_offline(&db, &second).await;
    assert!(died.elapsed() < TAKEN_OVER_WITHIN, "{:?}", died.elapsed());
    wait_for("the busy to be free", || async {
        (!is_busy().await).then_some(())
    })
    .await;
    assert_put_offline_once(&db, &[first, second].concat()).await;
}
