//! `listener_verifications`: one row a sample.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::{AudioLocation, AudioSample, ListenerVerification, ReviewState, SampleCounts};

/// The index that admits one pending sample a listener.
pub const ONE_PENDING_INDEX: &str = "listener_verifications_one_pending";
/// Most samples in a history.
const HISTORY_MAX: i64 = 200;

/// A statement that selects whole samples and ends in `$rest`.
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
struct AudioSampleRow {
    verification_id: i64,
    user_id: i64,
    audio_url: String,
    status: ReviewState,
    submitted_at: DateTime<Utc>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_id: Option<i64>,
    reviewer_notes: Option<String>,
    description: Option<String>,
}

impl From<AudioSampleRow> for AudioSample {
    fn from(row: AudioSampleRow) -> Self {
        Self {
            verification_id: row.verification_id,
            user_id: row.user_id,
            location: AudioLocation::from_column(row.audio_url),
            state: row.status,
            submitted_at: row.submitted_at,
            reviewed_at: row.reviewed_at,
            reviewer_id: row.reviewer_id,
            reviewer_notes: row.reviewer_notes,
            description: row.description,
        }
    }
}

/// Inserts a pending sample. It violates [`ONE_PENDING_INDEX`] if another one is pending.
pub async fn insert(
    tx: &mut PgConnection,
    user_id: i64,
    audio_url: &str,
    description: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<AudioSample> {
    let row: AudioSampleRow = sqlx::query_as(
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

/// Returns whether a sample of this listener is pending.
pub async fn has_pending(db: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM verification.listener_verifications
                        WHERE user_id = $1 AND status = 'pending')",
    )
    .bind(user_id)
    .fetch_one(db)
    .await
}

/// Finds a sample by its id.
pub async fn find(
    db: &mut PgConnection,
    verification_id: i64,
) -> sqlx::Result<Option<AudioSample>> {
    let row: Option<AudioSampleRow> = sqlx::query_as(select!("WHERE verification_id = $1"))
        .bind(verification_id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(AudioSample::from))
}

/// Loads the number of a listener's samples, the newest of them, and whether the listener is verified.
pub async fn load_verification(
    db: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<ListenerVerification> {
    let newest: Option<AudioSampleRow> = sqlx::query_as(select!(
        "WHERE user_id = $1 ORDER BY submitted_at DESC, verification_id DESC LIMIT 1"
    ))
    .bind(user_id)
    .fetch_optional(&mut *db)
    .await?;
    let (sample_count, is_verified) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM verification.listener_verifications WHERE user_id = $1),
                EXISTS (SELECT FROM verification.standings WHERE user_id = $1 AND is_verified)",
    )
    .bind(user_id)
    .fetch_one(db)
    .await?;
    Ok(ListenerVerification {
        sample_count,
        is_verified,
        newest_sample: newest.map(AudioSample::from),
    })
}

/// Lists the last 200 samples of a listener, newest first, and counts all of them.
pub async fn list_history(
    db: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<(Vec<AudioSample>, SampleCounts)> {
    let rows: Vec<AudioSampleRow> = sqlx::query_as(select!(
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
    Ok((rows.into_iter().map(AudioSample::from).collect(), counts))
}

/// Lists a page of the pending samples, oldest first, and counts all of them.
pub async fn list_pending(
    db: &mut PgConnection,
    offset: i64,
    limit: i64,
) -> sqlx::Result<(Vec<AudioSample>, i64)> {
    let rows: Vec<AudioSampleRow> = sqlx::query_as(select!(
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
    Ok((rows.into_iter().map(AudioSample::from).collect(), total))
}

/// Stores the review of a pending sample and returns the sample; `None` if it is not pending any more.
pub async fn update_reviewed(
    tx: &mut PgConnection,
    verification_id: i64,
    state: ReviewState,
    reviewer_id: i64,
    notes: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<AudioSample>> {
    let row: Option<AudioSampleRow> = sqlx::query_as(
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
    Ok(row.map(AudioSample::from))
}

/// Lists those of the keys that a row names.
pub async fn list_recorded_keys(
    db: &mut PgConnection,
    keys: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT audio_url FROM verification.listener_verifications WHERE audio_url = ANY($1)",
    )
    .bind(keys)
    .fetch_all(db)
    .await
}

/// Lists up to `limit` rows after the row `after` whose audio is in our bucket, each with its key.
pub async fn list_keys_after(
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

/// Deletes all samples of a user and returns how many there were.
pub async fn delete_all(db: &mut PgConnection, user_id: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query("DELETE FROM verification.listener_verifications WHERE user_id = $1")
        .bind(user_id)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}
