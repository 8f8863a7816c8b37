//! The statements about relays and their allocations.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use talktime_calls::SCHEMA;
use talktime_calls::domain::relay::{
    AllocationReport, RelayTraffic, RelayUsername, SeatName, SeatRole,
};
use talktime_calls::store::relay_allocations::{self, StoredTotals};
use talktime_calls::store::relay_nodes::{self, RelayNode};
use talktime_kit::db::DatabasePool;
use talktime_kit::testing::TestDatabase;

const REALM: &str = "relay-1";
const ALLOCATION: &str = "000000000000000007";

fn began_at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn report(call_id: i64, seq: i64, packets: i64) -> AllocationReport {
    AllocationReport {
        allocation: ALLOCATION.to_owned(),
        username: RelayUsername {
            expires_at_secs: 1_900_000_000,
            seat: SeatName {
                call_id,
                role: SeatRole::Caller,
                epoch: 1,
            },
        },
        seq,
        began_at: began_at(),
        ended_at: None,
        traffic: RelayTraffic {
            in_packets: packets,
            in_bytes: packets * 100,
            out_packets: packets + 1,
            out_bytes: packets * 200,
        },
    }
}

async fn store(db: &DatabasePool, realm: &str, reports: &[AllocationReport]) {
    let mut tx = db.begin().await.expect("begun");
    relay_allocations::upsert_totals(&mut tx, realm, reports)
        .await
        .expect("stored");
    tx.commit().await.expect("committed");
}

async fn load(db: &DatabasePool, report: &AllocationReport) -> StoredTotals {
    let mut tx = db.begin().await.expect("begun");
    let reports = std::slice::from_ref(report);
    let totals = relay_allocations::lock_totals(&mut tx, REALM, reports).await;
    let totals: HashMap<_, _> = totals.expect("read");
    *totals.values().next().expect("one")
}

#[tokio::test]
async fn a_report_counts_once_however_often_and_late_it_arrives() {
    let database = TestDatabase::new(SCHEMA).await;
    let db = &database.app;
    let (first, second) = (report(42, 1, 100), report(42, 2, 250));
    for arrived in [&first, &second, &second, &first] {
        store(db, REALM, std::slice::from_ref(arrived)).await;
    }
    let stored = load(db, &second).await;
    assert_eq!((stored.last_seq, stored.traffic), (2, second.traffic));
}

#[tokio::test]
async fn totals_never_shrink_when_an_agent_has_lost_what_it_knew() {
    let database = TestDatabase::new(SCHEMA).await;
    let db = &database.app;
    store(db, REALM, &[report(42, 1, 500)]).await;
    store(db, REALM, &[report(42, 2, 20)]).await;
    let stored = load(db, &report(42, 3, 0)).await;
    assert_eq!(stored.last_seq, 2);
    assert_eq!(stored.traffic, report(42, 1, 500).traffic);
}

#[tokio::test]
async fn a_session_id_that_a_relay_uses_again_is_another_allocation() {
    let database = TestDatabase::new(SCHEMA).await;
    let db = &database.app;
    store(db, REALM, &[report(42, 9, 500), report(43, 1, 7)]).await;
    store(db, "relay-2", &[report(43, 1, 3)]).await;
    assert_eq!(
        load(db, &report(43, 1, 0)).await.traffic,
        report(43, 1, 7).traffic
    );
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM calls.relay_allocations")
        .fetch_one(&database.app_pool)
        .await
        .expect("counted");
    assert_eq!(rows, 3);
}

#[tokio::test]
async fn the_end_of_an_allocation_stays_as_first_reported() {
    let database = TestDatabase::new(SCHEMA).await;
    let db = &database.app;
    let ended = |seq, secs| AllocationReport {
        ended_at: Some(began_at() + TimeDelta::seconds(secs)),
        ..report(42, seq, 10)
    };
    for arrived in [ended(1, 60), report(42, 2, 10), ended(3, 90)] {
        store(db, REALM, &[arrived]).await;
    }
    let ended_at: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT ended_at FROM calls.relay_allocations")
            .fetch_one(&database.app_pool)
            .await
            .expect("read");
    assert_eq!(ended_at, ended(1, 60).ended_at);
}

#[tokio::test]
async fn calls_that_are_over_have_ended_and_unknown_ones_are_left_out() {
    let database = TestDatabase::new(SCHEMA).await;
    let pool = &database.superuser;
    let mut live = Vec::new();
    for phase in ["reserving", "connecting", "active"] {
        live.push(insert_call(pool, phase).await);
    }
    let settled = insert_call(pool, "settled").await;
    let undoing = insert_call(pool, "undoing").await;
    let unknown = 999_999;
    let requested: Vec<i64> = live
        .iter()
        .copied()
        .chain([settled, undoing, unknown])
        .collect();
    let connection = &mut database.connect().await;
    let reported = relay_allocations::list_reported_calls(connection, &requested).await;
    let reported = reported.expect("read").into_iter();
    let ended_secs_ago: HashMap<i64, Option<f64>> = reported
        .map(|reported| (reported.call.call_id, reported.ended_secs_ago))
        .collect();
    assert_eq!(ended_secs_ago.len(), live.len() + 2, "{ended_secs_ago:?}");
    assert!(live.iter().all(|call_id| ended_secs_ago[call_id].is_none()));
    assert!(ended_secs_ago[&undoing].is_some());
    let settled_secs_ago = ended_secs_ago[&settled].expect("it is over");
    assert!(
        (39.0..60.0).contains(&settled_secs_ago),
        "{settled_secs_ago}"
    );
}

/// Inserts a call that began a minute ago and, if it is settled, ended forty seconds ago.
async fn insert_call(pool: &PgPool, phase: &str) -> i64 {
    sqlx::query_scalar(
        "INSERT INTO calls.user_calls
             (user_id, listener_id, call_type, status, phase, start_time, end_time, duration_seconds,
              duration_minutes, coins_per_minute, listener_paise_per_minute, minute_secs,
              caller_username, listener_username, created_at, updated_at)
         SELECT 1, 2, 'audio', CASE WHEN is_over THEN 'completed' ELSE 'ongoing' END, $1, began,
                CASE WHEN is_over THEN began + interval '20 seconds' END,
                CASE WHEN is_over THEN 20 END, CASE WHEN is_over THEN 1 END,
                10, 100, 60, 'ravi', 'asha', began, began
         FROM (SELECT now() - interval '1 minute' AS began, $1 = 'settled' AS is_over) AS made
         RETURNING call_id",
    )
    .bind(phase)
    .fetch_one(pool)
    .await
    .expect("inserted")
}

#[tokio::test]
async fn a_relay_counts_while_it_reports() {
    let database = TestDatabase::new(SCHEMA).await;
    let node = |realm: &str| RelayNode {
        realm: realm.to_owned(),
        urls: vec![format!("turn:{realm}.example.com:3478?transport=udp")],
        is_draining: false,
    };
    let draining_node = |realm: &str| RelayNode {
        is_draining: true,
        ..node(realm)
    };
    let mut tx = database.app.begin().await.expect("begun");
    for node in [node("b"), node("a"), draining_node("a"), node("old")] {
        relay_nodes::upsert(&mut tx, &node).await.expect("stored");
    }
    tx.commit().await.expect("committed");
    sqlx::query(
        "UPDATE calls.relay_nodes SET reported_at = now() - interval '16 seconds' WHERE realm = 'old'",
    )
    .execute(&database.superuser)
    .await
    .expect("aged");
    let connection = &mut database.connect().await;
    let reporting = relay_nodes::list_reporting(connection, 15.0).await;
    assert_eq!(reporting.expect("read"), [draining_node("a"), node("b")]);
}

#[tokio::test]
async fn traffic_is_deleted_after_three_months() {
    let database = TestDatabase::new(SCHEMA).await;
    let reports: Vec<AllocationReport> = (1..=4).map(|call_id| report(call_id, 1, 1)).collect();
    store(&database.app, REALM, &reports).await;
    sqlx::query(
        "UPDATE calls.relay_allocations
         SET reported_at = now() - make_interval(days => CASE call_id WHEN 4 THEN 89 ELSE 91 END)",
    )
    .execute(&database.superuser)
    .await
    .expect("aged");
    let mut deleted = Vec::new();
    for _ in 0..3 {
        let mut tx = database.app.begin().await.expect("begun");
        let batch = relay_allocations::delete_old(&mut tx, 90, 2).await;
        deleted.push(batch.expect("deleted"));
        tx.commit().await.expect("committed");
    }
    assert_eq!(deleted, [2, 1, 0]);
}
