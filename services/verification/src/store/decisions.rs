//! `decisions`: who decided what. The app role can only insert rows.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

/// A decision of an admin.
#[derive(Clone, Copy, Debug)]
pub struct ReviewDecision<'a> {
    /// The admin.
    pub decided_by: i64,
    /// The listener.
    pub user_id: i64,
    /// The sample; `None` for a revocation.
    pub verification_id: Option<i64>,
    /// `approved`, `rejected` or `revoked`.
    pub decision: &'static str,
    pub notes: Option<&'a str>,
}

/// Inserts a decision.
pub async fn insert(
    tx: &mut PgConnection,
    decision: ReviewDecision<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO verification.decisions
             (decided_at, decided_by, user_id, verification_id, decision, notes)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now)
    .bind(decision.decided_by)
    .bind(decision.user_id)
    .bind(decision.verification_id)
    .bind(decision.decision)
    .bind(decision.notes)
    .execute(tx)
    .await?;
    Ok(())
}
