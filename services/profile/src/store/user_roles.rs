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
