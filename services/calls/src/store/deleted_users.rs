//! `calls.deleted_users`: users who are deleted, or about to be, and may be on no call.

use talktime_kit::db::PgConnection;

/// Keeps a user from calls for some seconds, or permanently if `for_secs` is `None`.
pub async fn bar_user(
    tx: &mut PgConnection,
    user_id: i64,
    for_secs: Option<f64>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.deleted_users AS gone (user_id, barred_until)
         VALUES ($1, COALESCE(now() + make_interval(secs => $2), 'infinity'))
         ON CONFLICT (user_id) DO UPDATE
             SET barred_until = GREATEST(gone.barred_until, excluded.barred_until)",
    )
    .bind(user_id)
    .bind(for_secs)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the users among these who are kept from calls now.
pub async fn list_barred(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT user_id FROM calls.deleted_users WHERE user_id = ANY($1) AND barred_until > now()",
    )
    .bind(user_ids)
    .fetch_all(connection)
    .await
}
