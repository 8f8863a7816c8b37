//! Replicas that migrate at once.

use futures::future::join_all;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use std::sync::LazyLock;
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::testing::TestDatabase;

/// A migration that fails when it is run twice.
static ONCE: LazyLock<Migrator> = LazyLock::new(|| {
    let sql = "CREATE TABLE wallet.made_once (id int)";
    let migration = Migration::new(
        1,
        "once".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
});

#[tokio::test]
async fn eight_replicas_migrate_one_schema_once() {
    let schema = DatabaseSchema {
        name: "wallet",
        migrations: &ONCE,
        plan_cache_mode: PlanCacheMode::ForceGeneric,
    };
    let database = TestDatabase::without_tables(schema).await;
    let migrations = (0..8).map(|_| talktime_kit::db::migrate(schema, &database.owner_url));
    for migrated in join_all(migrations).await {
        migrated.expect("migrated, or found migrated");
    }
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM information_schema.tables
         WHERE table_schema = 'wallet' AND table_name IN ('made_once', 'outbox', 'inbox')",
    )
    .fetch_one(&database.superuser)
    .await
    .expect("readable");
    assert_eq!(tables, 3);
}

#[tokio::test]
async fn a_service_that_serves_cannot_rewrite_which_migrations_ran() {
    let database = TestDatabase::new(DatabaseSchema {
        name: "wallet",
        migrations: &ONCE,
        plan_cache_mode: PlanCacheMode::ForceGeneric,
    })
    .await;
    for statement in [
        "DELETE FROM _migrations",
        "UPDATE _kit_migrations SET success = false",
    ] {
        let error = sqlx::query(statement)
            .execute(&database.app_pool)
            .await
            .expect_err("refused");
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "permission denied");
    }
}
