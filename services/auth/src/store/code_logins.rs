//! The rows of logins with codes, in three tables.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox::OutboxColumns;
use uuid::Uuid;

use crate::domain::claims::UserSession;

/// A login with a code.
#[derive(Clone, Copy, Debug)]
pub struct CodeLogin {
    /// The id of the code, since its digits are not unique.
    pub code_id: Uuid,
    /// The session that it opens.
    pub session: UserSession,
}

/// The outcome of a login with a code.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct CodeLoginState {
    /// Whether the account has ended. The code is not used up then.
    pub is_account_deleted: bool,
    /// Whether the code was unused, and the login is recorded.
    pub is_recorded: bool,
}

/// Uses up the codes of logins, and inserts a line of the audit log and the event of each whose code was unused; `events` are
/// those of the logins, in the same order. Of several logins with one code the first is recorded. Returns the states in the
/// order of the logins.
///
/// The users are [locked](super::deleted_users::lock_all_shared) by an earlier statement, because this one does not see what
/// was committed while it waits. A second use of a code at the same moment waits for the end of the first one's transaction.
pub async fn insert_all(
    tx: &mut PgConnection,
    logins: &[CodeLogin],
    events: OutboxColumns,
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<CodeLoginState>> {
    let user_ids: Vec<i64> = logins.iter().map(|login| login.session.user_id).collect();
    let session_ids = logins
        .iter()
        .map(|login| login.session.session_id.to_string());
    let code_ids: Vec<Uuid> = logins.iter().map(|login| login.code_id).collect();
    // A scalar subquery finds ended accounts by their key, whereas a join may read all of them.
    sqlx::query_as(
        "WITH login AS (
             SELECT asked.*,
                    COALESCE((SELECT true FROM auth.deleted_users AS gone
                              WHERE gone.user_id = asked.user_id), false) AS is_deleted
             FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::text[])
                      WITH ORDINALITY
                      AS asked (user_id, session_id, code_id, subject, payload, traceparent, place)
         ),
         used AS (
             INSERT INTO auth.used_codes (code_id)
             SELECT code_id FROM login WHERE NOT is_deleted ORDER BY code_id
             ON CONFLICT (code_id) DO NOTHING RETURNING code_id
         ),
         recorded AS (
             SELECT DISTINCT ON (login.code_id) login.*
             FROM used JOIN login ON login.code_id = used.code_id
             WHERE NOT login.is_deleted ORDER BY login.code_id, login.place
         ),
         logged AS (
             INSERT INTO auth.audit_log (happened_at, action, user_id, session_id)
             SELECT $7::timestamptz, 'logged_in', user_id, session_id FROM recorded
         ),
         reported AS (
             INSERT INTO auth.outbox (subject, aggregate_id, payload, traceparent)
             SELECT subject, user_id, payload, traceparent FROM recorded
         )
         SELECT login.is_deleted AS is_account_deleted, recorded.place IS NOT NULL AS is_recorded
         FROM login LEFT JOIN recorded ON recorded.place = login.place
         ORDER BY login.place",
    )
    .bind(user_ids)
    .bind(session_ids.collect::<Vec<_>>())
    .bind(code_ids)
    .bind(events.subjects)
    .bind(events.payloads)
    .bind(events.traceparents)
    .bind(at)
    .fetch_all(tx)
    .await
}
