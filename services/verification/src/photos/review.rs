//! Reviews of photos by admins. Each decision is recorded together with the admin who made it.

use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_kit::paging::ListPageRequest;

use super::{PhotoWithAddress, UserPhotoService};
use crate::domain::{ProfilePhoto, ReviewAction, ReviewState, VerificationError, normalize_text};
use crate::events::photo_reviewed_event;
use crate::store::{photo_decisions, profile_photos, standings};

/// An admin's decision on a photo.
#[derive(Clone, Debug)]
pub struct PhotoReviewRequest {
    pub reviewer_id: i64,
    pub photo_id: i64,
    pub action: ReviewAction,
    /// Notes for the user.
    pub notes: Option<String>,
}

/// A photo that waits for its review.
#[derive(Clone, Debug)]
pub struct PendingPhotoReview {
    pub photo: PhotoWithAddress,
    /// Absent for a user who is being deleted.
    pub username: Option<String>,
}

impl UserPhotoService {
    /// Lists a page of the pending photos, oldest first, and counts all of them.
    pub async fn list_pending(
        &self,
        page: ListPageRequest,
    ) -> Result<(Vec<PendingPhotoReview>, i64), VerificationError> {
        let mut connection = self.parts.db.acquire().await?;
        let (photos, total) = profile_photos::list_pending(&mut connection, page).await?;
        drop(connection);
        if photos.is_empty() {
            return Ok((Vec::new(), total));
        }
        let user_ids = photos.iter().map(|photo| photo.user_id).collect();
        let mut usernames = self.parts.profile.fetch_usernames(user_ids).await?;
        let mut pending = Vec::with_capacity(photos.len());
        for photo in photos {
            pending.push(PendingPhotoReview {
                username: usernames.remove(&photo.user_id),
                photo: self.resolve_address(photo).await?,
            });
        }
        Ok((pending, total))
    }

    /// Applies an admin's decision to a photo. Only the first of two concurrent equal decisions succeeds.
    pub async fn review_photo(
        &self,
        request: PhotoReviewRequest,
    ) -> Result<PhotoWithAddress, VerificationError> {
        let notes = normalize_text("reviewer_notes", request.notes.clone())?;
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        let before = find_locked(&mut tx, request.photo_id).await?;
        if !request.action.applies_to_photo(before.state) {
            return Err(VerificationError::PhotoAlreadyReviewed);
        }
        let photo = ProfilePhoto {
            state: request.action.resulting_state(),
            reviewed_at: Some(now),
            reviewer_id: Some(request.reviewer_id),
            reviewer_notes: notes,
            ..before.clone()
        };
        // The photo replaces the one that has been in this state so far.
        profile_photos::delete_in(&mut tx, photo.user_id, &[photo.state]).await?;
        profile_photos::update_reviewed(&mut tx, &photo).await?;
        photo_decisions::insert(&mut tx, &photo, request.reviewer_id, now).await?;
        let version = standings::increment_version(&mut tx, photo.user_id).await?;
        let was_public = before.state == ReviewState::Approved;
        let is_public = photo.state == ReviewState::Approved;
        let image_url = (was_public || is_public).then(|| photo.public_url(&self.public_url));
        let event = photo_reviewed_event(&photo, image_url);
        outbox::append(&mut tx, photo.user_id, version, now, event).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(
            user_id = photo.user_id,
            photo_id = photo.photo_id,
            reviewer_id = request.reviewer_id,
            decision = photo.state.name(),
            "reviewed a photo"
        );
        self.resolve_address(photo).await
    }
}

/// Locks the owner of a photo and finds the photo. The second search, under the lock, sees the photo as the change
/// before this one has left it.
async fn find_locked(
    tx: &mut PgConnection,
    photo_id: i64,
) -> Result<ProfilePhoto, VerificationError> {
    let missing = || VerificationError::NoSuchPhoto;
    let photo = profile_photos::find(tx, photo_id).await?;
    let user_id = photo.ok_or_else(missing)?.user_id;
    standings::lock(tx, user_id).await?;
    profile_photos::find(tx, photo_id)
        .await?
        .ok_or_else(missing)
}
