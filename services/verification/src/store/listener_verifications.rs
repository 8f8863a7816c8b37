//! `listener_verifications`: a row a sample.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::{Audio, Sample, Standing, State};

/// The index that lets one sample of a listener wait at a time.
pub const ONE_PENDING_INDEX: &str = "listener_verifications_one_pending";
/// Samples that a history shows, at most.
const HISTORY_MAX: i64 = 200;

/// `SELECT` of whole samples, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT verification_id, user_id, audio_url, status, submitted_at, reviewed_at,
                    reviewer_id, reviewer_notes, description
             FROM verification.listener_verifications ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct Row {
    verification_id: i64,
    user_id: i64,
    audio_url: String,
    status: State,
    submitted_at: DateTime<Utc>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_id: Option<i64>,
    reviewer_notes: Option<String>,
    description: Option<String>,
}

impl From<Row> for Sample {
    fn from(row: Row) -> Self {
        Self {
            verification_id: row.verification_id,
            user_id: row.user_id,
            audio: Audio::stored(row.audio_url),
            state: row.status,
            submitted_at: row.submitted_at,
            reviewed_at: row.reviewed_at,
            reviewer_id: row.reviewer_id,
            reviewer_notes: row.reviewer_notes,
            description: row.description,
        }
    }
}

/// How many samples there are of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct Counts {
    /// All of them.
    pub total: i64,
    /// Those that were approved.
    pub approved: i64,
    /// Those that were rejected.
    pub rejected: i64,
}

/// Keeps a sample, which waits for its review. A violation of [`ONE_PENDING_INDEX`] says that another
/// one waits.
pub async fn insert(
    tx: &mut PgConnection,
    user_id: i64,
    audio_url: &str,
    description: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Sample> {
    let row: Row = sqlx::query_as(
        "INSERT INTO verification.listener_verifications
             (user_id, audio_url, description, submitted_at)
         VALUES ($1, $2, $3, $4)
         RETURNING verification_id, user_id, audio_url, status, submitted_at, reviewed_at,
                   reviewer_id, reviewer_notes, description",
    )
    .bind(user_id)
    .bind(audio_url)
    .bind(description)
    .bind(now)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// Whether a sample of this listener waits for its review.
pub async fn has_pending(db: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM verification.listener_verifications
                        WHERE user_id = $1 AND status = 'pending')",
    )
    .bind(user_id)
    .fetch_one(db)
    .await
}

/// A sample by id.
pub async fn find(db: &mut PgConnection, verification_id: i64) -> sqlx::Result<Option<Sample>> {
    let row: Option<Row> = sqlx::query_as(select!("WHERE verification_id = $1"))
        .bind(verification_id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Sample::from))
}

/// What a listener has sent so far, and the newest of it in full.
pub async fn standing(db: &mut PgConnection, user_id: i64) -> sqlx::Result<Standing> {
    let newest: Option<Row> = sqlx::query_as(select!(
        "WHERE user_id = $1 ORDER BY submitted_at DESC, verification_id DESC LIMIT 1"
    ))
    .bind(user_id)
    .fetch_optional(&mut *db)
    .await?;
    let (count, is_verified) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM verification.listener_verifications WHERE user_id = $1),
                EXISTS (SELECT FROM verification.standings WHERE user_id = $1 AND is_verified)",
    )
    .bind(user_id)
    .fetch_one(db)
    .await?;
    Ok(Standing {
        count,
        is_verified,
        newest: newest.map(Sample::from),
    })
}

/// What a listener has sent, the newest first; the last 200 of it, and the counts of all.
pub async fn history(db: &mut PgConnection, user_id: i64) -> sqlx::Result<(Vec<Sample>, Counts)> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "WHERE user_id = $1 ORDER BY submitted_at DESC, verification_id DESC LIMIT $2"
    ))
    .bind(user_id)
    .bind(HISTORY_MAX)
    .fetch_all(&mut *db)
    .await?;
    let counts = sqlx::query_as(
        "SELECT count(*) AS total,
                count(*) FILTER (WHERE status = 'approved') AS approved,
                count(*) FILTER (WHERE status = 'rejected') AS rejected
         FROM verification.listener_verifications WHERE user_id = $1",
    )
    .bind(user_id)
    .fetch_one(db)
    .await?;
    Ok((rows.into_iter().map(Sample::from).collect(), counts))
}

/// A page of what waits for its review, the oldest first, and how much waits.
pub async fn pending(
    db: &mut PgConnection,
    offset: i64,
    limit: i64,
) -> sqlx::Result<(Vec<Sample>, i64)> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "WHERE status = 'pending' ORDER BY submitted_at, verification_id OFFSET $1 LIMIT $2"
    ))
    .bind(offset)
    .bind(limit)
    .fetch_all(&mut *db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT count(*) FROM verification.listener_verifications WHERE status = 'pending'",
    )
    .fetch_one(db)
    .await?;
    Ok((rows.into_iter().map(Sample::from).collect(), total))
}

/// Decides on a sample that waits; `None` when it waits no more.
pub async fn review(
    tx: &mut PgConnection,
    verification_id: i64,
    state: State,
    reviewer_id: i64,
    notes: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Sample>> {
    let row: Option<Row> = sqlx::query_as(
        "UPDATE verification.listener_verifications
         SET status = $2, reviewer_id = $3, reviewer_notes = $4, reviewed_at = $5
         WHERE verification_id = $1 AND status = 'pending'
         RETURNING verification_id, user_id, audio_url, status, submitted_at, reviewed_at,
                   reviewer_id, reviewer_notes, description",
    )
    .bind(verification_id)
    .bind(state)
    .bind(reviewer_id)
    .bind(notes)
    .bind(now)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(Sample::from))
}

/// Which of these keys have a row.
pub async fn recorded(db: &mut PgConnection, keys: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT audio_url FROM verification.listener_verifications WHERE audio_url = ANY($1)",
    )
    .bind(keys)
    .fetch_all(db)
    .await
}

/// Keys of objects that rows name, in the order of rows, after the row `after`; `limit` at most.
pub async fn keys_after(
    db: &mut PgConnection,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as(
        "SELECT verification_id, audio_url FROM verification.listener_verifications
         WHERE verification_id > $1 AND audio_url NOT LIKE 'https://%'
         ORDER BY verification_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Forgets everything that a user has sent. Returns how many samples it was.
pub async fn delete_of(db: &mut PgConnection, user_id: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query("DELETE FROM verification.listener_verifications WHERE user_id = $1")
        .bind(user_id)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}
