//! `listener_verifications`: a row a sample.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::{Audio, Sample, Standing, State};

#[derive(FromRow)]
struct Row {
    verification_id: i64,
    audio_url: String,
    status: State,
    submitted_at: DateTime<Utc>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_notes: Option<String>,
    count: i64,
    has_approval: bool,
}

/// What a listener has sent so far, and the newest of it in full.
pub async fn standing(db: &mut PgConnection, user_id: i64) -> sqlx::Result<Standing> {
    let newest: Option<Row> = sqlx::query_as(
        "SELECT verification_id, audio_url, status, submitted_at, reviewed_at, reviewer_notes,
                count(*) OVER () AS count,
                bool_or(status = 'approved') OVER () AS has_approval
         FROM verification.listener_verifications
         WHERE user_id = $1
         ORDER BY submitted_at DESC, verification_id DESC
         LIMIT 1",
    )
    .bind(user_id)
    .fetch_optional(db)
    .await?;
    Ok(newest.map_or_else(Standing::default, Standing::from))
}

impl From<Row> for Standing {
    fn from(row: Row) -> Self {
        Self {
            count: row.count,
            has_approval: row.has_approval,
            newest: Some(Sample {
                verification_id: row.verification_id,
                audio: Audio::stored(row.audio_url),
                state: row.status,
                submitted_at: row.submitted_at,
                reviewed_at: row.reviewed_at,
                reviewer_notes: row.reviewer_notes,
            }),
        }
    }
}

/// Forgets everything that a user has sent. Returns how many samples it was.
pub async fn delete_of(db: &mut PgConnection, user_id: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query("DELETE FROM verification.listener_verifications WHERE user_id = $1")
        .bind(user_id)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}
