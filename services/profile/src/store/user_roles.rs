//! `profile.user_roles`: the roles of users.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

use crate::domain::{ProfileError, UserRole};

/// Grants a role, or activates it again; returns false if the user has it.
pub async fn grant(
    tx: &mut PgConnection,
    user_id: i64,
    role: UserRole,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let granted = sqlx::query(
        "INSERT INTO profile.user_roles (user_id, role, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, role) DO UPDATE SET active = true WHERE NOT user_roles.active",
    )
    .bind(user_id)
    .bind(role.name())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(granted.rows_affected() == 1)
}

/// Revokes a role; returns false if the user does not have it.
pub async fn revoke(tx: &mut PgConnection, user_id: i64, role: UserRole) -> sqlx::Result<bool> {
    let revoked = sqlx::query(
        "UPDATE profile.user_roles SET active = false
         WHERE user_id = $1 AND role = $2 AND active",
    )
    .bind(user_id)
    .bind(role.name())
    .execute(tx)
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// Lists the roles that a user has now, by name.
pub async fn list_active(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT role FROM profile.user_roles WHERE user_id = $1 AND active ORDER BY role",
    )
    .bind(user_id)
    .fetch_all(connection)
    .await
}

/// Returns whether a user has a role now.
async fn is_active(
    connection: &mut PgConnection,
    user_id: i64,
    role: UserRole,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM profile.user_roles
                        WHERE user_id = $1 AND role = $2 AND active)",
    )
    .bind(user_id)
    .bind(role.name())
    .fetch_one(connection)
    .await
}

/// Refuses a user who is no listener.
pub async fn require_listener(
    connection: &mut PgConnection,
    user_id: i64,
) -> Result<(), ProfileError> {
    if is_active(connection, user_id, UserRole::Listener).await? {
        Ok(())
    } else {
        Err(ProfileError::ListenerNotFound)
    }
}
