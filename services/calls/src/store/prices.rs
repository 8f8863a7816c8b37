//! `calls.prices`: versions of the prices with which calls began.

use talktime_kit::db::PgConnection;

/// Finds the version of these prices, or inserts a new one.
pub async fn find_or_insert_version(
    connection: &mut PgConnection,
    content: &serde_json::Value,
) -> sqlx::Result<i64> {
    // Without the update a conflict would return no row.
    sqlx::query_scalar(
        "INSERT INTO calls.prices (content, since) VALUES ($1, now())
         ON CONFLICT (content) DO UPDATE SET content = excluded.content RETURNING version",
    )
    .bind(content)
    .fetch_one(connection)
    .await
}
