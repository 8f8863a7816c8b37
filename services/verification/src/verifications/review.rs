//! What admins see and decide. Each decision is written down with who made it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{VerificationReviewed, VerificationRevoked};

use super::Verifications;
use crate::domain::{Action, Sample, State, VerificationError, normalize_text};
use crate::store::decisions::{self, Decision};
use crate::store::{listener_verifications, standings};

const PER_PAGE_MAX: i32 = 100;

/// What an admin decides on a sample.
#[derive(Clone, Debug)]
pub struct Review {
    /// The admin.
    pub reviewer_id: i64,
    /// The sample.
    pub verification_id: i64,
    /// The decision.
    pub action: Action,
    /// The admin's words, for the listener.
    pub notes: Option<String>,
}

/// A sample that waits, and its listener's name; none for who is being deleted.
pub type Waiting = (Sample, Option<String>);

impl Verifications {
    /// A page of what waits, the oldest first, and how much waits.
    pub async fn pending(
        &self,
        page: i32,
        per_page: i32,
    ) -> Result<(Vec<Waiting>, i64), VerificationError> {
        if page < 1 || !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(VerificationError::InvalidPage);
        }
        let limit = i64::from(per_page);
        let offset = (i64::from(page) - 1) * limit;
        let mut connection = self.parts.db.acquire().await?;
        let (samples, total) =
            listener_verifications::pending(&mut connection, offset, limit).await?;
        drop(connection);
        if samples.is_empty() {
            return Ok((Vec::new(), total));
        }
        let user_ids = samples.iter().map(|sample| sample.user_id).collect();
        let mut names = self.parts.profile.usernames(user_ids).await?;
        let named = |sample: Sample| {
            let name = names.remove(&sample.user_id);
            (sample, name)
        };
        Ok((samples.into_iter().map(named).collect(), total))
    }

    /// Decides on a sample. Of two admins at once, the second is told so.
    pub async fn review(&self, review: Review) -> Result<Sample, VerificationError> {
        let notes = normalize_text("reviewer_notes", review.notes)?;
        let (id, reviewer_id) = (review.verification_id, review.reviewer_id);
        let state = review.action.state();
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        let sample = listener_verifications::find(&mut tx, id).await?;
        let user_id = sample.ok_or(VerificationError::NoSuchVerification)?.user_id;
        let before = standings::lock(&mut tx, user_id).await?;
        if before.is_deleted {
            return Err(VerificationError::NoSuchVerification);
        }
        let sample =
            listener_verifications::review(&mut tx, id, state, reviewer_id, notes.as_deref(), now)
                .await?
                .ok_or(VerificationError::AlreadyReviewed)?;
        let is_verified = before.is_verified || state == State::Approved;
        publish_review(&mut tx, &sample, is_verified, now).await?;
        let decision = Decision {
            decided_by: reviewer_id,
            user_id,
            verification_id: Some(id),
            decision: state.name(),
            notes: notes.as_deref(),
        };
        decisions::insert(&mut tx, decision, now).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(
            user_id,
            verification_id = id,
            reviewer_id,
            decision = state.name(),
            "reviewed"
        );
        Ok(sample)
    }

    /// Takes a listener's verification away. Answers when.
    pub async fn revoke(
        &self,
        admin_id: i64,
        user_id: i64,
        reason: Option<String>,
    ) -> Result<DateTime<Utc>, VerificationError> {
        let reason = normalize_text("reason", reason)?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        // A refusal below rolls a row back that this may have made.
        if !standings::lock(&mut tx, user_id).await?.is_verified {
            return Err(VerificationError::NotVerified);
        }
        let version = standings::decide(&mut tx, user_id, false).await?;
        let event = Kind::VerificationRevoked(VerificationRevoked { user_id });
        outbox::append(&mut tx, user_id, version, now, event).await?;
        let decision = Decision {
            decided_by: admin_id,
            user_id,
            verification_id: None,
            decision: "revoked",
            notes: reason.as_deref(),
        };
        decisions::insert(&mut tx, decision, now).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(user_id, admin_id, "verification revoked");
        Ok(now)
    }
}

async fn publish_review(
    tx: &mut PgConnection,
    sample: &Sample,
    is_verified: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let user_id = sample.user_id;
    let version = standings::decide(tx, user_id, is_verified).await?;
    let event = Kind::VerificationReviewed(VerificationReviewed {
        user_id,
        verification_id: sample.verification_id,
        status: sample.state.name().to_owned(),
        is_verified,
        reviewer_notes: sample.reviewer_notes.clone(),
    });
    outbox::append(tx, user_id, version, now, event).await
}
