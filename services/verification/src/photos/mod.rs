//! Operations on photos of users: submissions, reviews and lookups.

pub mod review;
pub mod submit;

use std::time::Duration;

use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;
use uuid::Uuid;

use crate::config::{PhotosConfig, UploadsConfig};
use crate::domain::{ProfilePhoto, ReviewState, VerificationError};
use crate::events::photo_deleted_event;
use crate::probe::PhotoRenderer;
use crate::service::VerificationServiceParts;
use crate::store::{profile_photos, standings};

/// A photo, and the address from which it can be fetched at present.
#[derive(Clone, Debug)]
pub struct PhotoWithAddress {
    pub photo: ProfilePhoto,
    /// `None` for a rejected photo, which is not kept.
    pub image_url: Option<String>,
}

/// The operations on photos; cheap to clone.
#[derive(Clone)]
pub struct UserPhotoService {
    parts: VerificationServiceParts,
    renderer: PhotoRenderer,
    ticket_validity: Duration,
    /// Address of the gateway, which serves approved photos.
    public_url: String,
}

impl UserPhotoService {
    /// Returns the operations with these limits.
    pub fn new(
        parts: VerificationServiceParts,
        renderer: PhotoRenderer,
        uploads: &UploadsConfig,
        photos: &PhotosConfig,
    ) -> Self {
        Self {
            parts,
            renderer,
            ticket_validity: Duration::from_secs(uploads.ticket_secs.into()),
            public_url: photos.public_url.clone(),
        }
    }

    /// Lists the photos of a user, newest first.
    pub async fn list_photos(
        &self,
        user_id: i64,
    ) -> Result<Vec<PhotoWithAddress>, VerificationError> {
        let mut connection = self.parts.db.acquire().await?;
        let photos = profile_photos::list(&mut connection, user_id).await?;
        drop(connection);
        let mut addressed = Vec::with_capacity(photos.len());
        for photo in photos {
            addressed.push(self.resolve_address(photo).await?);
        }
        Ok(addressed)
    }

    /// Reads the content of an approved photo.
    pub async fn read_approved(&self, photo_key: &str) -> Result<Vec<u8>, VerificationError> {
        let key = Uuid::try_parse(photo_key).map_err(|_| VerificationError::NoSuchPhoto)?;
        let mut connection = self.parts.db.acquire().await?;
        let photo = profile_photos::find_approved(&mut connection, key).await?;
        drop(connection);
        let photo = photo.ok_or(VerificationError::NoSuchPhoto)?;
        let object = self.parts.bucket.get(&photo.object_key()).await?;
        let mut object = object.ok_or(VerificationError::NoSuchPhoto)?;
        let mut content = Vec::new();
        while let Some(chunk) = object.next_chunk().await? {
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }

    /// Deletes all photos of a user and returns how many there were. The reconciler removes their objects.
    pub async fn delete_photos(&self, user_id: i64) -> Result<u64, VerificationError> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        standings::lock(&mut tx, user_id).await?;
        if let Some(photo) = find_approved_photo(&mut tx, user_id).await? {
            let version = standings::increment_version(&mut tx, user_id).await?;
            let event = photo_deleted_event(&photo, photo.public_url(&self.public_url));
            outbox::append(&mut tx, user_id, version, now, event).await?;
        }
        let deleted = profile_photos::delete_all(&mut tx, user_id).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(user_id, deleted, "deleted the photos of a user");
        Ok(deleted)
    }

    async fn resolve_address(
        &self,
        photo: ProfilePhoto,
    ) -> Result<PhotoWithAddress, VerificationError> {
        let image_url = match photo.state {
            ReviewState::Pending => Some(self.parts.bucket.presign_get(&photo.object_key()).await?),
            ReviewState::Approved => Some(photo.public_url(&self.public_url)),
            ReviewState::Rejected => None,
        };
        Ok(PhotoWithAddress { photo, image_url })
    }
}

async fn find_approved_photo(
    tx: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Option<ProfilePhoto>> {
    let photos = profile_photos::list(tx, user_id).await?;
    Ok(photos
        .into_iter()
        .find(|photo| photo.state == ReviewState::Approved))
}
