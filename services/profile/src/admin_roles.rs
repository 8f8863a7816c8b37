//! The role admin, which only operators grant and revoke, at a terminal: no request does. The role of the service in
//! Postgres has no right to; these functions take connections of the owner of the schema.

use chrono::{DateTime, Utc};
use talktime_kit::db::{DatabasePool, PgConnection};

use crate::domain::{ProfileError, User, UserRole};
use crate::events::append_admin_changed;
use crate::store::{user_roles, users};

/// Grants the role admin to the user with this phone.
pub async fn grant_admin(
    db: &DatabasePool,
    phone: &str,
    operator: &str,
    now: DateTime<Utc>,
) -> Result<User, ProfileError> {
    let mut tx = db.begin().await?;
    let user = require_user(&mut tx, phone).await?;
    if user_roles::grant(&mut tx, user.user_id, UserRole::Admin, now).await? {
        let is_active = true;
        record_change(&mut tx, user.user_id, is_active, operator, now).await?;
    }
    tx.commit().await?;
    Ok(user)
}

/// Revokes the role admin. The gateway loads roles for each request, so the next one is refused.
pub async fn revoke_admin(
    db: &DatabasePool,
    phone: &str,
    operator: &str,
    now: DateTime<Utc>,
) -> Result<User, ProfileError> {
    let mut tx = db.begin().await?;
    let user = require_user(&mut tx, phone).await?;
    if user_roles::revoke(&mut tx, user.user_id, UserRole::Admin).await? {
        let is_active = false;
        record_change(&mut tx, user.user_id, is_active, operator, now).await?;
    }
    tx.commit().await?;
    Ok(user)
}

async fn require_user(tx: &mut PgConnection, phone: &str) -> Result<User, ProfileError> {
    let user = users::find_by_phone(tx, phone).await?;
    user.ok_or(ProfileError::UserNotFound)
}

async fn record_change(
    tx: &mut PgConnection,
    user_id: i64,
    is_active: bool,
    operator: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let version = users::increment_version(tx, user_id).await?;
    append_admin_changed(tx, user_id, version, is_active, operator, now).await
}
