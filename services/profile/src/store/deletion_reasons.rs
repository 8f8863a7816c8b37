//! `profile.deletion_reasons`: why users have deleted their accounts, without the users.

use chrono::NaiveDate;
use talktime_kit::db::PgConnection;

/// Copies the reason of a pending deletion, if it has one. A user with the role listener counts as a listener, and
/// everyone else as a user. It must run before the rows of the user are deleted.
pub async fn insert_from_pending(
    tx: &mut PgConnection,
    user_id: i64,
    day: NaiveDate,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO profile.deletion_reasons (role, reason, day)
         SELECT CASE WHEN EXISTS (SELECT FROM profile.user_roles AS r
                                  WHERE r.user_id = $1 AND r.role = 'listener' AND r.active)
                     THEN 'listener' ELSE 'user' END,
                d.reason, $2
         FROM profile.pending_deletions AS d WHERE d.user_id = $1 AND d.reason IS NOT NULL",
    )
    .bind(user_id)
    .bind(day)
    .execute(tx)
    .await?;
    Ok(())
}
