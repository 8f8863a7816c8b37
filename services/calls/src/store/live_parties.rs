//! `calls.live_parties`: who is on a call now.

use sqlx::PgConnection;

/// Takes both people for a call; false when one of them is taken, and then the transaction is to be
/// rolled back. Rows are inserted in the order of the ids, so that two calls of the same people
/// never wait for each other in a circle.
pub async fn take(tx: &mut PgConnection, call_id: i64, user_ids: [i64; 2]) -> sqlx::Result<bool> {
    let taken = sqlx::query(
        "INSERT INTO calls.live_parties (user_id, call_id)
         SELECT user_id, $2 FROM unnest($1::bigint[]) AS party (user_id) ORDER BY user_id
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_ids)
    .bind(call_id)
    .execute(tx)
    .await?;
    Ok(taken.rows_affected() == 2)
}

/// Frees both people of a call.
pub async fn free(tx: &mut PgConnection, call_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM calls.live_parties WHERE call_id = $1")
        .bind(call_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// The call that a person is on, in whatever phase.
pub async fn call_of(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT call_id FROM calls.live_parties WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(connection)
        .await
}
