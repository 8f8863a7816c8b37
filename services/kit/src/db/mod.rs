//! Postgres: each service has one pool and one schema. Several replicas may start the migrations at the same
//! time.

mod connection;
mod pool;
mod session;
mod standby;
mod transaction;

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgQueryResult, PgSslMode};

use crate::config::DatabaseConfig;
use crate::deadlines::{self, PeerKind, await_answer};
use crate::error::{Error, ErrorKind};

pub use connection::PgConnection;
pub use pool::{DatabasePool, PoolConnectionCounts};
pub use standby::StandbyReads;
pub use transaction::{DatabaseTransaction, ReadConnection};

/// The tables of [`crate::messaging`] and [`crate::idempotency`] in the schema of every service.
static KIT_MIGRATIONS: Migrator = sqlx::migrate!();

const IDLE_IN_TRANSACTION_TIMEOUT_MS: &str = "10000";
const MIGRATION_LOCK_POLL: Duration = Duration::from_millis(100);
const MIGRATION_LOCK_WAIT_MAX: Duration = Duration::from_mins(5);
const SCHEMA_POLL: Duration = Duration::from_millis(200);

/// The schema of a service and its migrations.
#[derive(Clone, Copy)]
pub struct DatabaseSchema {
    /// Name of the schema, which is the service's name.
    pub name: &'static str,
    /// The migrations that `sqlx::migrate!()` embedded.
    pub migrations: &'static Migrator,
    /// How Postgres plans the statements of the service.
    pub plan_cache_mode: PlanCacheMode,
}

/// When Postgres plans a prepared statement (`plan_cache_mode`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlanCacheMode {
    /// Postgres plans a statement once per connection and uses only index scans. This suits statements that
    /// find rows by key, whose best plan does not depend on the values. In the automatic mode, Postgres would
    /// plan statements with array parameters at each execution, which takes longer than the execution itself.
    /// Full scans are disabled because a generic plan that was made while a table was small would otherwise
    /// stay in use after it has grown. A transaction that has to read whole tables calls
    /// [`allow_full_scans`].
    ForceGeneric,
    /// Postgres decides. This suits queries whose best plan depends on the values.
    Auto,
}

impl PlanCacheMode {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::ForceGeneric => &[
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("random_page_cost", "1.1"),
            ],
            // Compiling a plan takes a quarter of a second, which no statement of a service is long enough to repay.
            Self::Auto => &[("jit", "off")],
        }
    }
}

/// Allows the statements of a transaction to scan whole tables, with any plan and for
/// [`deadlines::POSTGRES_FULL_SCAN`] each.
///
/// # Errors
/// The database does not answer.
pub async fn allow_full_scans(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT set_config('statement_timeout', $1, true),
                set_config('plan_cache_mode', 'auto', true),
                set_config('enable_seqscan', 'on', true),
                set_config('enable_hashjoin', 'on', true),
                set_config('enable_mergejoin', 'on', true)",
    )
    .bind(deadlines::POSTGRES_FULL_SCAN.as_millis().to_string())
    .execute(&mut *tx)
    .await?;
    tx.set_statement_timeout(deadlines::POSTGRES_FULL_SCAN);
    Ok(())
}

/// Lets the commit of this transaction return before it is on disk. A crash of the server may lose it then, so it is
/// only for what is made again without harm, and never for a transaction that appends events: their ids would be given
/// to others.
///
/// # Errors
/// The database does not answer.
pub async fn commit_without_disk(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT set_config('synchronous_commit', 'off', true)")
        .execute(tx)
        .await?;
    Ok(())
}

/// Returns the pool of the app role. It connects in the background, so that a service starts without its
/// database and becomes ready when the database answers.
///
/// # Errors
/// `database.app_url` or `database.session_url` is invalid.
pub fn pool(schema: DatabaseSchema, config: &DatabaseConfig) -> anyhow::Result<DatabasePool> {
    let options = session_options(schema, &config.app_url).context("database.app_url")?;
    let pool = DatabasePool::connect_lazily(options, config.max_connections);
    let Some(url) = &config.session_url else {
        return Ok(pool);
    };
    let options = session_options(schema, url).context("database.session_url")?;
    Ok(pool.with_sessions(options))
}

/// Returns a connection of the role that owns the schema, for commands of operators that the service has no rights for.
///
/// # Errors
/// `database.owner_url` is invalid.
pub fn owner_pool(schema: DatabaseSchema, config: &DatabaseConfig) -> anyhow::Result<DatabasePool> {
    let options = session_options(schema, &config.owner_url).context("database.owner_url")?;
    Ok(DatabasePool::connect_lazily(options, 1))
}

/// Returns the reads that may lag, which standbys answer if `database.read_url` is set. `primary` is the pool of the
/// app role.
///
/// # Errors
/// `database.read_url` is invalid.
pub fn standby_reads(
    schema: DatabaseSchema,
    config: &DatabaseConfig,
    primary: DatabasePool,
) -> anyhow::Result<StandbyReads> {
    let Some(url) = &config.read_url else {
        return Ok(StandbyReads::of_primary(primary));
    };
    let options = session_options(schema, url).context("database.read_url")?;
    let peer = PeerKind::PostgresStandby;
    let standby = DatabasePool::connect_lazily_to(peer, options, config.read_max_connections);
    Ok(StandbyReads::new(primary, standby, standby::LAG_MAX))
}

/// How a role connects to a server.
fn session_options(schema: DatabaseSchema, url: &SecretString) -> sqlx::Result<PgConnectOptions> {
    let options = url.expose_secret().parse::<PgConnectOptions>()?;
    Ok(options
        .application_name(schema.name)
        .options([(
            "statement_timeout",
            deadlines::POSTGRES_STATEMENT_ON_SERVER.as_millis(),
        )])
        .options([(
            "idle_in_transaction_session_timeout",
            IDLE_IN_TRANSACTION_TIMEOUT_MS,
        )])
        .options(schema.plan_cache_mode.settings().iter().copied()))
}

/// Returns whether connections to this address are encrypted, to a server whose certificate and name are verified. A
/// text that is no address leads nowhere.
pub(crate) fn verifies_server(url: &str) -> bool {
    let options = url.parse::<PgConnectOptions>();
    options.is_ok_and(|options| matches!(options.get_ssl_mode(), PgSslMode::VerifyFull))
        || !url.contains("://")
}

/// Migrates a schema as its owner. Replicas that start at the same time wait for each other.
///
/// The lock is polled because a session that waits for it would hold a snapshot, and a
/// `CREATE INDEX CONCURRENTLY` in the session with the lock would wait for that snapshot in turn.
///
/// # Errors
/// The database does not answer, a migration failed, or another migration of the schema does not end.
pub async fn migrate(schema: DatabaseSchema, owner_url: &SecretString) -> anyhow::Result<()> {
    let options = owner_url.expose_secret().parse().context("owner_url")?;
    let mut connection = PgConnection::open(&options)
        .await
        .context("connecting as the schema's owner")?;
    connection.set_statement_timeout(deadlines::POSTGRES_MIGRATION);
    lock_schema(&mut connection, schema.name).await?;
    drop_invalid_indexes(&mut connection, schema.name).await?;
    for (migrations, table) in [
        (&KIT_MIGRATIONS, format!("{}._kit_migrations", schema.name)),
        (schema.migrations, format!("{}._migrations", schema.name)),
    ] {
        let mut migrator = Migrator::with_migrations(migrations.iter().cloned().collect());
        migrator.set_locking(false);
        migrator.dangerous_set_table_name(table);
        let migrating = migrator.run_direct(None, connection.inner_mut(), false);
        await_answer(PeerKind::Postgres, deadlines::POSTGRES_MIGRATION, migrating).await??;
    }
    protect_migration_tables(&mut connection, schema.name).await?;
    connection.close().await?;
    tracing::info!(schema = schema.name, "migrated");
    Ok(())
}

async fn lock_schema(connection: &mut PgConnection, schema: &str) -> anyhow::Result<()> {
    let wait = async {
        loop {
            let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext($1))")
                .bind(schema)
                .fetch_one(&mut *connection)
                .await?;
            if locked {
                return anyhow::Ok(());
            }
            tokio::time::sleep(MIGRATION_LOCK_POLL).await;
        }
    };
    tokio::time::timeout(MIGRATION_LOCK_WAIT_MAX, wait)
        .await
        .context("another migration of this schema does not end")?
}

/// Drops what a migration has left that died while it built an index beside the service. The migration is not recorded
/// then, and builds the index again.
async fn drop_invalid_indexes(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    let indexes: Vec<String> = sqlx::query_scalar(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE NOT indisvalid AND relkind = 'i' AND nspname = $1",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    for index in indexes {
        tracing::warn!(
            index,
            "dropped an index that a migration has left unfinished"
        );
        sqlx::query(AssertSqlSafe(format!("DROP INDEX CONCURRENTLY {index}")))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Withdraws the write access of the app role to the migration tables, which it only reads.
async fn protect_migration_tables(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    let statement = format!(
        "REVOKE INSERT, UPDATE, DELETE ON {schema}._migrations, {schema}._kit_migrations
         FROM {schema}_app"
    );
    sqlx::query(AssertSqlSafe(statement))
        .execute(connection)
        .await?;
    Ok(())
}

/// Waits until the database answers and its schema is at least as new as this program.
pub async fn wait_until_migrated(db: &DatabasePool, schema: DatabaseSchema) {
    let wanted = schema
        .migrations
        .iter()
        .map(|migration| migration.version)
        .max();
    loop {
        match newest_migration(db).await {
            Ok(newest) if newest >= wanted => return,
            Ok(_) => tracing::warn!(schema = schema.name, "waiting for migrations"),
            Err(error) => {
                tracing::warn!(
                    schema = schema.name,
                    %error,
                    "failed to read the schema version; waiting for the database"
                );
            }
        }
        tokio::time::sleep(SCHEMA_POLL).await;
    }
}

async fn newest_migration(db: &DatabasePool) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT max(version) FROM _migrations WHERE success")
        .fetch_one(&mut *db.acquire().await?)
        .await
}

/// Converts a failed query. A database that is down or overloaded is an unknown outcome (503), a text that
/// Postgres cannot store is a mistake of the caller, and everything else is a bug.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_temporary(&error) {
            Self::new(
                ErrorKind::Unavailable,
                "database_unavailable",
                "Please try again in a moment.",
            )
            .with_source(error)
        } else if is_unstorable_text(&error) {
            Self::invalid(
                "invalid_text",
                "A text holds a character that cannot be stored.",
            )
            .with_source(error)
        } else {
            Self::internal(error)
        }
    }
}

/// Returns whether a text contains NUL or invalid characters (SQLSTATE 22021, 22P05).
fn is_unstorable_text(error: &sqlx::Error) -> bool {
    has_sql_state(error, &["22021", "22P05"])
}

/// Returns whether the same statement may succeed later: no connection, shutting down, out of resources,
/// serialization failure, deadlock, lock, statement or transaction time-out (SQLSTATE classes 08, 53, 57, 40,
/// 55, and 25P03).
fn is_temporary(error: &sqlx::Error) -> bool {
    is_connection_failure(error) || has_sql_state(error, &["57", "40", "55", "25P03"])
}

/// Returns whether an operation failed because the database cannot be reached or takes no work, so that every other one
/// would fail as well. A statement that waited too long, such as for a row that somebody holds, is no such failure.
pub fn is_unreachable(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| {
        let cause = source.downcast_ref::<sqlx::Error>();
        cause.is_some_and(is_connection_failure)
    })
}

/// Returns whether there is no connection, or the server ends it or is out of resources (SQLSTATE classes 08 and 53, and
/// 57P).
fn is_connection_failure(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => has_sql_state(error, &["08", "53", "57P"]),
    }
}

/// Returns whether Postgres reported a state that begins with one of these.
fn has_sql_state(error: &sqlx::Error, beginnings: &[&str]) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| {
        beginnings
            .iter()
            .any(|beginning| code.starts_with(*beginning))
    })
}

/// Checks that a statement has changed exactly `expected` rows of `table`; `key` identifies them in the log.
/// A write that misses its row would otherwise succeed without any effect.
///
/// # Errors
/// An internal error that names the table and the key if another number of rows was changed. The caller
/// returns it before it commits, so that the transaction is rolled back.
pub fn expect_rows(
    result: &PgQueryResult,
    expected: u64,
    table: &'static str,
    key: impl fmt::Display,
) -> Result<(), Error> {
    expect_row_count(result.rows_affected(), expected, table, key)
}

/// The same check as [`expect_rows`], for a statement that returns the rows that it has changed.
///
/// # Errors
/// An internal error that names the table and the key if `actual` differs from `expected`.
pub fn expect_row_count(
    actual: u64,
    expected: u64,
    table: &'static str,
    key: impl fmt::Display,
) -> Result<(), Error> {
    if actual == expected {
        return Ok(());
    }
    Err(Error::internal(format!(
        "a statement on {table} changed {actual} rows instead of {expected} (key {key})"
    )))
}

/// Collects one value of each row, for a statement with `unnest`.
pub fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// Returns whether an insert or update violated the unique constraint `name`.
pub fn is_unique_violation(error: &sqlx::Error, name: &str) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.is_unique_violation() && database.constraint() == Some(name)
    })
}

/// Returns whether a statement failed because it refers to a row that does not exist.
pub fn is_foreign_key_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn a_statement_that_misses_its_row_is_an_internal_error_with_table_and_key() {
        let no_rows = PgQueryResult::default();
        assert!(expect_rows(&no_rows, 0, "wallet.user_wallets", 7).is_ok());
        let error = expect_rows(&no_rows, 1, "wallet.user_wallets", 7).expect_err("no row");
        assert_eq!(error.kind(), ErrorKind::Internal);
        let log = chain(&error);
        assert!(
            log.contains("wallet.user_wallets") && log.contains("key 7"),
            "{log}"
        );
        assert!(expect_row_count(2, 1, "wallet.user_wallets", 7).is_err());
    }

    #[test]
    fn only_a_failure_of_the_connection_means_that_the_database_is_unreachable() {
        for (error, expected) in [
            (sqlx::Error::PoolTimedOut, true),
            (sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()), true),
            (sqlx::Error::RowNotFound, false),
        ] {
            let error = Error::from(error);
            assert_eq!(is_unreachable(&error), expected, "{}", chain(&error));
        }
    }
}
