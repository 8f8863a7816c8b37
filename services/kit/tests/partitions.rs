//! Tables with a partition for each month.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use talktime_kit::db::{DatabasePool, DatabaseSchema, PlanCacheMode};
use talktime_kit::testing::TestDatabase;

/// A filled table that becomes a partitioned one.
static READINGS: LazyLock<Migrator> = LazyLock::new(|| {
    let sql = "
        CREATE TABLE wallet.readings (
            reading_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            taken_at   timestamptz NOT NULL,
            value      integer     NOT NULL CHECK (value > 0)
        );
        INSERT INTO wallet.readings (taken_at, value) SELECT now() - interval '400 days', 1
        FROM generate_series(1, 10);
        SELECT bound_first_partition('readings', 'taken_at');
        ALTER TABLE wallet.readings VALIDATE CONSTRAINT first_partition;
        SELECT partition_by_month('readings', 'taken_at', 'reading_id');";
    let migration = Migration::new(
        1,
        "readings".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
});

async fn partitioned() -> TestDatabase {
    TestDatabase::new(DatabaseSchema {
        name: "wallet",
        migrations: &READINGS,
        plan_cache_mode: PlanCacheMode::ForceGeneric,
    })
    .await
}

async fn add_months(app: &DatabasePool, months: i32) -> sqlx::Result<()> {
    let mut tx = app.begin().await?;
    sqlx::query("SELECT add_months($1)")
        .bind(months)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

fn sql_state(error: &sqlx::Error) -> Option<String> {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.map(Into::into)
}

#[tokio::test]
async fn replicas_that_add_months_at_once_add_each_once() {
    let database = partitioned().await;
    let added = join_all((0..8).map(|_| add_months(&database.app, 12))).await;
    for outcome in added {
        outcome.expect("added, or found");
    }
    let months: (i64, i64, i32) = sqlx::query_as(
        "SELECT count(*), count(DISTINCT month_end), max(months_ahead)
         FROM list_partitioned_tables(), list_months(parent)",
    )
    .fetch_one(&database.app_pool)
    .await
    .expect("readable");
    // The first partition ends with the next month.
    assert_eq!(months, (12, 12, 12));
}

#[tokio::test]
async fn ids_go_on_and_each_month_has_the_keys_and_checks_of_the_first() {
    let database = partitioned().await;
    add_months(&database.app, 3).await.expect("added");
    let insert = "INSERT INTO wallet.readings (taken_at, value)
                  SELECT now() + months * interval '1 month', 1 FROM generate_series(0, 3) AS months
                  RETURNING reading_id";
    let ids: Vec<i64> = sqlx::query_scalar(insert)
        .fetch_all(&database.superuser)
        .await
        .expect("every month has a partition");
    assert_eq!(ids, [11, 12, 13, 14]);
    for (statement, expected) in [
        (
            "INSERT INTO wallet.readings OVERRIDING SYSTEM VALUE
             SELECT * FROM wallet.readings WHERE reading_id = 14",
            "23505",
        ),
        ("UPDATE wallet.readings SET value = 0", "23514"),
        (
            "INSERT INTO wallet.readings (taken_at, value) VALUES (now() + interval '2 years', 1)",
            "23514",
        ),
    ] {
        let refused = sqlx::query(statement).execute(&database.superuser).await;
        let error = refused.expect_err(statement);
        assert_eq!(sql_state(&error).as_deref(), Some(expected), "{statement}");
    }
}

#[tokio::test]
async fn months_wait_for_a_lock_only_for_a_moment() {
    let database = partitioned().await;
    let mut holder = database.superuser.begin().await.expect("connected");
    sqlx::query("LOCK TABLE wallet.readings IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .expect("locked");
    let begun = Instant::now();
    let refused = add_months(&database.app, 3).await.expect_err("locked");
    assert_eq!(sql_state(&refused).as_deref(), Some("55P03"));
    assert!(begun.elapsed() < Duration::from_secs(2));
    holder.rollback().await.expect("unlocked");
    add_months(&database.app, 3).await.expect("added");
}
