//! `profile.spent_registrations`: registrations whose user has been deleted.

use talktime_kit::db::PgConnection;

/// Stores the registration of a user who is being deleted.
pub async fn insert(tx: &mut PgConnection, registration_id: &str) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO profile.spent_registrations (registration_id) VALUES ($1)
         ON CONFLICT (registration_id) DO NOTHING",
    )
    .bind(registration_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns whether the user of a registration has been deleted.
pub async fn contains(tx: &mut PgConnection, registration_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM profile.spent_registrations WHERE registration_id = $1)",
    )
    .bind(registration_id)
    .fetch_one(tx)
    .await
}
