//! Submissions of photos. A client uploads a file to the bucket with a ticket and submits it; the stored photo is
//! rendered from the file, which is then deleted.
//!
//! The object is stored before its row is written, as for samples.

use talktime_kit::failpoint;
use uuid::Uuid;

use super::{PhotoWithAddress, UserPhotoService};
use crate::domain::{
    PhotoFormat, ProfilePhoto, ReviewState, UploadTicket, VerificationError, build_photo_key,
    check_upload_length,
};
use crate::store::{profile_photos, standings};
use crate::uploads::{
    AnnouncedFile, IssuedUploadTicket, delete_object_best_effort, fetch_upload, issue_ticket,
};

const STORED_CONTENT_TYPE: &str = "image/jpeg";

impl UserPhotoService {
    /// Issues a ticket with which a user uploads a photo to the bucket.
    pub async fn issue_ticket(
        &self,
        user_id: i64,
        length_bytes: i64,
        content_type: &str,
    ) -> Result<IssuedUploadTicket, VerificationError> {
        let format = PhotoFormat::from_content_type(content_type);
        let format = format.ok_or(VerificationError::InvalidPhotoType)?;
        check_upload_length::<PhotoFormat>(length_bytes)?;
        let ticket = UploadTicket {
            unique: Uuid::new_v4(),
            format,
        };
        let file = AnnouncedFile {
            length_bytes,
            content_type,
        };
        issue_ticket(&self.parts, user_id, ticket, file, self.ticket_validity).await
    }

    /// Renders an uploaded photo and submits it for review. It replaces a pending photo of the user.
    pub async fn submit_photo(
        &self,
        user_id: i64,
        upload_id: &str,
    ) -> Result<PhotoWithAddress, VerificationError> {
        let ticket = UploadTicket::<PhotoFormat>::parse(upload_id);
        let ticket = ticket.ok_or(VerificationError::NoSuchUpload)?;
        let upload_key = ticket.key(user_id);
        let file = fetch_upload::<PhotoFormat>(&self.parts, &upload_key).await?;
        if file.format != ticket.format {
            return Err(VerificationError::UnsupportedPhoto);
        }
        let jpeg = self.renderer.render(ticket.format, file.open()?).await?;
        drop(file);
        let photo_key = Uuid::new_v4();
        let object_key = build_photo_key(user_id, photo_key);
        let bucket = &self.parts.bucket;
        bucket
            .put_bytes(&object_key, STORED_CONTENT_TYPE, jpeg)
            .await?;
        failpoint::reach("verification.photo.stored");
        let inserted = self.insert_photo(user_id, photo_key).await;
        // After any other error the row may exist, and the object must stay.
        if let Err(VerificationError::UserGone) = &inserted {
            delete_object_best_effort(bucket, &object_key).await;
        }
        let photo = inserted?;
        delete_object_best_effort(bucket, &upload_key).await;
        self.resolve_address(photo).await
    }

    async fn insert_photo(
        &self,
        user_id: i64,
        photo_key: Uuid,
    ) -> Result<ProfilePhoto, VerificationError> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        if standings::lock(&mut tx, user_id).await?.is_deleted {
            return Err(VerificationError::UserGone);
        }
        let replaced = [ReviewState::Pending, ReviewState::Rejected];
        profile_photos::delete_in(&mut tx, user_id, &replaced).await?;
        let photo = profile_photos::insert(&mut tx, user_id, photo_key, now).await?;
        tx.commit().await?;
        tracing::info!(user_id, photo_id = photo.photo_id, "stored a photo");
        Ok(photo)
    }
}
