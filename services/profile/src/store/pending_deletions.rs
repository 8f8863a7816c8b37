//! `profile.pending_deletions`: deletions that have not finished. Each row is also a lease, by the clock of the
//! database.

use talktime_kit::db::PgConnection;

/// The duration of a lease, which is longer than any request may take.
const LEASE_SECS: f64 = 10.0;

/// Requests a deletion and leases it; returns whether there is such a user. A repeated request keeps the reason of
/// the first one unless it has one of its own.
pub async fn insert(
    tx: &mut PgConnection,
    user_id: i64,
    reason: Option<&str>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO profile.pending_deletions AS pending (user_id, next_attempt_at, reason)
         SELECT user_id, clock_timestamp() + make_interval(secs => $2), $3::text
         FROM profile.users WHERE user_id = $1 FOR KEY SHARE
         ON CONFLICT (user_id) DO UPDATE
             SET next_attempt_at = excluded.next_attempt_at,
                 reason = COALESCE(excluded.reason, pending.reason)",
    )
    .bind(user_id)
    .bind(LEASE_SECS)
    .bind(reason)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns whether there are any.
pub async fn exist(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM profile.pending_deletions)")
        .fetch_one(connection)
        .await
}

/// Leases deletions whose lease has expired, the longest due first.
pub async fn claim_due(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "UPDATE profile.pending_deletions
         SET next_attempt_at = clock_timestamp() + make_interval(secs => $2)
         WHERE user_id IN
             (SELECT user_id FROM profile.pending_deletions
              WHERE next_attempt_at <= clock_timestamp()
              ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING user_id",
    )
    .bind(limit)
    .bind(LEASE_SECS)
    .fetch_all(tx)
    .await
}
