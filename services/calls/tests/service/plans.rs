//! Every list and every periodic query reads by an index, so that its cost does not grow with the calls of
//! others. The statements are those of the store, and Postgres itself counts what they read.

use chrono::TimeDelta;
use sqlx::PgPool;
use talktime_calls::SCHEMA;
use talktime_calls::store::history::{self, CallHistoryFilter};
use talktime_calls::store::{badges, bulk_lookups, calls};
use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::testing::TestDatabase;

/// Large enough to matter to the planner, which chose the same plans with five million calls.
const CALLS: i64 = 60_000;
const PEOPLE: i64 = 2_000;
/// Each person has thirty calls on either side, and each day 170.
const ROWS_MAX: i64 = 250;
/// After five executions Postgres may plan a prepared statement without its parameters.
const REPETITIONS: usize = 8;
const USER_ID: i64 = 77;

/// Inserts calls of a year, evenly spread over days and people. Twenty are live. Callers are listeners as
/// well.
async fn fill(pool: &PgPool) {
    sqlx::query(
        "INSERT INTO calls.user_calls
             (user_id, listener_id, call_type, status, phase, start_time, end_time,
              duration_seconds, duration_minutes, coins_spent, coins_per_minute,
              listener_paise_per_minute, minute_secs, minutes_billed, next_step_at,
              caller_username, listener_username, created_at, updated_at)
         SELECT n * 7 % $2 + 1, (n * 11 + 1) % $2 + 1, 'audio',
                CASE WHEN is_live THEN 'ongoing' ELSE 'completed' END,
                CASE WHEN is_live THEN 'active' ELSE 'settled' END,
                began, CASE WHEN NOT is_live THEN began + interval '5 minutes' END,
                CASE WHEN NOT is_live THEN 300 END, CASE WHEN NOT is_live THEN 5 END,
                50, 10, 100, 60, 5, CASE WHEN is_live THEN now() END, 'asha', 'devi', began, began
         FROM generate_series(1, $1) AS n,
              LATERAL (SELECT now() - n * interval '365 days' / $1 AS began,
                              n <= 20 AS is_live) AS made
         WHERE n * 7 % $2 <> (n * 11 + 1) % $2",
    )
    .bind(CALLS)
    .bind(PEOPLE)
    .execute(pool)
    .await
    .expect("filled");
    for statement in [
        "INSERT INTO calls.listeners SELECT DISTINCT listener_id FROM calls.user_calls",
        "INSERT INTO calls.live_parties
         SELECT user_id, call_id FROM calls.user_calls WHERE phase = 'active' ON CONFLICT DO NOTHING",
        "ANALYZE calls.user_calls, calls.listeners, calls.live_parties",
    ] {
        sqlx::query(statement).execute(pool).await.expect("prepared");
    }
}

/// Runs a query repeatedly and asserts that it reads few rows, and by an index.
async fn assert_reads_by_index(
    db: &DatabasePool,
    what: &str,
    rows_max: i64,
    run_query: impl AsyncFn(&mut PgConnection),
) {
    for _ in 0..REPETITIONS {
        let mut tx = db.begin().await.expect("begun");
        // The connections of the service have this setting from the start.
        let planned_once = sqlx::query("SET LOCAL plan_cache_mode = force_generic_plan");
        planned_once.execute(&mut *tx).await.expect("set");
        let (scans_before, rows_before) = count_reads(&mut tx).await;
        run_query(&mut tx).await;
        let (scans, rows) = count_reads(&mut tx).await;
        let (scans, rows) = (scans - scans_before, rows - rows_before);
        assert_eq!(scans, 0, "{what} reads all calls");
        assert!(rows <= rows_max, "{what} reads {rows} calls");
        tx.rollback().await.expect("rolled back");
    }
}

/// Returns how many sequential scans of calls this connection has made and how many calls it has read. Only
/// differences are meaningful.
async fn count_reads(tx: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT seq_scan, seq_tup_read + COALESCE(idx_tup_fetch, 0)
         FROM pg_stat_xact_user_tables WHERE schemaname = 'calls' AND relname = 'user_calls'",
    )
    .fetch_one(tx)
    .await
    .expect("counted")
}

#[tokio::test]
async fn history_queries_read_only_by_index() {
    let database = TestDatabase::new(SCHEMA).await;
    fill(&database.superuser).await;
    let db = &database.app;
    let now = Clock::System.now();
    let history_filter = CallHistoryFilter {
        user_id: USER_ID,
        call_type: None,
        status: None,
    };
    assert_reads_by_index(db, "a page", ROWS_MAX, async |tx| {
        let page = history::list_page(tx, history_filter, 20, 20)
            .await
            .expect("read");
        assert_eq!(page.len(), 20);
    })
    .await;
    assert_reads_by_index(db, "a sum", ROWS_MAX, async |tx| {
        let totals = history::load_totals(tx, history_filter)
            .await
            .expect("read");
        assert!(totals.total_calls >= 40);
    })
    .await;
    assert_reads_by_index(db, "six months", ROWS_MAX, async |tx| {
        let months = history::load_monthly_totals(tx, USER_ID, now)
            .await
            .expect("read");
        assert_eq!(months.len(), 6);
    })
    .await;
    assert_reads_by_index(db, "today", ROWS_MAX, async |tx| {
        let activity = history::load_activity(tx, now).await.expect("read");
        assert_eq!(activity.active_calls, 20);
    })
    .await;
    let others: Vec<i64> = (701..=900).collect();
    assert_reads_by_index(db, "people of one's calls", ROWS_MAX, async |tx| {
        let counterparts = bulk_lookups::list_counterparts(tx, USER_ID, &others).await;
        assert!(!counterparts.expect("read").is_empty());
    })
    .await;
    assert_reads_by_index(db, "a receipt", 1, async |tx| {
        history::find_call(tx, 777)
            .await
            .expect("read")
            .expect("there");
    })
    .await;
}

#[tokio::test]
async fn periodic_queries_read_only_by_index() {
    let database = TestDatabase::new(SCHEMA).await;
    fill(&database.superuser).await;
    let db = &database.app;
    let now = Clock::System.now();
    assert_reads_by_index(db, "due calls", ROWS_MAX, async |tx| {
        let due = calls::claim_due(tx, 8.0, 500).await.expect("claimed");
        assert_eq!(due.len(), 20);
    })
    .await;
    assert_reads_by_index(db, "live calls", ROWS_MAX, async |tx| {
        let live = calls::list_live_after(tx, 0, 100).await.expect("read");
        assert!(live.len() > 10);
    })
    .await;
    let day = badges::TimeSpan {
        from: now - TimeDelta::days(40),
        until: now - TimeDelta::days(39),
    };
    assert_reads_by_index(db, "a day's talk", ROWS_MAX, async |tx| {
        badges::load_talked_secs(tx, USER_ID, day)
            .await
            .expect("read");
    })
    .await;
    // One hundred listeners, each with the calls of three days.
    assert_reads_by_index(db, "many days' talk", 100 * 5, async |tx| {
        let talked = badges::list_talked_secs(tx, day, 0, 100)
            .await
            .expect("read");
        assert_eq!(talked.len(), 100);
    })
    .await;
}
