//! `auth.registrations`: registration tokens that have made an account, and the session of each.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use talktime_kit::db::{DatabasePool, PgConnection};
use uuid::Uuid;

use super::sessions::TokenIdPair;
use crate::domain::claims::UserSession;

/// Rows that one purge deletes at most.
const PURGED_MAX: i64 = 10_000;

/// A registration token and what it was used for.
#[derive(Clone, Debug)]
pub struct UsedRegistrationToken {
    /// The token's `jti`.
    pub registration_id: Uuid,
    /// A hash of the registration's fields.
    pub content_hash: Vec<u8>,
    /// The session that it opened.
    pub session: UserSession,
    /// The first pair of tokens of that session.
    pub pair: TokenIdPair,
}

#[derive(FromRow)]
struct RegistrationRow {
    registration_id: Uuid,
    content_hash: Vec<u8>,
    user_id: i64,
    session_id: Uuid,
    refresh_jti: Uuid,
    access_jti: Uuid,
    issued_at: DateTime<Utc>,
}

/// Uses up a registration token; returns false if it was used before. A second use at the same moment
/// waits for the end of the first one's transaction.
pub async fn insert(tx: &mut PgConnection, used: &UsedRegistrationToken) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO auth.registrations
             (registration_id, content_hash, user_id, session_id, refresh_jti, access_jti, issued_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (registration_id) DO NOTHING",
    )
    .bind(used.registration_id)
    .bind(&used.content_hash)
    .bind(used.session.user_id)
    .bind(used.session.session_id)
    .bind(used.pair.refresh_jti)
    .bind(used.pair.access_jti)
    .bind(used.pair.issued_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Finds the use of a registration token; `None` while it is unused.
pub async fn find(
    connection: &mut PgConnection,
    registration_id: Uuid,
) -> sqlx::Result<Option<UsedRegistrationToken>> {
    let row: Option<RegistrationRow> = sqlx::query_as(
        "SELECT registration_id, content_hash, user_id, session_id, refresh_jti, access_jti, issued_at
         FROM auth.registrations WHERE registration_id = $1",
    )
    .bind(registration_id)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(UsedRegistrationToken::from))
}

/// Deletes the rows of a user.
pub async fn delete_by_user(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM auth.registrations WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes rows whose token has expired, `lifetime` after its registration at the latest; returns how
/// many.
pub async fn purge(db: &DatabasePool, lifetime: TimeDelta) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let purged = sqlx::query(
        "DELETE FROM auth.registrations WHERE registration_id IN
         (SELECT registration_id FROM auth.registrations
          WHERE registered_at < clock_timestamp() - $1 LIMIT $2)",
    )
    .bind(lifetime)
    .bind(PURGED_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(purged.rows_affected())
}

impl From<RegistrationRow> for UsedRegistrationToken {
    fn from(row: RegistrationRow) -> Self {
        Self {
            registration_id: row.registration_id,
            content_hash: row.content_hash,
            session: UserSession {
                user_id: row.user_id,
                session_id: row.session_id,
            },
            pair: TokenIdPair {
                refresh_jti: row.refresh_jti,
                access_jti: row.access_jti,
                issued_at: row.issued_at,
            },
        }
    }
}
