//! `auth.used_codes`: one-time passwords that have logged somebody in.

use talktime_kit::db::{DatabasePool, PgConnection};
use uuid::Uuid;

/// Longer than any one-time password is valid, in seconds.
const KEPT_SECS: f64 = 24.0 * 60.0 * 60.0;
/// Rows that one purge deletes at most.
const PURGED_MAX: i64 = 10_000;

/// Uses up a code; returns false if it was used before. A second use at the same moment waits for the end of the first one's
/// transaction.
pub async fn insert(tx: &mut PgConnection, code_id: Uuid) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO auth.used_codes (code_id) VALUES ($1) ON CONFLICT (code_id) DO NOTHING",
    )
    .bind(code_id)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Deletes rows of codes that have expired; returns how many.
pub async fn purge(db: &DatabasePool) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let purged = sqlx::query(
        "DELETE FROM auth.used_codes WHERE code_id IN
         (SELECT code_id FROM auth.used_codes
          WHERE used_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2)",
    )
    .bind(KEPT_SECS)
    .bind(PURGED_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(purged.rows_affected())
}
