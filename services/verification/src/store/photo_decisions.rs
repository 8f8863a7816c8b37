//! `photo_decisions`: who decided what about photos. The app role can only insert rows.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

use crate::domain::ProfilePhoto;

/// Inserts the decision by which a photo has its present state.
pub async fn insert(
    tx: &mut PgConnection,
    photo: &ProfilePhoto,
    decided_by: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO verification.photo_decisions
             (decided_at, decided_by, user_id, photo_id, decision, notes)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now)
    .bind(decided_by)
    .bind(photo.user_id)
    .bind(photo.photo_id)
    .bind(photo.state.name())
    .bind(&photo.reviewer_notes)
    .execute(tx)
    .await?;
    Ok(())
}
