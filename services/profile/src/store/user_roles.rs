//! `profile.user_roles`: what people may do.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::Role;

/// Gives a role, or makes it active again.
pub async fn grant(
    tx: &mut PgConnection,
    user_id: i64,
    role: Role,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO profile.user_roles (user_id, role, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, role) DO UPDATE SET active = true",
    )
    .bind(user_id)
    .bind(role.name())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether a user has a role now.
pub async fn has(connection: &mut PgConnection, user_id: i64, role: Role) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM profile.user_roles
                        WHERE user_id = $1 AND role = $2 AND active)",
    )
    .bind(user_id)
    .bind(role.name())
    .fetch_one(connection)
    .await
}
