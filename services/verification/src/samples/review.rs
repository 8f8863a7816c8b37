//! Reviews of samples by admins. Each decision is recorded together with the admin who made it.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_kit::paging::ListPageRequest;

use crate::domain::{AudioSample, ReviewAction, ReviewState, VerificationError, normalize_text};
use crate::events::{reviewed_event, revoked_event};
use crate::service::AudioSampleService;
use crate::store::decisions::{self, ReviewDecision};
use crate::store::standings::LockedVerificationRow;
use crate::store::{listener_verifications, standings};

/// An admin's decision on a sample.
#[derive(Clone, Debug)]
pub struct SampleReviewRequest {
    pub reviewer_id: i64,
    pub verification_id: i64,
    pub action: ReviewAction,
    /// Notes for the listener.
    pub notes: Option<String>,
}

/// A sample that waits for its review.
#[derive(Clone, Debug)]
pub struct PendingSampleReview {
    pub sample: AudioSample,
    /// Absent for a user who is being deleted.
    pub username: Option<String>,
}

impl AudioSampleService {
    /// Lists a page of the samples that wait for their review, oldest first, and counts all of them.
    pub async fn list_pending(
        &self,
        page: ListPageRequest,
    ) -> Result<(Vec<PendingSampleReview>, i64), VerificationError> {
        let mut connection = self.parts.db.acquire().await?;
        let (offset, limit) = (page.offset(), page.limit());
        let (samples, total) =
            listener_verifications::list_pending(&mut connection, offset, limit).await?;
        drop(connection);
        if samples.is_empty() {
            return Ok((Vec::new(), total));
        }
        let user_ids = samples.iter().map(|sample| sample.user_id).collect();
        let usernames = self.parts.profile.fetch_usernames(user_ids).await?;
        let pending = samples.into_iter().map(|sample| PendingSampleReview {
            username: usernames.get(&sample.user_id).cloned(),
            sample,
        });
        Ok((pending.collect(), total))
    }

    /// Applies an admin's decision to a sample. Only the first of two concurrent reviews succeeds.
    pub async fn review_sample(
        &self,
        request: SampleReviewRequest,
    ) -> Result<AudioSample, VerificationError> {
        let notes = normalize_text("reviewer_notes", request.notes.clone())?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        let before = lock_reviewed_listener(&mut tx, request.verification_id).await?;
        let state = request.action.resulting_state();
        let sample = listener_verifications::update_reviewed(
            &mut tx,
            request.verification_id,
            state,
            request.reviewer_id,
            notes.as_deref(),
            now,
        )
        .await?
        .ok_or(VerificationError::AlreadyReviewed)?;
        let is_verified = before.is_verified || state == ReviewState::Approved;
        record_review(&mut tx, &sample, request.reviewer_id, is_verified, now).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(
            user_id = sample.user_id,
            verification_id = sample.verification_id,
            reviewer_id = request.reviewer_id,
            decision = state.name(),
            "reviewed a sample"
        );
        Ok(sample)
    }

    /// Revokes the verification of a listener and returns the time of the revocation.
    pub async fn revoke_verification(
        &self,
        admin_id: i64,
        user_id: i64,
        reason: Option<String>,
    ) -> Result<DateTime<Utc>, VerificationError> {
        let reason = normalize_text("reason", reason)?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        // Locking may insert a row, which the rollback after a refusal removes again.
        if !standings::lock(&mut tx, user_id).await?.is_verified {
            return Err(VerificationError::NotVerified);
        }
        let version = standings::update_verified(&mut tx, user_id, false).await?;
        outbox::append(&mut tx, user_id, version, now, revoked_event(user_id)).await?;
        let decision = ReviewDecision {
            decided_by: admin_id,
            user_id,
            verification_id: None,
            decision: "revoked",
            notes: reason.as_deref(),
        };
        decisions::insert(&mut tx, decision, now).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(user_id, admin_id, "revoked a verification");
        Ok(now)
    }
}

/// Locks the listener of a sample. A sample of a deleted user counts as unknown.
async fn lock_reviewed_listener(
    tx: &mut PgConnection,
    verification_id: i64,
) -> Result<LockedVerificationRow, VerificationError> {
    let sample = listener_verifications::find(tx, verification_id).await?;
    let user_id = sample.ok_or(VerificationError::NoSuchVerification)?.user_id;
    let standing = standings::lock(tx, user_id).await?;
    if standing.is_deleted {
        return Err(VerificationError::NoSuchVerification);
    }
    Ok(standing)
}

/// Stores the results of a review: the standing of the listener, the event and the decision.
async fn record_review(
    tx: &mut PgConnection,
    sample: &AudioSample,
    reviewer_id: i64,
    is_verified: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let user_id = sample.user_id;
    let version = standings::update_verified(tx, user_id, is_verified).await?;
    outbox::append(
        tx,
        user_id,
        version,
        now,
        reviewed_event(sample, is_verified),
    )
    .await?;
    let decision = ReviewDecision {
        decided_by: reviewer_id,
        user_id,
        verification_id: Some(sample.verification_id),
        decision: sample.state.name(),
        notes: sample.reviewer_notes.as_deref(),
    };
    decisions::insert(tx, decision, now).await
}
