//! `calls.barred_pairs`: pairs of people of whom one has just blocked the other.

use talktime_kit::db::PgConnection;

/// Maximum number of expired entries that an insertion deletes.
const REMOVED_MAX: i64 = 100;

/// Keeps two people from calling each other for some seconds, and deletes expired entries.
pub async fn bar_pair(tx: &mut PgConnection, parties: [i64; 2], for_secs: f64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.barred_pairs AS pair (lower_id, upper_id, barred_until)
         VALUES (LEAST($1, $2), GREATEST($1, $2), now() + make_interval(secs => $3))
         ON CONFLICT (lower_id, upper_id) DO UPDATE
             SET barred_until = GREATEST(pair.barred_until, excluded.barred_until)",
    )
    .bind(parties[0])
    .bind(parties[1])
    .bind(for_secs)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM calls.barred_pairs
         WHERE (lower_id, upper_id) IN (SELECT lower_id, upper_id FROM calls.barred_pairs
                                        WHERE barred_until < now()
                                        LIMIT $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(REMOVED_MAX)
    .execute(tx)
    .await?;
    Ok(())
}

/// Permits two people to call each other again, as far as profile does.
pub async fn unbar_pair(tx: &mut PgConnection, parties: [i64; 2]) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM calls.barred_pairs
         WHERE lower_id = LEAST($1, $2) AND upper_id = GREATEST($1, $2)",
    )
    .bind(parties[0])
    .bind(parties[1])
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether two people are kept from calling each other now.
pub async fn is_barred(connection: &mut PgConnection, parties: [i64; 2]) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM calls.barred_pairs
                        WHERE lower_id = LEAST($1, $2) AND upper_id = GREATEST($1, $2)
                          AND barred_until > now())",
    )
    .bind(parties[0])
    .bind(parties[1])
    .fetch_one(connection)
    .await
}
