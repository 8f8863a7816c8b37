//! `profile_photos`: one row a photo, at most one of each status a user.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};
use talktime_kit::paging::ListPageRequest;
use uuid::Uuid;

use crate::domain::{ProfilePhoto, ReviewState};

/// A statement that selects whole photos and ends in `$rest`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT photo_id, user_id, photo_key, status, submitted_at, reviewed_at, reviewer_id,
                    reviewer_notes
             FROM verification.profile_photos ",
            $rest
        )
    };
}

#[derive(FromRow)]
struct ProfilePhotoRow {
    photo_id: i64,
    user_id: i64,
    photo_key: Uuid,
    status: ReviewState,
    submitted_at: DateTime<Utc>,
    reviewed_at: Option<DateTime<Utc>>,
    reviewer_id: Option<i64>,
    reviewer_notes: Option<String>,
}

impl From<ProfilePhotoRow> for ProfilePhoto {
    fn from(row: ProfilePhotoRow) -> Self {
        Self {
            photo_id: row.photo_id,
            user_id: row.user_id,
            photo_key: row.photo_key,
            state: row.status,
            submitted_at: row.submitted_at,
            reviewed_at: row.reviewed_at,
            reviewer_id: row.reviewer_id,
            reviewer_notes: row.reviewer_notes,
        }
    }
}

/// Inserts a pending photo of a user who has none.
pub async fn insert(
    tx: &mut PgConnection,
    user_id: i64,
    photo_key: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<ProfilePhoto> {
    let row: ProfilePhotoRow = sqlx::query_as(
        "INSERT INTO verification.profile_photos (user_id, photo_key, submitted_at)
         VALUES ($1, $2, $3)
         RETURNING photo_id, user_id, photo_key, status, submitted_at, reviewed_at, reviewer_id,
                   reviewer_notes",
    )
    .bind(user_id)
    .bind(photo_key)
    .bind(now)
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// Finds a photo by its id.
pub async fn find(db: &mut PgConnection, photo_id: i64) -> sqlx::Result<Option<ProfilePhoto>> {
    let row: Option<ProfilePhotoRow> = sqlx::query_as(select!("WHERE photo_id = $1"))
        .bind(photo_id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Into::into))
}

/// Finds the approved photo with this key.
pub async fn find_approved(
    db: &mut PgConnection,
    photo_key: Uuid,
) -> sqlx::Result<Option<ProfilePhoto>> {
    let row: Option<ProfilePhotoRow> =
        sqlx::query_as(select!("WHERE photo_key = $1 AND status = 'approved'"))
            .bind(photo_key)
            .fetch_optional(db)
            .await?;
    Ok(row.map(Into::into))
}

/// Lists the photos of a user, newest first.
pub async fn list(db: &mut PgConnection, user_id: i64) -> sqlx::Result<Vec<ProfilePhoto>> {
    let rows: Vec<ProfilePhotoRow> =
        sqlx::query_as(select!("WHERE user_id = $1 ORDER BY photo_id DESC"))
            .bind(user_id)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Lists a page of the pending photos, oldest first, and counts all of them.
pub async fn list_pending(
    db: &mut PgConnection,
    page: ListPageRequest,
) -> sqlx::Result<(Vec<ProfilePhoto>, i64)> {
    let rows: Vec<ProfilePhotoRow> = sqlx::query_as(select!(
        "WHERE status = 'pending' ORDER BY submitted_at, photo_id OFFSET $1 LIMIT $2"
    ))
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *db)
    .await?;
    let total = sqlx::query_scalar(
        "SELECT count(*) FROM verification.profile_photos WHERE status = 'pending'",
    )
    .fetch_one(db)
    .await?;
    Ok((rows.into_iter().map(Into::into).collect(), total))
}

/// Stores the review of a photo.
pub async fn update_reviewed(tx: &mut PgConnection, photo: &ProfilePhoto) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE verification.profile_photos
         SET status = $2, reviewer_id = $3, reviewer_notes = $4, reviewed_at = $5
         WHERE photo_id = $1",
    )
    .bind(photo.photo_id)
    .bind(photo.state)
    .bind(photo.reviewer_id)
    .bind(&photo.reviewer_notes)
    .bind(photo.reviewed_at)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "verification.profile_photos", photo.photo_id)
}

/// Deletes the photos of a user that are in one of these states, and returns how many there were.
pub async fn delete_in(
    tx: &mut PgConnection,
    user_id: i64,
    states: &[ReviewState],
) -> sqlx::Result<u64> {
    let states: Vec<&str> = states.iter().map(|state| state.name()).collect();
    let deleted = sqlx::query(
        "DELETE FROM verification.profile_photos WHERE user_id = $1 AND status = ANY($2)",
    )
    .bind(user_id)
    .bind(states)
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}

/// Deletes all photos of a user and returns how many there were.
pub async fn delete_all(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query("DELETE FROM verification.profile_photos WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(deleted.rows_affected())
}

/// Lists those of the keys whose photo is stored: a rejected one has no object.
pub async fn list_recorded_keys(db: &mut PgConnection, keys: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT photo_key FROM verification.profile_photos
         WHERE photo_key = ANY($1) AND status <> 'rejected'",
    )
    .bind(keys)
    .fetch_all(db)
    .await
}

/// Lists up to `limit` photos with an object after the photo `after`.
pub async fn list_after(
    db: &mut PgConnection,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<ProfilePhoto>> {
    let rows: Vec<ProfilePhotoRow> = sqlx::query_as(select!(
        "WHERE photo_id > $1 AND status <> 'rejected' ORDER BY photo_id LIMIT $2"
    ))
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}
