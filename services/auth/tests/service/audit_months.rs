//! Months of the audit log: they are added ahead, and old ones can be taken away.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use talktime_auth::SCHEMA;
use talktime_auth::store::audit_log::{self, AuditAction, AuditLogEntry};
use talktime_kit::Clock;
use talktime_kit::partitions::{detach_months, parse_month};
use talktime_kit::testing::TestDatabase;

/// A log whose first partition ended with January 2025, and which has every month since.
async fn long_log() -> TestDatabase {
    let database = TestDatabase::new(SCHEMA).await;
    let later: Vec<String> = sqlx::query_scalar(
        "SELECT partition FROM list_months('audit_log') ORDER BY month_end OFFSET 1",
    )
    .fetch_all(&database.app_pool)
    .await
    .expect("months are added with the table");
    for statement in [
        format!("DROP TABLE {}", later.join(", ")).as_str(),
        "ALTER TABLE auth.audit_log DETACH PARTITION auth.audit_log_first",
        "ALTER TABLE auth.audit_log ATTACH PARTITION auth.audit_log_first
         FOR VALUES FROM (MINVALUE) TO ('2025-02-01 00:00:00+00')",
    ] {
        let prepared =
            sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&database.superuser);
        prepared.await.expect("prepared");
    }
    let mut tx = database.app.begin().await.expect("connected");
    sqlx::query("SELECT add_months(3)")
        .execute(&mut *tx)
        .await
        .expect("every month was added");
    tx.commit().await.expect("committed");
    database
}

async fn record(database: &TestDatabase, action: AuditAction, happened_at: DateTime<Utc>) {
    let mut tx = database.app.begin().await.expect("connected");
    let entry = AuditLogEntry::new(action, happened_at).with_user(1);
    audit_log::record(&mut tx, entry).await.expect("recorded");
    tx.commit().await.expect("committed");
}

async fn read_actions(database: &TestDatabase, table: &str) -> Vec<String> {
    let query = format!("SELECT action FROM {table} ORDER BY audit_id");
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(&database.superuser)
        .await
        .expect("the audit log")
}

fn month(text: &str) -> DateTime<Utc> {
    parse_month(text).expect("a month")
}

#[tokio::test]
async fn old_months_leave_the_log_as_tables_of_their_own() {
    let database = long_log().await;
    let now = Clock::System.now();
    record(&database, AuditAction::LoggedIn, month("2025-01")).await;
    record(&database, AuditAction::LoggedOut, month("2025-02")).await;
    record(&database, AuditAction::SessionEnded, now).await;

    let detach =
        async |until| detach_months(&database.owner_url, audit_log::TABLE, month(until)).await;
    let first = detach("2025-02").await.expect("detached");
    assert_eq!(first, ["auth.audit_log_first"]);
    let second = detach("2025-03").await.expect("detached");
    assert_eq!(second, ["auth.audit_log_2025_02"]);
    assert_eq!(detach("2025-03").await.expect("nothing left"), [""; 0]);

    assert_eq!(read_actions(&database, &first[0]).await, ["logged_in"]);
    assert_eq!(read_actions(&database, &second[0]).await, ["logged_out"]);
    assert_eq!(
        read_actions(&database, audit_log::TABLE).await,
        ["session_ended"]
    );
    let hidden = sqlx::query("SELECT FROM auth.audit_log_first");
    assert!(hidden.execute(&database.app_pool).await.is_err());
}

#[tokio::test]
async fn months_are_dropped_when_their_time_is_over() {
    let database = long_log().await;
    let now = Clock::System.now();
    record(&database, AuditAction::LoggedIn, month("2025-01")).await;
    record(&database, AuditAction::SessionEnded, now).await;
    let dropped = audit_log::drop_months(&database.app, 3).await;
    assert!(dropped.expect("dropped") > 1);
    assert_eq!(
        read_actions(&database, audit_log::TABLE).await,
        ["session_ended"]
    );
    let again = audit_log::drop_months(&database.app, 3).await;
    assert_eq!(again.expect("nothing left"), 0);
}

#[tokio::test]
async fn the_service_cannot_drop_the_latest_months() {
    let database = long_log().await;
    record(&database, AuditAction::LoggedIn, Clock::System.now()).await;
    for kept_months in [-1, 0, 2, 1201] {
        let refused = audit_log::drop_months(&database.app, kept_months).await;
        assert!(refused.is_err(), "{kept_months}");
    }
    let by_hand = sqlx::query("DROP TABLE auth.audit_log_first").execute(&database.app_pool);
    assert!(by_hand.await.is_err());
    assert_eq!(
        read_actions(&database, audit_log::TABLE).await,
        ["logged_in"]
    );
}

#[tokio::test]
async fn the_present_month_stays_whatever_is_asked_for() {
    let database = long_log().await;
    let detached = detach_months(&database.owner_url, audit_log::TABLE, month("2099-01")).await;
    assert!(!detached.expect("detached").is_empty());
    record(&database, AuditAction::LoggedIn, Clock::System.now()).await;
    assert_eq!(
        read_actions(&database, audit_log::TABLE).await,
        ["logged_in"]
    );
}
