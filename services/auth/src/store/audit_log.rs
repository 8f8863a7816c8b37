//! `auth.audit_log`: what was done in whose name. Append-only.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// What an entry tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// A session was opened.
    LoggedIn,
    /// Every refresh token died, and the access token that asked.
    LoggedOut,
    /// Every session ended with all its tokens.
    LoggedOutEverywhere,
    /// One session ended with all its tokens.
    SessionEnded,
    /// A refresh token was used twice, and every session ended.
    RefreshTokenReused,
}

impl Action {
    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoggedIn => "logged_in",
            Self::LoggedOut => "logged_out",
            Self::LoggedOutEverywhere => "logged_out_everywhere",
            Self::SessionEnded => "session_ended",
            Self::RefreshTokenReused => "refresh_token_reused",
        }
    }
}

/// Writes an entry; `session_id` where one session is meant.
pub async fn append(
    tx: &mut PgConnection,
    happened_at: DateTime<Utc>,
    user_id: i64,
    action: Action,
    session_id: Option<Uuid>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO auth.audit_log (happened_at, user_id, action, session_id)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(happened_at)
    .bind(user_id)
    .bind(action.name())
    .bind(session_id.map(|id| id.to_string()))
    .execute(tx)
    .await?;
    Ok(())
}
