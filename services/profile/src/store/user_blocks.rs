//! `profile.user_blocks`: who does not want to see whom.

use sqlx::{FromRow, PgConnection};

/// What stands between a caller and the one called.
#[derive(Clone, Debug, FromRow)]
pub struct CallCheck {
    /// `None` when there is no such user.
    pub caller_username: Option<String>,
    /// `None` when there is no such user.
    pub listener_username: Option<String>,
    /// Whether the one called is a listener.
    pub is_listener: bool,
    /// Whether either has blocked, or reported, the other.
    pub is_blocked: bool,
    /// Whether the one called is a listener whom nobody has verified.
    pub is_verification_missing: bool,
}

/// Whether one may call the other.
pub async fn check_call(
    connection: &mut PgConnection,
    caller_id: i64,
    listener_id: i64,
) -> sqlx::Result<CallCheck> {
    sqlx::query_as(
        "SELECT (SELECT username FROM profile.users WHERE user_id = $1) AS caller_username,
                (SELECT username FROM profile.users WHERE user_id = $2) AS listener_username,
                EXISTS (SELECT FROM profile.user_roles
                        WHERE user_id = $2 AND role = 'listener' AND active) AS is_listener,
                EXISTS (SELECT FROM profile.user_blocks
                        WHERE (blocker_id, blocked_id) IN (($1, $2), ($2, $1))) AS is_blocked,
                EXISTS (SELECT FROM profile.feed_listeners
                        WHERE user_id = $2 AND NOT is_verified) AS is_verification_missing",
    )
    .bind(caller_id)
    .bind(listener_id)
    .fetch_one(connection)
    .await
}
