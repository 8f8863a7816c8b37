//! `auth.audit_log`: what was done in whose name. Append-only.

use chrono::{DateTime, Utc};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::text_enum;
use uuid::Uuid;

use crate::domain::PhoneNumber;
use crate::domain::claims::UserSession;

/// The name of the table, which is partitioned by month.
pub const TABLE: &str = "auth.audit_log";

/// The action that an entry records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditAction {
    /// A session was opened.
    LoggedIn,
    /// The requesting session ended, and with it every refresh token of the user.
    LoggedOut,
    /// Every session ended with all its tokens.
    LoggedOutEverywhere,
    /// One session ended with all its tokens.
    SessionEnded,
    /// A refresh token was used twice, and every session ended.
    RefreshTokenReused,
    /// An account was deleted, with every session.
    UserDeleted,
    /// An operator gave a role.
    RoleGranted,
    /// An operator took a role away.
    RoleRevoked,
    /// A one-time password was wrong, used, burnt or too old.
    OtpRefused,
    /// One-time passwords were requested, or tried, too often.
    OtpLimited,
    /// A refresh token of ours was not valid any more.
    RefreshRefused,
    /// A registration token was not valid.
    RegistrationRefused,
    /// An admin's request was admitted, reads included.
    AdminActed,
    /// A request that needs an admin was refused to somebody else.
    AdminRefused,
    /// An operator ran a command.
    OperatorActed,
}

text_enum!(AuditAction {
    LoggedIn => "logged_in",
    LoggedOut => "logged_out",
    LoggedOutEverywhere => "logged_out_everywhere",
    SessionEnded => "session_ended",
    RefreshTokenReused => "refresh_token_reused",
    UserDeleted => "user_deleted",
    RoleGranted => "role_granted",
    RoleRevoked => "role_revoked",
    OtpRefused => "otp_refused",
    OtpLimited => "otp_limited",
    RefreshRefused => "refresh_refused",
    RegistrationRefused => "registration_refused",
    AdminActed => "admin_acted",
    AdminRefused => "admin_refused",
    OperatorActed => "operator_acted",
});

/// A line of the log. Never an OTP, a token or a whole phone.
#[derive(Clone, Debug)]
pub struct AuditLogEntry {
    happened_at: DateTime<Utc>,
    action: AuditAction,
    user_id: Option<i64>,
    session_id: Option<Uuid>,
    phone_ends_in: Option<String>,
    detail: Option<String>,
    client_address: Option<String>,
    reason: Option<String>,
}

impl AuditLogEntry {
    /// An entry without a user.
    pub fn new(action: AuditAction, happened_at: DateTime<Utc>) -> Self {
        Self {
            happened_at,
            action,
            user_id: None,
            session_id: None,
            phone_ends_in: None,
            detail: None,
            client_address: None,
            reason: None,
        }
    }

    /// Sets the user.
    #[must_use]
    pub fn with_user(self, user_id: i64) -> Self {
        Self {
            user_id: Some(user_id),
            ..self
        }
    }

    /// Sets the session and its user.
    #[must_use]
    pub fn with_session(self, session: UserSession) -> Self {
        Self {
            user_id: Some(session.user_id),
            session_id: Some(session.session_id),
            ..self
        }
    }

    /// Sets the phone, of which only the last two digits are stored.
    #[must_use]
    pub fn with_phone(self, phone: &PhoneNumber) -> Self {
        Self {
            phone_ends_in: Some(phone.last_two_digits().to_owned()),
            ..self
        }
    }

    /// Sets a detail of up to 200 characters.
    #[must_use]
    pub fn with_detail(self, detail: String) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    /// Sets from where a request came and why, as far as that is known.
    #[must_use]
    pub fn with_origin(self, client_address: Option<String>, reason: Option<String>) -> Self {
        Self {
            client_address,
            reason,
            ..self
        }
    }
}

/// Inserts an entry.
pub async fn record(tx: &mut PgConnection, entry: AuditLogEntry) -> sqlx::Result<()> {
    record_all(tx, &[entry]).await
}

/// Inserts many entries.
pub async fn record_all(
    connection: &mut PgConnection,
    entries: &[AuditLogEntry],
) -> sqlx::Result<()> {
    let column = |value: fn(&AuditLogEntry) -> Option<String>| entries.iter().map(value).collect();
    let happened_at: Vec<_> = entries.iter().map(|entry| entry.happened_at).collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.name()).collect();
    let user_ids: Vec<_> = entries.iter().map(|entry| entry.user_id).collect();
    let session_ids: Vec<_> = column(|entry| entry.session_id.map(|id| id.to_string()));
    let phones: Vec<_> = column(|entry| entry.phone_ends_in.clone());
    let details: Vec<_> = column(|entry| entry.detail.clone());
    let addresses: Vec<_> = column(|entry| entry.client_address.clone());
    let reasons: Vec<_> = column(|entry| entry.reason.clone());
    sqlx::query(
        "INSERT INTO auth.audit_log
             (happened_at, action, user_id, session_id, phone_ends_in, detail, client_address,
              reason)
         SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::text[], $5::text[],
                              $6::text[], $7::text[], $8::text[])",
    )
    .bind(happened_at)
    .bind(actions)
    .bind(user_ids)
    .bind(session_ids)
    .bind(phones)
    .bind(details)
    .bind(addresses)
    .bind(reasons)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the ids of those sessions, each of a user, whose login is in the log.
pub async fn find_logins(
    connection: &mut PgConnection,
    sessions: &[(i64, &str)],
) -> sqlx::Result<Vec<String>> {
    let user_ids: Vec<i64> = sessions.iter().map(|(user_id, _)| *user_id).collect();
    let session_ids: Vec<&str> = sessions.iter().map(|(_, session_id)| *session_id).collect();
    sqlx::query_scalar(
        "SELECT asked.session_id
         FROM unnest($1::bigint[], $2::text[]) AS asked (user_id, session_id)
         WHERE EXISTS (SELECT FROM auth.audit_log AS entry
                       WHERE entry.user_id = asked.user_id AND entry.session_id = asked.session_id
                         AND entry.action = 'logged_in')",
    )
    .bind(user_ids)
    .bind(session_ids)
    .fetch_all(connection)
    .await
}

/// Drops the months that ended more than `kept_months` before the present one began; returns how many.
pub async fn drop_months(db: &DatabasePool, kept_months: i32) -> sqlx::Result<i32> {
    let mut tx = db.begin().await?;
    let dropped = sqlx::query_scalar("SELECT auth.drop_audit_months($1)")
        .bind(kept_months)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(dropped)
}
