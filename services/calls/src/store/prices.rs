//! `calls.prices`: which prices calls were begun with.

use sqlx::PgConnection;

/// The version of these prices: a new one if nobody had them before.
pub async fn find_or_insert_version(
    connection: &mut PgConnection,
    content: &serde_json::Value,
) -> sqlx::Result<i64> {
    // Nothing to do still has a row to return.
    sqlx::query_scalar(
        "INSERT INTO calls.prices (content, since) VALUES ($1, now())
         ON CONFLICT (content) DO UPDATE SET content = excluded.content RETURNING version",
    )
    .bind(content)
    .fetch_one(connection)
    .await
}
