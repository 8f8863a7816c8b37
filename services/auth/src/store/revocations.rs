//! `auth.revocations`: revoked access tokens that have not expired.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::{DatabasePool, PgConnection};

use crate::domain::TokenRevocation;
use crate::domain::claims::{TokenClaims, UserSession};

/// Rows of a page at most.
pub const PAGE_MAX: usize = 5_000;
/// A row shows when its transaction commits, which may be this much after its `revoked_at`: none
/// takes longer, since a request has a deadline.
const OVERLAP_SECS: f64 = 15.0;
/// Rows that one purge deletes at most.
const PURGED_MAX: i64 = 10_000;

/// A page of revocations.
#[derive(Clone, Debug)]
pub struct TokenRevocationPage {
    /// Each with its number.
    pub revocations: Vec<(i64, TokenRevocation)>,
    /// Whether more revocations may follow.
    pub has_more: bool,
    /// The database's clock.
    pub as_of: DateTime<Utc>,
}

#[derive(FromRow)]
struct TokenRevocationRow {
    revocation_id: i64,
    user_id: i64,
    token_ids: Vec<String>,
    session_ids: Vec<String>,
    issued_until: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
}

/// Inserts a revocation.
pub async fn insert(tx: &mut PgConnection, revocation: &TokenRevocation) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO auth.revocations (user_id, token_ids, session_ids, issued_until, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(revocation.user_id)
    .bind(&revocation.token_ids)
    .bind(&revocation.session_ids)
    .bind(revocation.issued_until)
    .bind(revocation.expires_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// Lists revocations that have not expired, with a higher id than `after_id`, and since an instant if one is
/// given.
pub async fn list(
    db: &DatabasePool,
    since: Option<DateTime<Utc>>,
    after_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<TokenRevocationPage> {
    let mut connection = db.acquire().await?;
    // Read first: what commits after it is in the next answer at the latest.
    let as_of = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *connection)
        .await?;
    let rows: Vec<TokenRevocationRow> = match since {
        Some(since) => list_since(&mut connection, since, after_id, now).await?,
        None => list_all(&mut connection, after_id, now).await?,
    };
    let has_more = rows.len() == PAGE_MAX;
    let revocations = rows.into_iter().map(|row| (row.revocation_id, row.into()));
    Ok(TokenRevocationPage {
        revocations: revocations.collect(),
        has_more,
        as_of,
    })
}

/// Lists a page of all revocations by their ids.
async fn list_all(
    connection: &mut PgConnection,
    after_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<TokenRevocationRow>> {
    sqlx::query_as(
        "SELECT revocation_id, user_id, token_ids, session_ids, issued_until, expires_at
         FROM auth.revocations
         WHERE revocation_id > $1 AND expires_at > $2
         ORDER BY revocation_id LIMIT $3",
    )
    .bind(after_id)
    .bind(now)
    .bind(i64::try_from(PAGE_MAX).expect("a page is small"))
    .fetch_all(connection)
    .await
}

/// Lists a page of the latest revocations. Postgres expects few rows of a range with two ends, whatever the values are, so
/// that its one plan for all values reads the index of instants.
async fn list_since(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    after_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<TokenRevocationRow>> {
    sqlx::query_as(
        "SELECT revocation_id, user_id, token_ids, session_ids, issued_until, expires_at
         FROM auth.revocations
         WHERE revocation_id > $1 AND expires_at > $2
           AND revoked_at > $3::timestamptz - make_interval(secs => $4) AND revoked_at <= 'infinity'
         ORDER BY revocation_id LIMIT $5",
    )
    .bind(after_id)
    .bind(now)
    .bind(since)
    .bind(OVERLAP_SECS)
    .bind(i64::try_from(PAGE_MAX).expect("a page is small"))
    .fetch_all(connection)
    .await
}

/// Returns whether an access token is revoked: by itself, with its session, or with all tokens of its user.
pub async fn covers(
    connection: &mut PgConnection,
    session: UserSession,
    claims: &TokenClaims,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM auth.revocations
                        WHERE user_id = $1
                          AND ($2 = ANY (token_ids) OR $3 = ANY (session_ids)
                               OR issued_until >= $4))",
    )
    .bind(session.user_id)
    .bind(claims.jti.to_string())
    .bind(session.session_id.to_string())
    // A time of issue that is none is older than every revocation.
    .bind(DateTime::from_timestamp(claims.iat, 0).unwrap_or_default())
    .fetch_one(connection)
    .await
}

/// Deletes expired revocations; returns how many.
pub async fn purge(db: &DatabasePool, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let purged = sqlx::query(
        "DELETE FROM auth.revocations WHERE revocation_id IN
         (SELECT revocation_id FROM auth.revocations WHERE expires_at <= $1 LIMIT $2)",
    )
    .bind(now)
    .bind(PURGED_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(purged.rows_affected())
}

impl From<TokenRevocationRow> for TokenRevocation {
    fn from(row: TokenRevocationRow) -> Self {
        Self {
            user_id: row.user_id,
            token_ids: row.token_ids,
            session_ids: row.session_ids,
            issued_until: row.issued_until,
            expires_at: row.expires_at,
        }
    }
}
