//! `auth.used_codes`: one-time passwords that have logged somebody in.

use std::collections::HashSet;

use talktime_kit::db::{DatabasePool, PgConnection};
use uuid::Uuid;

/// Longer than any one-time password is valid, in seconds.
const KEPT_SECS: f64 = 24.0 * 60.0 * 60.0;
/// Rows that one purge deletes at most.
const PURGED_MAX: i64 = 10_000;

/// Uses up codes; returns those that were not used before. A second use at the same moment waits for the end of the first
/// one's transaction.
pub async fn insert_all(tx: &mut PgConnection, code_ids: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let inserted: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO auth.used_codes (code_id)
         SELECT code_id FROM unnest($1::uuid[]) AS used (code_id) ORDER BY code_id
         ON CONFLICT (code_id) DO NOTHING RETURNING code_id",
    )
    .bind(code_ids)
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
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
