//! `data_exports`: one row a user who has requested an export, with the latest one.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};
use uuid::Uuid;

use crate::domain::{DataExport, DataExportState};

#[derive(FromRow)]
struct DataExportRow {
    export_id: i64,
    user_id: i64,
    archive_key: Uuid,
    status: DataExportState,
    requested_at: DateTime<Utc>,
    attempts: i32,
    completed_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    length_bytes: Option<i64>,
}

impl From<DataExportRow> for DataExport {
    fn from(row: DataExportRow) -> Self {
        Self {
            export_id: row.export_id,
            user_id: row.user_id,
            archive_key: row.archive_key,
            state: row.status,
            requested_at: row.requested_at,
            attempts: row.attempts,
            completed_at: row.completed_at,
            expires_at: row.expires_at,
            length_bytes: row.length_bytes,
        }
    }
}

/// Inserts a pending export of a user who has none.
pub async fn insert(
    tx: &mut PgConnection,
    user_id: i64,
    archive_key: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<DataExport> {
    let row: DataExportRow = sqlx::query_as(
        "INSERT INTO verification.data_exports (user_id, archive_key, requested_at, next_attempt_at)
         VALUES ($1, $2, $3, $3)
         RETURNING export_id, user_id, archive_key, status, requested_at, attempts, completed_at,
                   expires_at, length_bytes",
    )
    .bind(user_id)
    .bind(archive_key)
    .bind(now)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// Finds the export of a user.
pub async fn find(db: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<DataExport>> {
    let row: Option<DataExportRow> = sqlx::query_as(
        "SELECT export_id, user_id, archive_key, status, requested_at, attempts, completed_at,
                expires_at, length_bytes
         FROM verification.data_exports WHERE user_id = $1",
    )
    .bind(user_id)
    .fetch_optional(db)
    .await?;
    Ok(row.map(Into::into))
}

/// Returns whether the time of a pending export has come.
pub async fn exist_due(connection: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM verification.data_exports
                        WHERE status = 'pending' AND next_attempt_at <= $1)",
    )
    .bind(now)
    .fetch_one(connection)
    .await
}

/// Claims a pending export whose time has come, for `lease`; `None` if none is due.
pub async fn claim_due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    lease: TimeDelta,
) -> sqlx::Result<Option<DataExport>> {
    let row: Option<DataExportRow> = sqlx::query_as(
        "UPDATE verification.data_exports SET next_attempt_at = $2, attempts = attempts + 1
         WHERE export_id = (SELECT export_id FROM verification.data_exports
                            WHERE status = 'pending' AND next_attempt_at <= $1
                            ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING export_id, user_id, archive_key, status, requested_at, attempts, completed_at,
                   expires_at, length_bytes",
    )
    .bind(now)
    .bind(now + lease)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Into::into))
}

/// Marks a pending export as ready and returns whether it was still pending: its user may have been deleted.
pub async fn mark_ready(
    tx: &mut PgConnection,
    export_id: i64,
    length_bytes: i64,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query(
        "UPDATE verification.data_exports
         SET status = 'ready', length_bytes = $2, completed_at = $3, expires_at = $4
         WHERE export_id = $1 AND status = 'pending'",
    )
    .bind(export_id)
    .bind(length_bytes)
    .bind(now)
    .bind(expires_at)
    .execute(tx)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Schedules the next attempt of a pending export, or marks it as failed if there is none. Does nothing if its user
/// was deleted.
pub async fn record_failure(
    tx: &mut PgConnection,
    export_id: i64,
    next_attempt_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE verification.data_exports
         SET next_attempt_at = coalesce($2, next_attempt_at),
             status = CASE WHEN $2 IS NULL THEN 'failed' ELSE status END
         WHERE export_id = $1 AND status = 'pending'",
    )
    .bind(export_id)
    .bind(next_attempt_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks up to `limit` ready exports whose archives are due for deletion.
pub async fn lock_expired(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<DataExport>> {
    let rows: Vec<DataExportRow> = sqlx::query_as(
        "SELECT export_id, user_id, archive_key, status, requested_at, attempts, completed_at,
                expires_at, length_bytes
         FROM verification.data_exports WHERE status = 'ready' AND expires_at <= $1
         ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Marks locked exports as expired.
pub async fn mark_expired(tx: &mut PgConnection, export_ids: &[i64]) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE verification.data_exports SET status = 'expired' WHERE export_id = ANY($1)",
    )
    .bind(export_ids)
    .execute(tx)
    .await?;
    let expected = export_ids.len() as u64;
    expect_rows(
        &result,
        expected,
        "verification.data_exports",
        export_ids.len(),
    )
}

/// Deletes the export of a user and returns how many there were.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query("DELETE FROM verification.data_exports WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(deleted.rows_affected())
}

/// Lists those of the keys whose archive is stored or is about to be.
pub async fn list_recorded_keys(db: &mut PgConnection, keys: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT archive_key FROM verification.data_exports
         WHERE archive_key = ANY($1) AND status IN ('pending', 'ready')",
    )
    .bind(keys)
    .fetch_all(db)
    .await
}
